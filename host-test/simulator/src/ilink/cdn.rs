//! The CDN, which stores encrypted files. It is served below `/c2c`, beside the API. It knows
//! neither bots nor tokens, only tickets.
//!
//! The simulator checks each upload while it comes. It keeps the content only up to the size that
//! its options name.

mod download;
#[cfg(test)]
mod tests;
mod upload;
mod visit;

use std::sync::Arc;

use gateway_listener::Received;
use http::request::Parts;
use http::{Response, StatusCode};

use super::state::ServerState;
use crate::body::{AnswerBody, Cut};
use visit::refusal;

/// Answers a path below `/c2c/`.
pub(super) async fn answer(
    server: Arc<ServerState>,
    head: Parts,
    body: Received,
) -> Result<Response<AnswerBody>, Cut> {
    let path = head.uri.path().strip_prefix("/c2c/").unwrap_or_default();
    match (path, head.method.as_str()) {
        ("upload", "POST") => upload::upload(server, head, body).await,
        ("download", "GET") => download::download(server, head).await,
        (_, method) => {
            if matches!(path, "upload" | "download") {
                server.violation(format!("{path}: the CDN takes no {method} here"));
            }
            Ok(refusal(StatusCode::NOT_FOUND, "not found"))
        }
    }
}
