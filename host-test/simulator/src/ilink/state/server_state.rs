//! What all accounts of the server share.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use gateway_listener::clock::Clock;
use serde_json::Value;
use tokio::sync::{Notify, broadcast, mpsc};

use super::bot::Bot;
use super::bots::{Bots, new_token};
use super::event::Event;
use super::file_store::FileStore;
use super::login::Login;
use super::wire_log::WireLog;
use crate::gate::Gate;
use crate::ilink::options::SimulatorOptions;
use crate::ilink::rules::{RuleChanges, Rules};
use crate::json::Member;
use crate::query::escaped;
use crate::sync::lock;

/// Entries that the phones keep, all accounts together.
const PHONE_ENTRIES: usize = 100_000;
/// Violations that are kept; the first ones tell more than the last ones.
const VIOLATIONS: usize = 1_000;

/// A message id seen on the real server. Ids start above it and above 2^53, where a client that
/// reads them as floats goes wrong.
const MESSAGE_ID_BASE: u64 = 7_497_484_083_968_569_736;

/// What all accounts share.
pub(crate) struct ServerState {
    pub(crate) address: SocketAddr,
    pub(crate) gate: Gate,
    pub(crate) clock: Clock,
    /// The account of requests that name none.
    pub(crate) first: Arc<Bot>,
    /// The rules of the start, for a reset.
    pub(crate) initial: Rules,
    /// The rules of the login, and of accounts that are added later.
    pub(crate) rules: Mutex<Rules>,
    pub(crate) bots: RwLock<Bots>,
    pub(crate) message_ids: AtomicU64,
    /// Marks the tokens, tickets and cursors of this start.
    pub(crate) start: u64,
    pub(crate) phone: Mutex<VecDeque<Value>>,
    pub(crate) files: FileStore,
    pub(crate) login: Login,
    pub(crate) wire_log: WireLog,
    pub(crate) violations: Mutex<Vec<String>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) changed: Notify,
    pub(crate) late: mpsc::UnboundedSender<(Duration, Value)>,
}

impl ServerState {
    /// A server with its first account. What is shown late goes to `late`.
    pub(crate) fn new(
        address: SocketAddr,
        options: SimulatorOptions,
        late: mpsc::UnboundedSender<(Duration, Value)>,
    ) -> ServerState {
        let initial = Rules::new(options.strict, options.hold);
        // Ids grow with the time of the start: a client that remembers an earlier run must not
        // take new messages for repeats.
        let since_2023 = options.clock.unix_ms().saturating_sub(1_700_000_000_000);
        let account_id = options.account_id;
        let token = options.token.unwrap_or_else(|| new_token(&account_id));
        let first = Arc::new(Bot::new(&account_id, token.clone(), initial.clone()));
        let mut bots = Bots::default();
        bots.insert(&first, token);
        if let Some(owner) = &options.owner {
            bots.bind(&first, owner);
        }
        ServerState {
            address,
            gate: Gate::new(options.names, options.control_token),
            first,
            rules: Mutex::new(initial.clone()),
            initial,
            bots: RwLock::new(bots),
            message_ids: AtomicU64::new(
                MESSAGE_ID_BASE.saturating_add(since_2023.saturating_mul(1_000_000)),
            ),
            start: rand::random(),
            phone: Mutex::default(),
            files: FileStore::new(options.whole_bytes),
            login: Login::default(),
            wire_log: WireLog::new(options.wire_log),
            violations: Mutex::default(),
            events: broadcast::channel(1024).0,
            changed: Notify::new(),
            late,
            clock: options.clock,
        }
    }

