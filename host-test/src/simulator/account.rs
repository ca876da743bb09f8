//! A bot account of the simulator: its state, and the handle that tests hold.
//!
//! Everything about an account is behind its own lock. A poll that waits holds no lock, only a
//! place among the waiters, so that thousands of open polls cost little.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;

use super::endpoint::Endpoint;
use super::faults::{Burst, Rules};
use super::people::{self, Repeat};
use super::stamp::mark;
use super::{Running, World, lock};

/// How many `client_id`s of accepted sends an account remembers.
const CLIENT_IDS: usize = 65_536;

/// An account of a running simulator, with what can be done to it and read of it.
#[derive(Clone)]
pub struct Account {
    pub(super) bot: Arc<Bot>,
    pub(super) world: Arc<World>,
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
    pub(super) fn new(bot: Arc<Bot>, world: Arc<World>, running: Arc<Running>) -> Account {
        Account {
            bot,
            world,
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
        self.world.add(&self.bot.account);
        self.token()
    }

    /// A person writes; returns the stored message.
    pub fn say(&self, user: &str, text: &str) -> Value {
        self.push(user, vec![people::text_item(text)])
    }

    /// A person sends items; returns the stored message. What the server adds to an item is
    /// added where it is missing.
    pub fn push(&self, user: &str, items: Vec<Value>) -> Value {
        people::store(&self.world, &self.bot, user, items)
    }

    /// Puts any JSON at all among the next messages.
    pub fn push_raw(&self, message: Value) {
        people::store_raw(&self.world, &self.bot, &message);
    }

    /// Delivers a message of [`Account::push`] again; returns it as it is delivered.
    pub fn repeat(&self, message: &Value, how: Repeat) -> Value {
        people::repeat(&self.world, &self.bot, message, how)
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
    pub(super) rules: Rules,
    pub(super) counters: Counters,
    pub(super) inbox: Inbox,
    pub(super) people: HashMap<String, Person>,
    /// The newest poll's number; an older one that still waits is answered.
    pub(super) newest_poll: u64,
    pub(super) started: bool,
    pub(super) client_ids: ClientIds,
    pub(super) bucket: Bucket,
    /// The last request's X-WECHAT-UIN.
    pub(super) last_uin: String,
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
                rules,
                counters: Counters::default(),
                inbox: Inbox::default(),
                people: HashMap::new(),
                newest_poll: 0,
                started: false,
                client_ids: ClientIds::default(),
                bucket: Bucket::default(),
                last_uin: String::new(),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
        } += 1;
    }

    /// The answer to every request while the session is not usable.
    pub(super) fn session_answer(&self, endpoint: Endpoint, now: Duration) -> Option<&'static str> {
        if self.rules.needs_start && !self.started && endpoint != Endpoint::NotifyStart {
            return Some(STALE);
        }
        self.rules.expiry.as_ref()?.answer(now)
    }
}

/// The answer to a token that is missing, unknown or stale; HTTP says 200 with it.
pub(super) const STALE: &str = r#"{"errcode":-14,"errmsg":"session timeout"}"#;

/// The messages to a bot, each written out once, by position. The oldest make room.
#[derive(Default)]
pub(super) struct Inbox {
    messages: VecDeque<Box<str>>,
    /// The position of the oldest that is kept.
    first: u64,
    /// The position after the newest that was ever delivered.
    pub(super) delivered: u64,
    /// The position of the newest cursor that came back.
    pub(super) acknowledged: u64,
}

impl Inbox {
    const LIMIT: usize = 100_000;

