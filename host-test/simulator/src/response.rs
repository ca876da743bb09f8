//! Answers that both simulated servers give, and what is the same about all their answers.

use std::time::SystemTime;

use bytes::Bytes;
use gateway_listener::Received;
use gateway_listener::clock::Clock;
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;

use crate::body::{AnswerBody, Cut, whole};

/// Adds the time of the simulated server's own clock, as it was when the request came.
pub(crate) async fn dated(
    clock: &Clock,
    answer: impl Future<Output = Result<Response<AnswerBody>, Cut>>,
) -> Result<Response<AnswerBody>, Cut> {
    let now = SystemTime::UNIX_EPOCH + clock.unix();
    let mut response = answer.await?;
    // A date is ASCII.
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
        response.headers_mut().insert(DATE, date);
    }
    Ok(response)
}

/// JSON with this status.
pub(crate) fn json_answer(status: StatusCode, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What is wrong with a request, as a sentence.
pub(crate) fn problem(status: StatusCode, sentence: &str) -> Response<AnswerBody> {
    json_answer(status, json!({"error": sentence}).to_string().into())
}

/// A body of at most so many bytes; `None` when it is larger or broke off.
pub(crate) async fn whole_body(body: Received, most: usize) -> Option<Bytes> {
    let body = Limited::new(body, most).collect().await;
    Some(body.ok()?.to_bytes())
}
