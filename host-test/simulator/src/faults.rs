//! The rules that the simulator goes by, and the faults that it can be told to have.
//!
//! They are one JSON object, given to [`Simulator::faults`](super::Simulator::faults) or to
//! `POST /sim/faults`. Keys that are not named stay as they are. An unknown key or a wrong value
//! is refused with a sentence, and then nothing changes.
//!
//! | key | value | default |
//! |---|---|---|
//! | `account` | only this account's rules change | all accounts, later ones too |
//! | `reset` | `true`: first back to the rules of the start | |
//! | `strict` | compare headers and bodies with the official client's | `false` |
//! | `hold_ms` | how long a poll waits for a message, less a margin | 35000 |
//! | `edge_ms` | a proxy before the server answers polls with 524 after this time, `null` is never | `null` |
//! | `advertise_ms` | `longpolling_timeout_ms` of the answers; 0 leaves it out, `null` is `hold_ms` | `null` |
//! | `batch` | messages of one answer at most | 100 |
//! | `cursor` | `"rewind"`: an old cursor delivers again from there, an empty one from the start; `"acknowledge"`: what is before the newest cursor that came back never comes again; `"consume"`: what was delivered never comes again, even if its answer was lost | `"rewind"` |
//! | `budget` | sends to a person until they write again, `null` is no limit | 10 |
//! | `window_ms` | how long after a person's message they can be written to, `null` is for ever | 24 h |
//! | `burst` | `{"size", "per_second", "penalty_ms"}`: a token bucket of the bot; the send that finds it empty starts the penalty, each one during it starts it anew | `null` |
//! | `ticket_ms` | life of a typing ticket, `null` is for ever | 24 h |
//! | `dedupe` | a repeated `client_id` is accepted with the first id and shown once | `false` |
//! | `delivery_ms` | accepted sends reach the phone this much later | 0 |
//! | `session` | `{"expired": "errcode" \| "ret" \| "both", "after_ms", "for_ms"}`: -14 on every endpoint until a new token, or for `for_ms`; `null` ends it | `null` |
//! | `needs_start` | -14 until `notifystart` was called | `false` |
//! | `needs_app_headers` | sends with other headers or `base_info` than the official ones are accepted, but after the first one never shown | `false` |
//! | `qr_ms` | life of a QR code | 120000 |
//! | `qr_hold_ms` | how long `get_qrcode_status` waits for the scan | 30000 |
//! | `wrong_codes` | wrong digits that block a login | 3 |
//! | `refuses_tokens` | `true`: `get_bot_qrcode` with tokens in it is answered `{"ret":-1}` | `false` |
//! | `baseurl` | of `confirmed`: this string, which may be empty, foreign or garbage; `false` leaves it out, `null` is this server's | `null` |
//! | `auto_login` | `true` or `{"user"?, "after_ms"?}`: each QR code is scanned after a second or this time, and confirmed after another, as soon as a client asks; `null` or `false`: not | `null` |
//! | `inbound` | changes people's messages, see below | `null` |
//! | `files` | how people's files are referred to, see below | `null` |
//! | `cdn_base_url` | the CDN's base in full URLs, for one with a host of its own; `null` is this server's | `null` |
//! | an endpoint, or `*` for each one | a fault, a list of faults in order, or `null` | `null` |
//!
//! Endpoints are `getupdates`, `sendmessage`, `getconfig`, `sendtyping`, `notifystart`,
//! `notifystop` and `getuploadurl`, of the login `get_bot_qrcode` and `get_qrcode_status`, and of
//! the CDN `upload` and `download`. A fault counts the requests of each account for itself; the
//! CDN's belong to the account whose file it is, else to the first. The login has no account:
//! with `account`, its rules and the faults of its endpoints cannot be named.
//!
//! | key of a fault | meaning |
//! |---|---|
//! | `times` | it ends after so many requests, else it stays until cleared |
//! | `skip` | so many requests pass untouched first |
//! | `delay_ms` | wait, after the request took effect (if it does), before the answer |
//! | `processed` | `true`: the request takes effect although the answer is `status`, `body` or `ret` |
//!
//! and at most one of these; without any, the true answer is given after the delay:
//!
//! | key | meaning |
//! |---|---|
//! | `status` | this HTTP status with an HTML page; of the CDN with `x-error-message` and `x-error-code`, if `message` and `code` are given |
//! | `redirect` | 302, or the `status` that is given, to this URL |
//! | `body` | 200 with this text, which may be empty, HTML or broken JSON |
//! | `ret`, `errcode`, `errmsg` | 200 with a JSON object of those that are given |
//! | `without` | the true answer without these members: `["get_updates_buf"]`; of `upload` without these headers: `["x-encrypted-param"]` |
//! | `truncated` | `true`: the first half of the true answer, as if it were whole |
//! | `mangled` | the true answer with bytes that no encoder would write: `{"before", "behind", "replace": {FIND: WITH}}`, each character up to U+00FF one byte |
//! | `cut` | the connection is closed `"before"` the request takes effect, `"after"` it took effect without any answer, or in the middle of the `"body"` |
//! | `stall` | nothing more comes `"before"` it takes effect, after the `"headers"`, or in the middle of the `"body"` |
//! | `drip_ms` | the true answer, a byte at a time, of `download` a KiB, this far apart |
//! | `answer` | of `sendmessage`: `"black-hole"` accepts with `{"ret":0}` and shows nothing, `"empty"` accepts with `{}`, `"no-ret"` with the id alone, `"string-id"` with the id as a string |
//! | `answer` | of `getuploadurl`: `"full-url"` (the default), `"param"`, `"both"` or `"neither"` |
//! | `answer` | of the login's two: this JSON object, such as `{"status": "unheard-of"}` |
//! | `upload_full_url` | of `getuploadurl`: this string in the place of the true one, beside `answer` or alone |
//! | `read_ms` | of `upload`: the body is read in pieces, this far apart |
//! | `wrong_key` | of `download`: `true` serves a ciphertext under another key |
//! | `bad_padding` | of `download`: `true` serves a ciphertext whose padding is wrong |
//! | `extra_bytes` | of `download`: so many bytes follow the file, without a `Content-Length` |
//!
//! For example `{"getupdates": {"status": 524, "delay_ms": 17000, "times": 3}}`. The body of an
//! upload is its request's: `cut` and `stall` of `"body"` happen while half of it is read, and
//! after a `stall` of `"headers"` an upload is never answered.
//!
//! `inbound` is `{"times", "skip", "set": {…}, "without": […], "string_ids": true, "duplicate":
//! "same-id" | "new-id" | "new-token"}`: it sets or takes away members of the messages that
//! people send (`{"set": {"delete_time_ms": 1}}`), turns their ids into strings, and delivers
//! them twice.
//!
//! `files` is `{"times", "skip", "key", "reference", "full_url"}` for each file that a person
//! sends. `key` is where its key stands: `"usual"` (hex in `image_item.aeskey`, and in
//! `media.aes_key` the base64 of the hex), `"hex"` (of an image in `aeskey` alone, else bare in
//! `aes_key`), `"base64"` (of the raw key), `"base64-hex"`, `"base64-hex-upper"`, or `"none"`: no
//! key at all, and then an image is served as it is. `reference` is `"both"` (the default),
//! `"param"`, `"full-url"` or `"neither"`; `full_url` is any string to take the place of the true
//! one.

