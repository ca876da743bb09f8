//! Runs an account: it has one instance at a time, gives the messages to the agent, and brings the
//! replies back.
//!
//! Promises: a message is given to the agent until the agent acknowledges it. The messages of one
//! conversation go one after the other, and other conversations do not wait for them. An instance that
//! ends is replaced, and its successor does again what was under way.

mod answering;
mod aside;
mod changes;
mod conversation_queue;
mod handle;
mod message;
pub mod metrics;
mod rules;
mod settled;
mod setup;
mod stage;
mod supervisor;
mod swap;
mod trouble;
mod typing;
mod webhook;

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::health::Health as AgentHealth;
use crate::agent::{Agent, Words};
use crate::bindings::gateway::channel::types::ErrorKind;
use crate::clock::Clock;
use crate::instance::{CallError, Ended, Instance};
use crate::runtime::{Plugin, Runtime};
use crate::state::State;
use aside::Aside;
use conversation_queue::ConversationQueues;
use metrics::Metrics;
use stage::{Stage, Stages};
use swap::Swap;
use trouble::Failing;

pub use aside::PutAside;
pub(crate) use changes::of as changes;
pub use handle::{Handle, Status, UploadError};
pub(crate) use rules::LOGIN_SETTINGS;
#[cfg(feature = "admin")]
pub(crate) use settled::state_name;
pub use setup::{AccountOptions, Setup, StartError};
pub use swap::check as check_swap;
pub use swap::{Changes, SwapError};

pub use crate::bindings::exports::gateway::channel::lifecycle::{Health, Phase};
pub use crate::bindings::exports::gateway::channel::outbound::Post;
pub use crate::bindings::gateway::channel::types::{Event, EventBody, PartState, Receipt};

/// How long a call waits for the successor of an instance that drains.
const SWAP_WAIT: Duration = Duration::from_secs(5);

/// A running account. It stops when it is dropped; [`Account::stop`] does so in an orderly way.
///
/// What can be asked of it are the methods of its [`Handle`].
pub struct Account {
    handle: Handle,
    task: JoinHandle<()>,
}

debug_by_name!(Account);

impl Deref for Account {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

struct Shared {
    /// What the next instance is made of.
    setup: RwLock<Arc<Setup>>,
    agent: Arc<dyn Agent>,
    id: Arc<str>,
    clock: Clock,
    swaps: mpsc::Sender<Swap>,
    /// What the account is doing.
    stages: Stages,
    /// Asks the account to stop.
    stopping: CancellationToken,
    failing: Mutex<Failing>,
    /// Told when a newer instance takes over any account of the process.
    taken: Arc<Notify>,
    queues: ConversationQueues,
    /// How the agent does, and what people are told where it fails them.
    agent_health: Arc<AgentHealth>,
    words: Words,
    aside: Aside,
    metrics: Metrics,
}

impl Account {
    /// Starts an account and waits until its first instance has started. If the future is dropped
    /// before, the account stops, as when an [`Account`] is dropped.
    ///
    /// # Errors
    /// When the configuration or the store is wrong. Later failures are retried.
    pub async fn start(
        runtime: &Runtime,
        plugin: &Plugin,
        state: Arc<dyn State>,
        agent: Arc<dyn Agent>,
        options: AccountOptions,
    ) -> Result<Account, StartError> {
        Account::start_among(runtime, plugin, state, agent, options, Arc::default()).await
    }

    /// The same; `taken` is told when a newer instance takes the account over.
    pub(crate) async fn start_among(
        runtime: &Runtime,
        plugin: &Plugin,
        state: Arc<dyn State>,
        agent: Arc<dyn Agent>,
        options: AccountOptions,
        taken: Arc<Notify>,
    ) -> Result<Account, StartError> {
        let setup = Setup::new(runtime, plugin, state, options)?;
        let tenant = Arc::clone(&setup.tenant);
        let (swaps, requests) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            id: Arc::clone(&setup.id),
            setup: RwLock::new(Arc::new(setup)),
            clock: runtime.clock.clone(),
            swaps,
            agent_health: agent.health().unwrap_or_default(),
            words: agent.words(),
            aside: Aside::default(),
            agent,
            stages: Stages::new(runtime.clock.clone()),
            stopping: CancellationToken::new(),
            failing: Mutex::default(),
            taken,
            queues: ConversationQueues::new(&tenant),
            metrics: Metrics::default(),
        });
        let (started, first) = oneshot::channel();
        // From here on, a caller that gives up waiting drops the account, and so stops it.
        let account = Account {
            handle: Handle::new(Arc::clone(&shared)),
            task: tokio::spawn(shared.supervise(started, requests)),
        };
        match first.await {
            Ok(Ok(())) => Ok(account),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Failed("the account's task ended".to_owned())),
        }
    }

    /// A handle that does not keep the account going.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends polling at once, gives requests under way up to a second, and announces the stop; within
    /// two seconds. What is left is stored for the next start.
    pub async fn stop(mut self) {
        self.handle.shared.stopping.cancel();
        // A task that panicked has nothing left to stop.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        shared.stopping.cancel();
        // Links to media follow the stages: with this one they let go of the instance.
        shared.stages.enter(Stage::Stopped);
        self.task.abort();
    }
}

impl Shared {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the account is made of now.
    fn setup(&self) -> Arc<Setup> {
        let setup = self.setup.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&setup)
    }

    /// The instance that serves.
    fn instance(&self) -> Result<Instance, CallError> {
        let instance = self.stages.instance();
        instance.ok_or_else(|| CallError::Ended(Ended("it is being replaced".into())))
    }

    /// `outbound.send` of the instance that serves; of its successor, where it is being swapped.
    async fn send(&self, post: Post) -> Result<Receipt, CallError> {
        let instance = self.instance()?;
        let receipt = match instance.send(post.clone()).await {
            Err(CallError::Channel(error)) if error.kind == ErrorKind::Draining => {
                let mut stages = self.stages.follow();
                let another = |stage: &Stage| {
                    let next = stage.instance().filter(|next| !next.is_same(&instance));
                    next.cloned()
                };
                let successor = tokio::select! {
                    successor = stages.find(another) => Some(successor),
                    () = self.clock().sleep(SWAP_WAIT) => None,
                };
                match successor {
                    Some(successor) => successor.send(post).await?,
                    None => return Err(CallError::Channel(error)),
                }
            }
            result => result?,
        };
        self.metrics.count(&receipt);
        Ok(receipt)
    }

    /// Whether a line may be logged that the component caused: it counts against what that may log.
    fn may_tell(&self, text: &str) -> bool {
        self.setup().tenant.may_log(text.len())
    }

    /// Logs an error that the component caused, if it may.
    fn tell(&self, text: &str) {
        if self.may_tell(text) {
            tracing::error!(
                account = &*self.id,
                instance = self.instance_number(),
                "{text}"
            );
        }
    }

    /// Which instance of this process it has; none between two.
    fn instance_number(&self) -> Option<u64> {
        self.stages.instance().as_ref().map(Instance::number)
    }

    async fn stopped(&self) {
        self.stopping.cancelled().await;
    }
}
