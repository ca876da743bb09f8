//! Conversations: each has its own lane, in which its messages go to the agent one after the other.
//!
//! A lane outlives an instance: a message that a later instance returns again while the agent still
//! has it is not given to the agent a second time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::Shared;
use super::typing::Typing;
use crate::agent::AgentError;
use crate::agent::message::{Message, Reply};
use crate::agent::progress::{Line, Progress};
use crate::bindings::exports::gateway::channel::outbound::Post;
use crate::bindings::gateway::channel::types::ErrorKind;
use crate::instance::{CallError, Instance};
use crate::sandbox::budget::Charge;
use crate::sandbox::limits::Limits;
use crate::sandbox::tenant::Tenant;

/// Messages that may be with the agent at the same time.
const MAX_WITH_AGENT: usize = 256;
/// Pauses before a message is given to the agent again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A reply that the platform does not take waits for this long, in milliseconds.
const REPLY_LIFE_MS: u64 = 72 * 3600 * 1000;
/// Longest key of a post.
const MAX_KEY_BYTES: usize = 64;

/// The lanes of an account.
pub struct Lanes {
    waiting: Mutex<Waiting>,
    /// A message has left.
    left: Notify,
    with_agent: Semaphore,
    agent_fails: AtomicBool,
    pub(super) typing: Typing,
}

/// A message, and when it came.
type Arrived = (Message, Duration);

struct Waiting {
    /// A conversation is here while its lane runs.
    lanes: HashMap<String, VecDeque<Arrived>>,
    /// Ids of all messages that wait or are with the agent.
    ids: HashSet<String>,
    /// What they hold, as a part of the account's budget.
    held: Charge,
}

impl Lanes {
    /// No lanes yet.
    pub fn new(tenant: &Tenant) -> Lanes {
        Lanes {
            waiting: Mutex::new(Waiting {
                lanes: HashMap::new(),
                ids: HashSet::new(),
                held: tenant.budget().note(0),
            }),
            left: Notify::new(),
            with_agent: Semaphore::new(MAX_WITH_AGENT),
            agent_fails: AtomicBool::new(false),
            typing: Typing::default(),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // What a panicked holder left is whole: each change is one call.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end of its lane.
    pub fn push(shared: &Arc<Shared>, message: Message) {
        let mut waiting = shared.lanes.waiting();
        if !waiting.ids.insert(message.id.clone()) {
            return;
        }
        shared.figures.messages.add();
        let bytes = waiting.held.bytes().saturating_add(weight(&message));
        waiting.held.set(bytes);
        let conversation = message.conversation.id.clone();
        let arrived = (message, shared.clock().elapsed());
        if let Some(lane) = waiting.lanes.get_mut(&conversation) {
            lane.push_back(arrived);
            return;
        }
        waiting.lanes.insert(conversation.clone(), VecDeque::new());
        drop(waiting);
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let mut next = Some(arrived);
            while let Some((message, came)) = next {
                if *shared.stopping.borrow() {
                    return;
                }
                shared.answer(&message).await;
                let took = shared.clock().elapsed().saturating_sub(came);
                shared.figures.answers.observe(took);
                let mut waiting = shared.lanes.waiting();
                waiting.ids.remove(&message.id);
                let bytes = waiting.held.bytes().saturating_sub(weight(&message));
                waiting.held.set(bytes);
                shared.lanes.left.notify_waiters();
                next = waiting
                    .lanes
                    .get_mut(&conversation)
                    .and_then(VecDeque::pop_front);
                if next.is_none() {
                    waiting.lanes.remove(&conversation);
                }
            }
        });
    }

    /// Messages that wait for the agent or are with it.
    pub fn messages(&self) -> usize {
        self.waiting().ids.len()
    }

    /// Waits until the account may have more messages: a component that reports them without end
    /// must not fill the host's memory.
    pub async fn room(&self, limits: &Limits) {
        loop {
            let left = self.left.notified();
            {
                let waiting = self.waiting();
                let messages = waiting.ids.len();
                if messages < limits.waiting_messages && waiting.held.bytes() < limits.waiting_bytes
                {
                    return;
                }
            }
            left.await;
        }
    }

    /// Waits until every typing indicator was ended.
    pub async fn typing_ended(&self) {
        self.typing.ended().await;
    }
}

