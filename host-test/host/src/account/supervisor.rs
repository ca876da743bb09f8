//! Supervises the instances of an account: makes one, has it serve until it is of no use any more, and
//! replaces it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::conversation_queue::ConversationQueues;
use super::stage::{SUPERSEDED, Stage};
use super::swap::Swap;
use super::{Event, EventBody, Shared, StartError};
use crate::bindings::gateway::channel::types::ErrorKind;
use crate::instance::{CallError, Instance};
use crate::sandbox::budget::Charge;

/// What requests under way may still take when an account stops.
const GRACE: Duration = Duration::from_secs(1);
/// Events that are acknowledged again when that failed; the others come again.
const MAX_UNACKNOWLEDGED: usize = 10_000;
/// What the announcement of the stop may take.
const STOP_WAIT: Duration = Duration::from_millis(600);
/// Pauses before an instance is replaced.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why an instance does not serve any more.
enum ServiceEnd {
    /// It is of no use any more, for this reason.
    Failed(String),
    /// The account has a newer owner.
    Superseded,
    /// It has drained, and another component is to take over.
    Swapped(Swap),
    /// The account stops.
    Stopped,
}

/// How the supervision ends.
enum Finish {
    /// The account has a newer owner.
    Superseded,
    /// The account stops.
    Stopped,
}

/// Events that are dealt with and not acknowledged yet.
struct Unacknowledged {
    ids: Vec<String>,
    /// What the ids take of the account's memory.
    held: Charge,
}

