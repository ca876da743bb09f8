//! The simulator's HTTP side: connections and paths.
//!
//! It uses the HTTP library directly, since faults need the connection: an answer that is never
//! given, a body that breaks off.

use std::sync::Arc;
use std::time::Duration;

use gateway_listener::{Connections, ListenerLimits, Peer, Received};
use http::header::HOST;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::acceptor::Acceptor;
use super::call::Call;
use super::endpoint::Endpoint;
use super::running::Command;
use super::state::ServerState;
use super::{cdn, control, login};
use crate::body::{AnswerBody, Cut};
use crate::controlled;
use crate::response::{dated, problem, whole_body};

/// Bytes of a request's body that are read.
pub(super) const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// Serves until `stopped`; closes every connection then.
pub(super) async fn serve(
    listener: TcpListener,
    server: Arc<ServerState>,
    limits: ListenerLimits,
    late: mpsc::UnboundedReceiver<(Duration, Value)>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    mut stopped: watch::Receiver<bool>,
) {
    // Dropping a set ends what is in it.
    let mut showing = JoinSet::new();
    showing.spawn(show_late(server.clone(), late));
    let mut connections = Connections::new("the simulator", limits);
    let mut acceptor = Acceptor::Open(listener);
    loop {
        tokio::select! {
            // Told to stop, or the last handle is gone.
            _ = stopped.changed() => break,
            Some(command) = commands.recv() => match command {
                // Who gave the command may have stopped waiting for it.
                Command::GoOffline(done) => {
                    acceptor.close(server.address);
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Command::ComeOnline(done) => {
                    let _ = done.send(acceptor.open(server.address));
                }
            },
            accepted = acceptor.accept() => match accepted {
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
    showing.shutdown().await;
}

/// Shows late entries when their time has come, in order.
async fn show_late(server: Arc<ServerState>, mut late: mpsc::UnboundedReceiver<(Duration, Value)>) {
    while let Some((due, entry)) = late.recv().await {
        server.clock.sleep_until(due).await;
        server.show(entry);
    }
}

async fn answer(
    server: Arc<ServerState>,
    peer: Peer,
    request: Request<Received>,
) -> Result<Response<AnswerBody>, Cut> {
    let (head, body) = request.into_parts();
    let sent_here = || login::sends_to(&server, &head);
    if let Err(refusal) = server.gate.check(peer, &head, sent_here) {
        return Ok(refusal.answer());
    }
    if let Some(path) = head.uri.path().strip_prefix("/sim/") {
        return Ok(controlled(&server, path, &head, body).await);
    }
    if head.uri.path().starts_with("/c2c/") {
        return cdn::answer(server, head, body).await;
    }
    let Some(body) = whole_body(body, REQUEST_BYTES).await else {
        return Ok(too_large());
    };
    let Some(endpoint) = Endpoint::at(head.uri.path()) else {
        return Ok(problem(
            StatusCode::NOT_FOUND,
            "There is nothing at this path.",
        ));
    };
    if !endpoint.takes(&head.method) {
        let sentence = format!("This path does not take {}.", head.method);
        return Ok(problem(StatusCode::METHOD_NOT_ALLOWED, &sentence));
    }
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let call = Call {
        at: server.clock.elapsed(),
        at_ms: server.clock.unix_ms(),
        server,
        host: host.map(Box::from),
        endpoint,
        body,
    };
    match endpoint.is_of_login() {
        true => login::answer(call, &head).await,
        false => call.answer(&head).await,
    }
}

async fn controlled(
    server: &Arc<ServerState>,
    path: &str,
    head: &Parts,
    body: Received,
) -> Response<AnswerBody> {
    let answered = match (path, head.method.as_str()) {
        ("files", "POST") => control::take_file(server, head.uri.query(), body).await,
        _ => {
            let Some(body) = whole_body(body, REQUEST_BYTES).await else {
                return too_large();
            };
            // To make up the content of a file takes its time.
            let (server, path) = (server.clone(), path.to_owned());
            let method = head.method.clone();
            let answering = tokio::task::spawn_blocking(move || {
                control::answer(&server, &method, &path, &body)
            });
            answering.await.unwrap_or_else(|_| {
                let sentence = "The simulator failed over this request.".to_owned();
                Err((StatusCode::INTERNAL_SERVER_ERROR, sentence))
            })
        }
    };
    controlled::rendered(answered)
}

fn too_large() -> Response<AnswerBody> {
    let sentence = "The body is larger than 4 MiB or broke off.";
    problem(StatusCode::PAYLOAD_TOO_LARGE, sentence)
}
