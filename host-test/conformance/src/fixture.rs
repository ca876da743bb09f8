//! The fixture of a check: a server, a store and a clock of its own, and instances to drive.
//!
//! Every wait ends, and every failure is a sentence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Suite;
use super::held::Held;
use super::ledger::{CANARY, Ledger};
use super::platform::{Fault, Person, PlatformServer};
use gateway_host::account::{AccountOptions, Setup};
use gateway_host::clock::Clock;
use gateway_host::contract::Health;
use gateway_host::contract::Post;
use gateway_host::contract::{
    Error, ErrorKind, Event, EventBody, Message, Part, PartState, Receipt,
};
use gateway_host::instance::{CallError, Instance, kind_name};
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::State;

/// The result of a check. The error is a sentence that says which promise is not kept.
pub type Outcome = Result<(), String>;

/// An hour of the clock that is moved.
pub const HOUR: Duration = Duration::from_secs(3600);
/// How long anything may take, in real time. It is far longer than needed, even on a busy machine, and
/// shorter than the time that a request waits for its answer. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two looks at whether something has happened.
const LOOK: Duration = Duration::from_millis(5);

/// Fails with a sentence where `is` is false.
pub fn expect(is: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    match is {
        true => Ok(()),
        false => Err(otherwise()),
    }
}

/// Fails where two values differ.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    expect(found == wanted, || {
        format!("{what}: {found:?} instead of {wanted:?}")
    })
}

/// Waits, and not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.map_err(|_| format!("{what} takes more than {} s", PATIENCE.as_secs()))
}

