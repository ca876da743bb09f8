//! What a platform's messages have in common; the records of the WIT's `types`, also as they are
//! stored in the journal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether one person or several read along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChatKind {
    /// Between the account and one person.
    Direct,
    /// With several people.
    Group,
}

/// Where a message was written and where its answer goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The platform's id.
    pub id: String,
    /// Direct or group.
    pub kind: ChatKind,
}

impl Conversation {
    /// A conversation with one person.
    pub fn direct(id: &str) -> Conversation {
        Conversation {
            id: id.to_owned(),
            kind: ChatKind::Direct,
        }
    }

    /// A conversation of several people.
    pub fn group(id: &str) -> Conversation {
        Conversation {
            id: id.to_owned(),
            kind: ChatKind::Group,
        }
    }
}

/// How a platform shows a piece of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A voice message.
    Voice,
    /// A film.
    Video,
    /// Anything else.
    File,
}

/// A reference to content, never the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The platform's reference with its key, opaque here; a secret. None when it is unusable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// How the platform shows it.
    pub kind: MediaKind,
    /// File name as the sender gave it: data, never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Media type, where it is known without the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// Size of the content in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Playing time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Duration>,
    /// The platform's own speech-to-text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
}

/// The message that a message answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Its id, where the platform told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Its text, where the platform sent it along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

/// What a person wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where an answer goes.
    pub conversation: Conversation,
    /// The platform's id of who wrote it.
    pub sender: String,
    /// Milliseconds since the Unix epoch, by the platform's clock.
    pub sent_at_ms: u64,
    /// When it was received, in milliseconds since the Unix epoch by our own clock; zero until then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub received_ms: u64,
    /// Plain text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// In the order of the platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
    /// What it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
    /// What an answer has to carry; a secret of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_token: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// A person wrote.
    Message(Message),
    /// A person took a message back.
    Recalled {
        /// Where it was.
        conversation: Conversation,
        /// Which one.
        message_id: String,
    },
    /// What is not modelled.
    Other {
        /// Where it was.
        conversation: Conversation,
        /// A short name of the kind.
        name: String,
        /// The platform's JSON, without credentials.
        json: String,
    },
}

/// Something that happened, to be acknowledged by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The same thing always has the same id, however often it is delivered.
    pub id: String,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// The message in it, if it is one.
    pub fn message(&self) -> Option<&Message> {
        match &self.body {
            Body::Message(message) => Some(message),
            Body::Recalled { .. } | Body::Other { .. } => None,
        }
    }
}
