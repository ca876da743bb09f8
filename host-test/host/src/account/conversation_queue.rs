//! The queues of messages: each conversation has one, so that the agent gets its messages one after the
//! other. `answering.rs` takes the messages out.
//!
//! A queue outlives an instance. A later instance may return a message again while the agent still has
//! it; the agent does not get that message a second time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{FuturesUnordered, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::Shared;
use super::typing::Typing;
use crate::agent::message::{Message, Reply, ReplyMedia};
use crate::agent::progress::Line;
use crate::bindings::exports::gateway::channel::outbound::Post;
use crate::bindings::gateway::channel::types::ErrorKind;
use crate::instance::{CallError, Instance};
use crate::sandbox::budget::Charge;
use crate::sandbox::limits::Limits;
use crate::sandbox::tenant::Tenant;

/// Messages that may be with the agent at the same time.
const MAX_WITH_AGENT: usize = 256;
/// Pause before a message is settled again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A reply that the platform does not take waits for this long, in milliseconds.
const REPLY_LIFE_MS: u64 = 72 * 3600 * 1000;
/// Longest text of a post.
const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// What a text is called that goes as a file, and how much of it goes as text.
const DOCUMENT_NAME: &str = "message.md";
const FIRST_BYTES: usize = 1000;
/// Longest key of a post.
const MAX_KEY_BYTES: usize = 64;

/// The queues of an account, one for each conversation that has messages.
pub struct ConversationQueues {
    waiting: Mutex<Waiting>,
    /// A message has left.
    left: Notify,
    pub(super) with_agent: Semaphore,
    pub(super) typing: Typing,
}

/// A message, and when it came.
pub(super) type Arrived = (Message, Duration);

/// The messages of a conversation that wait for those before them.
#[derive(Default)]
struct ConversationQueue {
    messages: VecDeque<Arrived>,
    /// Another message has come.
    arrived: Arc<Notify>,
}

struct Waiting {
    /// Only conversations whose messages are being answered.
    queues: HashMap<String, ConversationQueue>,
    /// Ids of all messages that wait or are with the agent.
    ids: HashSet<String>,
    /// What they hold, as a part of the account's budget.
    held: Charge,
}