/// What a call returns when it goes well.
pub async fn answered<T>(
    what: &str,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, String> {
    let result = within(what, call).await?;
    result.map_err(|error| format!("{what} fails: {error}"))
}

/// The error of a call that must fail with one of these kinds.
pub async fn refused<T>(
    what: &str,
    kinds: &[ErrorKind],
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<Error, String> {
    let wanted = kinds.iter().map(|kind| kind_name(*kind));
    let wanted = wanted.collect::<Vec<_>>().join(" or ");
    match within(what, call).await? {
        Ok(_) => Err(format!("{what} succeeds instead of failing with {wanted}")),
        Err(CallError::Channel(error)) if kinds.contains(&error.kind) => Ok(error),
        Err(error) => Err(format!(
            "{what} fails otherwise than with {wanted}: {error}"
        )),
    }
}

/// What a person or an agent says in a check.
pub fn words(text: &str) -> String {
    format!("{text} {CANARY}")
}

/// A message of the gateway's own accord.
pub fn post(key: &str, conversation: &str, text: &str) -> Post {
    Post::new(key, conversation, words(text))
}

/// An answer to a message, as a gateway makes it.
pub fn answer(message: &Message, text: &str) -> Post {
    let key = format!("reply:{}", message.id);
    post(&key, &message.conversation.id, text).answering(&message.id)
}

/// The one part of a receipt, which must be in this state.
pub fn part(receipt: &Receipt, state: PartState) -> Result<&Part, String> {
    match receipt.parts.as_slice() {
        [part] if part.state == state => Ok(part),
        parts => Err(format!(
            "the receipt of {} has {:?} instead of one {state:?}",
            receipt.key,
            parts.iter().map(|part| part.state).collect::<Vec<_>>()
        )),
    }
}

/// The messages among events, in order.
pub fn messages(events: &[Event]) -> Vec<&Message> {
    let bodies = events.iter().map(|event| &event.body);
    bodies
        .filter_map(|body| match body {
            EventBody::Message(message) => Some(message),
            EventBody::Recalled(_) | EventBody::Settled(_) | EventBody::Other(_) => None,
        })
        .collect()
}

/// One account of one server, with a store and a clock of its own.
pub struct Fixture {
    /// The platform.
    pub server: Box<dyn PlatformServer>,
    /// Who writes.
    pub alice: Person,
    /// Another one.
    pub bob: Person,
    /// The time of all.
    pub clock: Clock,
    /// The store.
    pub state: Arc<dyn State>,
    /// What all checks share.
    pub ledger: Ledger,
    /// Runs the component, by this fixture's clock.
    pub runtime: Runtime,
    /// The component.
    pub plugin: Plugin,
}

impl Fixture {
    /// A fixture for a check of this suite.
    pub async fn new(suite: &Suite) -> Result<Fixture, String> {
        let clock = Clock::new();
        let server = suite.server(clock.clone()).await?;
        let mut runtime = suite.runtime.clone();
        runtime.clock = clock.clone();
        for secret in server.account().secrets.into_values() {
            suite.ledger.secret(secret);
        }
        let [alice, bob] = server.people();
        Ok(Fixture {
            server,
            alice,
            bob,
            clock,
            state: (suite.store)(),
            ledger: suite.ledger.clone(),
            runtime,
            plugin: suite.plugin.clone(),
        })
    }

    /// The configuration that leads to the simulated server, without a pace.
    pub fn config(&self) -> BTreeMap<String, String> {
        self.server.account().config
    }

    /// An instance over the fixture's store; its `start` is still to be called.
    pub async fn instance(&self) -> Result<Instance, String> {
        self.instance_over(Arc::clone(&self.state), self.config())
            .await
    }

    /// An instance over another store, with another configuration.
    pub async fn instance_over(
        &self,
        state: Arc<dyn State>,
        config: BTreeMap<String, String>,
    ) -> Result<Instance, String> {
        let options = AccountOptions {
            config,
            ..self.server.account()
        };
        let setup = Setup::new(&self.runtime, &self.plugin, state, options)
            .map_err(|error| error.to_string())?;
        let instance = within("making an instance", setup.instance()).await?;
        instance.map_err(|error| format!("no instance can be made: {error}"))
    }

    /// A started instance whose lane runs.
    pub async fn start(&self) -> Result<Running, String> {
        let running = self.start_without_lane().await?;
        Ok(running.with_lane())
    }

    /// A started instance that sends nothing yet.
    pub async fn start_without_lane(&self) -> Result<Running, String> {
        let instance = self.instance().await?;
        answered("start", instance.start()).await?;
        Ok(Running::new(instance))
    }

    /// A started instance over a store that can be held.
    pub async fn start_held(&self) -> Result<(Running, Held), String> {
        let held = Held::over(&self.state);
        let state = Arc::new(held.clone());
        let instance = self.instance_over(state, self.config()).await?;
        answered("start", instance.start()).await?;
        Ok((Running::new(instance).with_lane(), held))
    }

    /// Kills an instance, and waits until its poll is gone. Otherwise the server could hand messages to
    /// a poll whose client is dead, and that is not what a check tries.
    pub async fn kill(&self, running: Running) -> Outcome {
        drop(running);
        let is_gone = |server: &dyn PlatformServer| server.counters().polls_open == 0;
        self.until("the end of the killed one's poll", is_gone)
            .await
    }

    /// Switches a fault of the server on.
    pub fn fault(&self, fault: Fault) -> Outcome {
        self.server.fault(fault, true)
    }

    /// Switches it off.
    pub fn heal(&self, fault: Fault) -> Outcome {
        self.server.fault(fault, false)
    }

    /// From now on the server hands out no message twice.
    pub fn say_nothing_twice(&self) -> Outcome {
        self.fault(Fault::NothingTwice)
    }

    /// Alice writes; the message's id.
    pub fn say(&self, text: &str) -> String {
        self.server.say(&words(text))
    }

    /// A message to Alice of the gateway's own accord.
    pub fn post(&self, key: &str, text: &str) -> Post {
        post(key, &self.alice.conversation, text)
    }

    /// What Alice sees of the bot.
    pub fn shown(&self) -> Vec<String> {
        self.server.answers()
    }

    /// Waits until the server has seen something.
    pub async fn until(&self, what: &str, is: impl Fn(&dyn PlatformServer) -> bool) -> Outcome {
        let seen = async {
            while !is(&*self.server) {
                tokio::time::sleep(LOOK).await;
            }
        };
        within(what, seen).await
    }

    /// Waits until a poll hangs at the server.
    pub async fn until_polling(&self) -> Outcome {
        let is = |server: &dyn PlatformServer| server.counters().polls_open == 1;
        self.until("opening a poll", is).await
    }

    /// Moves the clock on by `step` until something is true.
    pub async fn moving(
        &self,
        what: &str,
        step: Duration,
        is: impl AsyncFn() -> Result<bool, String>,
    ) -> Outcome {
        let moved = async {
            while !is().await? {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.clock.advance(step);
            }
            Ok(())
        };
        within(what, moved).await?
    }

    /// Waits for something, and moves the clock on by a second at a time meanwhile.
    pub async fn flying<T>(&self, future: impl Future<Output = T>) -> T {
        self.flying_by(Duration::from_secs(1), future).await
    }

    /// The same by other steps.
    pub async fn flying_by<T>(&self, step: Duration, future: impl Future<Output = T>) -> T {
        let moving = async {
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.clock.advance(step);
            }
        };
        tokio::select! {
            result = future => result,
            () = moving => unreachable!("it never ends"),
        }
    }
}

/// A started instance; dropping it is a kill.
pub struct Running {
    /// What is called.
    pub instance: Instance,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // They hold the instance.
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Running {
    fn new(instance: Instance) -> Running {
        Running {
            instance,
            tasks: Vec::new(),
        }
    }

    fn with_lane(mut self) -> Running {
        let instance = self.instance.clone();
        self.tasks.push(tokio::spawn(async move {
            // A lane that fails is called again, as long as there is an instance.
            while let Err(CallError::Channel(_)) = instance.run().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
        self
    }

    /// Calls `receive` and leaves it open. The task returns the result.
    pub fn receiving(&self) -> JoinHandle<Result<Vec<Event>, CallError>> {
        let instance = self.instance.clone();
        tokio::spawn(async move { instance.receive().await })
    }

    /// Calls `send` and leaves it open. It ends with the instance.
    pub fn sending(&mut self, post: Post) {
        let instance = self.instance.clone();
        self.tasks.push(tokio::spawn(async move {
            let _ = instance.send(post).await;
        }));
    }

    /// The next events.
    pub async fn receive(&self) -> Result<Vec<Event>, String> {
        answered("receive", self.instance.receive()).await
    }

    /// So many events, from as many calls as it takes.
    pub async fn receive_all(&self, count: usize) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.receive().await?);
        }
        Ok(events)
    }

    /// The next event, which must be this message and nothing else.
    pub async fn receive_only(&self, id: &str) -> Result<Message, String> {
        let events = self.receive().await?;
        match events.as_slice() {
            [
                Event {
                    body: EventBody::Message(message),
                    ..
                },
            ] if message.id == id => Ok(message.clone()),
            events => Err(format!(
                "receive returns the events {:?} instead of the message {id}",
                events.iter().map(|event| &event.id).collect::<Vec<_>>()
            )),
        }
    }

    /// `ack` of one event.
    pub async fn ack(&self, id: &str) -> Outcome {
        answered("ack", self.instance.ack(vec![id.to_owned()])).await
    }

    /// `send`.
    pub async fn send(&self, post: Post) -> Result<Receipt, String> {
        answered("send", self.instance.send(post)).await
    }

    /// `check`.
    pub async fn health(&self) -> Result<Health, String> {
        answered("check", self.instance.check()).await
    }

    /// Waits until everything that was posted is settled and stored.
    pub async fn settled(&self) -> Outcome {
        let settled = async {
            while self.health().await?.queued > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        within("settling what was posted", settled).await?
    }
}