    /// Changes rules and faults: all of it, or nothing.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub(crate) fn change(&self, changes: &RuleChanges) -> Result<(), String> {
        changes.check()?;
        let now = self.clock.elapsed();
        let bots = match &changes.account {
            Member::Given(account_id) => {
                let bot = self.bot(account_id);
                vec![bot.ok_or_else(|| format!("there is no account \"{account_id}\"."))?]
            }
            Member::Missing => {
                // Under the lock, so that an account that is added meanwhile has the change.
                let mut shared = lock(&self.rules);
                changes.apply(&mut shared, &self.initial, now);
                self.all_bots()
            }
        };
        for bot in bots {
            changes.apply(&mut bot.lock().rules, &self.initial, now);
            bot.arrived.notify_waiters();
        }
        self.login.changed.notify_waiters();
        self.changed.notify_waiters();
        Ok(())
    }

    pub(crate) fn bot(&self, account_id: &str) -> Option<Arc<Bot>> {
        self.bots().by_account.get(account_id).cloned()
    }

    pub(crate) fn bot_of_token(&self, token: &str) -> Option<Arc<Bot>> {
        self.bots().by_token.get(token).cloned()
    }

    pub(crate) fn all_bots(&self) -> Vec<Arc<Bot>> {
        self.bots().by_account.values().cloned().collect()
    }

    /// The bot that a person writes to, see `Simulator::bot_of`.
    pub(crate) fn bot_of(&self, user: &str) -> Arc<Bot> {
        let bots = self.bots();
        if let Some(own) = bots.by_owner.get(user) {
            return own.clone();
        }
        let newest = bots.newest.as_ref().filter(|_| self.first.is_displaced());
        newest.unwrap_or(&self.first).clone()
    }

    /// Adds the account, or gives the one that exists a new token, which makes it its owner's
    /// live one again.
    pub(crate) fn add(&self, account_id: &str) -> Arc<Bot> {
        let token = new_token(account_id);
        let rules = lock(&self.rules).clone();
        let mut bots = self.bots_mut();
        let bot = match bots.by_account.get(account_id).cloned() {
            Some(bot) => {
                let replaced = bot.renew(token.clone());
                bots.by_token.remove(&replaced);
                bot
            }
            None => Arc::new(Bot::new(account_id, token.clone(), rules)),
        };
        bots.insert(&bot, token);
        if let Some(owner) = bot.owner() {
            bots.bind(&bot, &owner);
        }
        drop(bots);
        self.changed.notify_waiters();
        bot
    }

    /// Binds a bot to a person.
    pub(crate) fn bind(&self, bot: &Arc<Bot>, user: &str) {
        self.bots_mut().bind(bot, user);
        self.changed.notify_waiters();
    }

    /// Binds a new bot to a person, as each login does.
    pub(crate) fn bind_new(&self, user: &str) -> Arc<Bot> {
        let account_id = format!("{:012x}@im.bot", rand::random::<u64>() >> 16);
        let token = new_token(&account_id);
        let mut rules = lock(&self.rules).clone();
        // A session that is over is so until there is a new token, and this is one.
        rules.expiry = None;
        let bot = Arc::new(Bot::new(&account_id, token.clone(), rules));
        let mut bots = self.bots_mut();
        bots.insert(&bot, token);
        bots.bind(&bot, user);
        drop(bots);
        self.changed.notify_waiters();
        bot
    }

    fn bots(&self) -> RwLockReadGuard<'_, Bots> {
        self.bots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bots_mut(&self) -> RwLockWriteGuard<'_, Bots> {
        self.bots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full URL to put a file at.
    pub(crate) fn upload_url(&self, base: Option<&str>, ticket: &str, filekey: &str) -> String {
        let base = self.cdn_base(base);
        let ticket = escaped(ticket);
        format!("{base}/upload?encrypted_query_param={ticket}&filekey={filekey}")
    }

    /// A full URL to take a file from.
    pub(crate) fn download_url(&self, base: Option<&str>, ticket: &str) -> String {
        let base = self.cdn_base(base);
        format!("{base}/download?encrypted_query_param={}", escaped(ticket))
    }

    fn cdn_base(&self, base: Option<&str>) -> String {
        match base {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None => format!("http://{}/c2c", self.address_to_call()),
        }
    }

    /// Where clients of this machine reach it. An unspecified address is replaced by loopback.
    pub(crate) fn address_to_call(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    pub(crate) fn next_message_id(&self) -> u64 {
        self.message_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn violation(&self, sentence: String) {
        let mut violations = lock(&self.violations);
        if violations.len() < VIOLATIONS {
            violations.push(sentence);
        }
    }

    /// Shows an entry on a phone; the time of showing is added here.
    pub(crate) fn show(&self, mut entry: Value) {
        entry["at_ms"] = self.clock.unix_ms().into();
        if self.events.receiver_count() > 0 {
            // A receiver that went away meanwhile misses nothing.
            let _ = self.events.send(Event::Shown(entry.clone()));
        }
        let mut phone = lock(&self.phone);
        if phone.len() == PHONE_ENTRIES {
            phone.pop_front();
        }
        phone.push_back(entry);
        drop(phone);
        self.changed.notify_waiters();
    }
}
