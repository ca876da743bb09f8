//! Lines of a process that are no answers. They are counted, and reported once a minute with an example.

use std::time::Duration;

use crate::clock::Clock;
use crate::listener::OncePer;

/// Between two lines of ours.
const INTERVAL: Duration = Duration::from_secs(60);
/// Longest example.
const MAX_EXAMPLE_CHARS: usize = 80;

/// The lines that were skipped and not reported yet.
pub struct Noise {
    clock: Clock,
    telling: OncePer,
    count: u64,
    example: String,
    why: &'static str,
}

impl Noise {
    pub fn new(clock: Clock) -> Noise {
        Noise {
            clock,
            telling: OncePer::new(INTERVAL),
            count: 0,
            example: String::new(),
            why: "",
        }
    }

    /// A line is skipped.
    pub fn add(&mut self, line: &[u8], why: &'static str) {
        self.count += 1;
        if self.count == 1 {
            self.example = example(line);
            self.why = why;
        }
        if self.telling.passes(self.clock.elapsed()) {
            self.tell();
        }
    }

    /// Waits until it is time for a report.
    pub async fn due(&mut self) {
        match self.telling.last() {
            Some(told) if self.count > 0 => {
                self.clock.sleep_until(told + INTERVAL).await;
                self.telling.passes(self.clock.elapsed());
            }
            _ => std::future::pending().await,
        }
    }

    /// Reports the count.
    pub fn tell(&mut self) {
        let (count, example, why) = (std::mem::take(&mut self.count), &self.example, self.why);
        if count == 0 {
            return;
        }
        tracing::warn!(
            lines = count,
            "lines that the agent's process wrote to its standard output are skipped: {count}, such \
             as \"{example}\" ({why}); what is for people belongs on its standard error"
        );
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.tell();
    }
}

/// How a line begins, without anything that a terminal would obey.
fn example(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.get(..1000).unwrap_or(line));
    let mut example: String = line.chars().take(MAX_EXAMPLE_CHARS).collect();
    if example.len() < line.len() {
        example.push('…');
    }
    example
        .chars()
        .flat_map(|char| {
            let plain = matches!(char, ' '..='~') && !matches!(char, '"' | '\\');
            let shown = plain || (char.is_alphanumeric() || char == '…');
            let escaped = (!shown).then(|| char.escape_default());
            escaped.into_iter().flatten().chain(shown.then_some(char))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_told_once_a_minute() {
        let clock = Clock::new();
        let mut noise = Noise::new(clock.clone());
        noise.add(b"first", "why");
        assert_eq!(noise.count, 0, "the first one is told at once");
        for _ in 0..200_000 {
            noise.add(b"other", "why");
        }
        assert_eq!((noise.count, noise.example.as_str()), (200_000, "other"));
        clock.advance(INTERVAL);
        noise.add(b"last", "why");
        assert_eq!(noise.count, 0);
    }

    #[tokio::test]
    async fn what_was_counted_is_told_although_nothing_follows() {
        let clock = Clock::new();
        let mut noise = Noise::new(clock.clone());
        noise.add(b"first", "why");
        noise.add(b"second", "why");
        clock.advance(INTERVAL);
        noise.due().await;
    }

    #[test]
    fn examples_are_short_and_harmless() {
        for (line, expected) in [
            (&b"INFO ready"[..], "INFO ready"),
            (b"\x1b[31mred\x1b[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            (b"say \"hi\"\\", "say \\\"hi\\\"\\\\"),
            ("加载模型 ✓".as_bytes(), "加载模型 \\u{2713}"),
            (b"\xff\x00", "\\u{fffd}\\u{0}"),
            (b"", ""),
        ] {
            assert_eq!(example(line), expected);
        }
        assert_eq!(
            example(&[b'x'; 200_000]).chars().count(),
            MAX_EXAMPLE_CHARS + 1
        );
    }
}