mod fault;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};

use super::endpoint::Endpoint;
use super::files::Form;
use super::login::LoginRules;
use fault::Limited;
pub(super) use fault::{Break, DownloadAs, Fault, Inbound, Kind, SentAs, UploadUrl};
use reading::{burst, expiry, fault_queue, files, inbound};
pub(super) use reading::{flag, members, milliseconds, number, one_of, optional, text};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a cursor does to the messages before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursors {
    Rewind,
    Acknowledge,
    Consume,
}

/// The rules of one account.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) strict: bool,
    pub(super) hold: Duration,
    /// After how long a poll is cut off on its way.
    pub(super) edge: Option<Duration>,
    pub(super) advertise: Option<Duration>,
    pub(super) batch: usize,
    pub(super) cursors: Cursors,
    pub(super) budget: Option<u64>,
    pub(super) window: Option<Duration>,
    pub(super) burst: Option<Burst>,
    pub(super) ticket_life: Option<Duration>,
    pub(super) dedupe: bool,
    pub(super) delivery_delay: Duration,
    pub(super) expiry: Option<Expiry>,
    pub(super) needs_start: bool,
    pub(super) needs_app_headers: bool,
    pub(super) cdn_base_url: Option<String>,
    pub(super) login: LoginRules,
    inbound: Option<Limited<Inbound>>,
    files: Option<Limited<Form>>,
    faults: BTreeMap<Endpoint, VecDeque<Limited<Fault>>>,
}

