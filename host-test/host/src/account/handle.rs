//! What can be asked of a running account, by any number of askers.

use std::sync::Arc;
use std::time::Duration;

use super::metrics::Metrics;
use super::stage::Stage;
use super::{Health, Phase, Post, PutAside, Receipt, Setup, Shared};
use crate::agent::message::ReplyMedia;
use crate::bindings::gateway::channel::types::Media;
use crate::clock::Clock;
use crate::instance::CallError;
use crate::media::outgoing::Refused;
use crate::sandbox::tenant::Tenant;

/// How long an instance may take to say how it does: it answers from memory.
const CHECK_WAIT: Duration = Duration::from_secs(5);

/// A handle of an account. Clones are cheap; they hold its store, and do not keep the account going.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

debug_by_name!(Handle);

/// How an account does, also while no instance serves. What is unknown then is none.
#[derive(Debug, Clone)]
pub struct Status {
    /// How it does.
    pub phase: Phase,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// When a poll was last answered well.
    pub last_poll_ms: Option<u64>,
    /// When the platform last accepted a message.
    pub last_send_ms: Option<u64>,
    /// Posts that are stored and not settled.
    pub queued: Option<u32>,
    /// Messages that are not acknowledged.
    pub unacknowledged: Option<u32>,
    /// Bytes of linear memory.
    pub memory_bytes: Option<usize>,
    /// For people: what is wrong and what to do.
    pub reason: Option<String>,
}

/// Why a file can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The file itself, or where it is.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The component or the platform.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Handle {
        Handle { shared }
    }

    /// The account's id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The platform that it is on.
    pub fn platform(&self) -> String {
        self.shared.setup().plugin.platform().to_owned()
    }

    /// SHA-256 of the component's file in hex.
    pub fn component(&self) -> Arc<str> {
        self.shared.setup().plugin.digest()
    }

    /// What its instances are made of now.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        self.shared.setup()
    }

    /// The time that the account goes by.
    pub fn clock(&self) -> &Clock {
        self.shared.clock()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// What the account may take, and what is counted of its requests.
    pub fn tenant(&self) -> Arc<Tenant> {
        Arc::clone(&self.shared.setup().tenant)
    }

    /// Messages that wait for the agent or are with it.
    pub fn waiting_messages(&self) -> usize {
        self.shared.queues.messages()
    }

    /// The messages that were last put aside, because the agent has no answer to them; the newest
    /// comes last. They are in memory, and bounded.
    pub fn put_aside(&self) -> Vec<PutAside> {
        self.shared.aside.all()
    }

    /// What the instance says of itself; none while it is being replaced.
    pub async fn health(&self) -> Option<Health> {
        self.shared.instance().ok()?.check().await.ok()
    }

    /// How the account does, whatever the instance does.
    pub async fn status(&self) -> Status {
        let absent = || {
            let now = self.shared.stages.now();
            let (phase, reason) = now.stage.absence();
            Status::without_instance(phase, Some(now.since_ms), reason.map(str::to_owned))
        };
        let Ok(instance) = self.shared.instance() else {
            return absent();
        };
        match tokio::time::timeout(CHECK_WAIT, instance.check()).await {
            Ok(Ok(health)) => self.shared.with_trouble(Status {
                phase: health.phase,
                since_ms: Some(health.since),
                last_poll_ms: health.last_poll,
                last_send_ms: health.last_send,
                queued: Some(health.queued),
                unacknowledged: Some(health.unacknowledged),
                memory_bytes: Some(instance.memory_bytes()),
                reason: health.reason,
            }),
            // Its end is about to be noticed.
            Ok(Err(error)) => {
                Status::without_instance(Phase::Starting, None, Some(error.to_string()))
            }
            Err(_) => {
                let reason = format!(
                    "the instance does not answer for {} s",
                    CHECK_WAIT.as_secs()
                );
                Status::without_instance(Phase::Degraded, None, Some(reason))
            }
        }
    }

    /// A proactive post; see `outbound.send` of the contract.
    ///
    /// # Errors
    /// Those of `outbound.send`; [`CallError::Ended`] while an instance is being replaced.
    pub async fn send(&self, post: Post) -> Result<Receipt, CallError> {
        self.shared.send(post).await
    }

    /// The receipt of a key; none when it is unknown.
    ///
    /// # Errors
    /// Those of `outbound.find`; [`CallError::Ended`] while an instance is being replaced.
    pub async fn find(&self, key: String) -> Result<Option<Receipt>, CallError> {
        self.shared.instance()?.find(key).await
    }

    /// Uploads a file for a post to a conversation, where the account's rules allow it.
    ///
    /// # Errors
    /// When it may not be sent, or the platform does not take it.
    pub async fn upload(
        &self,
        conversation: &str,
        media: &ReplyMedia,
    ) -> Result<Media, UploadError> {
        self.shared.upload_one(conversation, media, false).await
    }

    /// Waits until a newer instance on the same store has taken the account over, mostly that of
    /// another process. This account is then stopped for good.
    pub async fn superseded(&self) {
        let is_superseded = |stage: &Stage| stage.is_superseded().then_some(());
        self.shared.stages.follow().find(is_superseded).await;
    }

    /// Whether that has happened.
    pub fn is_superseded(&self) -> bool {
        self.shared.stages.now().stage.is_superseded()
    }

    /// Bytes of the instance's linear memory; none while it is being replaced.
    pub async fn memory_bytes(&self) -> Option<usize> {
        Some(self.shared.instance().ok()?.memory_bytes())
    }
}

impl Status {
    fn without_instance(phase: Phase, since_ms: Option<u64>, reason: Option<String>) -> Status {
        Status {
            phase,
            since_ms,
            last_poll_ms: None,
            last_send_ms: None,
            queued: None,
            unacknowledged: None,
            memory_bytes: None,
            reason,
        }
    }
}