impl Shared {
    /// Has one instance after the other serve, until the account stops or has a newer owner. Tells
    /// how the first one started.
    pub(super) async fn supervise(
        self: Arc<Self>,
        started: oneshot::Sender<Result<(), StartError>>,
        mut swaps: mpsc::Receiver<Swap>,
    ) {
        let first = tokio::select! {
            first = self.new_instance() => first,
            () = self.stopped() => return,
        };
        match first {
            Ok(first) => {
                // Whoever waits for the start may call at once.
                self.stages.enter(Stage::Serving(first.clone()));
                let _ = started.send(Ok(()));
                match self.serve_in_turn(first, &mut swaps).await {
                    Finish::Superseded => self.is_superseded(),
                    Finish::Stopped => self.stages.enter(Stage::Stopped),
                }
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    }

    /// Has this instance serve, and after it its successors.
    async fn serve_in_turn(
        self: &Arc<Self>,
        first: Instance,
        swaps: &mut mpsc::Receiver<Swap>,
    ) -> Finish {
        let mut successor = Some(first);
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = self.clock().elapsed();
            let made = match successor.take() {
                Some(instance) => Ok(instance),
                None => tokio::select! {
                    instance = self.new_instance() => instance,
                    () = self.stopped() => return Finish::Stopped,
                },
            };
            let number = made.as_ref().ok().map(Instance::number);
            let end = match made {
                Ok(instance) => self.serve(instance, swaps).await,
                Err(error) => ServiceEnd::Failed(error.to_string()),
            };
            let why = match end {
                ServiceEnd::Failed(why) => why,
                ServiceEnd::Superseded => return Finish::Superseded,
                ServiceEnd::Swapped(swap) => {
                    successor = self.take_over(swap).await;
                    continue;
                }
                ServiceEnd::Stopped => return Finish::Stopped,
            };
            if self.clock().elapsed() - begun > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let why = format!("{why}; another instance follows in {} s", pause.as_secs());
            tracing::error!(account = &*self.id, instance = number, "{why}");
            self.stages.enter(Stage::BackingOff(why));
            self.metrics.restarts.add();
            tokio::select! {
                () = self.clock().sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.stopped() => return Finish::Stopped,
                // Another component may be the cure.
                Some(swap) = swaps.recv() => {
                    successor = self.take_over(swap).await;
                    pause = FIRST_PAUSE;
                }
            }
        }
    }

    /// A newer instance owns the account: this one is stopped for good, and says so.
    fn is_superseded(&self) {
        tracing::error!(account = &*self.id, "{SUPERSEDED}");
        self.stages.enter(Stage::Superseded);
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

    /// Has an instance serve until it is of no use any more, has to give way, or the account stops.
    async fn serve(
        self: &Arc<Self>,
        instance: Instance,
        swaps: &mut mpsc::Receiver<Swap>,
    ) -> ServiceEnd {
        self.stages.enter(Stage::Serving(instance.clone()));
        tokio::select! {
            end = self.receive(&instance) => end,
            end = self.run(&instance) => end,
            ended = instance.ended() => ServiceEnd::Failed(ended.to_string()),
            () = self.stopped() => {
                self.shut_down(&instance).await;
                ServiceEnd::Stopped
            }
            // The account holds a sender.
            Some(swap) = swaps.recv() => {
                self.stages.enter(Stage::HandingOver(instance.clone()));
                self.drain(&instance, std::future::ready(())).await;
                ServiceEnd::Swapped(swap)
            }
        }
    }

    /// Calls `receive` again and again, and deals with the events.
    async fn receive(self: &Arc<Self>, instance: &Instance) -> ServiceEnd {
        let mut done = Unacknowledged {
            ids: Vec::new(),
            held: self.setup().tenant.budget().note(0),
        };
        loop {
            let setup = self.setup();
            self.queues.wait_for_space(&setup.tenant.limits).await;
            match instance.receive().await {
                Ok(events) if events.is_empty() => {
                    return ServiceEnd::Failed("the instance drains".to_owned());
                }
                Ok(events) => {
                    for event in events {
                        done.ids.extend(self.deal_with(event).await);
                    }
                    self.acknowledge_events(instance, &mut done).await;
                }
                Err(error) => {
                    if let ControlFlow::Break(end) = self.pause_after(error).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Deals with an event; its id, where it can be acknowledged at once.
    async fn deal_with(self: &Arc<Self>, event: Event) -> Option<String> {
        match event.body {
            EventBody::Message(message) => {
                let message = self.message(message).await;
                ConversationQueues::push(self, message);
                None
            }
            EventBody::Settled(receipt) => {
                self.settled(&receipt);
                Some(event.id)
            }
            EventBody::Recalled(_) | EventBody::Other(_) => Some(event.id),
        }
    }

    /// Acknowledges events. What fails is tried again with the next ones.
    async fn acknowledge_events(&self, instance: &Instance, done: &mut Unacknowledged) {
        if done.ids.is_empty() {
            return;
        }
        let Err(error) = instance.ack(done.ids.clone()).await else {
            done.ids.clear();
            return;
        };
        let (account, instance) = (&*self.id, instance.number());
        let text = format!("acknowledging failed: {error}");
        if self.may_tell(&text) {
            tracing::warn!(account, instance, "{text}");
        }
        done.ids.truncate(MAX_UNACKNOWLEDGED);
        done.held.set(done.ids.iter().map(String::len).sum());
        self.clock().sleep(FIRST_PAUSE).await;
    }

    /// Calls `run` again and again, which sends what is queued.
    async fn run(&self, instance: &Instance) -> ServiceEnd {
        loop {
            match instance.run().await {
                // `receive` ends with it, and knows why.
                Ok(()) => std::future::pending().await,
                Err(error) => {
                    if let ControlFlow::Break(end) = self.pause_after(error).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Waits where calling again is right; breaks where the instance is of no use any more.
    async fn pause_after(&self, error: CallError) -> ControlFlow<ServiceEnd> {
        match error {
            CallError::Channel(error) if error.kind == ErrorKind::Fenced => {
                ControlFlow::Break(ServiceEnd::Superseded)
            }
            // The instance's end is waited for beside this, and told there.
            CallError::Ended(_) => std::future::pending().await,
            CallError::Channel(_) => {
                self.fails(&error.to_string());
                self.clock().sleep(FIRST_PAUSE).await;
                ControlFlow::Continue(())
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
            Ok(Err(error)) => self.warn(&format!("draining failed: {error}")),
            Err(_) => self.warn("draining takes too long: given up"),
        }
    }

    async fn shut_down(&self, instance: &Instance) {
        self.drain(instance, self.queues.typing_ended()).await;
        match tokio::time::timeout(STOP_WAIT, instance.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.warn(&format!("stopping failed: {error}")),
            Err(_) => self.warn("the server does not answer the stop"),
        }
    }

    fn warn(&self, text: &str) {
        let (account, instance) = (&*self.id, self.instance_number());
        tracing::warn!(account, instance, "{text}");
    }
}
