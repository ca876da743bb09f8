//! The one source of time: the system's clocks plus an offset that a test or an operator of the
//! simulator moves forward.
//!
//! Everything in this crate that waits, waits here, so that a 24-hour rule is tested in seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

/// A clock that runs with the system's and can be advanced. Clones share the same time.
#[derive(Clone)]
pub struct Clock {
    started: Instant,
    offset: Arc<watch::Sender<Duration>>,
    /// Milliseconds by which the time of day is set forward or back.
    set_by: Arc<AtomicI64>,
}

debug_by_name!(Clock);

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// A clock that shows the system's time.
    pub fn new() -> Clock {
        Clock {
            started: Instant::now(),
            offset: Arc::new(watch::channel(Duration::ZERO).0),
            set_by: Arc::default(),
        }
    }

    /// Time since this clock was made; never goes back.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed() + *self.offset.borrow()
    }

    /// Time since the Unix epoch.
    pub fn unix(&self) -> Duration {
        // A system clock before 1970 is taken for 1970.
        let system = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = system + *self.offset.borrow();
        let set_by = self.set_by.load(Ordering::Relaxed);
        let span = Duration::from_millis(set_by.unsigned_abs());
        match set_by < 0 {
            true => time.saturating_sub(span),
            false => time + span,
        }
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.unix().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until `elapsed` has reached `deadline`.
    pub async fn sleep_until(&self, deadline: Duration) {
        let mut offset = self.offset.subscribe();
        loop {
            let now = self.started.elapsed() + *offset.borrow_and_update();
            let Some(left) = deadline.checked_sub(now).filter(|left| !left.is_zero()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                // The sender lives in `self`, so this can't fail.
                _ = offset.changed() => {}
            }
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.elapsed().saturating_add(duration))
            .await;
    }

    /// Sets the time of day forward or back, and nothing else, as when a laptop has slept or its clock
    /// was wrong: what waits goes on waiting.
    pub fn set_by(&self, milliseconds: i64) {
        self.set_by.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Moves the time forward and wakes what that makes due.
    pub fn advance(&self, duration: Duration) {
        self.offset.send_modify(|offset| *offset += duration);
    }
}