    pub(super) fn append(&mut self, message: &Value) {
        if self.messages.len() == Self::LIMIT {
            self.messages.pop_front();
            self.first += 1;
        }
        self.messages.push_back(message.to_string().into());
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The position that the next message gets.
    pub(super) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// The messages from this position on; all of them when it is older than the oldest.
    pub(super) fn from(&self, position: u64) -> impl ExactSizeIterator<Item = &str> {
        let skip = position
            .saturating_sub(self.first)
            .min(self.messages.len() as u64);
        self.messages
            .range(skip as usize..)
            .map(|message| &**message)
    }
}

/// The `client_id`s of accepted sends, newest last.
#[derive(Default)]
pub(super) struct ClientIds {
    known: HashMap<String, Sent>,
    order: VecDeque<String>,
}

/// What was accepted under a `client_id`.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) message_id: u64,
    /// Of recipient and content.
    pub(super) mark: u64,
}

impl ClientIds {
    pub(super) fn find(&self, client_id: &str) -> Option<Sent> {
        self.known.get(client_id).copied()
    }

    pub(super) fn remember(&mut self, client_id: &str, sent: Sent) {
        if self.known.contains_key(client_id) {
            return;
        }
        if self.order.len() == CLIENT_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(client_id.to_owned(), sent);
        self.order.push_back(client_id.to_owned());
    }
}

/// What a burst of sends uses up.
#[derive(Default)]
pub(super) struct Bucket {
    used: f64,
    at: Duration,
    penalty_until: Option<Duration>,
}

impl Bucket {
    /// Whether one more send passes. One that does not starts or prolongs the penalty.
    pub(super) fn admits(&mut self, burst: Burst, now: Duration) -> bool {
        let refilled = now.saturating_sub(self.at).as_secs_f64() * burst.per_second;
        self.used = (self.used - refilled).max(0.0);
        self.at = now;
        let punished = self.penalty_until.is_some_and(|until| now < until);
        // Rounding must not refuse the send that comes exactly when there is room again.
        if punished || self.used + 1.0 > burst.size as f64 + 1e-6 {
            self.penalty_until = Some(now.saturating_add(burst.penalty));
            return false;
        }
        self.used += 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_bucket_is_punished_and_each_attempt_prolongs_it() {
        let burst = Burst {
            size: 3,
            per_second: 3.0,
            penalty: Duration::from_secs(60),
        };
        let mut bucket = Bucket::default();
        let mut at = |seconds: f64| bucket.admits(burst, Duration::from_secs_f64(seconds));
        assert!(at(10.0) && at(10.1) && at(10.2));
        assert!(!at(10.25));
        assert!(!at(60.0));
        assert!(!at(110.0));
        assert!(at(170.1));
    }

    #[test]
    fn a_paced_sender_never_empties_the_bucket() {
        let burst = Burst {
            size: 1,
            per_second: 1.0,
            penalty: Duration::from_secs(60),
        };
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|second| bucket.admits(burst, Duration::from_secs(second))));
    }

    #[test]
    fn the_inbox_forgets_only_its_oldest() {
        let mut inbox = Inbox::default();
        for number in 0..Inbox::LIMIT + 5 {
            inbox.append(&number.into());
        }
        assert_eq!((inbox.first(), inbox.end()), (5, Inbox::LIMIT as u64 + 5));
        assert_eq!(inbox.from(0).next(), Some("5"));
        assert_eq!(inbox.from(7).next(), Some("7"));
        assert_eq!(inbox.from(u64::MAX).len(), 0);
    }

    #[test]
    fn a_client_id_keeps_its_first_send() {
        let mut ids = ClientIds::default();
        for message_id in [1, 2] {
            ids.remember(
                "a",
                Sent {
                    message_id,
                    mark: 0,
                },
            );
        }
        for number in 0..CLIENT_IDS - 1 {
            ids.remember(
                &number.to_string(),
                Sent {
                    message_id: 0,
                    mark: 0,
                },
            );
        }
        assert_eq!(ids.find("a").map(|sent| sent.message_id), Some(1));
        ids.remember(
            "b",
            Sent {
                message_id: 0,
                mark: 0,
            },
        );
        assert!(ids.find("a").is_none());
    }
}
