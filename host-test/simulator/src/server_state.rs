//! What all accounts of the simulator share, and what happens to all of them at once.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, broadcast, mpsc};

use super::Event;
use super::account::Bot;
use super::bots::Bots;
use super::cdn::Cdn;
use super::endpoint::Endpoint;
use super::faults::Rules;
use super::gate::Gate;
use super::login::{Login, LoginRules};
use super::wire::Wire;
use gateway_listener::clock::Clock;

/// Entries that the phones keep, all accounts together.
const PHONE_ENTRIES: usize = 100_000;
/// Violations that are kept; the first ones tell more than the last ones.
const VIOLATIONS: usize = 1_000;

/// What all accounts share.
pub(super) struct ServerState {
    pub(super) address: SocketAddr,
    pub(super) gate: Gate,
    pub(super) clock: Clock,
    /// The account of requests that name none.
    pub(super) first: Arc<Bot>,
    /// The rules of the start, for a reset.
    pub(super) initial: Rules,
    /// The rules of the login, and of accounts that are added later.
    pub(super) rules: Mutex<Rules>,
    pub(super) bots: RwLock<Bots>,
    pub(super) message_ids: AtomicU64,
    /// Marks the tokens, tickets and cursors of this start.
    pub(super) start: u64,
    pub(super) phone: Mutex<VecDeque<Value>>,
    pub(super) cdn: Cdn,
    pub(super) login: Login,
    pub(super) wire: Wire,
    pub(super) violations: Mutex<Vec<String>>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) changed: Notify,
    pub(super) late: mpsc::UnboundedSender<(Duration, Value)>,
}

impl ServerState {
    pub(super) fn switch(&self, changes: &Value) -> Result<(), String> {
        let Some(changes) = changes.as_object() else {
            return Err("faults must be a JSON object, such as {\"hold_ms\": 500}.".to_owned());
        };
        let now = self.clock.elapsed();
        let only = match changes.get("account") {
            None => None,
            Some(account) => {
                let found = account.as_str().and_then(|account_id| self.bot(account_id));
                Some(found.ok_or_else(|| format!("there is no account {account}."))?)
            }
        };
        let of_login = |key: &&String| {
            LoginRules::has(key) || Endpoint::named(key).is_some_and(Endpoint::is_of_login)
        };
        if only.is_some()
            && let Some(key) = changes.keys().find(of_login)
        {
            return Err(format!("`{key}` is of the login, which has no account."));
        }
        // What one set of rules accepts, every other accepts too: tried on a copy first, so that
        // a mistake changes nothing.
        let mut shared = lock(&self.rules);
        let mut tried = shared.clone();
        tried.apply(changes, &self.initial, now)?;
        let bots = match only {
            Some(bot) => vec![bot],
            None => {
                *shared = tried;
                self.all_bots()
            }
        };
        drop(shared);
        for bot in bots {
            bot.lock().rules.apply(changes, &self.initial, now)?;
            bot.arrived.notify_waiters();
        }
        self.login.wake();
        self.changed.notify_waiters();
        Ok(())
    }

    /// Where clients of this machine reach it: an address that stands for all is none to connect to.
    pub(super) fn address_to_call(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    pub(super) fn next_message_id(&self) -> u64 {
        self.message_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn violation(&self, sentence: String) {
        let mut violations = lock(&self.violations);
        if violations.len() < VIOLATIONS {
            violations.push(sentence);
        }
    }

    /// Shows an entry on a phone; the time of showing is added here.
    pub(super) fn show(&self, mut entry: Value) {
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

/// Locks; a panic elsewhere leaves nothing half written that would matter to a simulation.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
