//! `wasi:logging`: lines of the component in the host's log, with the account and the instance.
//!
//! A component can neither flood the log nor forge lines of it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Sandbox;
use super::limits::{Exceeded, Limits};
use super::tenant::Tenant;
use crate::bindings::wasi::logging::logging::{self, Level};
use crate::text::one_line;

/// Seconds' worth of lines that may come at once.
const BURST: f64 = 8.0;
/// How often the number of dropped lines is told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// What a line costs besides its text.
const LINE_BYTES: usize = 64;

/// How much an account may log now.
pub(super) struct Volume {
    rate: f64,
    credit: f64,
    credited: Instant,
    dropped: u64,
    dropped_in_all: u64,
    told: Option<Instant>,
}

impl Volume {
    pub fn new(limits: &Limits) -> Volume {
        let rate = limits.log_bytes_per_second as f64;
        Volume {
            rate,
            credit: rate * BURST,
            credited: Instant::now(),
            dropped: 0,
            dropped_in_all: 0,
            told: None,
        }
    }

    /// Whether a line of that length may be logged.
    fn admits(&mut self, bytes: usize) -> bool {
        let now = Instant::now();
        let earned = (now - self.credited).as_secs_f64() * self.rate;
        self.credited = now;
        self.credit = (self.credit + earned).min(self.rate * BURST);
        let cost = (bytes + LINE_BYTES) as f64;
        let admits = cost <= self.credit;
        match admits {
            true => self.credit -= cost,
            false => {
                self.dropped += 1;
                self.dropped_in_all += 1;
            }
        }
        admits
    }

    /// How many lines were dropped since this was last asked, when it is time to tell.
    fn dropped(&mut self) -> Option<u64> {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if self.dropped == 0 || !is_due {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.dropped))
    }
}

impl Tenant {
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
}

impl logging::Host for Sandbox {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let is_wanted = match level {
            Level::Trace => tracing::enabled!(tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(tracing::Level::INFO),
            Level::Warn => tracing::enabled!(tracing::Level::WARN),
            Level::Error | Level::Critical => tracing::enabled!(tracing::Level::ERROR),
        };
        if !is_wanted {
            return Ok(());
        }
        let longest = self.tenant.limits.log_line_bytes;
        let (context, message) = (one_line(&context, longest), one_line(&message, longest));
        if !self.tenant.may_log(context.len() + message.len()) {
            return Ok(());
        }
        let (account, instance) = (&*self.tenant.account, self.number);
        match level {
            Level::Trace => tracing::trace!(account, instance, context, "{message}"),
            Level::Debug => tracing::debug!(account, instance, context, "{message}"),
            Level::Info => tracing::info!(account, instance, context, "{message}"),
            Level::Warn => tracing::warn!(account, instance, context, "{message}"),
            Level::Error | Level::Critical => {
                tracing::error!(account, instance, context, "{message}")
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_volume_is_counted() {
        let limits = Limits {
            log_bytes_per_second: 100,
            ..Limits::default()
        };
        let mut volume = Volume::new(&limits);
        let admitted = (0..100).filter(|_| volume.admits(36)).count();
        assert_eq!(admitted, 8);
        assert_eq!(volume.dropped(), Some(92));
        assert_eq!(volume.dropped(), None);
    }
}
