//! What the simulated WeCom knows: the app, its tokens and media, and what the phones show.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gateway_listener::clock::Clock;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::counters::Counters;
use super::rules::{RuleChanges, Rules};
use super::seal::Seal;
use crate::gate::Gate;
use crate::recent::Recent;
use crate::sync::lock;

/// Entries of the phones, the wire log and the deliveries that are kept.
const ENTRIES: usize = 10_000;
const VIOLATIONS: usize = 1_000;
const FILES: usize = 1_000;
const TOKENS: usize = 1_000;

/// The app of the corp.
pub(super) struct App {
    pub(super) corp_id: String,
    pub(super) agent_id: u64,
    pub(super) secret: String,
    pub(super) seal: Seal,
}

/// Something that the app is to be notified of.
#[derive(Clone)]
pub(super) struct Callback {
    /// Whose it is.
    pub(super) user: String,
    /// Names it in `WecomSimulator::deliveries`.
    pub(super) id: String,
    pub(super) xml: String,
}

/// What the server knows.
pub(super) struct WecomState {
    pub(super) address: SocketAddr,
    pub(super) gate: Gate,
    pub(super) clock: Clock,
    pub(super) app: App,
    pub(super) rules: Mutex<Rules>,
    pub(super) records: Mutex<Records>,
    pub(super) changed: Notify,
    pub(super) callbacks: mpsc::UnboundedSender<Callback>,
    pub(super) http: Client<HttpConnector, Full<Bytes>>,
    message_ids: AtomicU64,
}

/// A file that the platform keeps.
#[derive(Clone)]
pub(super) struct File {
    /// `image`, `voice`, `video` or `file`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) mime: String,
    pub(super) bytes: Bytes,
    pub(super) since: Duration,
}

/// What is recorded, behind one lock that is held briefly.
pub(super) struct Records {
    pub(super) callback_url: Option<String>,
    /// Until when each is valid.
    pub(super) tokens: Recent<String, Duration>,
    pub(super) token: Option<String>,
    pub(super) files: Recent<String, File>,
    /// What a message shows, by its id.
    pub(super) shown: Recent<String, Bytes>,
    pub(super) phone: VecDeque<Value>,
    pub(super) deliveries: VecDeque<Value>,
    pub(super) log: VecDeque<Value>,
    pub(super) violations: Vec<String>,
    pub(super) sends: VecDeque<Duration>,
    /// What was sent lately: when, to whom, and what.
    pub(super) recent_sends: VecDeque<(Duration, String)>,
    /// Callbacks that were answered, by their ids.
    pub(super) answered: Recent<String, ()>,
    pub(super) counters: Counters,
}

impl WecomState {
    pub(super) fn new(
        address: SocketAddr,
        gate: Gate,
        clock: Clock,
        app: App,
        callbacks: mpsc::UnboundedSender<Callback>,
        http: Client<HttpConnector, Full<Bytes>>,
    ) -> WecomState {
        // Above 2^53, and above those of an earlier start.
        let first_id = clock.unix_ms().saturating_mul(1_000_000);
        WecomState {
            address,
            gate,
            clock,
            app,
            rules: Mutex::default(),
            records: Mutex::new(Records {
                callback_url: None,
                tokens: Recent::new(TOKENS),
                token: None,
                files: Recent::new(FILES),
                shown: Recent::new(FILES),
                phone: VecDeque::new(),
                deliveries: VecDeque::new(),
                log: VecDeque::new(),
                violations: Vec::new(),
                sends: VecDeque::new(),
                recent_sends: VecDeque::new(),
                answered: Recent::new(ENTRIES),
                counters: Counters::default(),
            }),
            changed: Notify::new(),
            callbacks,
            http,
            message_ids: AtomicU64::new(first_id),
        }
    }

    pub(super) fn rules(&self) -> Rules {
        lock(&self.rules).clone()
    }

    pub(super) fn next_message_id(&self) -> u64 {
        self.message_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes rules and faults: all of it, or nothing.
    pub(super) fn change(&self, changes: &RuleChanges) -> Result<(), String> {
        changes.check()?;
        let mut rules = lock(&self.rules);
        *rules = changes.applied(&rules);
        drop(rules);
        self.changed.notify_waiters();
        Ok(())
    }

    pub(super) fn violation(&self, sentence: String) {
        let mut records = lock(&self.records);
        if records.violations.len() < VIOLATIONS {
            records.violations.push(sentence);
        }
    }

    /// Adds an entry to a ring, with the time.
    pub(super) fn note(
        &self,
        mut entry: Value,
        ring: impl Fn(&mut Records) -> &mut VecDeque<Value>,
    ) {
        entry["at_ms"] = self.clock.unix_ms().into();
        let mut records = lock(&self.records);
        let ring = ring(&mut records);
        if ring.len() == ENTRIES {
            ring.pop_front();
        }
        ring.push_back(entry);
        drop(records);
        self.changed.notify_waiters();
    }

    /// Keeps a file; returns its media id.
    pub(super) fn keep(&self, file: File) -> String {
        let media_id = random_text("3");
        let mut records = lock(&self.records);
        records.files.remember(media_id.clone(), file);
        media_id
    }

    /// A file whose time has not passed.
    pub(super) fn file(&self, media_id: &str) -> Option<File> {
        let life = lock(&self.rules).media_life;
        let now = self.clock.elapsed();
        let records = lock(&self.records);
        let file = records.files.find(media_id)?;
        (now < file.since.saturating_add(life)).then(|| file.clone())
    }
}

/// Opaque text that needs percent-encoding nowhere.
pub(super) fn random_text(start: &str) -> String {
    format!(
        "{start}{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    )
}
