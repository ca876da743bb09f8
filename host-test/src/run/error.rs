//! Why a command fails.

use std::fmt::Display;

use crate::cli::UsageError;
use gateway_host::account::StartError;

/// Names of accounts that an error has; the rest is counted.
const NAMED: usize = 3;

/// Why a command failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The user's to correct.
    #[error("{0}")]
    Usage(String),
    /// Other gateways on the same state run the accounts now, and none is left.
    #[error("{0}")]
    Superseded(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// The answer to what was asked is no, and standard output has said so.
    #[error("see above")]
    Printed,
}

impl RunError {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            RunError::Usage(_) => 2,
            RunError::Other(_) | RunError::Printed => 1,
            // Of its own, so that a supervisor can leave it at that.
            RunError::Superseded(_) => 3,
        }
    }

    /// The accounts with these ids were taken over, and there are no others.
    pub(super) fn superseded(ids: &[String]) -> RunError {
        let mut names = ids
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if let Some(more @ 1..) = ids.len().checked_sub(NAMED) {
            names.push_str(&format!(" and {more} more"));
        }
        RunError::Superseded(format!(
            "another gateway that was started later on the same --state runs {names} now, and this \
             one ends: run one of them, or give them different accounts and states"
        ))
    }
}

impl From<UsageError> for RunError {
    fn from(error: UsageError) -> RunError {
        RunError::Usage(error.0)
    }
}

impl From<StartError> for RunError {
    fn from(error: StartError) -> RunError {
        match error {
            StartError::Invalid(why) => RunError::Usage(why),
            StartError::Failed(why) => RunError::Other(why),
        }
    }
}

/// An error that is nobody's to correct on the command line.
pub(super) fn other(error: impl Display) -> RunError {
    RunError::Other(error.to_string())
}