impl ConversationQueues {
    /// No queues yet.
    pub fn new(tenant: &Tenant) -> ConversationQueues {
        ConversationQueues {
            waiting: Mutex::new(Waiting {
                queues: HashMap::new(),
                ids: HashSet::new(),
                held: tenant.budget().note(0),
            }),
            left: Notify::new(),
            with_agent: Semaphore::new(MAX_WITH_AGENT),
            typing: Typing::default(),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // What a panicked holder left is whole: each change is one call.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end of its queue.
    pub fn push(shared: &Arc<Shared>, message: Message) {
        let mut waiting = shared.queues.waiting();
        if !waiting.ids.insert(message.id.clone()) {
            return;
        }
        shared.metrics.messages.add();
        let bytes = waiting.held.bytes().saturating_add(weight(&message));
        waiting.held.set(bytes);
        let conversation = message.conversation.id.clone();
        let arrived = (message, shared.clock().elapsed());
        if let Some(queue) = waiting.queues.get_mut(&conversation) {
            queue.messages.push_back(arrived);
            queue.arrived.notify_one();
            return;
        }
        let queue = ConversationQueue::default();
        let others = Arc::clone(&queue.arrived);
        waiting.queues.insert(conversation.clone(), queue);
        drop(waiting);
        tokio::spawn(Arc::clone(shared).converse(conversation, arrived, others));
    }

    /// The next message of a conversation that waits. The queue stays.
    pub(super) fn next(&self, conversation: &str) -> Option<Arrived> {
        let mut waiting = self.waiting();
        waiting.queues.get_mut(conversation)?.messages.pop_front()
    }

    /// The next message of a conversation. Without one the queue is removed, and the conversation's
    /// next message begins another.
    pub(super) fn next_or_close(&self, conversation: &str) -> Option<Arrived> {
        let mut waiting = self.waiting();
        let next = waiting.queues.get_mut(conversation)?.messages.pop_front();
        if next.is_none() {
            waiting.queues.remove(conversation);
        }
        next
    }

    /// A message has been dealt with.
    pub(super) fn leave(&self, message: &Message) {
        let mut waiting = self.waiting();
        waiting.ids.remove(&message.id);
        let bytes = waiting.held.bytes().saturating_sub(weight(message));
        waiting.held.set(bytes);
        drop(waiting);
        self.left.notify_waiters();
    }

    /// Messages that wait for the agent or are with it.
    pub fn messages(&self) -> usize {
        self.waiting().ids.len()
    }

    /// Waits until the account may have more messages. Otherwise a component that reports messages without
    /// end would fill the host's memory.
    pub async fn wait_for_space(&self, limits: &Limits) {
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
    /// Sends what the agent says before its answer, in order and without waiting for what became of
    /// it. What is left when the answer is known is dropped.
    pub(super) async fn say(
        &self,
        message: &Message,
        mut lines: mpsc::UnboundedReceiver<Line>,
    ) -> Infallible {
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
                    let key = progress_key(&message.id, number, &line.text);
                    let post = Post::new(key, &message.conversation.id, &line.text).as_progress();
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

    /// Brings a reply to the instance.
    ///
    /// # Errors
    /// When the component does not take it.
    pub(super) async fn deliver(
        &self,
        message: &Message,
        reply: Option<Reply>,
    ) -> Result<(), CallError> {
        let Some(reply) = reply else {
            return self
                .settle(Settlement::Acknowledge(message.id.clone()))
                .await;
        };
        let mut text = reply.text.unwrap_or_default();
        let mut files = reply.media;
        if text.len() > MAX_TEXT_BYTES {
            let (first, document) = as_document(&text);
            text = first;
            files.insert(0, document);
        }
        let (media, failed) = self.upload(message, &files).await;
        if self.stopping.is_cancelled() {
            // The next start asks the agent again.
            return Ok(());
        }
        if failed > 0 {
            // The person is not left to wonder.
            let gap = if text.is_empty() { "" } else { "\n\n" };
            text.push_str(&format!("{gap}[files that could not be sent: {failed}]"));
        }
        self.settle(Settlement::Send(Post {
            key: reply_key(&message.id),
            conversation: message.conversation.id.clone(),
            answers: Some(message.id.clone()),
            text,
            media,
            progress: false,
            // What the person waited for may still be wanted when it can be sent at last.
            queue_until: Some(self.clock().unix_ms() + REPLY_LIFE_MS),
        }))
        .await
    }

    /// Sends a sentence before the answer to a message, once for the same message.
    pub(super) async fn mention(
        &self,
        message_id: &str,
        conversation: String,
        text: &str,
    ) -> Result<(), CallError> {
        let key = progress_key(message_id, u64::MAX, text);
        let post = Post::new(key, conversation, text).as_progress();
        self.send(post).await.map(drop)
    }

    /// Settles a message with the instance that serves, and again with the next one where that
    /// helps; fails where it does not.
    async fn settle(&self, settlement: Settlement) -> Result<(), CallError> {
        let mut stages = self.stages.follow();
        loop {
            let instance = tokio::select! {
                instance = stages.find(|stage| stage.instance().cloned()) => instance,
                () = self.stopped() => return Ok(()),
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
                () = stages.changed() => {}
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
                self.metrics.count(&instance.send(post).await?);
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

/// A text that is too long for a post: its beginning, and the whole as a file.
fn as_document(text: &str) -> (String, ReplyMedia) {
    let first = text.floor_char_boundary(FIRST_BYTES);
    let first = text.get(..first).unwrap_or_default();
    let document = ReplyMedia::Data {
        name: Some(DOCUMENT_NAME.to_owned()),
        mime: Some("text/markdown".to_owned()),
        data: STANDARD.encode(text),
    };
    (format!("{first}\n\n… {DOCUMENT_NAME}"), document)
}

/// The key of the reply to a message. It depends on the message alone, so a repeated reply is sent once.
fn reply_key(message_id: &str) -> String {
    let key = format!("reply:{message_id}");
    if key.len() <= MAX_KEY_BYTES {
        return key;
    }
    format!("reply-sha256:{}", short_hash(&[message_id.as_bytes()]))
}

/// The key of a progress text. It depends on the text and its position, so an agent that is asked again
/// may repeat itself. Another text is another post.
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
    base16ct::lower::encode_string(digest.first_chunk::<24>().unwrap_or(&[0; 24]))
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
