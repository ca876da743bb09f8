//! Why a request failed, in the one form that all refusals have.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::account::UploadError;
use crate::bindings::gateway::channel::types::{Error, ErrorKind};
use crate::instance::{CallError, kind_name};
use crate::media::outgoing::Refused;

/// A refusal. Its members are those of the contract's errors, in their order.
#[derive(Debug, Clone, Serialize)]
pub struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    kind: &'static str,
    retry_after_ms: Option<u64>,
    platform: Option<String>,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            kind,
            retry_after_ms: None,
            platform: None,
            message: message.into(),
        }
    }

    fn of_kind(kind: ErrorKind, message: impl Into<String>) -> ApiError {
        ApiError::new(status(kind), kind_name(kind), message)
    }

    /// The caller's mistake.
    pub fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::of_kind(ErrorKind::Invalid, message)
    }

    /// Not for whoever asks.
    pub fn forbidden(message: impl Into<String>) -> ApiError {
        ApiError::of_kind(ErrorKind::Forbidden, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::of_kind(ErrorKind::NotFound, message)
    }

    /// More than is taken.
    pub fn too_large(message: impl Into<String>) -> ApiError {
        ApiError::of_kind(ErrorKind::TooLarge, message)
    }

    /// The key belongs to another content.
    pub fn key_conflict(message: impl Into<String>) -> ApiError {
        ApiError::of_kind(ErrorKind::KeyConflict, message)
    }

    /// What has to be kept can't be.
    pub fn storage(message: impl Into<String>) -> ApiError {
        ApiError::of_kind(ErrorKind::Storage, message)
    }

    /// A component can't take over.
    pub fn misfit(message: impl Into<String>) -> ApiError {
        let kind = kind_name(ErrorKind::Invalid);
        ApiError::new(StatusCode::CONFLICT, kind, message)
    }

    /// It may happen yet.
    pub fn unknown_outcome(message: impl Into<String>) -> ApiError {
        ApiError::of_kind(ErrorKind::UnknownOutcome, message)
    }

    /// The path is there, with other methods.
    pub fn method_not_allowed() -> ApiError {
        let kind = kind_name(ErrorKind::Invalid);
        let message = "this path has another method: see the Allow header";
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, kind, message)
    }

    /// Without the token.
    pub fn unauthorized() -> ApiError {
        let message = "send the header `Authorization: Bearer` with the value of HOST_ADMIN_TOKEN";
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// Why the file at this place of `media` is not sent.
    pub fn of_upload(place: usize, error: UploadError) -> ApiError {
        let mut failure = match error {
            UploadError::Refused(error) => {
                let kind = match &error {
                    Refused::TooLarge(_) => ErrorKind::TooLarge,
                    Refused::Other(_) => ErrorKind::Invalid,
                };
                ApiError::of_kind(kind, error.to_string())
            }
            UploadError::Call(error) => ApiError::from(error),
        };
        failure.message = format!("media[{place}]: {}", failure.message);
        failure
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> ApiError {
        match error {
            CallError::Channel(error) => ApiError::from(&error),
            CallError::Ended(ended) => {
                let message = ended.to_string();
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ended", message)
            }
        }
    }
}

impl From<&Error> for ApiError {
    fn from(error: &Error) -> ApiError {
        ApiError {
            retry_after_ms: error.retry_after,
            platform: error.platform.clone(),
            ..ApiError::of_kind(error.kind, error.message.as_str())
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(wait) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, wait.div_ceil(1000).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        (self.status, headers, Json(self)).into_response()
    }
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::WindowClosed | ErrorKind::LoginRequired | ErrorKind::KeyConflict => {
            StatusCode::CONFLICT
        }
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Transient | ErrorKind::Storage | ErrorKind::Fenced | ErrorKind::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::UnknownOutcome => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::Ended;

    #[test]
    fn errors_keep_what_the_caller_can_act_on() {
        let error = Error {
            kind: ErrorKind::RateLimited,
            retry_after: Some(1500),
            platform: Some("ret=-2".to_owned()),
            message: "slower".to_owned(),
        };
        let response = ApiError::from(CallError::Channel(error)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "2");

        let failure = ApiError::from(CallError::Ended(Ended("gone".into())));
        assert_eq!(failure.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            serde_json::to_string(&failure).unwrap(),
            r#"{"kind":"ended","retry_after_ms":null,"platform":null,"message":"the instance ended: gone"}"#
        );
        let failure = ApiError::of_upload(2, Refused::TooLarge(5).into());
        assert_eq!(failure.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(failure.message, "media[2]: it has more than 5 bytes");
    }
}
