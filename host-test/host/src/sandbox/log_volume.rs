//! How much one account may log.

use std::time::{Duration, Instant};

use super::limits::Limits;
use crate::listener::OncePer;

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
    pub dropped_in_all: u64,
    telling: OncePer<Instant>,
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
            telling: OncePer::new(TELL_EVERY),
        }
    }

    /// Whether a line of that length may be logged.
    pub fn admits(&mut self, bytes: usize) -> bool {
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
    pub fn dropped(&mut self) -> Option<u64> {
        let tells = self.dropped > 0 && self.telling.passes(Instant::now());
        tells.then(|| std::mem::take(&mut self.dropped))
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
