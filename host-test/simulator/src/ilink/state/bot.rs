//! A bot account: its state, and what it has counted.
//!
//! Everything about an account is behind its own lock. A poll that waits holds no lock, only a
//! place among the waiters, so that thousands of open polls cost little.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::bucket::Bucket;
use super::inbox::Inbox;
use crate::ilink::endpoint::Endpoint;
use crate::ilink::refusals::STALE;
use crate::ilink::rules::Rules;
use crate::ilink::stamp::mark;
use crate::recent::Recent;
use crate::sync::lock;

/// How many `client_id`s of accepted sends an account remembers.
const CLIENT_IDS: usize = 65_536;

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

/// An account's state and its waiting polls.
pub(crate) struct Bot {
    pub(crate) account: Arc<str>,
    /// The account in stamps.
    pub(crate) mark: u64,
    /// Wakes open polls: a message, a newer poll, or changed rules.
    pub(crate) arrived: Notify,
    state: Mutex<BotState>,
}

pub(crate) struct BotState {
    pub(crate) token: String,
    owner: Option<String>,
    /// Whether the owner is bound to another bot by now.
    displaced: bool,
    pub(crate) rules: Rules,
    pub(crate) counters: Counters,
    pub(crate) inbox: Inbox,
    pub(crate) people: HashMap<String, Person>,
    /// The newest poll's number; an older one that still waits is answered.
    pub(crate) newest_poll: u64,
    pub(crate) started: bool,
    pub(crate) handovers: Handovers,
    /// Accepted sends by their `client_id`.
    pub(crate) client_ids: Recent<String, Sent>,
    pub(crate) bucket: Bucket,
    /// The last request's X-WECHAT-UIN.
    pub(crate) last_uin: String,
}

/// Gaps that are kept of an account.
const HANDOVERS: usize = 10_000;

/// The times without a poll between one client instance and the next.
#[derive(Default)]
pub(crate) struct Handovers {
    /// `Counters::starts` at the newest poll.
    starts: u64,
    /// When the last open poll ended.
    pub(crate) ended: Option<Duration>,
    pub(crate) gaps: Vec<Duration>,
}

impl Handovers {
    /// A poll was opened; `starts` is how many starts were announced by then.
    pub(crate) fn opened(&mut self, starts: u64, now: Duration) {
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
pub(crate) struct Person {
    /// When they wrote last; `None` when they never did.
    pub(crate) wrote_at: Option<Duration>,
    /// Accepted sends since then.
    pub(crate) sent: u64,
    /// The number of their newest context token.
    pub(crate) context: u64,
    pub(crate) typing: Typing,
}

impl Bot {
    pub(crate) fn new(account: &str, token: String, rules: Rules) -> Bot {
        Bot {
            account: account.into(),
            mark: mark(account),
            arrived: Notify::new(),
            state: Mutex::new(BotState {
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

    pub(crate) fn lock(&self) -> MutexGuard<'_, BotState> {
        lock(&self.state)
    }

    pub(crate) fn owner(&self) -> Option<String> {
        self.lock().owner.clone()
    }

    pub(crate) fn is_displaced(&self) -> bool {
        self.lock().displaced
    }

    /// Whether it is this person's, and its token good.
    pub(crate) fn is_live_of(&self, user: &str, now: Duration) -> bool {
        let state = self.lock();
        let expired = state
            .rules
            .expiry
            .is_some_and(|expiry| expiry.answer(now).is_some());
        state.owner.as_deref() == Some(user) && !state.displaced && !expired
    }

    /// Makes this the live bot of this person; returns whose it was.
    pub(crate) fn bind(&self, user: &str) -> Option<String> {
        let mut state = self.lock();
        state.displaced = false;
        state.owner.replace(user.to_owned())
    }

    /// Ends the session, and with it the open poll.
    pub(crate) fn displace(&self) {
        self.lock().displaced = true;
        self.arrived.notify_waiters();
    }

    /// Sets a new token and returns the one it replaces.
    pub(crate) fn renew(&self, token: String) -> String {
        let mut state = self.lock();
        state.rules.expiry = None;
        std::mem::replace(&mut state.token, token)
    }
}

impl BotState {
    pub(crate) fn count(&mut self, endpoint: Endpoint) {
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
    pub(crate) fn session_answer(&self, endpoint: Endpoint, now: Duration) -> Option<&'static str> {
        if self.displaced {
            return Some(STALE);
        }
        if self.rules.needs_start && !self.started && endpoint != Endpoint::NotifyStart {
            return Some(STALE);
        }
        self.rules.expiry.as_ref()?.answer(now)
    }
}

/// What was accepted under a `client_id`.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) message_id: u64,
    /// Of recipient and content.
    pub(crate) mark: u64,
}
