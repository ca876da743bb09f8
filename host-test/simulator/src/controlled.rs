//! What the control paths of both simulated servers have in common.

use std::time::Duration;

use gateway_listener::clock::Clock;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::AnswerBody;
use crate::response::{json_answer, problem};

/// A clock moved further could overflow.
const CENTURY_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// The status and the sentence of what was wrong.
pub(crate) type Problem = (StatusCode, String);

/// The answer of a control path.
pub(crate) fn rendered(answer: Result<Value, Problem>) -> Response<AnswerBody> {
    match answer {
        Ok(value) => json_answer(StatusCode::OK, value.to_string().into()),
        Err((status, sentence)) => problem(status, &sentence),
    }
}

/// A mistake in a request.
pub(crate) fn bad(sentence: impl Into<String>) -> Problem {
    (StatusCode::BAD_REQUEST, sentence.into())
}

/// The JSON object in a request's body.
pub(crate) fn object(body: &[u8]) -> Result<Value, Problem> {
    match serde_json::from_slice(body) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err(bad("The body must be a JSON object.")),
        Err(error) => Err(bad(format!("The body is no JSON: {error}."))),
    }
}

/// Answers `POST /sim/clock`.
pub(crate) fn advance(clock: &Clock, body: &[u8]) -> Result<Value, Problem> {
    let advance = object(body)?["advance_ms"].as_u64();
    let advance = advance
        .filter(|advance| *advance <= CENTURY_MS)
        .ok_or_else(|| bad("`advance_ms` must be milliseconds, from 0 to a hundred years."))?;
    clock.advance(Duration::from_millis(advance));
    Ok(json!({"now_ms": clock.unix_ms()}))
}
