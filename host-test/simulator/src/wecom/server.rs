//! The HTTP side: connections, paths, and the faults around the answers.

use std::sync::Arc;

use bytes::Bytes;
use gateway_listener::{Connections, ListenerLimits, Peer, Received};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::callbacks::deliver_all;
use super::calls::{self, Answer};
use super::control;
use super::endpoint::Endpoint;
use super::state::{Callback, WecomState};
use crate::body::{AnswerBody, Cut, cut_off, stalled, whole};
use crate::controlled;
use crate::faults::{CutAt, Effect, Fault, StallAt};
use crate::query::parameter;
use crate::response::{dated, problem, whole_body};
use crate::sync::lock;

/// Bytes of a request's body that are read: the largest file, and what is around it.
const REQUEST_BYTES: usize = 24 * 1024 * 1024;

/// Serves and posts callbacks until `stopped`; closes every connection then.
pub(super) async fn serve(
    listener: TcpListener,
    server: Arc<WecomState>,
    limits: ListenerLimits,
    callbacks: mpsc::UnboundedReceiver<Callback>,
    mut stopped: watch::Receiver<bool>,
) {
    // Dropping a set ends what is in it.
    let mut delivering = JoinSet::new();
    delivering.spawn(deliver_all(server.clone(), callbacks));
    let mut connections = Connections::new("the simulated WeCom", limits);
    loop {
        tokio::select! {
            // Told to stop, or the last handle is gone.
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let server = server.clone();
                    let answer = move |request, peer| {
                        let server = server.clone();
                        async move {
                            let answer = answer(server.clone(), peer, request);
                            dated(&server.clock, answer).await
                        }
                    };
                    connections.take(stream, remote, answer);
                }
                Err(error) => connections.cannot_accept(&error).await,
            },
            () = connections.tend() => {}
        }
    }
    connections.shutdown().await;
    delivering.shutdown().await;
}

async fn answer(
    server: Arc<WecomState>,
    peer: Peer,
    request: Request<Received>,
) -> Result<Response<AnswerBody>, Cut> {
    let (head, body) = request.into_parts();
    if let Err(refusal) = server.gate.check(peer, &head, || false) {
        return Ok(refusal.answer());
    }
    let path = head.uri.path().to_owned();
    let control = path.strip_prefix("/sim/");
    let endpoint = path.strip_prefix("/cgi-bin/").and_then(Endpoint::named);
    if control.is_none() && endpoint.is_none() {
        let sentence = "There is nothing at this path.";
        return Ok(problem(StatusCode::NOT_FOUND, sentence));
    }
    // A client that breaks off gets no answer.
    let body = whole_body(body, REQUEST_BYTES).await.ok_or(Cut)?;
    let Some(endpoint) = endpoint else {
        let answered = control::answer(&server, &head.method, control.unwrap_or_default(), &body);
        return Ok(controlled::rendered(answered.await));
    };
    let is_get = head.method == Method::GET;
    if is_get != endpoint.is_get() || !(is_get || head.method == Method::POST) {
        let sentence = format!("This path does not take {}.", head.method);
        return Ok(problem(StatusCode::METHOD_NOT_ALLOWED, &sentence));
    }
    let fault = lock(&server.rules).fault(endpoint).unwrap_or_default();
    lock(&server.records).counters.count(endpoint);
    let mut truth = Answer::refused(-1, "system busy");
    if fault.takes_effect() {
        let refusal = match endpoint {
            Endpoint::GetToken => None,
            Endpoint::Send | Endpoint::Upload | Endpoint::Get => {
                calls::check_caller(&server, &head)
            }
        };
        truth = match (refusal, endpoint) {
            (Some(refusal), _) => refusal,
            (None, Endpoint::GetToken) => calls::gettoken(&server, &head),
            (None, Endpoint::Send) => calls::send(&server, &body),
            (None, Endpoint::Upload) => calls::upload(&server, &head, &body).await,
            (None, Endpoint::Get) => calls::get(&server, &head),
        };
    }
    server.changed.notify_waiters();
    if !fault.delay.is_zero() {
        server.clock.sleep(fault.delay).await;
    }
    let request = match endpoint {
        Endpoint::Send => serde_json::from_slice(&body).unwrap_or(Value::Null),
        Endpoint::GetToken => Value::Null,
        Endpoint::Upload | Endpoint::Get => json!({
            "type": parameter(head.uri.query(), "type"),
            "bytes": body.len(),
        }),
    };
    give(&server, endpoint, request, fault, truth).await
}

/// Puts the fault around the true answer.
async fn give(
    server: &WecomState,
    endpoint: Endpoint,
    request: Value,
    fault: Fault,
    truth: Answer,
) -> Result<Response<AnswerBody>, Cut> {
    let Answer {
        mut status,
        mut headers,
        body: mut bytes,
    } = truth;
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    match &fault.effect {
        Effect::Status(given) => {
            status = given.code();
            headers.clear();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            bytes = given.page();
        }
        Effect::Body(text) => bytes = Bytes::from(text.clone()),
        Effect::Result(result) => {
            headers.clear();
            headers.insert(CONTENT_TYPE, json);
            bytes = Value::Object(result.clone()).to_string().into();
        }
        Effect::Truncated => bytes.truncate(bytes.len() / 2),
        Effect::Mangled(mangle) => bytes = mangle.apply(&bytes),
        _ => {}
    }
    let is_silent = matches!(
        fault.effect,
        Effect::Cut(CutAt::Before | CutAt::After) | Effect::Stall(StallAt::Before)
    );
    record(
        server,
        endpoint,
        request,
        (!is_silent).then_some(status),
        &bytes,
    );
    let length = bytes.len();
    let body = match fault.effect {
        Effect::Cut(CutAt::Body) => cut_off(&bytes),
        Effect::Cut(_) => return Err(Cut),
        Effect::Stall(StallAt::Before) => std::future::pending().await,
        Effect::Stall(StallAt::Headers) => stalled(&bytes, 0),
        Effect::Stall(StallAt::Body) => stalled(&bytes, length / 2),
        _ => whole(bytes),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    // Said also of a body that will break off, so that the client can tell.
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    Ok(response)
}

/// Writes the exchange down, without tokens and secrets.
fn record(
    server: &WecomState,
    endpoint: Endpoint,
    request: Value,
    status: Option<StatusCode>,
    body: &[u8],
) {
    let response = match serde_json::from_slice::<Value>(body) {
        Ok(mut answer) => {
            if let Some(token) = answer.get_mut("access_token") {
                *token = "***".into();
            }
            answer
        }
        Err(_) => format!("{} bytes that are no JSON", body.len()).into(),
    };
    let entry = json!({
        "endpoint": endpoint.name(),
        "status": status.map(|status| status.as_u16()),
        "request": request,
        "response": response,
    });
    server.note(entry, |records| &mut records.log);
}
