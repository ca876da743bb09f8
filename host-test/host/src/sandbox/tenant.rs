//! What the instances of one account have in common: its name, its limits, and what it has used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::budget::Budget;
use super::cpu::CpuBudget;
use super::limits::{Exceeded, Limits};
use super::logging::Volume;
use super::requests::Requests;
use super::usage::{Rate, Usage};
use crate::egress::share::Share;

/// How often the same limit is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

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
    told: Mutex<HashMap<&'static str, Instant>>,
}

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
            told: Mutex::default(),
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
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told
            .get(exceeded.name())
            .is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if is_new {
            told.insert(exceeded.name(), Instant::now());
        }
        is_new
    }
}
