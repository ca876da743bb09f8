//! The rules that the simulated iLink server goes by.
//!
//! A Rust program builds [`RuleChanges`] of them and gives these to
//! [`Simulator::change`](super::Simulator::change). Over HTTP they are one JSON object, given to
//! `POST /sim/faults`; [`Simulator::faults`](super::Simulator::faults) takes it, too. Keys that are
//! not named stay as they are. An unknown key or a wrong value is refused with a sentence, and then
//! nothing changes.
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
//! A fault is written as [`faults`](crate::faults) has it. Endpoints are `getupdates`,
//! `sendmessage`, `getconfig`, `sendtyping`, `notifystart`, `notifystop` and `getuploadurl`, of the
//! login `get_bot_qrcode` and `get_qrcode_status`, and of the CDN `upload` and `download`. A fault
//! counts the requests of each account for itself; the CDN's belong to the account whose file it
//! is, else to the first. The login has no account: with `account`, its rules and the faults of its
//! endpoints cannot be named.
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
//! `"param"`, `"full-url"` or `"neither"`; `full_url` is any string, instead of the true one.

mod changes;
mod inbound;
mod login;
mod of_account;
mod session;
#[cfg(test)]
mod tests;

pub use changes::RuleChanges;
pub use inbound::{FileForm, Inbound, KeyForm, Repeat};
pub(crate) use login::LoginRules;
pub use login::{AutoLogin, LoginBaseUrl};
pub(crate) use of_account::Rules;
pub use session::{Burst, Cursors, ExpiredAs, ExpiredSession};
