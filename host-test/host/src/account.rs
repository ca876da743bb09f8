//! Keeps an account going: one instance at a time, its messages to the agent, the replies back.
//!
//! Promises: a message is given to the agent until the agent acknowledges it; the messages of one
//! conversation go one after the other, those of others do not wait for them; an instance that ends
//! is replaced, and what it had under way is done again by its successor.

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
mod swap;
mod trouble;
mod typing;
mod webhook;

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

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
use swap::Swap;
use trouble::Failing;

pub use aside::PutAside;
pub(crate) use changes::of as changes;
pub use handle::{Handle, Status, UploadError};
pub(crate) use settled::state_name;
pub(crate) use setup::captured_by_logins;
pub use setup::{AccountOptions, Setup, StartError};
pub use swap::check as check_swap;
pub use swap::{Changes, SwapError};

pub use crate::bindings::exports::gateway::channel::lifecycle::{Health, Phase};
pub use crate::bindings::exports::gateway::channel::outbound::Post;
pub use crate::bindings::gateway::channel::types::{Event, EventBody, PartState, Receipt};

/// What requests under way may still take when an account stops.
const GRACE: Duration = Duration::from_secs(1);
/// Events that are acknowledged again when that failed; the others come again.
const MAX_UNACKNOWLEDGED: usize = 10_000;
/// What the announcement of the stop may take.
const STOP_WAIT: Duration = Duration::from_millis(600);
/// How long a call waits for the successor of an instance that drains.
const SWAP_WAIT: Duration = Duration::from_secs(5);
/// Pauses before an instance is replaced.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A running account. It stops when it is dropped; [`Account::stop`] does so in an orderly way.
///
/// What can be asked of it are the methods of its [`Handle`].
pub struct Account {
    handle: Handle,
    task: JoinHandle<()>,
}

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
    /// The instance that serves, none between two.
    current: watch::Sender<Option<Instance>>,
    /// It drains, and a successor is about to take over.
    handing_over: watch::Sender<bool>,
    /// How the account does while there is none.
    absence: Mutex<Absence>,
    failing: Mutex<Failing>,
    stopping: watch::Sender<bool>,
    /// A newer instance, mostly another process's, owns the account.
    superseded: watch::Sender<bool>,
    /// Told when that happens to any account of the process.
    taken: Arc<Notify>,
    queues: ConversationQueues,
    /// How the agent does, and what people are told where it fails them.
    agent_health: Arc<AgentHealth>,
    words: Words,
    aside: Aside,
    metrics: Metrics,
}

/// Why no instance serves.
struct Absence {
    phase: Phase,
    since_ms: u64,
    reason: Option<String>,
}

