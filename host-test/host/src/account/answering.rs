//! Answers the messages of one conversation: gives each one to the agent until it is answered or put
//! aside.
//!
//! The first message of a conversation is answered before the next one is given to the agent. If the
//! first one fails again and again, the next one shows whose fault that is. If the next one is answered
//! and the first one fails once more, the first one is put aside. If both fail, both wait.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;

use super::conversation_queue::Arrived;
use super::{PutAside, Shared};
use crate::agent::health::{Case, FIRST_PAUSE, LONGEST_PAUSE, LONGEST_WISH};
use crate::agent::message::{Message, Reply};
use crate::agent::progress::Progress;
use crate::agent::{AgentError, Fault};
use crate::bindings::gateway::channel::types::ErrorKind;
use crate::instance::CallError;

type Answer = Result<Option<Reply>, AgentError>;
/// Shown until it is dropped.
type Typing = Pin<Box<dyn Future<Output = Infallible> + Send>>;

/// A message that was taken from its queue.
struct Held {
    message: Message,
    came: Duration,
    case: Case,
    /// When it is given to the agent, and the pause that follows then.
    due: Duration,
    pause: Duration,
    error: Option<AgentError>,
}

/// A conversation that has messages.
struct Conversation {
    id: String,
    /// Oldest first. Only the first one is given to the agent, unless it is a suspect.
    held: Vec<Held>,
    /// Messages have come that may show whose fault the failures are.
    others: Arc<Notify>,
    /// The person knows that answers are late.
    is_told: bool,
}

impl Conversation {
    /// Whether another message has to show whose fault the failures are.
    fn wants_witness(&self) -> bool {
        !self.held.is_empty() && self.held.iter().all(|held| held.case.is_suspect())
    }
}

/// What comes next in a conversation.
enum Next {
    /// The message at this place may be given to the agent.
    Ask(usize),
    /// The person is to be told that the answer to the first message is late.
    Tell,
    /// Another message has come.
    Look,
    Stop,
}

impl Shared {
    /// Answers the messages of a conversation until none is left.
    pub(super) async fn converse(self: Arc<Self>, id: String, first: Arrived, others: Arc<Notify>) {
        let mut conversation = Conversation {
            held: vec![self.hold(&id, first)],
            id,
            others,
            is_told: false,
        };
        loop {
            if conversation.wants_witness()
                && let Some(witness) = self.queues.next(&conversation.id)
            {
                conversation.held.push(self.hold(&conversation.id, witness));
            }
            if conversation.held.is_empty() {
                match self.queues.next_or_close(&conversation.id) {
                    Some(next) => conversation.held.push(self.hold(&conversation.id, next)),
                    None => return,
                }
            }
            match self.next(&mut conversation).await {
                Next::Ask(place) => self.ask_for(&mut conversation, place).await,
                Next::Tell => self.tell_of_outage(&mut conversation),
                Next::Look => {}
                Next::Stop => return,
            }
            if self.stopping.is_cancelled() {
                return;
            }
        }
    }

    fn hold(&self, id: &str, (message, came): Arrived) -> Held {
        let conversation = format!("{}\0{id}", self.id);
        Held {
            message,
            came,
            case: self.agent_health.case(conversation.into()),
            due: Duration::ZERO,
            pause: FIRST_PAUSE,
            error: None,
        }
    }

    /// Waits until there is something to do.
    async fn next(&self, conversation: &mut Conversation) -> Next {
        let wants_witness = conversation.wants_witness();
        let Some(first) = conversation.held.first() else {
            return Next::Look;
        };
        let late_at = match conversation.is_told || self.words.outage.is_empty() {
            true => None,
            false => Some(first.came.saturating_add(self.words.outage_after)),
        };
        let place = match first.case.is_suspect() {
            true => {
                let held = conversation.held.iter().enumerate();
                held.min_by_key(|(_, held)| held.due)
                    .map_or(0, |(place, _)| place)
            }
            false => 0,
        };
        let others = &conversation.others;
        let Some(held) = conversation.held.get_mut(place) else {
            return Next::Look;
        };
        let ready = async {
            self.clock().sleep_until(held.due).await;
            held.case.pass(self.clock()).await;
        };
        let late = async {
            match late_at {
                Some(late) => self.clock().sleep_until(late).await,
                None => std::future::pending().await,
            }
        };
        let other = async {
            match wants_witness {
                true => others.notified().await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stopped() => Next::Stop,
            () = ready => Next::Ask(place),
            () = late => Next::Tell,
            () = other => Next::Look,
        }
    }

    /// Gives a message to the agent, and does what follows from its answer.
    async fn ask_for(self: &Arc<Self>, conversation: &mut Conversation, place: usize) {
        let Some(held) = conversation.held.get_mut(place) else {
            return;
        };
        let Some((answer, typing)) = self.ask(&held.message).await else {
            // The account stops, and the next start gives it to the agent again.
            return;
        };
        match answer {
            Ok(reply) => {
                if held.case.answered() {
                    tracing::info!(
                        account = &*self.id,
                        instance = self.instance_number(),
                        "the agent answers again"
                    );
                }
                let answered = conversation.held.remove(place);
                // It is the witness against those before it, which are tried once more.
                for suspect in &mut conversation.held {
                    suspect.due = self.clock().elapsed();
                }
                conversation.is_told = conversation.is_told && !conversation.held.is_empty();
                self.reply(&answered.message, answered.case.tries() + 1, reply)
                    .await;
                drop(typing);
                self.leave(answered);
            }
            Err(error) if error.fault() == Fault::Final => {
                self.metrics.failed(&error);
                // The agent is there, and has dealt with it.
                held.case.answered();
                let answered = conversation.held.remove(place);
                let tries = answered.case.tries() + 1;
                self.put_aside(&answered.message, tries, &error.to_string())
                    .await;
                self.leave(answered);
            }
            Err(error) => {
                drop(typing);
                self.metrics.failed(&error);
                self.failed(held, error);
                self.put_guilty_aside(conversation).await;
            }
        }
    }

    /// One try, and the typing indicator that lasts until the reply; none when the account stops
    /// meanwhile.
    async fn ask(self: &Arc<Self>, message: &Message) -> Option<(Answer, Typing)> {
        let shared = Arc::clone(self);
        let conversation = message.conversation.id.clone();
        let typing = async move { shared.typing_after_a_moment(&conversation).await };
        let mut typing: Typing = Box::pin(typing);
        let (progress, lines) = Progress::new();
        let asked = async {
            // The semaphore is never closed.
            let _permit = self.queues.with_agent.acquire().await;
            self.metrics.agent_messages.add();
            let answer = AssertUnwindSafe(self.agent.answer(message, &progress)).catch_unwind();
            answer.await.unwrap_or(Err(AgentError::Panicked))
        };
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = self.stopped() => return None,
            never = &mut typing => match never {},
            never = self.say(message, lines) => match never {},
        };
        Some((answer, typing))
    }

