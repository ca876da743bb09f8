//! A post as it is stored, and what is told of it.

use serde::{Deserialize, Serialize};

use super::not_reached;
use crate::dedup::fnv1a;
use crate::error::{Error, ErrorKind};
use crate::store::{Bucket, Write, to_json};

/// A post as the caller gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPost {
    /// Chosen by the caller.
    pub key: String,
    /// The conversation's id.
    pub conversation: String,
    /// The id of the event that it answers.
    pub answers: Option<String>,
    /// Markdown, as the caller wrote it.
    pub text: String,
    /// Handles of the media that follow the text.
    pub media: Vec<String>,
    /// It tells of progress, and may be left out to keep room for the answer.
    pub is_progress: bool,
    /// How long to keep it while the platform accepts nothing, in milliseconds since the Unix epoch. None
    /// fails it instead.
    pub queue_until_ms: Option<u64>,
}

/// What one platform message says or shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A text within the platform's limits.
    Text(String),
    /// The handle of an upload; a secret.
    Media(String),
    /// A text that goes as a file.
    Document {
        /// File name.
        name: String,
        /// The file's content.
        text: String,
    },
}

impl Content {
    /// Its size in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Content::Text(text) | Content::Media(text) => text.len(),
            Content::Document { name, text } => name.len() + text.len(),
        }
    }
}

impl NewPost {
    /// A hash that tells one content from another.
    pub(super) fn fingerprint(&self) -> u64 {
        let content = (&self.conversation, &self.answers, &self.text, &self.media);
        fnv1a(&to_json(&content))
    }
}

/// How far a part has come; the cases of the WIT's `part-state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// Not settled yet.
    Pending,
    /// Accepted, with a platform id.
    Accepted,
    /// Accepted without a platform id: it may not arrive.
    Unconfirmed,
    /// Waits until the platform accepts messages for this peer again. Reported, never stored.
    Queued,
    /// Left out. Only progress is.
    Dropped,
    /// Refused for good, or its time has passed.
    Failed,
    /// It may have taken effect.
    Unknown,
}

/// How far one part has come, as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The state of the part.
    pub state: PartState,
    /// The platform's id of the accepted message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Why the part is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// What became of a post. Also its stored form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The post's key.
    pub key: String,
    /// In sending order.
    pub parts: Vec<Part>,
    fingerprint: u64,
    #[serde(default)]
    retired_ms: u64,
}

impl Receipt {
    /// Reads a stored receipt.
    pub fn parse(value: &[u8]) -> Option<Receipt> {
        serde_json::from_slice(value).ok()
    }

    /// Whether nothing of the post took effect, for a reason that passes: its key may be used again.
    pub fn may_be_repeated(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.all(|part| part.state == PartState::Failed)
            && self.parts.first().is_some_and(|part| {
                part.error.as_ref().is_some_and(|error| {
                    matches!(
                        error.kind,
                        ErrorKind::RateLimited | ErrorKind::WindowClosed | ErrorKind::LoginRequired
                    )
                })
            })
    }

    /// When the post was retired, in milliseconds since the Unix epoch.
    pub fn retired_ms(&self) -> u64 {
        self.retired_ms
    }

    /// This receipt, if it is that of `post`.
    ///
    /// # Errors
    /// `key-conflict` when the post has another content.
    pub fn of(self, post: &NewPost) -> Result<Receipt, Error> {
        if self.fingerprint == post.fingerprint() {
            return Ok(self);
        }
        Err(Error::new(
            ErrorKind::KeyConflict,
            format!(
                "the key `{}` was used for another content: choose a new key for each post",
                self.key
            ),
        ))
    }

    pub(super) fn write(mut self, now_ms: u64) -> Write {
        self.retired_ms = now_ms;
        Write {
            bucket: Bucket::Receipts,
            key: self.key.clone(),
            value: Some(to_json(&self)),
        }
    }
}

/// A post as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub order: u64,
    pub fingerprint: u64,
    pub key: String,
    pub conversation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_progress: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_until_ms: Option<u64>,
    /// The caller was told that the post is queued. Its end is an event, until that is acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_reported: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    pub parts: Vec<StoredPart>,
}

/// How much the peer had been sent when a part was accepted. It is stored with the part, so that a crash
/// forgets no send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// When the peer had last written, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How many messages were accepted for it since then.
    pub sent: u32,
}

/// A part as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredPart {
    pub content: Content,
    pub client_id: String,
    /// How often the part may have been sent, the try under way included.
    tries: u8,
    /// The last counted try has not been made by this instance yet. An instance that loads a counted
    /// try can't know, and assumes that it was made.
    #[serde(skip)]
    is_marked: bool,
    part: Part,
}

impl StoredPart {
    pub fn new(content: Content, client_id: String) -> StoredPart {
        StoredPart {
            content,
            client_id,
            tries: 0,
            is_marked: false,
            part: Part {
                state: PartState::Pending,
                message_id: None,
                error: None,
            },
        }
    }

    /// Whether a try before the present one counts.
    pub fn is_again(&self) -> bool {
        self.tries > 1
    }
}

impl Record {
    pub fn receipt(&self) -> Receipt {
        Receipt {
            key: self.key.clone(),
            parts: self.parts.iter().map(|part| part.part.clone()).collect(),
            fingerprint: self.fingerprint,
            retired_ms: 0,
        }
    }

