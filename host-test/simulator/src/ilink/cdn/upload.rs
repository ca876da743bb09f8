//! `POST /c2c/upload`: takes a ciphertext, and checks it against what was announced while it
//! comes, so that a file of any size takes little memory.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;

use super::visit::Visit;
use crate::body::{AnswerBody, Cut, whole};
use crate::faults::{CutAt, Effect, Fault, StallAt};
use crate::ilink::cipher::{Opened, Opening, padded};
use crate::ilink::content::Content;
use crate::ilink::endpoint::Endpoint;
use crate::ilink::state::{Announced, Blob, ServerState};
use crate::query::parameter;
use gateway_listener;

/// Bytes past the announced end that are read, so that a client that sends too many gets to see
/// the answer.
const EXCESS: u64 = 1024 * 1024;

/// What came of a request's body.
struct Received {
    bytes: u64,
    /// `None` when it does not decrypt, or nobody knows the key.
    opened: Option<Opened>,
}

/// Why an upload is refused.
struct Refusal {
    status: StatusCode,
    message: &'static str,
    code: Option<&'static str>,
    violation: String,
}

pub(super) async fn upload(
    server: Arc<ServerState>,
    head: Parts,
    body: gateway_listener::Received,
) -> Result<Response<AnswerBody>, Cut> {
    let query = head.uri.query();
    let announced = server
        .files
        .announced(&parameter(query, "encrypted_query_param"));
    let filekey = parameter(query, "filekey");
    let owner = announced.as_ref().map(|announced| &announced.bot);
    let (visit, fault) = Visit::arrive(server, Endpoint::Upload, head, owner);
    let received = receive(&visit, announced.as_deref(), body, &fault).await?;
    let bytes = received.bytes;
    let truth = if fault.takes_effect() {
        check(&visit, announced.as_deref(), &filekey, received)
            .inspect_err(|refusal| visit.violation(&refusal.violation))
    } else {
        Ok(String::new())
    };
    if !fault.delay.is_zero() {
        visit.server.clock.sleep(fault.delay).await;
    }
    give(&visit, fault, truth, bytes).await
}

/// Reads the body and decrypts it on the way.
async fn receive(
    visit: &Visit,
    announced: Option<&Announced>,
    mut body: gateway_listener::Received,
    fault: &Fault,
) -> Result<Received, Cut> {
    let server = &visit.server;
    let expected = announced.map_or(0, |announced| padded(announced.size));
    let mut opening = announced
        .map(|announced| Opening::new(announced.key, announced.size <= server.files.whole_bytes));
    let mut bytes = 0;
    loop {
        let breaks = match fault.effect {
            Effect::Cut(CutAt::Before) | Effect::Stall(StallAt::Before) => true,
            Effect::Cut(CutAt::Body) | Effect::Stall(StallAt::Body) => bytes >= expected / 2,
            _ => false,
        };
        if breaks {
            visit.record(None, bytes, 0, None);
            if matches!(fault.effect, Effect::Stall(_)) {
                std::future::pending::<()>().await;
            }
            return Err(Cut);
        }
        if let Effect::SlowRead(every) = fault.effect {
            server.clock.sleep(every).await;
        }
        let frame = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                visit.record(None, bytes, 0, Some("the client broke off"));
                return Err(Cut);
            }
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        bytes += data.len() as u64;
        visit.bot.lock().counters.uploaded_bytes += data.len() as u64;
        if bytes > expected {
            opening = None;
        }
        if let Some(opening) = &mut opening {
            opening.update(&data);
        }
        if bytes > expected.saturating_add(EXCESS) {
            break;
        }
    }
    Ok(Received {
        bytes,
        opened: opening.and_then(Opening::finish),
    })
}

/// Compares what came with what was announced; returns the ticket to take the file with.
fn check(
    visit: &Visit,
    announced: Option<&Announced>,
    filekey: &str,
    received: Received,
) -> Result<String, Refusal> {
    let Some(announced) = announced.filter(|announced| announced.filekey == filekey) else {
        return Err(Refusal {
            status: StatusCode::FORBIDDEN,
            message: "invalid encrypted_query_param",
            code: None,
            violation: "no upload with this encrypted_query_param and filekey was allowed; \
                        perhaps they are not percent-encoded"
                .to_owned(),
        });
    };
    let invalid = |violation: String| Refusal {
        status: StatusCode::BAD_REQUEST,
        message: "invalid content",
        // As the real server says it.
        code: Some("-5102031"),
        violation,
    };
    let expected = padded(announced.size);
    if received.bytes != expected {
        let bytes = received.bytes;
        return Err(invalid(format!(
            "the body has {bytes} bytes instead of the announced {expected}"
        )));
    }
    let Some(opened) = received.opened else {
        return Err(invalid(
            "the body does not decrypt with the announced key".to_owned(),
        ));
    };
    if opened.size != announced.size {
        return Err(invalid(format!(
            "the file has {} bytes instead of the announced {}",
            opened.size, announced.size
        )));
    }
    if opened.md5 != announced.md5 {
        return Err(invalid(
            "the file has another MD5 than announced".to_owned(),
        ));
    }
    let content = match opened.kept {
        Some(bytes) => Content::bytes(bytes),
        None => Content::gone(opened.size, opened.md5),
    };
    Ok(visit.server.files.store(Blob {
        bot: announced.bot.clone(),
        key: Some(announced.key),
        kind: announced.kind,
        name: None,
        content,
        uploaded: Some(announced.user.clone()),
    }))
}

/// Puts the fault around the true answer.
async fn give(
    visit: &Visit,
    fault: Fault,
    truth: Result<String, Refusal>,
    bytes: u64,
) -> Result<Response<AnswerBody>, Cut> {
    let mut response = Response::new(whole(Bytes::new()));
    let mut error = None;
    match truth {
        Ok(ticket) => {
            if let Ok(ticket) = HeaderValue::from_str(&ticket) {
                response.headers_mut().insert(TICKET, ticket);
            }
        }
        Err(refusal) => {
            *response.status_mut() = refusal.status;
            let headers = response.headers_mut();
            headers.insert("x-error-message", HeaderValue::from_static(refusal.message));
            if let Some(code) = refusal.code {
                headers.insert("x-error-code", HeaderValue::from_static(code));
            }
            error = Some(refusal.message);
        }
    }
    match fault.effect {
        Effect::Status(status) => {
            response = Response::new(whole(status.page()));
            *response.status_mut() = status.code();
            // They were checked when the fault was given.
            let headers = status.headers().unwrap_or_default();
            response.headers_mut().extend(headers);
        }
        Effect::Body(text) => response = Response::new(whole(text.into())),
        Effect::Result(result) | Effect::LoginAnswer(result) => {
            response = Response::new(whole(Value::Object(result).to_string().into()));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
        }
        Effect::Without(names) => {
            for name in names {
                response.headers_mut().remove(name);
            }
        }
        Effect::Cut(_) => {
            visit.record(None, bytes, 0, None);
            return Err(Cut);
        }
        Effect::Stall(_) => {
            visit.record(None, bytes, 0, None);
            std::future::pending::<()>().await;
        }
        _ => {}
    }
    visit.record(Some(response.status()), bytes, 0, error);
    Ok(response)
}

/// What a file can be taken with.
const TICKET: HeaderName = HeaderName::from_static("x-encrypted-param");
