//! The operator's API: how the accounts do, messages of the gateway's own accord, logins.
//!
//! - All but `/healthz` wants the token, also where there is nothing; nothing of a request's body is
//!   read before.
//! - Every answer but the metrics is JSON, and so is every refusal: `kind` is one of the contract's
//!   error kinds, `ended` (no instance serves) or `unauthorized`.
//! - What fails ends one request, never the server.

mod failure;
mod health;
mod jobs;
mod login;
mod messages;
mod metrics;

use std::path::Path;

use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path as InPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::account::{Handle, SwapError};
use crate::gateway::{Gateway, SWAP_DEADLINE};
use failure::Failure;
use jobs::Jobs;
use login::Sessions;

/// The largest body where files may be in it, in base64.
const MAX_MESSAGE_BYTES: usize = 150 * 1024 * 1024;
/// The largest component.
const MAX_COMPONENT_BYTES: usize = 64 * 1024 * 1024;
/// The largest body elsewhere.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What a caller must know. Only its hash is kept.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

impl Token {
    /// A token; none when it is empty.
    pub fn new(token: &str) -> Option<Token> {
        let digest = Sha256::digest(token).into();
        (!token.is_empty()).then_some(Token { digest })
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, token)) = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        // Of hashes, and all of them: the time tells nothing of the token, not even its length.
        let given: [u8; 32] = Sha256::digest(token.trim()).into();
        let pairs = self.digest.iter().zip(given);
        let difference = pairs.fold(0, |difference, (one, other)| difference | (one ^ other));
        scheme.eq_ignore_ascii_case("bearer") && difference == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[derive(Clone)]
struct Admin {
    token: Token,
    gateway: Gateway,
    jobs: Jobs,
    sessions: Sessions,
}

impl Admin {
    fn account(&self, id: &str) -> Result<Handle, Failure> {
        let account = self.gateway.account(id);
        account.ok_or_else(|| Failure::not_found(format!("there is no account `{id}`")))
    }
}

/// Serves the API until it is dropped.
pub async fn serve(listener: TcpListener, token: Token, gateway: Gateway) {
    let jobs = Jobs::default();
    let router = router(Admin {
        token,
        gateway,
        jobs,
        sessions: Sessions::default(),
    });
    // A connection that can't be taken is the client's trouble: this ends for nothing.
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("the operator's API ended: {error}");
    }
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(metrics::metrics))
        .route("/accounts", get(health::accounts))
        .route("/accounts/{account}/messages", post(messages::send))
        .route("/accounts/{account}/messages/{key}", get(messages::find))
        .route(
            "/accounts/{account}/login",
            post(login::begin).get(login::next),
        )
        .route("/accounts/{account}/login/code", post(login::submit))
        .route("/component", post(swap))
        .fallback(async || Failure::not_found("there is no such path".to_owned()))
        .method_not_allowed_fallback(async || Failure::method_not_allowed())
        .layer(middleware::from_fn_with_state(admin.clone(), authorize))
        .with_state(admin)
}

async fn authorize(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/healthz" || admin.token.is_in(request.headers()) {
        return next.run(request).await;
    }
    Failure::unauthorized().into_response()
}

/// The parameter by which the operator confirms what a component changes.
const ALLOW_CHANGES: &str = "allow-changes";

/// `POST /component`: swaps all accounts of its platform to the component of the body. One that reaches
/// more than the one that serves, or treats credentials in another way, wants `?allow-changes=true`. It
/// is not kept: a later start loads what `--component` names.
async fn swap(State(admin): State<Admin>, request: Request) -> Result<Json<Value>, Failure> {
    let is_confirmed = match request.uri().query() {
        None | Some("" | "allow-changes=false") => false,
        Some("allow-changes=true") => true,
        Some(_) => {
            let what = format!("the one parameter is {ALLOW_CHANGES}, and it is true or false");
            return Err(Failure::invalid(what));
        }
    };
    let bytes = body(request, MAX_COMPONENT_BYTES).await?;
    let gateway = &admin.gateway;
    let plugin = gateway
        .runtime()
        .load_bytes(Path::new("of the request"), bytes.to_vec())
        .await
        .map_err(|error| Failure::misfit(error.to_string()))?;
    let swapped = match is_confirmed {
        true => gateway.swap_confirmed(&plugin, SWAP_DEADLINE).await,
        false => gateway.swap(&plugin, SWAP_DEADLINE).await,
    };
    swapped.map_err(|error| {
        Failure::misfit(match error {
            SwapError::Unconfirmed(why) => format!("{why}, by ?{ALLOW_CHANGES}=true"),
            error => error.to_string(),
        })
    })?;
    Ok(Json(json!({"component": &*plugin.digest})))
}

/// What stands in a path, decoded.
fn in_path<T>(path: Result<InPath<T>, PathRejection>) -> Result<T, Failure> {
    let path = path.map_err(|_| Failure::invalid("the path is no percent-encoded UTF-8 text"))?;
    Ok(path.0)
}

async fn body(request: Request, most: usize) -> Result<Bytes, Failure> {
    to_bytes(request.into_body(), most).await.map_err(|error| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return Failure::too_large(format!("the body has more than {most} bytes"));
            }
            cause = error.source();
        }
        Failure::invalid("the body broke off")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(Token::new("").is_none());
        let token = Token::new("s3cret").unwrap();
        let is_in = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            token.is_in(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
        };
        assert!(is_in("Bearer s3cret"));
        assert!(is_in("bearer  s3cret"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3cret2",
            "Bearer S3cret",
            "Basic s3cret",
            "s3cret",
        ] {
            assert!(!is_in(wrong), "{wrong}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