    /// Notes a failure, and when the message is tried again.
    fn failed(&self, held: &mut Held, error: AgentError) {
        let now = self.clock().elapsed();
        if let Some(notice) = held.case.failed(&error, now) {
            let conversations = notice.conversations;
            tracing::warn!(
                account = &*self.id,
                instance = self.instance_number(),
                conversations,
                "{error}; conversations that wait for it: {conversations}; their messages are kept \
                 and given to the agent again"
            );
        }
        let wish = error.retry_after().unwrap_or_default().min(LONGEST_WISH);
        held.due = match held.case.waits_at_gate() {
            true => now,
            false => now + held.pause.max(wish),
        };
        held.pause = (held.pause * 2).min(LONGEST_PAUSE);
        held.error = Some(error);
    }

    /// Puts aside what is known to fail for itself.
    async fn put_guilty_aside(&self, conversation: &mut Conversation) {
        while let Some(place) = conversation
            .held
            .iter()
            .position(|held| held.case.is_guilty())
        {
            let held = conversation.held.remove(place);
            let why = held.error.as_ref().map(AgentError::to_string);
            let why = why.unwrap_or_default();
            self.put_aside(&held.message, held.case.tries(), &why).await;
            self.leave(held);
        }
    }

    /// Brings a reply to the instance. A reply that the component refuses can't be sent at all.
    async fn reply(&self, message: &Message, tries: u32, reply: Option<Reply>) {
        match self.deliver(message, reply).await {
            Ok(()) => {}
            // An earlier answer to this message is stored, and reaches the person.
            Err(CallError::Channel(error)) if error.kind == ErrorKind::KeyConflict => {
                self.tell(&format!("a reply is given up: {error}"));
                self.acknowledge(message).await;
            }
            // Asking the agent again would bring the same reply.
            Err(error) => {
                let why = format!("its answer can't be sent: {error}");
                self.put_aside(message, tries, &why).await;
            }
        }
    }

    /// Ends a message that has no answer: the person gets a sentence in its place, and the operator
    /// the reason.
    async fn put_aside(&self, message: &Message, tries: u32, reason: &str) {
        // A component that makes up messages makes up these lines, too.
        let text = format!("a message is put aside, and its conversation goes on: {reason}");
        if self.may_tell(&text) {
            tracing::error!(
                account = &*self.id,
                instance = self.instance_number(),
                conversation = message.conversation.id,
                message = message.id,
                tries,
                "{text}"
            );
        }
        self.metrics.put_aside.add();
        self.aside.add(PutAside {
            id: message.id.clone(),
            conversation: message.conversation.id.clone(),
            reason: reason.to_owned(),
            tries,
            at_ms: self.clock().unix_ms(),
        });
        let sentence = Reply::of_text(self.words.failure.clone());
        if let Err(error) = self.deliver(message, sentence).await {
            self.tell(&format!(
                "the person can't be told that a message was put aside: {error}"
            ));
            self.acknowledge(message).await;
        }
    }

    async fn acknowledge(&self, message: &Message) {
        if let Err(error) = self.deliver(message, None).await {
            self.tell(&format!("acknowledging failed: {error}"));
        }
    }

    /// Tells a person, once, that the answer is late. No answer waits for this notice.
    fn tell_of_outage(self: &Arc<Self>, conversation: &mut Conversation) {
        conversation.is_told = true;
        let Some(first) = conversation.held.first() else {
            return;
        };
        self.metrics.outage_notices.add();
        let (shared, id) = (Arc::clone(self), first.message.id.clone());
        let conversation = conversation.id.clone();
        tokio::spawn(async move {
            let told = shared
                .mention(&id, conversation, &shared.words.outage)
                .await;
            if let Err(error) = told {
                tracing::debug!(
                    account = &*shared.id,
                    instance = shared.instance_number(),
                    "the person is not told that the answer is late: {error}"
                );
            }
        });
    }

    /// The message has been dealt with.
    fn leave(&self, held: Held) {
        let took = self.clock().elapsed().saturating_sub(held.came);
        self.metrics.answers.observe(took);
        self.queues.leave(&held.message);
    }
}
