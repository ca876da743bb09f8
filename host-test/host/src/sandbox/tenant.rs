//! What the instances of one account have in common: its name, its limits, and what it has used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::budget::Budget;
use super::cpu_budget::CpuBudget;
use super::limits::{Exceeded, Limits};
use super::log_volume::Volume;
use super::requests::Requests;
use super::usage::{Rate, Usage};
use crate::egress::share::Share;
use crate::listener::OncePer;

/// How often the same limit is told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// What a write costs beside its key and its value.
const WRITE_BYTES: usize = 64;

/// One account among others.
pub struct Tenant {
    /// The account's id.
    pub account: Arc<str>,
    /// What it may take.
    pub limits: Limits,
    /// What is counted of its requests.
    pub requests: Arc<Requests>,
    /// What it may take of the way out, with the budget of all that the host holds for it.
    pub share: Arc<Share>,
    /// Requests that may still be opened.
    pub(super) free: Arc<Semaphore>,
    pub(super) cpu: Mutex<CpuBudget>,
    pub(super) usage: tokio::sync::Mutex<Usage>,
    pub(super) rate: Mutex<Rate>,
    pub(super) volume: Mutex<Volume>,
    /// By the names of limits, when each may be told again.
    telling: Mutex<HashMap<&'static str, OncePer<Instant>>>,
}

debug_by_name!(Tenant);

impl Tenant {
    /// An account that has used nothing.
    pub fn new(account: Arc<str>, limits: Limits) -> Arc<Tenant> {
        Arc::new(Tenant {
            account,
            requests: Arc::default(),
            share: Share::new(&limits.egress, Budget::new(limits.host_bytes)),
            free: Arc::new(Semaphore::new(limits.requests.min(Semaphore::MAX_PERMITS))),
            cpu: Mutex::new(CpuBudget::new(&limits)),
            usage: tokio::sync::Mutex::new(Usage::new(&limits)),
            rate: Mutex::new(Rate::new(&limits)),
            volume: Mutex::new(Volume::new(&limits)),
            telling: Mutex::default(),
            limits,
        })
    }

    /// What the host holds for it.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.share.budget
    }

    /// Tells the operator, once a minute, that something was refused, and returns it in words for the
    /// component.
    pub(crate) fn refuse(&self, exceeded: &Exceeded) -> String {
        if self.is_new(exceeded) {
            tracing::warn!(
                account = &*self.account,
                "the component is refused: {exceeded}"
            );
        }
        exceeded.to_string()
    }

    /// Tells the operator, once a minute, of something that is not refused.
    pub(super) fn tell_once(&self, exceeded: &Exceeded) {
        if self.is_new(exceeded) {
            tracing::warn!(account = &*self.account, "{exceeded}");
        }
    }

    fn is_new(&self, exceeded: &Exceeded) -> bool {
        let mut telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this = telling.entry(exceeded.name());
        let of_this = of_this.or_insert(OncePer::new(TELL_EVERY));
        of_this.passes(Instant::now())
    }

    /// Lines that were not logged.
    pub fn dropped_lines(&self) -> u64 {
        let volume = self.volume.lock();
        volume
            .unwrap_or_else(PoisonError::into_inner)
            .dropped_in_all
    }

    /// Whether a line of that length may be logged for this account now; also tells what was dropped
    /// before.
    pub(crate) fn may_log(&self, bytes: usize) -> bool {
        let mut volume = self.volume.lock().unwrap_or_else(PoisonError::into_inner);
        let admits = volume.admits(bytes);
        if let Some(dropped) = volume.dropped() {
            let (what, rate) = ("it logs too much", self.limits.log_bytes_per_second);
            let exceeded = Exceeded::count("log_bytes_per_second", what, rate, "bytes a second");
            let account = &*self.account;
            tracing::warn!(
                account,
                dropped,
                "lines of the component are dropped: {exceeded}"
            );
        }
        admits
    }

    /// A line of the host's that the component caused.
    pub(crate) fn warn(&self, message: &str) {
        if self.may_log(message.len()) {
            tracing::warn!(account = &*self.account, "{message}");
        }
    }

    /// Bytes that it has written to its store.
    pub fn written(&self) -> u64 {
        let rate = self.rate.lock();
        rate.unwrap_or_else(PoisonError::into_inner).written
    }

    /// Waits until the account may write so many bytes. No lock is held meanwhile. The wait is in real
    /// time, because the accounts share a real disk.
    pub(super) async fn may_write(&self, bytes: usize) {
        let cost = bytes.saturating_add(WRITE_BYTES);
        let wait = {
            let rate = self.rate.lock();
            rate.unwrap_or_else(PoisonError::into_inner).take(cost)
        };
        if wait.is_zero() {
            return;
        }
        let (name, what) = (
            "store_bytes_per_second",
            "it writes more and is slowed down",
        );
        let limit = self.limits.store_bytes_per_second;
        self.tell_once(&Exceeded::count(name, what, limit, "bytes a second"));
        tokio::time::sleep(wait).await;
    }
}