/// A token bucket and what it costs to find it empty.
#[derive(Clone, Copy)]
pub(super) struct Burst {
    pub(super) size: u64,
    pub(super) per_second: f64,
    pub(super) penalty: Duration,
}

/// A stale session, in the clock's time.
#[derive(Clone, Copy)]
pub(super) struct Expiry {
    from: Duration,
    until: Option<Duration>,
    answer: &'static str,
}

impl Expiry {
    /// The answer of every endpoint while the session is stale.
    pub(super) fn answer(&self, now: Duration) -> Option<&'static str> {
        let over = self.until.is_some_and(|until| now >= until);
        (now >= self.from && !over).then_some(self.answer)
    }
}

impl Rules {
    pub(super) fn new(strict: bool, hold: Duration) -> Rules {
        Rules {
            strict,
            hold,
            edge: None,
            advertise: None,
            batch: 100,
            cursors: Cursors::Rewind,
            budget: Some(10),
            window: Some(DAY),
            burst: None,
            ticket_life: Some(DAY),
            dedupe: false,
            delivery_delay: Duration::ZERO,
            expiry: None,
            needs_start: false,
            needs_app_headers: false,
            cdn_base_url: None,
            login: LoginRules::default(),
            inbound: None,
            files: None,
            faults: BTreeMap::new(),
        }
    }

    /// The fault of this request, if there is one; counts it.
    pub(super) fn fault(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let queue = self.faults.get_mut(&endpoint)?;
        while queue.front().is_some_and(Limited::is_over) {
            queue.pop_front();
        }
        queue.front_mut()?.next()
    }

    /// What happens to this message of a person, if anything; counts it.
    pub(super) fn inbound(&mut self) -> Option<Inbound> {
        self.inbound.as_mut()?.next()
    }

    /// How this file of a person is referred to; counts it.
    pub(super) fn form(&mut self) -> Form {
        let form = self.files.as_mut().and_then(Limited::next);
        form.unwrap_or_default()
    }

    /// Changes what `changes` names. On an error the rules may be half changed.
    pub(super) fn apply(
        &mut self,
        changes: &Map<String, Value>,
        initial: &Rules,
        now: Duration,
    ) -> Result<(), String> {
        if changes
            .get("reset")
            .map(|value| flag("reset", value))
            .transpose()?
            == Some(true)
        {
            *self = initial.clone();
        }
        for (key, value) in changes {
            match key.as_str() {
                "account" | "reset" => {}
                "strict" => self.strict = flag(key, value)?,
                "hold_ms" => self.hold = milliseconds(key, value)?,
                "edge_ms" => self.edge = optional(key, value, milliseconds)?,
                "advertise_ms" => self.advertise = optional(key, value, milliseconds)?,
                "batch" => {
                    self.batch = usize::try_from(number(key, value)?.max(1)).unwrap_or(usize::MAX)
                }
                "cursor" => {
                    let modes = [
                        ("rewind", Cursors::Rewind),
                        ("acknowledge", Cursors::Acknowledge),
                        ("consume", Cursors::Consume),
                    ];
                    self.cursors = one_of(key, value, &modes)?;
                }
                "budget" => self.budget = optional(key, value, number)?,
                "window_ms" => self.window = optional(key, value, milliseconds)?,
                "burst" => self.burst = optional(key, value, burst)?,
                "ticket_ms" => self.ticket_life = optional(key, value, milliseconds)?,
                "dedupe" => self.dedupe = flag(key, value)?,
                "delivery_ms" => self.delivery_delay = milliseconds(key, value)?,
                "session" => {
                    self.expiry = optional(key, value, |key, value| expiry(key, value, now))?;
                }
                "needs_start" => self.needs_start = flag(key, value)?,
                "needs_app_headers" => self.needs_app_headers = flag(key, value)?,
                "inbound" => self.inbound = optional(key, value, inbound)?,
                "files" => self.files = optional(key, value, files)?,
                "cdn_base_url" => self.cdn_base_url = optional(key, value, text)?,
                "*" => {
                    let queue = fault_queue(key, value)?;
                    self.faults = Endpoint::ALL
                        .map(|endpoint| (endpoint, queue.clone()))
                        .into();
                }
                key if LoginRules::has(key) => self.login.set(key, value)?,
                _ => {
                    let endpoint = Endpoint::named(key)
                        .ok_or_else(|| format!("`{key}` is neither a rule nor an endpoint."))?;
                    self.faults.insert(endpoint, fault_queue(key, value)?);
                }
            }
        }
        Ok(())
    }
}
