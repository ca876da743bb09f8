//! One running instance: its exports as Rust functions that may be called at the same time.
//!
//! A trap ends the instance, and every open call then fails with [`Ended`], which says why. Dropping a
//! call does not end it in the component; only `drain` ends calls. Therefore a call that takes longer
//! than its limit ends the instance.

mod end;
pub(crate) mod guest_text;
mod handler;
mod task;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::instrument::WithSubscriber;
use wasmtime::component::{Accessor, StreamReader};

use crate::bindings::Channel;
use crate::bindings::exports::gateway::channel::lifecycle::Health;
pub use crate::bindings::exports::gateway::channel::login::Step;
pub use crate::bindings::exports::gateway::channel::media_transfer::Upload;
use crate::bindings::exports::gateway::channel::outbound::Post;
use crate::bindings::gateway::channel::types::{Error, ErrorKind, Event, Media, Receipt};
use crate::runtime::{Plugin, Runtime};
use crate::sandbox::Sandbox;
use crate::sandbox::limits::{CallLimits, Exceeded};
use crate::sandbox::offload;
use crate::sandbox::tenant::Tenant;
use crate::transfer::{self, Content};
use handler::Handler;
pub use handler::{HandleError, ResponseBody};

/// The instance is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the instance ended: {0}")]
pub struct Ended(pub Arc<str>);

/// What a call may fail with.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The component says why.
    #[error("{}: {}", describe(.0), .0.message)]
    Channel(Error),
    /// The instance is gone.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl CallError {
    fn of_guest(error: Error) -> CallError {
        CallError::Channel(guest_text::error(error))
    }
}

/// The kind of an error and the platform's code.
pub(crate) fn describe(error: &Error) -> String {
    let kind = kind_name(error.kind);
    match error.platform.as_deref() {
        Some(platform) => format!("{kind} ({platform})"),
        None => kind.to_owned(),
    }
}

/// A kind's name in the contract.
pub fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Transient => "transient",
        ErrorKind::RateLimited => "rate-limited",
        ErrorKind::UnknownOutcome => "unknown-outcome",
        ErrorKind::LoginRequired => "login-required",
        ErrorKind::WindowClosed => "window-closed",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::NotFound => "not-found",
        ErrorKind::Invalid => "invalid",
        ErrorKind::TooLarge => "too-large",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::KeyConflict => "key-conflict",
        ErrorKind::Fenced => "fenced",
        ErrorKind::Draining => "draining",
        ErrorKind::Storage => "storage",
    }
}

type Call = Box<
    dyn for<'a> FnOnce(&'a Accessor<Sandbox>, &'a Channel) -> BoxFuture<'a, wasmtime::Result<()>>
        + Send,
>;

/// A handle of a running instance; clones share it. The instance ends with its last handle.
#[derive(Clone)]
pub struct Instance {
    number: u64,
    calls: mpsc::UnboundedSender<Call>,
    end: Arc<OnceLock<Ended>>,
    ended: watch::Receiver<()>,
    /// What stops it, whatever it does.
    stop: Arc<watch::Sender<Option<Exceeded>>>,
    tenant: Arc<Tenant>,
    limits: Arc<CallLimits>,
    memory: Arc<AtomicUsize>,
    /// None where the component's world has none.
    handler: Option<Handler>,
}

debug_by_name!(Instance);

