//! Keeps an account going: one instance at a time, its messages to the agent, the replies back.
//!
//! Promises: a message is given to the agent until the agent acknowledges it; the messages of one
//! conversation go one after the other, those of others do not wait for them; an instance that ends
//! is replaced, and what it had under way is done again by its successor.

mod lanes;
mod message;
mod rules;
mod typing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::agent::Agent;
use crate::bindings::gateway::channel::types::ErrorKind;
use crate::clock::Clock;
use crate::egress::credential::Secrets;
use crate::egress::{Egress, Limits};
use crate::instance::{CallError, Ended, Instance};
use crate::media::MediaRules;
use crate::runtime::{Plugin, Runtime};
use crate::sandbox::Sandbox;
use crate::state::State;
use lanes::Lanes;

pub use crate::bindings::exports::gateway::channel::lifecycle::{Health, Phase};
pub use crate::bindings::exports::gateway::channel::outbound::Post;
pub use crate::bindings::gateway::channel::types::{Event, EventBody, PartState, Receipt};

/// What requests under way may still take when an account stops.
const GRACE: Duration = Duration::from_secs(1);
/// What the announcement of the stop may take.
const STOP_WAIT: Duration = Duration::from_millis(600);
/// Pauses before an instance is replaced.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What an account needs.
#[derive(Clone)]
pub struct AccountOptions {
    /// The account's id, also the name of its part of the store.
    pub id: String,
    /// Credentials by name, such as `bot-token`; the component never sees them.
    pub secrets: BTreeMap<String, String>,
    /// The component's configuration, by the keys of its schema; `account-id` is added.
    pub config: BTreeMap<String, String>,
    /// What the agent may send and get.
    pub media: MediaRules,
}

impl std::fmt::Debug for AccountOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountOptions")
            .field("id", &self.id)
            .field("config", &self.config)
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}

/// Why an account can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong; trying again does not help.
    #[error("{0}")]
    Invalid(String),
    /// The instance did not start.
    #[error("{0}")]
    Failed(String),
}

/// A running account. It stops when it is dropped; [`Account::stop`] does so in an orderly way.
pub struct Account {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What each instance of an account is made of.
pub struct Setup {
    runtime: Runtime,
    plugin: Plugin,
    state: Arc<dyn State>,
    id: Arc<str>,
    config: Arc<BTreeMap<String, String>>,
    egress: Egress,
    media: MediaRules,
}

impl Setup {
    /// Checks what the account may reach.
    ///
    /// # Errors
    /// When a rule or an origin is wrong.
    pub fn new(
        runtime: &Runtime,
        plugin: &Plugin,
        state: Arc<dyn State>,
        options: AccountOptions,
    ) -> Result<Setup, StartError> {
        let AccountOptions {
            id,
            secrets,
            mut config,
            media,
        } = options;
        let held = Secrets::default();
        for (name, value) in &secrets {
            held.set(name, value);
        }
        let rules = rules::of(&plugin.descriptor, &config).map_err(StartError::Invalid)?;
        config.insert("account-id".to_owned(), id.clone());
        let (client, clock) = (runtime.client.clone(), runtime.clock.clone());
        Ok(Setup {
            runtime: runtime.clone(),
            plugin: plugin.clone(),
            state,
            id: id.into(),
            config: Arc::new(config),
            egress: Egress::new(client, rules, held, Limits::default(), clock),
            media,
        })
    }

    /// A new instance; its `start` is still to be called.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn instance(&self) -> Result<Instance, StartError> {
        let sandbox = Sandbox::new(
            Arc::clone(&self.id),
            Arc::clone(&self.config),
            Arc::clone(&self.state),
            self.egress.clone(),
            self.runtime.clock.clone(),
        );
        Instance::new(&self.runtime, &self.plugin, sandbox)
            .await
            .map_err(|error| StartError::Failed(format!("{error:#}")))
    }
}

