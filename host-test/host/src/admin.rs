//! The operator's API: the health of the accounts, messages of the gateway's own accord, logins.
//!
//! - Every path but `/healthz` requires the token, even paths that do not exist. The body of a request is
//!   read after that check.
//! - A request without the token, or from a web page, must use one of the server's names, and a page must
//!   be of the server's own origin: see [`Names`].
//! - Every answer but the metrics is JSON, errors included. Their `kind` is one of the contract's error
//!   kinds, `ended` (no instance serves) or `unauthorized`.
//! - A failure ends one request, never the server.

mod api_error;
mod health;
mod jobs;
mod login;
mod message_request;
mod messages;
mod metrics;

use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path as InPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use serde_json::{Value, json};
use tower_service::Service;

use crate::account::{Handle, SwapError};
use crate::gateway::{Gateway, SWAP_DEADLINE};
pub use crate::listener::Token;
use crate::listener::{Listener, Names, Peer, has_origin};
use api_error::ApiError;
use jobs::Jobs;
use login::Sessions;

/// The largest body where files may be in it, in base64.
const MAX_MESSAGE_BYTES: usize = 150 * 1024 * 1024;
/// The largest component.
const MAX_COMPONENT_BYTES: usize = 64 * 1024 * 1024;
/// The largest body elsewhere.
const MAX_BODY_BYTES: usize = 64 * 1024;

#[derive(Clone)]
struct Admin {
    token: Token,
    names: Names,
    gateway: Gateway,
    jobs: Jobs,
    sessions: Sessions,
}

impl Admin {
    fn account(&self, id: &str) -> Result<Handle, ApiError> {
        let account = self.gateway.account(id);
        account.ok_or_else(|| ApiError::not_found(format!("there is no account `{id}`")))
    }
}

/// Serves the API until it is dropped.
pub async fn serve(listener: impl Into<Listener>, token: Token, gateway: Gateway) {
    let listener = listener.into();
    let router = router(Admin {
        token,
        names: listener.names().clone(),
        gateway,
        jobs: Jobs::default(),
        sessions: Sessions::default(),
    });
    let answer = move |request: http::Request<_>, peer: Peer| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    };
    listener.serve("the operator's API", answer).await;
}

/// Whether a request has the token.
#[derive(Clone, Copy)]
struct Authorized(bool);

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
        .fallback(async || ApiError::not_found("there is no such path".to_owned()))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(middleware::from_fn_with_state(admin.clone(), authorize))
        .with_state(admin)
}

async fn authorize(
    State(admin): State<Admin>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let authorized = Authorized(admin.token.is_in(&head.headers));
    // What has the token and is of no page may use any name: scrapers and probes have their own.
    if (!authorized.0 || has_origin(&head.headers))
        && let Err(foreign) = admin.names.check(peer.local, &head)
    {
        return ApiError::forbidden(foreign.sentence()).into_response();
    }
    if !authorized.0 && head.uri.path() != "/healthz" {
        return ApiError::unauthorized().into_response();
    }
    let mut request = Request::from_parts(head, body);
    request.extensions_mut().insert(authorized);
    next.run(request).await
}

/// The parameter by which the operator confirms what a component changes.
const ALLOW_CHANGES: &str = "allow-changes";

/// `POST /component`: swaps all accounts of its platform to the component in the body. A component that
/// reaches more than the old one, or treats credentials in another way, needs `?allow-changes=true`. The
/// component is not stored: the next start loads what `--component` names.
async fn swap(State(admin): State<Admin>, request: Request) -> Result<Json<Value>, ApiError> {
    let is_confirmed = match request.uri().query() {
        None | Some("" | "allow-changes=false") => false,
        Some("allow-changes=true") => true,
        Some(_) => {
            let what = format!("the one parameter is {ALLOW_CHANGES}, and it is true or false");
            return Err(ApiError::invalid(what));
        }
    };
    let bytes = body(request, MAX_COMPONENT_BYTES).await?;
    let gateway = &admin.gateway;
    let plugin = gateway
        .runtime()
        .load_bytes(Path::new("of the request"), bytes.to_vec())
        .await
        .map_err(|error| ApiError::misfit(error.to_string()))?;
    let swapped = match is_confirmed {
        true => gateway.swap_confirmed(&plugin, SWAP_DEADLINE).await,
        false => gateway.swap(&plugin, SWAP_DEADLINE).await,
    };
    swapped.map_err(|error| {
        ApiError::misfit(match error {
            SwapError::Unconfirmed(why) => format!("{why}, by ?{ALLOW_CHANGES}=true"),
            error => error.to_string(),
        })
    })?;
    Ok(Json(json!({"component": &*plugin.digest()})))
}

/// What stands in a path, decoded.
fn in_path<T>(path: Result<InPath<T>, PathRejection>) -> Result<T, ApiError> {
    let path = path.map_err(|_| ApiError::invalid("the path is no percent-encoded UTF-8 text"))?;
    Ok(path.0)
}

async fn body(request: Request, most: usize) -> Result<Bytes, ApiError> {
    to_bytes(request.into_body(), most).await.map_err(|error| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return ApiError::too_large(format!("the body has more than {most} bytes"));
            }
            cause = error.source();
        }
        ApiError::invalid("the body broke off")
    })
}
