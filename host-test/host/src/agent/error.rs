//! Why an agent did not answer, and whether the message or the agent is at fault.

use std::time::Duration;

use super::ANSWER_TIME;

/// Why a message has no answer. The texts name the agent and hold nothing of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// There is no connection to the agent, or it could not be started.
    #[error("the agent can't be reached: {0}")]
    Unreachable(String),
    /// An HTTP agent answered with a status that acknowledges nothing.
    #[error("the agent answered with status {0}: only 2xx acknowledges a message")]
    Status(u16),
    /// The server of a model refused the request.
    #[error(
        "the agent at {server} answered with status {status}{}",
        after_colon(reason)
    )]
    Refused {
        /// Its URL, without user and query.
        server: String,
        /// The HTTP status, or the one that its words mean.
        status: u16,
        /// The server's words, short and in one line; may be empty.
        reason: String,
        /// Whose fault it is.
        fault: Fault,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is not what an agent answers.
    #[error("the agent's answer can't be read: {0}")]
    Unreadable(&'static str),
    /// The connection was lost within the answer.
    #[error("the agent's answer broke off: {0}")]
    Incomplete(String),
    /// The answer has more than [`MAX_ANSWER_BYTES`](super::MAX_ANSWER_BYTES).
    #[error("the agent's answer is too large")]
    TooLarge,
    /// There was no answer within [`ANSWER_TIME`](super::ANSWER_TIME).
    #[error("the agent did not answer within {} minutes", ANSWER_TIME.as_secs() / 60)]
    TimedOut,
    /// The agent is code of this process, and it panicked.
    #[error("the agent panicked")]
    Panicked,
    /// The process ended while it had several messages.
    #[error("the agent's process ended before it answered")]
    ProcessEnded,
    /// The process ended while it had this message and no other.
    #[error("the agent's process ended on a message that was alone with it")]
    ProcessEndedAlone,
    /// The process ended, and its next start is due after a pause.
    #[error("the agent's process does not run, and is started again after a pause")]
    NotRunning,
    /// The process can't tell two messages with one id apart, so this one waits.
    #[error("another account's message with the same id is with the agent's process")]
    SameId,
    /// The agent says itself that it failed, or nothing of its answer can be used.
    #[error("the agent has no answer: {0}")]
    NoAnswer(String),
}

/// Who is at fault for a failure. That decides what happens to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Perhaps the message. It is given again, and put aside if others are answered meanwhile.
    Message,
    /// The agent, for a while. The failure counts against no message.
    Outage,
    /// The agent, until somebody mends it. One message at a time tries whether it works again.
    Lasting,
    /// The agent is done with the message. It would give the same answer again.
    Final,
}

impl Fault {
    /// What an HTTP status other than 2xx says.
    pub fn of_status(status: u16) -> Fault {
        match status {
            408 | 425 | 429 | 502..=504 | 520..=524 | 529 => Fault::Outage,
            300..=399 | 401..=405 | 407 | 426 => Fault::Lasting,
            _ => Fault::Message,
        }
    }
}

impl AgentError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            AgentError::Status(status) => Fault::of_status(*status),
            AgentError::Refused { fault, .. } => *fault,
            AgentError::Unreachable(_)
            | AgentError::TimedOut
            | AgentError::NotRunning
            | AgentError::SameId => Fault::Outage,
            AgentError::Unreadable(_)
            | AgentError::Incomplete(_)
            | AgentError::Panicked
            | AgentError::ProcessEnded
            | AgentError::ProcessEndedAlone => Fault::Message,
            AgentError::TooLarge | AgentError::NoAnswer(_) => Fault::Final,
        }
    }

    /// Whether it only means that the message came too early.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            AgentError::Status(429) | AgentError::Refused { status: 429, .. } | AgentError::SameId
        )
    }

    /// When the agent wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            AgentError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Its name in metrics.
    pub fn kind(&self) -> &'static str {
        let place = self.place();
        KINDS.get(place).copied().unwrap_or_default()
    }

    /// Its place in [`KINDS`].
    pub(crate) fn place(&self) -> usize {
        match self {
            AgentError::Unreachable(_) => 0,
            AgentError::Status(_) | AgentError::Refused { .. } => 1,
            AgentError::Unreadable(_) => 2,
            AgentError::Incomplete(_) => 3,
            AgentError::TooLarge => 4,
            AgentError::TimedOut => 5,
            AgentError::Panicked => 6,
            AgentError::ProcessEnded | AgentError::ProcessEndedAlone => 7,
            AgentError::NotRunning => 8,
            AgentError::NoAnswer(_) => 9,
            AgentError::SameId => 10,
        }
    }
}

/// The names of all kinds of errors.
pub(crate) const KINDS: [&str; 11] = [
    "unreachable",
    "status",
    "unreadable",
    "incomplete",
    "too-large",
    "timed-out",
    "panicked",
    "process-ended",
    "not-running",
    "no-answer",
    "same-id",
];

fn after_colon(reason: &str) -> String {
    match reason.is_empty() {
        true => String::new(),
        false => format!(": {reason}"),
    }
}
