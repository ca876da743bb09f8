//! Refusals that several endpoints have in common.

/// The answer to a token that is missing, unknown or stale; HTTP says 200 with it.
pub(crate) const STALE: &str = r#"{"errcode":-14,"errmsg":"session timeout"}"#;

/// The answer to a request that is not understood.
pub(crate) const INVALID: &str = r#"{"ret":-1,"errmsg":"invalid arguments"}"#;