impl Shared {
    /// Gives a message to the agent until it is acknowledged, and brings the reply to the instance.
    async fn answer(self: &Arc<Self>, message: &Message) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut typing = Box::pin(self.typing_after_a_moment(&message.conversation.id));
            let (progress, lines) = Progress::new();
            let asked = async {
                // The semaphore is never closed.
                let _permit = self.lanes.with_agent.acquire().await;
                self.figures.agent_messages.add();
                let answer = AssertUnwindSafe(self.agent.answer(message, &progress)).catch_unwind();
                answer.await.unwrap_or(Err(AgentError::Panicked))
            };
            let answer = tokio::select! {
                biased;
                answer = asked => answer,
                () = self.stopped() => return,
                never = &mut typing => match never {},
                never = self.say(message, lines) => match never {},
            };
            match answer {
                Ok(reply) => {
                    if self.lanes.agent_fails.swap(false, Ordering::Relaxed) {
                        tracing::info!(
                            account = &*self.id,
                            instance = self.instance_number(),
                            "the agent answers again"
                        );
                    }
                    self.deliver(message, reply).await;
                    return;
                }
                Err(error) => {
                    self.figures.agent_failures.add();
                    if !self.lanes.agent_fails.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            account = &*self.id,
                            instance = self.instance_number(),
                            "{error}; its messages are kept and given to it again"
                        );
                    }
                }
            }
            drop(typing);
            tokio::select! {
                () = self.clock().sleep(pause) => {}
                () = self.stopped() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends what the agent says before its answer, in order and without waiting for what became of
    /// it. What is left when the answer is known is dropped.
    async fn say(&self, message: &Message, mut lines: mpsc::UnboundedReceiver<Line>) -> Infallible {
        let mut under_way = FuturesUnordered::new();
        let mut number: u64 = 0;
        loop {
            tokio::select! {
                // A post is handed over by the first look at it, so that comes before the next line.
                biased;
                Some(result) = under_way.next() => match result {
                    Ok(()) => {}
                    Err(error) => tracing::debug!(account = &*self.id, instance = self.instance_number(), "progress: {error}"),
                },
                Some(line) = lines.recv() => {
                    let post = Post {
                        key: progress_key(&message.id, number, &line.text),
                        conversation: message.conversation.id.clone(),
                        answers: None,
                        text: line.text.clone(),
                        media: Vec::new(),
                        progress: true,
                        queue_until: None,
                    };
                    number += 1;
                    under_way.push(async move {
                        let result = self.send(post).await.map(drop);
                        // There is room for another line.
                        drop(line);
                        result
                    });
                }
                else => std::future::pending().await,
            }
        }
    }

    async fn deliver(&self, message: &Message, reply: Option<Reply>) {
        let acknowledgement = Settlement::Acknowledge(message.id.clone());
        let settlement = match reply {
            None => acknowledgement.clone(),
            Some(reply) => {
                let mut text = reply.text.unwrap_or_default();
                let (media, failed) = self.upload(message, &reply.media).await;
                if *self.stopping.borrow() {
                    // The next start asks the agent again.
                    return;
                }
                if failed > 0 {
                    // The person is not left to wonder.
                    let gap = if text.is_empty() { "" } else { "\n\n" };
                    text.push_str(&format!("{gap}[files that could not be sent: {failed}]"));
                }
                Settlement::Send(Post {
                    key: reply_key(&message.id),
                    conversation: message.conversation.id.clone(),
                    answers: Some(message.id.clone()),
                    text,
                    media,
                    progress: false,
                    // What the person waited for may still be wanted when it can be sent at last.
                    queue_until: Some(self.clock().unix_ms() + REPLY_LIFE_MS),
                })
            }
        };
        if let Err(error) = self.settle(settlement).await {
            // Asking the agent again would bring the same reply.
            let text = format!("a reply is given up: {error}");
            if self.may_tell(&text) {
                tracing::error!(
                    account = &*self.id,
                    instance = self.instance_number(),
                    "{text}"
                );
            }
            if let Err(error) = self.settle(acknowledgement).await {
                let text = format!("acknowledging failed: {error}");
                if self.may_tell(&text) {
                    tracing::error!(
                        account = &*self.id,
                        instance = self.instance_number(),
                        "{text}"
                    );
                }
            }
        }
    }

    /// Settles a message with the instance that serves, and again with the next one where that
    /// helps; fails where it does not.
    async fn settle(&self, settlement: Settlement) -> Result<(), CallError> {
        let mut current = self.current.subscribe();
        loop {
            let instance = tokio::select! {
                // The sender lives in `self`.
                instance = current.wait_for(Option::is_some) => match instance {
                    Ok(instance) => instance.clone(),
                    Err(_) => return Ok(()),
                },
                () = self.stopped() => return Ok(()),
            };
            let Some(instance) = instance else {
                continue;
            };
            match self.settle_with(settlement.clone(), &instance).await {
                Ok(()) => return Ok(()),
                Err(CallError::Ended(_)) => {}
                Err(CallError::Channel(error)) => match error.kind {
                    ErrorKind::Transient
                    | ErrorKind::RateLimited
                    | ErrorKind::UnknownOutcome
                    | ErrorKind::LoginRequired
                    | ErrorKind::WindowClosed
                    | ErrorKind::Fenced
                    | ErrorKind::Draining
                    | ErrorKind::Storage => {}
                    ErrorKind::Forbidden
                    | ErrorKind::NotFound
                    | ErrorKind::Invalid
                    | ErrorKind::TooLarge
                    | ErrorKind::Unsupported
                    | ErrorKind::KeyConflict => return Err(CallError::Channel(error)),
                },
            }
            tokio::select! {
                () = self.clock().sleep(FIRST_PAUSE) => {}
                _ = current.changed() => {}
                () = self.stopped() => return Ok(()),
            }
        }
    }

    async fn settle_with(
        &self,
        settlement: Settlement,
        instance: &Instance,
    ) -> Result<(), CallError> {
        match settlement {
            Settlement::Acknowledge(id) => instance.ack(vec![id]).await,
            Settlement::Send(post) => {
                self.figures.count(&instance.send(post).await?);
                Ok(())
            }
        }
    }
}

