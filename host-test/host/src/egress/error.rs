//! Why a request failed, told so that the caller knows whether it may have taken effect.
//!
//! The texts hold scheme, host and port, and never a path, a query, a header or a body.

use std::fmt;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::sandbox::limits::Exceeded;

/// Any error of a body that a caller hands in.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a rule can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub(super) String);

/// A failed request and where it went.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {failure}")]
pub struct EgressError {
    /// Where the request went, or would have gone.
    pub origin: Origin,
    /// What happened.
    pub failure: FailureKind,
}

/// What happened to a request.
#[derive(Debug, thiserror::Error)]
pub enum FailureKind {
    /// No rule allows it, or the URL is not one that can be judged safely.
    #[error("refused: {0}")]
    Denied(&'static str),
    /// The host has none but addresses that are not public.
    #[error("refused: the host has no public address")]
    ProhibitedAddress,
    /// A placeholder stands where no rule puts this credential.
    #[error("refused: no rule puts the credential {name:?} there")]
    CredentialNotAllowed {
        /// The name of the credential.
        name: String,
    },
    /// The host holds no value for the placeholder.
    #[error("refused: there is no credential {name:?}: log in or configure it")]
    CredentialMissing {
        /// The name of the credential.
        name: String,
    },
    /// The value can't be in a header, is no segment of a path, or is too long for a URL.
    #[error("refused: the credential {name:?} can't stand there: its characters or its length")]
    CredentialUnusable {
        /// The name of the credential.
        name: String,
    },
    /// A body in which credentials are to be replaced is larger than that is done for.
    #[error("refused: the body has more than {limit} bytes, too many to put a credential into")]
    RequestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request's body is larger than the host allows; `name` is the field of
    /// [`Limits`](super::Limits), and some of it may be sent.
    #[error("the request has more than {limit} bytes (`{name}`)")]
    RequestOverLimit {
        /// The limit in bytes.
        limit: u64,
        /// The field of [`Limits`](super::Limits).
        name: &'static str,
        /// Whether a part of it may be sent.
        is_begun: bool,
    },
    /// The account has as much of the host's memory or connections as it may; nothing was sent.
    #[error("refused: {0}")]
    OverShare(Exceeded),
    /// The answer is there, and the account has no room for it.
    #[error("the answer is not taken: {0}")]
    NoRoom(Exceeded),
    /// The host's name has no address, or its server did not answer.
    #[error("the name can't be resolved: {0}")]
    Dns(String),
    /// No address took the connection.
    #[error("can't connect: {0}")]
    Connect(String),
    /// No connection in time, the name's resolution and the TLS handshake included.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The server's certificate or its TLS is not accepted.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// The proxy is not reached, or makes no connection to the server.
    #[error("proxy {0}")]
    Proxy(String),

    /// The caller's own body failed while it was sent.
    #[error("the request's body broke off: {0}")]
    RequestBody(String),
    /// The request is sent, and no answer began in time.
    #[error("no answer within {0:?}")]
    FirstByteTimeout(Duration),
    /// The answer began and then paused for too long.
    #[error("the answer did not go on within {0:?}")]
    BodyTimeout(Duration),
    /// The whole exchange took too long.
    #[error("the answer was not complete within {0:?}")]
    TotalTimeout(Duration),
    /// The connection ended before the answer began.
    #[error("the connection was lost before the answer: {0}")]
    ConnectionLost(String),
    /// The connection ended within the answer.
    #[error("the answer broke off: {0}")]
    Incomplete(String),
    /// The answer is no valid HTTP, or its head is too large.
    #[error("the answer is not valid HTTP: {0}")]
    Protocol(String),
    /// The answer's body is larger than allowed.
    #[error("the answer has more than {limit} bytes (`{name}`)")]
    ResponseTooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The field of [`Limits`](super::Limits).
        name: &'static str,
    },
    /// The answer may hold a credential that can't be taken out of it.
    #[error(
        "the answer (HTTP {status}) may hold the credential {name:?}, and {reason}: the component \
         does not get it"
    )]
    CredentialHidden {
        /// The name of the credential.
        name: String,
        /// The HTTP status of the answer.
        status: u16,
        /// Why it can't be taken out.
        reason: &'static str,
    },
}

impl FailureKind {
    /// Whether the host's own policy stopped the request before any connection.
    pub fn is_refusal(&self) -> bool {
        match self {
            FailureKind::Denied(_)
            | FailureKind::ProhibitedAddress
            | FailureKind::CredentialNotAllowed { .. }
            | FailureKind::CredentialMissing { .. }
            | FailureKind::CredentialUnusable { .. }
            | FailureKind::RequestTooLarge { .. }
            | FailureKind::OverShare(_)
            | FailureKind::RequestOverLimit {
                is_begun: false, ..
            } => true,
            FailureKind::Dns(_)
            | FailureKind::Connect(_)
            | FailureKind::ConnectTimeout(_)
            | FailureKind::Tls(_)
            | FailureKind::Proxy(_)
            | FailureKind::RequestOverLimit { is_begun: true, .. }
            | FailureKind::RequestBody(_)
            | FailureKind::NoRoom(_)
            | FailureKind::FirstByteTimeout(_)
            | FailureKind::BodyTimeout(_)
            | FailureKind::TotalTimeout(_)
            | FailureKind::ConnectionLost(_)
            | FailureKind::Incomplete(_)
            | FailureKind::Protocol(_)
            | FailureKind::ResponseTooLarge { .. }
            | FailureKind::CredentialHidden { .. } => false,
        }
    }

    /// Whether no byte of the request reached the server. Otherwise it may have taken effect.
    pub fn nothing_was_sent(&self) -> bool {
        self.is_refusal()
            || matches!(
                self,
                FailureKind::Dns(_)
                    | FailureKind::Connect(_)
                    | FailureKind::ConnectTimeout(_)
                    | FailureKind::Tls(_)
                    | FailureKind::Proxy(_)
            )
    }

    /// The limit that was passed.
    pub fn limit(&self) -> Option<Exceeded> {
        let bytes = |name, what, limit: &u64| Some(Exceeded::count(name, what, limit, "bytes"));
        match self {
            FailureKind::RequestOverLimit { limit, name, .. } => {
                bytes(name, "it sends a larger body", limit)
            }
            FailureKind::ResponseTooLarge { limit, name } => {
                bytes(name, "it gets a larger answer", limit)
            }
            FailureKind::OverShare(exceeded) | FailureKind::NoRoom(exceeded) => {
                Some(exceeded.clone())
            }
            _ => None,
        }
    }

    pub(super) fn at(self, origin: &Origin) -> EgressError {
        EgressError {
            origin: origin.clone(),
            failure: self,
        }
    }
}

/// `scheme://host[:port]` of a request, without anything that could be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl Origin {
    /// The origin of `uri`; costs no allocation.
    pub fn of(uri: &Uri) -> Origin {
        Origin {
            scheme: uri.scheme().cloned(),
            authority: uri.authority().cloned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_ref().map_or("?", Scheme::as_str);
        // An authority may start with a user and a password, which `host` leaves out.
        let host = self.authority.as_ref().map_or("?", Authority::host);
        write!(f, "{scheme}://{host}")?;
        match self.authority.as_ref().and_then(Authority::port_u16) {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The innermost cause: the others add nothing.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