    /// The receipt while the platform accepts nothing.
    pub fn queued_receipt(&self) -> Receipt {
        let mut receipt = self.receipt();
        for part in &mut receipt.parts {
            if part.state == PartState::Pending {
                part.state = PartState::Queued;
            }
        }
        receipt
    }

    pub fn is_settled(&self) -> bool {
        self.next_part().is_none()
    }

    /// Whether a part has reached the platform, or may have. Then the rest has to follow.
    pub fn is_begun(&self) -> bool {
        self.parts.iter().any(|part| {
            let tries = part.tries.saturating_sub(u8::from(part.is_marked));
            tries > 0 || part.part.state != PartState::Pending
        })
    }

    /// Whether the post fails, instead of waiting, while the platform accepts nothing.
    pub fn is_impatient(&self) -> bool {
        self.answers.is_none() && self.queue_until_ms.is_none() && !self.is_begun()
    }

    /// Whether its time has passed.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.queue_until_ms.is_some_and(|until| now_ms >= until)
    }

    /// The texts that the platform has accepted under an id, as (conversation, id, text).
    pub fn sent_texts(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.parts.iter().filter_map(|part| match &part.content {
            Content::Text(text) => {
                let id = part.part.message_id.as_deref()?;
                Some((self.conversation.as_str(), id, text.as_str()))
            }
            Content::Media(_) | Content::Document { .. } => None,
        })
    }

    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.content.bytes()).sum()
    }

    /// Settles the parts that are not sent yet as left out.
    pub fn drop_rest(&mut self) {
        for part in &mut self.parts {
            if part.part.state == PartState::Pending {
                part.part.state = PartState::Dropped;
            }
        }
    }

    /// Fails the parts that are not sent yet, all with the same error.
    pub fn fail_rest(&mut self, error: &Error) {
        for part in &mut self.parts {
            if part.part.state == PartState::Pending {
                part.part.state = PartState::Failed;
                part.part.error = Some(error.clone());
            }
        }
    }

    pub fn next_part(&self) -> Option<(usize, &StoredPart)> {
        self.parts
            .iter()
            .enumerate()
            .find(|(_, part)| part.part.state == PartState::Pending)
    }

    fn next_part_mut(&mut self) -> Option<&mut StoredPart> {
        self.parts
            .iter_mut()
            .find(|part| part.part.state == PartState::Pending)
    }

    /// Counts the next try ahead, so that a write that is made anyway stores its count.
    pub fn mark_next(&mut self) {
        if let Some(part) = self.next_part_mut()
            && !part.is_marked
        {
            part.tries = part.tries.saturating_add(1);
            part.is_marked = true;
        }
    }

    /// Starts a try. True when its count has to be written first.
    pub fn begin(&mut self) -> bool {
        let was_marked = self.next_part_mut().is_some_and(|part| part.is_marked);
        self.mark_next();
        if let Some(part) = self.next_part_mut() {
            part.is_marked = false;
        }
        !was_marked
    }

    pub fn accept(&mut self, index: usize, message_id: Option<String>) {
        if let Some(part) = self.parts.get_mut(index) {
            part.part = Part {
                state: match message_id {
                    Some(_) => PartState::Accepted,
                    None => PartState::Unconfirmed,
                },
                message_id,
                error: None,
            };
        }
    }

    /// Fails a part and those behind it, because a text that ends early is better than one with a hole.
    /// If an earlier try of the part may have taken effect, its fate stays unknown.
    pub fn fail(&mut self, index: usize, error: &Error) {
        for (other, part) in self.parts.iter_mut().enumerate().skip(index) {
            let is_retry = other == index && part.tries > 1;
            part.part = Part {
                state: if is_retry {
                    PartState::Unknown
                } else {
                    PartState::Failed
                },
                message_id: None,
                error: Some(if other == index {
                    error.clone()
                } else {
                    not_reached()
                }),
            };
        }
    }

    /// Notes a try without an answer. True when it was the last one: the part's fate stays unknown.
    pub fn not_answered(&mut self, index: usize, error: Error, max_tries: u8) -> bool {
        let Some(part) = self.parts.get_mut(index) else {
            return false;
        };
        part.part.error = Some(error);
        let is_last = part.tries >= max_tries;
        if is_last {
            part.part.state = PartState::Unknown;
        }
        is_last
    }

    /// Notes a try without an effect, which does not count.
    pub fn not_sent(&mut self, index: usize, error: Error) {
        if let Some(part) = self.parts.get_mut(index) {
            part.part.error = Some(error);
            part.tries = part.tries.saturating_sub(1);
            part.is_marked = false;
        }
    }

    pub fn is_pending(&self, index: usize) -> bool {
        self.parts
            .get(index)
            .is_some_and(|part| part.part.state == PartState::Pending)
    }

    /// Gives up on a part that too many instances died with.
    pub fn give_up_on_unknown(&mut self, max_crashes: u8) {
        for part in &mut self.parts {
            if part.part.state == PartState::Pending && part.tries >= max_crashes {
                part.part.state = PartState::Unknown;
                part.part.error.get_or_insert_with(|| {
                    Error::new(
                        ErrorKind::UnknownOutcome,
                        "the process ended between the request and its answer, again and again",
                    )
                });
            }
        }
    }
}
