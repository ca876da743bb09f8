//! A bot account of the simulator: its state, and the handle that tests hold.
//!
//! Everything about an account is behind its own lock. A poll that waits holds no lock, only a
//! place among the waiters, so that thousands of open polls cost little.

mod bucket;
mod inbox;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;

use super::endpoint::Endpoint;
use super::faults::Rules;
use super::files::{File, MediaKind};
use super::people::{self, Repeat};
use super::recent::Recent;
use super::stamp::mark;
use super::{Content, Running, ServerState, files, lock};
use bucket::Bucket;
use inbox::Inbox;

/// How many `client_id`s of accepted sends an account remembers.
const CLIENT_IDS: usize = 65_536;

/// An account of a running simulator, with what can be done to it and read of it.
#[derive(Clone)]
pub struct Account {
    pub(super) bot: Arc<Bot>,
    pub(super) server: Arc<ServerState>,
    pub(super) running: Arc<Running>,
}

/// What an account has counted since the start. Requests count when they arrive, whatever
/// becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests to `getupdates`.
    pub polls: u64,
    /// Polls that are open now.
    pub polls_open: u64,
    /// The most polls that were open at once.
    pub polls_open_max: u64,
    /// Messages handed out, repeats included.
    pub delivered: u64,
    /// Requests to `sendmessage`.
    pub sends: u64,
    /// Sends that took effect, black holes included.
    pub accepted: u64,
    /// Sends that were refused by a rule.
    pub refused: u64,
    /// Accepted sends whose `client_id` had been accepted before.
    pub repeats: u64,
    /// Requests to `getconfig`.
    pub configs: u64,
    /// Requests to `sendtyping`.
    pub typings: u64,
    /// Requests to `notifystart`.
    pub starts: u64,
    /// Requests to `notifystop`.
    pub stops: u64,
    /// Requests to `getuploadurl`.
    pub upload_urls: u64,
    /// Uploads to the CDN, failed ones included.
    pub uploads: u64,
    /// Bytes of uploads that the CDN read.
    pub uploaded_bytes: u64,
    /// Downloads from the CDN, failed ones included.
    pub downloads: u64,
    /// Bytes of downloads that the CDN gave to the connection.
    pub downloaded_bytes: u64,
}

/// The typing indicator at one person's phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typing {
    /// Whether it shows now.
    pub on: bool,
    /// Accepted requests that switched or kept it on.
    pub started: u64,
    /// Accepted requests that switched it off.
    pub stopped: u64,
}

impl Account {
    pub(super) fn new(bot: Arc<Bot>, server: Arc<ServerState>, running: Arc<Running>) -> Account {
        Account {
            bot,
            server,
            running,
        }
    }

    /// The account's id.
    pub fn id(&self) -> &str {
        &self.bot.account
    }

    /// The bot token that is valid now.
    pub fn token(&self) -> String {
        self.bot.lock().token.clone()
    }

    /// Gives the account a new token, as a new login does: the old one is answered with -14, and
    /// an expired session is over.
    pub fn replace_token(&self) -> String {
        self.server.add(&self.bot.account);
        self.token()
    }

    /// The person whom the account is bound to.
    pub fn owner(&self) -> Option<String> {
        self.bot.owner()
    }

    /// Binds the account to this person, as a login does. The session of the one that they had
    /// before ends.
    pub fn bind(&self, user: &str) {
        self.server.bind(&self.bot, user);
    }

    /// Whether the account's person was not bound to another one since.
    pub fn is_live(&self) -> bool {
        !self.bot.is_displaced()
    }

    /// A person writes; returns the stored message.
    pub fn say(&self, user: &str, text: &str) -> Value {
        self.push(user, vec![people::text_item(text)])
    }

    /// A person sends items; returns the stored message. What the server adds to an item is
    /// added where it is missing.
    pub fn push(&self, user: &str, items: Vec<Value>) -> Value {
        people::store(&self.server, &self.bot, user, items)
    }

    /// A person sends a file; returns the stored message.
    pub fn send_file(
        &self,
        user: &str,
        kind: MediaKind,
        name: &str,
        bytes: impl Into<Bytes>,
    ) -> Value {
        let file = File::new(kind, name, Content::bytes(bytes));
        self.push(user, vec![self.place(&file)])
    }

    /// A person sends a file of so many bytes, which are made up from the seed while they are
    /// served and take no memory; returns the stored message.
    pub fn push_generated(&self, user: &str, kind: MediaKind, size: u64, seed: u64) -> Value {
        let file = File::new(kind, "generated.bin", Content::generated(size, seed));
        self.push(user, vec![self.place(&file)])
    }

    /// Puts a file on the CDN; returns the item that refers to it, as the account's `files` rule
    /// wants it, for [`Account::push`] or as a part of another item.
    pub fn place(&self, file: &File) -> Value {
        files::place(&self.server, &self.bot, file)
    }

    /// Puts any JSON at all among the next messages.
    pub fn push_raw(&self, message: Value) {
        people::store_raw(&self.server, &self.bot, &message);
    }

    /// Delivers a message of [`Account::push`] again; returns it as it is delivered.
    pub fn repeat(&self, message: &Value, how: Repeat) -> Value {
        people::repeat(&self.server, &self.bot, message, how)
    }

    /// Messages that are not behind a cursor that came back: the client may not have them yet.
    pub fn unacknowledged(&self) -> u64 {
        let state = self.bot.lock();
        state.inbox.end().saturating_sub(state.inbox.acknowledged)
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.bot.lock().counters
    }