impl Account {
    /// Starts an account and waits until its first instance has started.
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
            current: watch::channel(None).0,
            handing_over: watch::channel(false).0,
            absence: Mutex::new(Absence {
                phase: Phase::Starting,
                since_ms: runtime.clock.unix_ms(),
                reason: None,
            }),
            failing: Mutex::default(),
            stopping: watch::channel(false).0,
            superseded: watch::channel(false).0,
            taken,
            queues: ConversationQueues::new(&tenant),
            metrics: Metrics::default(),
        });
        let (started, first) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(&shared).keep_going(started, requests));
        match first.await {
            Ok(Ok(())) => Ok(Account {
                handle: Handle::new(shared),
                task,
            }),
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
        self.handle.shared.stopping.send_replace(true);
        // A task that panicked has nothing left to stop.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        shared.stopping.send_replace(true);
        // Links to media hold a receiver: with it they would hold the instance.
        shared.current.send_replace(None);
        shared.absent(Phase::Stopped, None);
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
        let instance = self.current.borrow().clone();
        instance.ok_or_else(|| CallError::Ended(Ended("it is being replaced".into())))
    }

    /// `outbound.send` of the instance that serves; of its successor, where it is being swapped.
    async fn send(&self, post: Post) -> Result<Receipt, CallError> {
        let mut current = self.current.subscribe();
        let instance = self.instance()?;
        current.mark_unchanged();
        let receipt = match instance.send(post.clone()).await {
            Err(CallError::Channel(error)) if error.kind == ErrorKind::Draining => {
                let successor = current
                    .wait_for(|next| next.as_ref().is_some_and(|next| !next.is_same(&instance)));
                let successor = tokio::select! {
                    // The sender lives in `self`.
                    successor = successor => successor.ok().and_then(|next| next.clone()),
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

    fn absent(&self, phase: Phase, reason: Option<&str>) {
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        *absence = Absence {
            phase,
            since_ms: self.clock().unix_ms(),
            reason: reason.map(str::to_owned),
        };
    }

    /// Which instance of this process it has; none between two.
    fn instance_number(&self) -> Option<u64> {
        self.current.borrow().as_ref().map(Instance::number)
    }

    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    async fn keep_going(
        self: Arc<Self>,
        started: oneshot::Sender<Result<(), StartError>>,
        mut swaps: mpsc::Receiver<Swap>,
    ) {
        let mut started = Some(started);
        let mut successor = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = self.clock().elapsed();
            let instance = match successor.take() {
                Some(instance) => Ok(instance),
                None => tokio::select! {
                    instance = self.new_instance() => instance,
                    () = self.stopped() => return,
                },
            };
            let number = instance.as_ref().ok().map(Instance::number);
            let why = match instance {
                Err(error) => {
                    if let Some(started) = started.take() {
                        let _ = started.send(Err(error));
                        return;
                    }
                    error.to_string()
                }
                Ok(instance) => {
                    self.current.send_replace(Some(instance.clone()));
                    if let Some(started) = started.take() {
                        let _ = started.send(Ok(()));
                    }
                    self.handing_over.send_replace(false);
                    let why = tokio::select! {
                        why = self.serve(&instance) => why,
                        () = self.stopped() => {
                            self.shut_down(&instance).await;
                            self.current.send_replace(None);
                            return;
                        }
                        // The account holds a sender.
                        Some(swap) = swaps.recv() => {
                            self.handing_over.send_replace(true);
                            successor = self.hand_over(&instance, swap).await;
                            continue;
                        }
                    };
                    self.current.send_replace(None);
                    match why {
                        Some(why) => why,
                        None => {
                            self.is_taken();
                            return;
                        }
                    }
                }
            };
            if self.clock().elapsed() - begun > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let why = format!("{why}; another instance follows in {} s", pause.as_secs());
            tracing::error!(account = &*self.id, instance = number, "{why}");
            self.absent(Phase::Starting, Some(&why));
            self.metrics.restarts.add();
            tokio::select! {
                () = self.clock().sleep(pause) => {}
                () = self.stopped() => return,
                // Another component may be the cure.
                Some(swap) = swaps.recv() => {
                    successor = self.take_over(swap).await;
                    pause = FIRST_PAUSE;
                    continue;
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A newer instance owns the account: this one is stopped for good, and says so.
    fn is_taken(&self) {
        let reason = "another gateway that was started later on the same store runs this account \
                      now, and this one has stopped it: let one of them run it";
        tracing::error!(account = &*self.id, "{reason}");
        self.absent(Phase::Stopped, Some(reason));
        self.superseded.send_replace(true);
        self.taken.notify_waiters();
    }

    async fn new_instance(&self) -> Result<Instance, StartError> {
        let instance = self.setup().instance().await?;
        instance.start().await.map_err(|error| match error {
            CallError::Channel(error) if error.kind == ErrorKind::Invalid => {
                StartError::Invalid(error.message)
            }
            error => StartError::Failed(error.to_string()),
        })?;
        Ok(instance)
    }

    /// Serves until the instance is of no use any more, and says why; none when the account has a
    /// newer owner.
    async fn serve(self: &Arc<Self>, instance: &Instance) -> Option<String> {
        let receiving = async {
            let mut done = Vec::new();
            let mut held = self.setup().tenant.budget().note(0);
            loop {
                self.queues
                    .wait_for_space(&self.setup().tenant.limits)
                    .await;
                match instance.receive().await {
                    Ok(events) => {
                        if events.is_empty() {
                            return Some("the instance drains".to_owned());
                        }
                        for event in events {
                            match event.body {
                                EventBody::Message(message) => {
                                    let message = self.message(message).await;
                                    ConversationQueues::push(self, message);
                                }
                                EventBody::Settled(receipt) => {
                                    self.settled(&receipt);
                                    done.push(event.id);
                                }
                                EventBody::Recalled(_) | EventBody::Other(_) => {
                                    done.push(event.id);
                                }
                            }
                        }
                        // What fails is tried again with the next events.
                        if !done.is_empty() {
                            match instance.ack(done.clone()).await {
                                Ok(()) => done.clear(),
                                Err(error) => {
                                    let (account, instance) = (&*self.id, instance.number());
                                    let text = format!("acknowledging failed: {error}");
                                    if self.may_tell(&text) {
                                        tracing::warn!(account, instance, "{text}");
                                    }
                                    done.truncate(MAX_UNACKNOWLEDGED);
                                    held.set(done.iter().map(String::len).sum());
                                    self.clock().sleep(FIRST_PAUSE).await;
                                }
                            }
                        }
                    }
                    Err(error) => self.after(error).await?,
                }
            }
        };
        let sending = async {
            loop {
                match instance.run().await {
                    // `receive` ends with it, and knows why.
                    Ok(()) => std::future::pending().await,
                    Err(error) => self.after(error).await?,
                }
            }
        };
        tokio::select! {
            why = receiving => why,
            why = sending => why,
            ended = instance.ended() => Some(ended.to_string()),
        }
    }

    /// Waits where calling again is right; none where the instance is of no use any more.
    async fn after(&self, error: CallError) -> Option<()> {
        match error {
            CallError::Channel(error) if error.kind == ErrorKind::Fenced => None,
            // The instance's end is waited for beside this, and told there.
            CallError::Ended(_) => std::future::pending().await,
            CallError::Channel(_) => {
                self.fails(&error.to_string());
                self.clock().sleep(FIRST_PAUSE).await;
                Some(())
            }
        }
    }

    /// Ends the calls of an instance; `beside` has to end, too.
    async fn drain(&self, instance: &Instance, beside: impl Future<Output = ()>) {
        let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(0);
        let drained = async {
            let (drained, ()) = tokio::join!(instance.drain(grace_ms), beside);
            drained
        };
        match tokio::time::timeout(GRACE + GRACE / 4, drained).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                account = &*self.id,
                instance = self.instance_number(),
                "draining failed: {error}"
            ),
            Err(_) => tracing::warn!(
                account = &*self.id,
                instance = self.instance_number(),
                "draining takes too long: given up"
            ),
        }
    }

    async fn shut_down(&self, instance: &Instance) {
        self.drain(instance, self.queues.typing_ended()).await;
        match tokio::time::timeout(STOP_WAIT, instance.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                account = &*self.id,
                instance = self.instance_number(),
                "stopping failed: {error}"
            ),
            Err(_) => tracing::warn!(
                account = &*self.id,
                instance = self.instance_number(),
                "the server does not answer the stop"
            ),
        }
    }
}
