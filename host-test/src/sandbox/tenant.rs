//! What the instances of one account have in common: its name, its limits, and what it has used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cpu::Credit;
use super::limits::{Exceeded, Limits};
use super::logging::Volume;
use super::requests::Requests;
use super::usage::Usage;

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
    pub(super) cpu: Mutex<Credit>,
    pub(super) usage: tokio::sync::Mutex<Usage>,
    pub(super) volume: Mutex<Volume>,
    told: Mutex<HashMap<&'static str, Instant>>,
}

impl Tenant {
    /// An account that has used nothing.
    pub fn new(account: Arc<str>, limits: Limits) -> Arc<Tenant> {
        Arc::new(Tenant {
            account,
            requests: Arc::default(),
            cpu: Mutex::new(Credit::new(&limits)),
            usage: tokio::sync::Mutex::new(Usage::new(&limits)),
            volume: Mutex::new(Volume::new(&limits)),
            told: Mutex::default(),
            limits,
        })
    }

    /// Tells the operator, once a minute, that something was refused, and returns it in words for the
    /// component.
    pub(super) fn refuse(&self, exceeded: &Exceeded) -> String {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told
            .get(exceeded.name())
            .is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if is_new {
            told.insert(exceeded.name(), Instant::now());
            tracing::warn!(
                account = &*self.account,
                "the component is refused: {exceeded}"
            );
        }
        exceeded.to_string()
    }
}
