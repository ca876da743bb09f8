//! A request of the sender, and what became of it.

use super::record::Content;
use crate::error::{Error, ErrorKind};

/// One request that the sender makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The key of the post.
    pub key: String,
    /// Which part of the post it sends.
    pub(super) index: usize,
    /// The conversation's id.
    pub conversation: String,
    /// What the message says or shows.
    pub content: Content,
    /// The event that it answers. Only the first part of an answer has it.
    pub answers: Option<String>,
    /// The part's own id for the platform.
    pub client_id: String,
    /// When the peer had last written, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// An earlier request with the same client id may have taken effect.
    pub is_again: bool,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The platform accepted the message.
    Accepted {
        /// The platform's id of the message, if it gave one.
        message_id: Option<String>,
    },
    /// The message went out as the response to the platform's own request, which says nothing about its
    /// fate.
    Answered,
    /// Nothing took effect. The part is tried again.
    NotSent(Error),
    /// The part is a file that could not be uploaded. Its conversation waits, and no other.
    NotUploaded(Error),
    /// The request may have taken effect.
    Unknown(Error),
    /// The platform refused the message for good.
    Refused(Error),
    /// The platform takes no message now, for this peer or of the account.
    Declined {
        /// The platform's refusal.
        error: Error,
        /// The platform named its rate as the reason.
        is_throttle: bool,
    },
    /// The credential is not valid. The sender waits for [`super::Outbox::resume`].
    LoginRequired(Error),
}

impl Outcome {
    /// What an error of the request means for the message.
    pub fn of(error: Error) -> Outcome {
        match error.kind {
            ErrorKind::Transient => Outcome::NotSent(error),
            ErrorKind::UnknownOutcome => Outcome::Unknown(error),
            ErrorKind::LoginRequired => Outcome::LoginRequired(error),
            ErrorKind::RateLimited => Outcome::Declined {
                error,
                is_throttle: true,
            },
            _ => Outcome::Refused(error),
        }
    }
}
