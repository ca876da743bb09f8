//! What is wrong with what a person wrote.

/// One line for a person who wrote something wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
