//! What all checks together must not have caused: secrets in the log, refusals of the host, violations of
//! the platform's rules.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use super::fixture::{Fixture, Outcome, expect};

/// A word that every text of people and agents has, and that no line of the log may have.
pub const CANARY: &str = "pelican7d1f";
/// The most of the log that is kept: a component might never stop logging.
const MAX_LINES: usize = 200_000;

/// What was noted in all checks; clones share it.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    refusals: Vec<String>,
    violations: Vec<String>,
    secrets: Vec<String>,
}

impl Ledger {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes everything that the host and the component log, and shows nothing.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        Registry::default().with(Capture(self.clone()))
    }

    /// Adds a text that no line may have, neither earlier ones nor later ones.
    pub fn secret(&self, value: String) {
        self.notes().secrets.push(value);
    }

    /// What the server saw in a check.
    pub fn note(&self, fixture: &Fixture) {
        let violations = fixture.server.violations();
        self.notes().violations.extend(violations);
    }
}

/// The host refused nothing that the component asked for.
pub async fn no_refusals(fixture: &Fixture) -> Outcome {
    let notes = fixture.ledger.notes();
    expect(notes.refusals.is_empty(), || {
        let first = notes.refusals.first().map_or("", String::as_str);
        format!("{} requests were refused: {first}", notes.refusals.len())
    })
}

/// The server saw nothing that no client may do.
pub async fn no_violations(fixture: &Fixture) -> Outcome {
    let notes = fixture.ledger.notes();
    expect(notes.violations.is_empty(), || {
        let first = notes.violations.first().map_or("", String::as_str);
        format!("{} times, first: {first}", notes.violations.len())
    })
}

/// No line has a token or a text.
pub async fn no_secrets(fixture: &Fixture) -> Outcome {
    let notes = fixture.ledger.notes();
    for line in &notes.lines {
        // The line itself is not repeated: this may be printed anywhere.
        let begin: String = line.chars().take(24).collect();
        expect(!line.contains(CANARY), || {
            format!("a message's text is in a line that begins with {begin:?}")
        })?;
        let is_in = notes.secrets.iter().any(|secret| line.contains(secret));
        expect(!is_in, || {
            format!("a token is in a line that begins with {begin:?}")
        })?;
    }
    Ok(())
}

struct Capture(Ledger);

impl<S: Subscriber> Layer<S> for Capture {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("gateway_host")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let target = event.metadata().target();
        let mut notes = self.0.notes();
        // What is said of a refused request, see `egress/error.rs`.
        if target.contains("::egress") && line.0.contains("refused: ") {
            notes.refusals.push(line.0.clone());
        }
        if notes.lines.len() < MAX_LINES {
            notes.lines.push(line.0);
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string can't fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}
