//! What the platform's clock shows, by the `Date` of its answers, and what is told of our own.
//!
//! Promise: once known, it goes on with the monotonic clock, whatever happens to the time of day.

use std::time::Duration;

/// Clocks that differ by less agree. Platforms that sign callbacks with a time take ten minutes.
const MAX_APART_MS: u64 = 5 * 60_000;

/// How much later than a date it may be.
const DATE_MS: u64 = 999;

/// The platform's clock, and how far it is from ours.
#[derive(Debug, Clone, Default)]
pub struct PlatformClock {
    /// What it showed, and when that was.
    shown: Option<(u64, Duration)>,
    /// How far ours was ahead when that was told last, in milliseconds.
    told_ms: Option<i64>,
}

/// A point in time by two clocks, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By our own.
    pub own_ms: u64,
    /// By the platform's, where that is known.
    pub platform_ms: Option<u64>,
}

impl PlatformClock {
    /// What it shows now; none before a date was received.
    pub fn now_ms(&self, now: Duration) -> Option<u64> {
        let (date_ms, at) = self.shown?;
        let since = now.saturating_sub(at).as_millis();
        Some(date_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }

    /// This moment by both clocks.
    pub fn moment(&self, now: Duration, now_ms: u64) -> Moment {
        Moment {
            own_ms: now_ms,
            platform_ms: self.now_ms(now),
        }
    }

    /// Takes in the date of an answer that came at `at`, when our clock showed `own_ms`. Returns a
    /// sentence for the log when the clocks have come apart, or together again.
    pub fn saw(&mut self, at: Duration, own_ms: u64, date_ms: u64) -> Option<String> {
        // A date has whole seconds, and this one may end just now.
        self.shown = Some((date_ms.saturating_add(DATE_MS), at));
        let ahead_ms = i64::try_from(own_ms)
            .unwrap_or(i64::MAX)
            .saturating_sub_unsigned(date_ms);
        if ahead_ms.unsigned_abs() <= MAX_APART_MS {
            self.told_ms.take()?;
            return Some("this machine's clock agrees with the platform's again".to_owned());
        }
        let is_told = self
            .told_ms
            .is_some_and(|told| told.abs_diff(ahead_ms) <= MAX_APART_MS);
        if is_told {
            return None;
        }
        self.told_ms = Some(ahead_ms);
        Some(format!(
            "this machine's clock is {} the platform's, by the date of its answers: set it, best with \
             NTP; times of messages, of what is queued and of certificates depend on it",
            apart(ahead_ms)
        ))
    }
}

/// A span between two clocks in words, such as `1 day 2 h ahead of`.
pub fn apart(ahead_ms: i64) -> String {
    let minutes = ahead_ms.unsigned_abs() / 60_000;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let mut span: Vec<String> = Vec::new();
    if days > 0 {
        span.push(format!("{days} {}", if days == 1 { "day" } else { "days" }));
    }
    if hours > 0 {
        span.push(format!("{hours} h"));
    }
    if minutes > 0 || span.is_empty() {
        span.push(format!("{minutes} min"));
    }
    format!("{} {side}", span.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);
    const NOW_MS: u64 = 1_795_000_000_000;
    const DAY_MS: u64 = 24 * 3_600_000;

    #[test]
    fn the_platforms_clock_goes_on_whatever_ours_does() {
        let mut clock = PlatformClock::default();
        assert_eq!(clock.moment(NOW, 5).platform_ms, None);
        clock.saw(NOW, NOW_MS + DAY_MS, NOW_MS);
        let later = NOW + Duration::from_secs(60);
        let moment = clock.moment(later, 5);
        assert_eq!(moment.platform_ms, Some(NOW_MS + 60_999));
        assert_eq!(clock.now_ms(Duration::ZERO), Some(NOW_MS + DATE_MS));
        clock.saw(later, NOW_MS, u64::MAX);
        assert_eq!(clock.now_ms(NOW * 2), Some(u64::MAX));
    }

    #[test]
    fn a_clock_that_is_apart_is_told_once_and_again_when_that_changes() {
        let mut clock = PlatformClock::default();
        let mut saw = |own_ms: u64| clock.saw(NOW, own_ms, NOW_MS).unwrap_or_default();
        for (own_ms, expect) in [
            (NOW_MS + 240_000, ""),
            (NOW_MS - 300_000, ""),
            (NOW_MS + DAY_MS, "1 day ahead of"),
            (NOW_MS + DAY_MS + 60_000, ""),
            (NOW_MS + 2 * DAY_MS + 3_660_000, "2 days 1 h 1 min ahead of"),
            (NOW_MS - 7_200_000, "2 h behind"),
            (NOW_MS - 7_300_000, ""),
            (NOW_MS, "agrees"),
            (NOW_MS + 1, ""),
            (NOW_MS + 301_000, "5 min ahead of"),
            (0, "behind"),
            (u64::MAX, "ahead of"),
        ] {
            let told = saw(own_ms);
            assert!(
                told.contains(expect) && told.is_empty() == expect.is_empty(),
                "{told}"
            );
        }
    }
}
