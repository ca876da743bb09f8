//! The one error of the core, sorted by who must act.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the caller can do about a failure; the cases of the WIT's `error-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Nothing took effect; retry with back-off.
    Transient,
    /// The platform wants less.
    RateLimited,
    /// A send may have taken effect.
    UnknownOutcome,
    /// The credential is missing or no longer valid.
    LoginRequired,
    /// The platform accepts no message to this peer until the peer writes again.
    WindowClosed,
    /// Refused for good by policy or by the platform.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The caller's value is wrong.
    Invalid,
    /// More than a limit takes.
    TooLarge,
    /// Not done by this component.
    Unsupported,
    /// The same key was used for another content.
    KeyConflict,
    /// A newer instance owns the account.
    Fenced,
    /// `drain` was called.
    Draining,
    /// The key-value store failed.
    Storage,
}

/// A failure that someone can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Who must act, and how.
    pub kind: ErrorKind,
    /// Earliest useful retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// The platform's own code, verbatim, such as `ret=-2 errmsg=prepare failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// For people; at most [`MAX_MESSAGE_BYTES`], without credentials or message text.
    pub message: String,
}

/// Longest message of an error.
pub const MAX_MESSAGE_BYTES: usize = 512;

impl Error {
    /// An error of `kind` with a sentence for people, cut where it is too long.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        Error {
            kind,
            retry_after: None,
            platform: None,
            message,
        }
    }

    /// The same error with the platform's own code.
    pub fn with_platform(mut self, platform: impl Into<String>) -> Error {
        self.platform = Some(platform.into());
        self
    }

    /// The same error with the earliest useful retry.
    pub fn with_retry_after(mut self, retry_after: Duration) -> Error {
        self.retry_after = Some(retry_after);
        self
    }
}
