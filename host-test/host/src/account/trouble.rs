//! What keeps an account with an instance from working: a store that fails, or calls that fail again and
//! again.

use std::sync::PoisonError;
use std::time::Duration;

use super::{Phase, Shared, Status};
use crate::listener::OncePer;

/// A call that failed is tried again after a second; one that failed longer ago works.
const RECENT: Duration = Duration::from_secs(10);
/// How often the same failure is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The last failure of the calls that an account consists of.
pub(super) struct Failing {
    text: String,
    at: Option<Duration>,
    telling: OncePer,
    /// Failures since it was told.
    count: u64,
}

impl Default for Failing {
    fn default() -> Failing {
        Failing {
            text: String::new(),
            at: None,
            telling: OncePer::new(TELL_EVERY),
            count: 0,
        }
    }
}

impl Shared {
    /// Notes that `receive` or `run` failed; tells it at the first time, and then once a minute. What
    /// is told counts as the component's own lines do.
    pub(super) fn fails(&self, text: &str) {
        let now = self.clock().elapsed();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = failing.text != text || failing.at.is_none_or(|at| now - at > RECENT);
        if is_new {
            *failing = Failing {
                text: text.to_owned(),
                ..Failing::default()
            };
        }
        failing.at = Some(now);
        failing.count += 1;
        if !failing.telling.passes(now) {
            return;
        }
        let more = match failing.count {
            1 => String::new(),
            count => format!(" ({count} times since it was told)"),
        };
        failing.count = 0;
        drop(failing);
        self.tell(&format!("{text}; trying again{more}"));
    }

    /// What is wrong in spite of what the instance says of itself.
    fn trouble(&self) -> Option<String> {
        if let Some(why) = self.setup().store_trouble() {
            return Some(format!("the store fails: {why}"));
        }
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let at = failing.at?;
        (self.clock().elapsed() - at <= RECENT).then(|| failing.text.clone())
    }

    /// A status that does not say that all is well while it is not.
    pub(super) fn with_trouble(&self, status: Status) -> Status {
        let seems_well = matches!(status.phase, Phase::Connected | Phase::Degraded);
        match self.trouble() {
            Some(why) if seems_well => Status {
                phase: Phase::Degraded,
                reason: Some(why),
                ..status
            },
            _ => status,
        }
    }
}
