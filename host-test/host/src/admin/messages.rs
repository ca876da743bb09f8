//! Messages of the gateway's own accord, and what became of them.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use serde::Serialize;

use super::api_error::ApiError;
use super::message_request::MessageRequest;
use super::{Admin, MAX_MESSAGE_BYTES, body, in_path};
use crate::account::{PartState, Receipt, state_name};

/// A caller is answered within this time.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// `POST …/messages`.
pub async fn send(
    State(admin): State<Admin>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<ReceiptBody>, ApiError> {
    let account = admin.account(&in_path(path)?)?;
    let clock = account.clock().clone();
    let (key, wanted) = {
        let body = body(request, MAX_MESSAGE_BYTES).await?;
        let (key, wanted) = MessageRequest::read(&body)?;
        (key.unwrap_or_else(new_key), wanted)
    };
    let receipt = tokio::select! {
        outcome = admin.jobs.outcome(account, key.clone(), wanted) => outcome?,
        () = clock.sleep(ANSWER_TIME) => {
            return Err(ApiError::unknown_outcome(format!(
                "the post `{key}` is still on its way: send the same again, with this key, to learn \
                 what becomes of it"
            )));
        }
    };
    let is_failed = receipt
        .parts
        .iter()
        .all(|part| part.state == PartState::Failed);
    match receipt.parts.first() {
        Some(first) if is_failed => Err(first.error.as_ref().map_or_else(
            || ApiError::unknown_outcome("the post failed, and nothing says why"),
            ApiError::from,
        )),
        _ => Ok(Json(ReceiptBody::of(receipt))),
    }
}

/// `GET …/messages/{key}`.
pub async fn find(
    State(admin): State<Admin>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<ReceiptBody>, ApiError> {
    let (account, key) = in_path(path)?;
    let receipt = admin.account(&account)?.find(key.clone()).await?;
    match receipt {
        Some(receipt) => Ok(Json(ReceiptBody::of(receipt))),
        None => Err(ApiError::not_found(format!("there is no post `{key}`"))),
    }
}

/// A receipt as the contract has it.
#[derive(Serialize)]
pub struct ReceiptBody {
    key: String,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    state: &'static str,
    message_id: Option<String>,
    error: Option<ApiError>,
}

impl ReceiptBody {
    fn of(receipt: Receipt) -> ReceiptBody {
        let parts = receipt.parts.into_iter().map(|part| Part {
            state: state_name(part.state),
            message_id: part.message_id,
            error: part.error.as_ref().map(ApiError::from),
        });
        ReceiptBody {
            key: receipt.key,
            parts: parts.collect(),
        }
    }
}

fn new_key() -> String {
    format!("admin:{:032x}", rand::random::<u128>())
}