/// How long a call may take: the field of [`CallLimits`] and its value.
type Limit = Option<(&'static str, Duration)>;

impl Instance {
    /// Instantiates a component; its `start` is still to be called.
    ///
    /// # Errors
    /// When the instance can't be made.
    pub async fn new(
        runtime: &Runtime,
        plugin: &Plugin,
        sandbox: Sandbox,
    ) -> wasmtime::Result<Instance> {
        let (stderr, memory) = (sandbox.stderr(), sandbox.growth.memory());
        let (number, tenant) = (sandbox.number(), Arc::clone(sandbox.tenant()));
        // This future is large and short-lived. Boxed, it leaves the caller's future small.
        let started = Box::pin(plugin.instantiate(runtime, sandbox)).await;
        let started = started.map_err(|error| {
            let reason = end::reason(&error, &stderr.contents(), &tenant.limits);
            wasmtime::Error::msg(reason)
        })?;
        let handler = started.exports.handler.clone();
        let (calls, queue) = mpsc::unbounded_channel::<Call>();
        let end = Arc::new(OnceLock::new());
        let (alive, ended) = watch::channel(());
        let (stop, stopped) = watch::channel(None);
        let shared_end = Arc::clone(&end);
        let serving = async move {
            let meter = started.meter.clone();
            if let Some(why) = offload::run(meter, task::run(started, queue, stopped)).await {
                let _ = shared_end.set(Ended(why.into()));
            }
            drop(alive);
        };
        // What it logs goes where its maker's logs go.
        tokio::spawn(serving.with_current_subscriber());
        Ok(Instance {
            number,
            calls,
            end,
            ended,
            stop: Arc::new(stop),
            limits: Arc::new(tenant.limits.calls.clone()),
            memory,
            handler: handler.map(|service| Handler::new(service, Arc::clone(tenant.budget()))),
            tenant,
        })
    }

    /// Which instance of this process it is, from 1; it is in the log.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether both are handles of the same instance.
    pub(crate) fn is_same(&self, other: &Instance) -> bool {
        Arc::ptr_eq(&self.end, &other.end)
    }

    /// Calls an export and waits for its result.
    async fn call<T: Send + 'static>(
        &self,
        limit: Limit,
        call: impl for<'a> FnOnce(
            &'a Accessor<Sandbox>,
            &'a Channel,
        ) -> BoxFuture<'a, wasmtime::Result<T>>
        + Send
        + 'static,
    ) -> Result<T, Ended> {
        let (sender, receiver) = oneshot::channel();
        let call: Call = Box::new(move |accessor, channel| {
            let result = call(accessor, channel);
            Box::pin(async move {
                // Nobody waits any more when the caller was dropped.
                let _ = sender.send(result.await?);
                Ok(())
            })
        });
        if self.calls.send(call).is_err() {
            return Err(self.ended().await);
        }
        let result = match limit {
            None => receiver.await,
            // Real time: what is limited is how long others wait.
            Some((name, limit)) => match tokio::time::timeout(limit, receiver).await {
                Ok(result) => result,
                Err(_) => {
                    let what = "a call takes longer";
                    let exceeded = Exceeded::call(name, what, limit);
                    self.stop.send_replace(Some(exceeded));
                    return Err(self.ended().await);
                }
            },
        };
        match result {
            Ok(result) => Ok(result),
            Err(_) => Err(self.ended().await),
        }
    }

    /// Bytes of its linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Waits for the instance's end.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        // Nothing is ever sent: this ends when the sender is dropped.
        while ended.changed().await.is_ok() {}
        self.end
            .get()
            .cloned()
            .unwrap_or_else(|| Ended("its task was cancelled".into()))
    }

    /// `lifecycle.start`.
    pub async fn start(&self) -> Result<(), CallError> {
        self.call(
            Some(("calls.start", self.limits.start)),
            |accessor, channel| Box::pin(channel.gateway_channel_lifecycle().call_start(accessor)),
        )
        .await?
        .map_err(CallError::of_guest)
    }

    /// `lifecycle.drain`; `grace_ms` is for requests under way.
    pub async fn drain(&self, grace_ms: u64) -> Result<(), CallError> {
        let limit = Duration::from_millis(grace_ms).saturating_add(self.limits.drain);
        let limit = Some(("calls.drain", limit));
        self.call(limit, move |accessor, channel| {
            Box::pin(
                channel
                    .gateway_channel_lifecycle()
                    .call_drain(accessor, grace_ms),
            )
        })
        .await?
        .map_err(CallError::of_guest)
    }

    /// `lifecycle.stop`.
    pub async fn stop(&self) -> Result<(), CallError> {
        self.call(
            Some(("calls.stop", self.limits.stop)),
            |accessor, channel| Box::pin(channel.gateway_channel_lifecycle().call_stop(accessor)),
        )
        .await?
        .map_err(CallError::of_guest)
    }

    /// `lifecycle.check`.
    pub async fn check(&self) -> Result<Health, CallError> {
        let health = self.call(
            Some(("calls.check", self.limits.check)),
            |accessor, channel| Box::pin(channel.gateway_channel_lifecycle().call_check(accessor)),
        );
        Ok(guest_text::health(health.await?))
    }

    /// `inbound.receive`. Events that can't be taken are left out, and told.
    pub async fn receive(&self) -> Result<Vec<Event>, CallError> {
        loop {
            let received = self.call(None, |accessor, channel| {
                Box::pin(channel.gateway_channel_inbound().call_receive(accessor))
            });
            let events = received.await?.map_err(CallError::of_guest)?;
            // None at all means that it drains.
            let is_draining = events.is_empty();
            let (events, refused) = guest_text::events(events);
            if let Some(why) = refused {
                self.tenant.warn(&format!("an event is left out: {why}"));
            }
            if is_draining || !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// `inbound.ack`.
    pub async fn ack(&self, ids: Vec<String>) -> Result<(), CallError> {
        self.call(
            Some(("calls.ack", self.limits.ack)),
            move |accessor, channel| {
                Box::pin(channel.gateway_channel_inbound().call_ack(accessor, ids))
            },
        )
        .await?
        .map_err(CallError::of_guest)
    }

    /// `outbound.run`.
    pub async fn run(&self) -> Result<(), CallError> {
        self.call(None, |accessor, channel| {
            Box::pin(channel.gateway_channel_outbound().call_run(accessor))
        })
        .await?
        .map_err(CallError::of_guest)
    }

    /// `outbound.send`.
    pub async fn send(&self, post: Post) -> Result<Receipt, CallError> {
        self.call(
            Some(("calls.send", self.limits.send)),
            move |accessor, channel| {
                Box::pin(channel.gateway_channel_outbound().call_send(accessor, post))
            },
        )
        .await?
        .map_err(CallError::of_guest)
        .map(guest_text::receipt)
    }

    /// `outbound.find`.
    pub async fn find(&self, key: String) -> Result<Option<Receipt>, CallError> {
        self.call(
            Some(("calls.find", self.limits.find)),
            move |accessor, channel| {
                Box::pin(channel.gateway_channel_outbound().call_find(accessor, key))
            },
        )
        .await?
        .map_err(CallError::of_guest)
        .map(|found| found.map(guest_text::receipt))
    }

    /// `media-transfer.fetch`.
    pub async fn fetch(&self, handle: String) -> Result<Content, CallError> {
        self.call(
            Some(("calls.fetch", self.limits.fetch)),
            move |accessor, channel| {
                Box::pin(async move {
                    let media = channel.gateway_channel_media_transfer();
                    match media.call_fetch(accessor, handle).await? {
                        Ok(content) => accessor
                            .with(|access| transfer::receive(access, content))
                            .map(Ok),
                        Err(error) => Ok(Err(error)),
                    }
                })
            },
        )
        .await?
        .map_err(CallError::of_guest)
    }

    /// `media-transfer.put`.
    pub async fn put(
        &self,
        info: Upload,
        content: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> Result<Media, CallError> {
        self.call(
            Some(("calls.put", self.limits.put)),
            move |accessor, channel| {
                Box::pin(async move {
                    let content = accessor
                        .with(|access| StreamReader::new(access, transfer::Upload(content)))?;
                    let media = channel.gateway_channel_media_transfer();
                    media.call_put(accessor, info, content).await
                })
            },
        )
        .await?
        .map_err(CallError::of_guest)
        .map(guest_text::media)
    }

    /// `login.begin`.
    pub async fn begin_login(&self) -> Result<Step, CallError> {
        self.call(
            Some(("calls.begin_login", self.limits.begin_login)),
            |accessor, channel| Box::pin(channel.gateway_channel_login().call_begin(accessor)),
        )
        .await?
        .map_err(CallError::of_guest)
        .and_then(|step| guest_text::step(step).map_err(CallError::Channel))
    }

    /// `login.next`.
    pub async fn next_login_step(&self) -> Result<Step, CallError> {
        self.call(None, |accessor, channel| {
            Box::pin(channel.gateway_channel_login().call_next(accessor))
        })
        .await?
        .map_err(CallError::of_guest)
        .and_then(|step| guest_text::step(step).map_err(CallError::Channel))
    }

    /// `login.submit`.
    pub async fn submit_login_code(&self, code: String) -> Result<Step, CallError> {
        self.call(None, move |accessor, channel| {
            Box::pin(channel.gateway_channel_login().call_submit(accessor, code))
        })
        .await?
        .map_err(CallError::of_guest)
        .and_then(|step| guest_text::step(step).map_err(CallError::Channel))
    }

    /// `outbound.typing`.
    pub async fn typing(&self, conversation: String, on: bool) -> Result<(), CallError> {
        self.call(
            Some(("calls.typing", self.limits.typing)),
            move |accessor, channel| {
                Box::pin(
                    channel
                        .gateway_channel_outbound()
                        .call_typing(accessor, conversation, on),
                )
            },
        )
        .await?
        .map_err(CallError::of_guest)
    }
}