/// About what a message takes of memory.
fn weight(message: &Message) -> usize {
    let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let quote = message.quote.as_ref();
    let quote = quote.map_or(0, |quote| option(&quote.id) + option(&quote.text));
    let media = message.media.iter().map(|media| {
        size_of_val(media) + option(&media.name) + option(&media.mime) + option(&media.transcript)
    });
    let ids = 2 * message.id.len() + 2 * message.conversation.id.len() + message.sender.id.len();
    size_of_val(message) + ids + message.text.len() + quote + media.sum::<usize>()
}

/// How a message is settled.
#[derive(Clone)]
enum Settlement {
    /// Without a reply.
    Acknowledge(String),
    /// By the reply to it.
    Send(Post),
}

/// The same for the same message, so that a repeated reply is sent once.
fn reply_key(message_id: &str) -> String {
    let key = format!("reply:{message_id}");
    if key.len() <= MAX_KEY_BYTES {
        return key;
    }
    format!("reply-sha256:{}", short_hash(&[message_id.as_bytes()]))
}

/// The same for the same text at the same place, so that an agent that is asked again may say it
/// again; another text is another post.
fn progress_key(message_id: &str, number: u64, text: &str) -> String {
    let hash = short_hash(&[
        &number.to_be_bytes(),
        text.as_bytes(),
        b"\0",
        message_id.as_bytes(),
    ]);
    format!("progress:{hash}")
}

/// 48 hexadecimal digits.
fn short_hash(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let digest = digest.finalize();
    digest
        .iter()
        .take(24)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_key_fits_and_belongs_to_one_message() {
        assert_eq!(
            reply_key("7497484083968569736"),
            "reply:7497484083968569736"
        );
        let long = reply_key(&"x".repeat(100));
        assert!(long.len() <= MAX_KEY_BYTES);
        assert_ne!(long, reply_key(&"x".repeat(101)));
    }

    #[test]
    fn a_progress_key_fits_and_belongs_to_a_text_at_its_place() {
        let key = progress_key("7497484083968569736", 0, "looking");
        assert!(key.len() <= MAX_KEY_BYTES);
        assert_eq!(key, progress_key("7497484083968569736", 0, "looking"));
        for other in [
            progress_key("7497484083968569736", 1, "looking"),
            progress_key("7497484083968569736", 0, "found"),
            progress_key("7497484083968569737", 0, "looking"),
        ] {
            assert_ne!(key, other);
        }
    }
}
