//! The HTTP side: connections, paths, and the faults around the answers.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::callbacks::{Callback, deliver_all};
use super::calls::{self, Answer};
use super::control;
use super::rules::{Endpoint, Fault, Kind};
use super::state::WecomState;
use crate::breakage::{AnswerBody, Cut, cut_off, date, stalled, whole};
use crate::faults::Break;
use crate::lock;
use crate::query::parameter;
use crate::server::json_answer;
use gateway_listener::{Connections, ListenerLimits, Peer, Received};

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
                    let answer = move |request, peer| dated(server.clone(), peer, request);
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

/// An answer with the time of the simulated server's own clock.
async fn dated(
    server: Arc<WecomState>,
    peer: Peer,
    request: Request<Received>,
) -> Result<Response<AnswerBody>, Cut> {
    let date = date(&server.clock);
    let mut response = answer(server, peer, request).await?;
    response.headers_mut().insert(DATE, date);
    Ok(response)
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
    let body = Limited::new(body, REQUEST_BYTES).collect().await;
    let body = body.map_err(|_| Cut)?.to_bytes();
    let Some(endpoint) = endpoint else {
        let answered = control::answer(&server, &head.method, control.unwrap_or_default(), &body);
        return Ok(match answered.await {
            Ok(value) => json_answer(StatusCode::OK, value.to_string().into()),
            Err((status, sentence)) => problem(status, &sentence),
        });
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
        truth = refusal.unwrap_or_else(|| match endpoint {
            Endpoint::GetToken => calls::gettoken(&server, &head),
            Endpoint::Send => calls::send(&server, &body),
            Endpoint::Upload => calls::upload(&server, &head, &body),
            Endpoint::Get => calls::get(&server, &head),
        });
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
    match &fault.kind {
        Kind::Status(code) => {
            status = StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_GATEWAY);
            headers.clear();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            bytes = format!("<html><body><h1>{status}</h1></body></html>").into();
        }
        Kind::Body(text) => bytes = Bytes::from(text.clone()),
        Kind::Result(result) => {
            headers.clear();
            headers.insert(CONTENT_TYPE, json);
            bytes = Value::Object(result.clone()).to_string().into();
        }
        Kind::Truncated => bytes.truncate(bytes.len() / 2),
        Kind::Mangled(mangle) => bytes = mangle.apply(&bytes),
        Kind::None | Kind::Cut(_) | Kind::Stall(_) => {}
    }
    let is_silent = matches!(
        fault.kind,
        Kind::Cut(Break::Before | Break::After) | Kind::Stall(Break::Before)
    );
    record(
        server,
        endpoint,
        request,
        (!is_silent).then_some(status),
        &bytes,
    );
    let length = bytes.len();
    let body = match fault.kind {
        Kind::Cut(Break::Body) => cut_off(&bytes),
        Kind::Cut(_) => return Err(Cut),
        Kind::Stall(Break::Before) => std::future::pending().await,
        Kind::Stall(Break::After) => stalled(&bytes, 0),
        Kind::Stall(Break::Body) => stalled(&bytes, length / 2),
        Kind::None
        | Kind::Status(_)
        | Kind::Body(_)
        | Kind::Result(_)
        | Kind::Truncated
        | Kind::Mangled(_) => whole(bytes),
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

fn problem(status: StatusCode, sentence: &str) -> Response<AnswerBody> {
    json_answer(status, json!({"error": sentence}).to_string().into())
}