struct Shared {
    setup: Setup,
    agent: Arc<dyn Agent>,
    id: Arc<str>,
    /// The instance that serves, none between two.
    current: watch::Sender<Option<Instance>>,
    stopping: watch::Sender<bool>,
    lanes: Lanes,
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
        let setup = Setup::new(runtime, plugin, state, options)?;
        let shared = Arc::new(Shared {
            id: Arc::clone(&setup.id),
            setup,
            agent,
            current: watch::channel(None).0,
            stopping: watch::channel(false).0,
            lanes: Lanes::default(),
        });
        let (started, first) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(&shared).keep_going(started));
        match first.await {
            Ok(Ok(())) => Ok(Account { shared, task }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Failed("the account's task ended".to_owned())),
        }
    }

    /// The account's id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// How the account does; none while an instance is being replaced.
    pub async fn health(&self) -> Option<Health> {
        let instance = self.shared.current.borrow().clone()?;
        instance.check().await.ok()
    }

    /// A proactive post; see `outbound.send` of the world.
    ///
    /// # Errors
    /// Those of `outbound.send`; [`CallError::Ended`] while an instance is being replaced.
    pub async fn send(&self, post: Post) -> Result<Receipt, CallError> {
        let instance = self.shared.current.borrow().clone();
        match instance {
            Some(instance) => instance.send(post).await,
            None => Err(CallError::Ended(Ended("it is being replaced".into()))),
        }
    }

    /// The receipt of a post; see `outbound.find` of the world.
    ///
    /// # Errors
    /// Those of `outbound.find`; [`CallError::Ended`] while an instance is being replaced.
    pub async fn find(&self, key: String) -> Result<Option<Receipt>, CallError> {
        let instance = self.shared.current.borrow().clone();
        match instance {
            Some(instance) => instance.find(key).await,
            None => Err(CallError::Ended(Ended("it is being replaced".into()))),
        }
    }

    /// Bytes of the instance's linear memory; none while it is being replaced.
    pub async fn memory_bytes(&self) -> Option<usize> {
        let instance = self.shared.current.borrow().clone()?;
        Some(instance.memory_bytes())
    }

    /// Ends polling at once, gives requests under way up to a second, and announces the stop; within
    /// two seconds. What is left is stored for the next start.
    pub async fn stop(mut self) {
        self.shared.stopping.send_replace(true);
        // A task that panicked has nothing left to stop.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.shared.stopping.send_replace(true);
        // Links to media hold a receiver: with it they would hold the instance.
        self.shared.current.send_replace(None);
        self.task.abort();
    }
}

impl Shared {
    fn clock(&self) -> &Clock {
        &self.setup.runtime.clock
    }

    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    async fn keep_going(self: Arc<Self>, started: oneshot::Sender<Result<(), StartError>>) {
        let mut started = Some(started);
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = self.clock().elapsed();
            let instance = tokio::select! {
                instance = self.new_instance() => instance,
                () = self.stopped() => return,
            };
            let why = match instance {
                Err(error) => {
                    if let Some(started) = started.take() {
                        let _ = started.send(Err(error));
                        return;
                    }
                    error.to_string()
                }
                Ok(instance) => {
                    if let Some(started) = started.take() {
                        let _ = started.send(Ok(()));
                    }
                    self.current.send_replace(Some(instance.clone()));
                    let why = tokio::select! {
                        why = self.serve(&instance) => why,
                        () = self.stopped() => {
                            self.shut_down(&instance).await;
                            self.current.send_replace(None);
                            return;
                        }
                    };
                    self.current.send_replace(None);
                    match why {
                        Some(why) => why,
                        None => return,
                    }
                }
            };
            if self.clock().elapsed() - begun > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tracing::error!(
                account = &*self.id,
                "{why}; another instance follows in {} s",
                pause.as_secs()
            );
            tokio::select! {
                () = self.clock().sleep(pause) => {}
                () = self.stopped() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn new_instance(&self) -> Result<Instance, StartError> {
        let instance = self.setup.instance().await?;
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
            loop {
                match instance.receive().await {
                    Ok(events) => {
                        if events.is_empty() {
                            return Some("the instance drains".to_owned());
                        }
                        for event in events {
                            match event.body {
                                EventBody::Message(message) => {
                                    let message = self.message(message).await;
                                    Lanes::push(self, message);
                                }
                                EventBody::Recalled(_)
                                | EventBody::Settled(_)
                                | EventBody::Other(_) => done.push(event.id),
                            }
                        }
                        // What fails is tried again with the next events.
                        if !done.is_empty() {
                            match instance.ack(done.clone()).await {
                                Ok(()) => done.clear(),
                                Err(error) => tracing::warn!(
                                    account = &*self.id,
                                    "acknowledging failed: {error}"
                                ),
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
            CallError::Channel(error) if error.kind == ErrorKind::Fenced => {
                tracing::error!(account = &*self.id, "{}", error.message);
                None
            }
            // The instance's end is waited for beside this, and told there.
            CallError::Ended(_) => std::future::pending().await,
            CallError::Channel(_) => {
                tracing::error!(account = &*self.id, "{error}; trying again");
                self.clock().sleep(FIRST_PAUSE).await;
                Some(())
            }
        }
    }

    async fn shut_down(&self, instance: &Instance) {
        let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(0);
        let drained = async {
            let (drained, ()) = tokio::join!(instance.drain(grace_ms), self.lanes.typing_ended());
            drained
        };
        match tokio::time::timeout(GRACE + GRACE / 4, drained).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(account = &*self.id, "draining failed: {error}"),
            Err(_) => tracing::warn!(account = &*self.id, "draining takes too long: given up"),
        }
        match tokio::time::timeout(STOP_WAIT, instance.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(account = &*self.id, "stopping failed: {error}"),
            Err(_) => tracing::warn!(account = &*self.id, "the server does not answer the stop"),
        }
    }
}