    /// How long nobody polled around each announced start but the first: the first 10,000.
    pub fn handovers(&self) -> Vec<Duration> {
        self.bot.lock().handovers.gaps.clone()
    }

    /// The typing indicator at this person's phone.
    pub fn typing(&self, user: &str) -> Typing {
        self.bot
            .lock()
            .people
            .get(user)
            .map(|person| person.typing)
            .unwrap_or_default()
    }
}

/// An account's state and its waiting polls.
pub(super) struct Bot {
    pub(super) account: Arc<str>,
    /// The account in stamps.
    pub(super) mark: u64,
    /// Wakes open polls: a message, a newer poll, or changed rules.
    pub(super) arrived: Notify,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) token: String,
    owner: Option<String>,
    /// Whether the owner is bound to another bot by now.
    displaced: bool,
    pub(super) rules: Rules,
    pub(super) counters: Counters,
    pub(super) inbox: Inbox,
    pub(super) people: HashMap<String, Person>,
    /// The newest poll's number; an older one that still waits is answered.
    pub(super) newest_poll: u64,
    pub(super) started: bool,
    pub(super) handovers: Handovers,
    /// Accepted sends by their `client_id`.
    pub(super) client_ids: Recent<String, Sent>,
    pub(super) bucket: Bucket,
    /// The last request's X-WECHAT-UIN.
    pub(super) last_uin: String,
}

/// Gaps that are kept of an account.
const HANDOVERS: usize = 10_000;

/// The times without a poll between one client instance and the next.
#[derive(Default)]
pub(super) struct Handovers {
    /// `Counters::starts` at the newest poll.
    starts: u64,
    /// When the last open poll ended.
    pub(super) ended: Option<Duration>,
    gaps: Vec<Duration>,
}

impl Handovers {
    /// A poll was opened; `starts` is how many starts were announced by then.
    pub(super) fn opened(&mut self, starts: u64, now: Duration) {
        if starts != self.starts
            && let Some(ended) = self.ended
            && self.gaps.len() < HANDOVERS
        {
            self.gaps.push(now.saturating_sub(ended));
        }
        self.starts = starts;
    }
}

/// One person's relation to the bot.
#[derive(Default)]
pub(super) struct Person {
    /// When they wrote last; `None` when they never did.
    pub(super) wrote_at: Option<Duration>,
    /// Accepted sends since then.
    pub(super) sent: u64,
    /// The number of their newest context token.
    pub(super) context: u64,
    pub(super) typing: Typing,
}

impl Bot {
    pub(super) fn new(account: &str, token: String, rules: Rules) -> Bot {
        Bot {
            account: account.into(),
            mark: mark(account),
            arrived: Notify::new(),
            state: Mutex::new(State {
                token,
                owner: None,
                displaced: false,
                rules,
                counters: Counters::default(),
                inbox: Inbox::default(),
                people: HashMap::new(),
                newest_poll: 0,
                started: false,
                handovers: Handovers::default(),
                client_ids: Recent::new(CLIENT_IDS),
                bucket: Bucket::default(),
                last_uin: String::new(),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn owner(&self) -> Option<String> {
        self.lock().owner.clone()
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.lock().displaced
    }

    /// Whether it is this person's, and its token good.
    pub(super) fn is_live_of(&self, user: &str, now: Duration) -> bool {
        let state = self.lock();
        let expired = state
            .rules
            .expiry
            .is_some_and(|expiry| expiry.answer(now).is_some());
        state.owner.as_deref() == Some(user) && !state.displaced && !expired
    }

    /// Makes this the live bot of this person; returns whose it was.
    pub(super) fn bind(&self, user: &str) -> Option<String> {
        let mut state = self.lock();
        state.displaced = false;
        state.owner.replace(user.to_owned())
    }

    /// Ends the session, and with it the open poll.
    pub(super) fn displace(&self) {
        self.lock().displaced = true;
        self.arrived.notify_waiters();
    }

    /// Sets a new token and returns the one it replaces.
    pub(super) fn renew(&self, token: String) -> String {
        let mut state = self.lock();
        state.rules.expiry = None;
        std::mem::replace(&mut state.token, token)
    }
}

impl State {
    pub(super) fn count(&mut self, endpoint: Endpoint) {
        let counters = &mut self.counters;
        *match endpoint {
            Endpoint::GetUpdates => &mut counters.polls,
            Endpoint::SendMessage => &mut counters.sends,
            Endpoint::GetConfig => &mut counters.configs,
            Endpoint::SendTyping => &mut counters.typings,
            Endpoint::NotifyStart => &mut counters.starts,
            Endpoint::NotifyStop => &mut counters.stops,
            Endpoint::GetUploadUrl => &mut counters.upload_urls,
            // Counted by the login, which has no account.
            Endpoint::GetBotQrcode | Endpoint::GetQrcodeStatus => return,
            Endpoint::Upload => &mut counters.uploads,
            Endpoint::Download => &mut counters.downloads,
        } += 1;
    }

    /// The answer to every request while the session is not usable.
    pub(super) fn session_answer(&self, endpoint: Endpoint, now: Duration) -> Option<&'static str> {
        if self.displaced {
            return Some(STALE);
        }
        if self.rules.needs_start && !self.started && endpoint != Endpoint::NotifyStart {
            return Some(STALE);
        }
        self.rules.expiry.as_ref()?.answer(now)
    }
}

/// The answer to a token that is missing, unknown or stale; HTTP says 200 with it.
pub(super) const STALE: &str = r#"{"errcode":-14,"errmsg":"session timeout"}"#;

/// What was accepted under a `client_id`.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) message_id: u64,
    /// Of recipient and content.
    pub(super) mark: u64,
}
