//! What components may write into the host's log.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use gateway_host::sandbox::limits::Limits;
use tracing_subscriber::fmt::MakeWriter;

use super::SharedHost;

/// The log of this thread, while it lives.
pub struct Captured {
    written: Written,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Written;

    fn make_writer(&'a self) -> Written {
        self.clone()
    }
}

impl Captured {
    pub fn new() -> Captured {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(written.clone())
            .with_ansi(false)
            .finish();
        Captured {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_flood_of_lines_is_bounded_and_counted() {
    let mut host = SharedHost::new().await;
    let log = Captured::new();
    let limits = Limits {
        log_bytes_per_second: 10_000,
        ..Limits::default()
    };
    let begun = Instant::now();
    let account = host.try_start("log", "receive", limits).await.unwrap();
    // The next line about what was dropped comes a second later, if the flood goes on.
    while !log.text().contains("dropped=") {
        host.answers().await;
    }
    drop(account);
    let text = log.text();
    // Eight seconds' worth at once, then as it comes: however long it took.
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let most = 10_000 * (8 + seconds);
    let logged = text.matches(&"x".repeat(100)).count();
    assert!(logged > 100 && logged * 164 <= most, "{logged} lines");
    let told = text
        .lines()
        .filter(|line| line.contains("`log_bytes_per_second`"))
        .count();
    // At once, and then at most once a second.
    assert!((1..=1 + seconds).contains(&told), "{told}");
    assert!(text.contains("dropped="), "the number is told");
    host.end().await;
}

#[tokio::test]
async fn a_line_can_be_neither_long_nor_two() {
    let mut host = SharedHost::new().await;
    let log = Captured::new();
    let account = host
        .try_start("forge", "receive", Limits::default())
        .await
        .unwrap();
    host.answers().await;
    drop(account);
    let text = log.text();
    let line = text.lines().find(|line| line.contains("forged")).unwrap();
    assert!(
        line.contains("hostile@im.bot") && line.contains("a line 2026"),
        "{line}"
    );
    assert!(line.len() < 5000, "{}", line.len());
    host.end().await;
}

#[tokio::test]
async fn refused_requests_do_not_flood_the_log() {
    let mut host = SharedHost::new().await;
    let log = Captured::new();
    let limits = Limits {
        log_bytes_per_second: 1000,
        ..Limits::default()
    };
    let account = host.try_start("denied", "receive", limits).await.unwrap();
    for _ in 0..20 {
        host.answers().await;
    }
    drop(account);
    let lines = log
        .text()
        .lines()
        .filter(|line| line.contains("no rule allows"))
        .count();
    assert!((1..200).contains(&lines), "{lines}");
    host.end().await;
}
