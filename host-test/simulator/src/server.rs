//! The simulator's HTTP side: connections and paths.
//!
//! It uses the HTTP library directly, since faults need the connection: an answer that is never
//! given, a body that breaks off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HOST};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::breakage::{AnswerBody, Cut, date, whole};
use super::call::Call;
use super::endpoint::Endpoint;
use super::reach::{Door, Order};
use super::{World, cdn, control, login};
use gateway_listener::{Connections, ListenerLimits, Peer, Received};

/// Bytes of a request's body that are read.
pub(super) const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// Serves until `stopped`; closes every connection then.
pub(super) async fn serve(
    listener: TcpListener,
    world: Arc<World>,
    limits: ListenerLimits,
    late: mpsc::UnboundedReceiver<(Duration, Value)>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut stopped: watch::Receiver<bool>,
) {
    // Dropping a set ends what is in it.
    let mut showing = JoinSet::new();
    showing.spawn(show_late(world.clone(), late));
    let mut connections = Connections::new("the simulator", limits);
    let mut door = Door::Open(listener);
    loop {
        tokio::select! {
            // Told to stop, or the last handle is gone.
            _ = stopped.changed() => break,
            Some(order) = orders.recv() => match order {
                // Who gave the order may have stopped waiting for it.
                Order::GoDark(done) => {
                    door.close(world.address);
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Order::ComeBack(done) => {
                    let _ = done.send(door.open(world.address));
                }
            },
            accepted = door.accept() => match accepted {
                Ok((stream, remote)) => {
                    let world = world.clone();
                    let answer = move |request, peer| dated(world.clone(), peer, request);
                    connections.take(stream, remote, None, answer);
                }
                Err(error) => connections.cannot_accept(&error).await,
            },
            () = connections.tend() => {}
        }
    }
    connections.shutdown().await;
    showing.shutdown().await;
}

/// An answer with the time of the simulated server's own clock.
async fn dated(
    world: Arc<World>,
    peer: Peer,
    request: Request<Received>,
) -> Result<Response<AnswerBody>, Cut> {
    let date = date(&world.clock);
    let mut response = answer(world, peer, request).await?;
    response.headers_mut().insert(DATE, date);
    Ok(response)
}

/// Shows late entries when their time has come, in order.
async fn show_late(world: Arc<World>, mut late: mpsc::UnboundedReceiver<(Duration, Value)>) {
    while let Some((due, entry)) = late.recv().await {
        world.clock.sleep_until(due).await;
        world.show(entry);
    }
}

async fn answer(
    world: Arc<World>,
    peer: Peer,
    request: Request<Received>,
) -> Result<Response<AnswerBody>, Cut> {
    let (head, body) = request.into_parts();
    let sent_here = || login::sends_to(&world, &head);
    if let Err(refusal) = world.gate.check(peer, &head, sent_here) {
        return Ok(refusal.answer());
    }
    if let Some(path) = head.uri.path().strip_prefix("/sim/") {
        return Ok(controlled(&world, path, &head, body).await);
    }
    if head.uri.path().starts_with("/c2c/") {
        return cdn::answer(world, head, body).await;
    }
    let Some(body) = whole_body(body).await else {
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
        at: world.clock.elapsed(),
        at_ms: world.clock.unix_ms(),
        world,
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
    world: &Arc<World>,
    path: &str,
    head: &Parts,
    body: Received,
) -> Response<AnswerBody> {
    let answered = match (path, head.method.as_str()) {
        ("files", "POST") => control::take_file(world, head.uri.query(), body).await,
        _ => {
            let Some(body) = whole_body(body).await else {
                return too_large();
            };
            // To make up the content of a file takes its time.
            let (world, path) = (world.clone(), path.to_owned());
            let method = head.method.clone();
            let answering =
                tokio::task::spawn_blocking(move || control::answer(&world, &method, &path, &body));
            answering.await.unwrap_or_else(|_| {
                let sentence = "The simulator failed over this request.".to_owned();
                Err((StatusCode::INTERNAL_SERVER_ERROR, sentence))
            })
        }
    };
    match answered {
        Ok(value) => json_answer(StatusCode::OK, value.to_string().into()),
        Err((status, sentence)) => problem(status, &sentence),
    }
}

/// None: it is too large, or it broke off.
async fn whole_body(body: Received) -> Option<Bytes> {
    let body = Limited::new(body, REQUEST_BYTES).collect().await;
    Some(body.ok()?.to_bytes())
}

fn too_large() -> Response<AnswerBody> {
    let sentence = "The body is larger than 4 MiB or broke off.";
    problem(StatusCode::PAYLOAD_TOO_LARGE, sentence)
}

pub(super) fn json_answer(status: StatusCode, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn problem(status: StatusCode, sentence: &str) -> Response<AnswerBody> {
    json_answer(status, json!({"error": sentence}).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::super::client::Client;
    use super::super::{Options, Simulator};
    use super::*;

    #[tokio::test]
    async fn shutdown_ends_open_polls_and_frees_the_port() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let client = Client::new(&simulator);
        let poll = tokio::spawn(async move {
            client
                .post("getupdates", json!({"get_updates_buf": ""}))
                .await
        });
        simulator
            .wait_for(|simulator| simulator.counters().polls_open == 1)
            .await;
        simulator.shutdown().await;
        assert!(poll.await.unwrap().is_err());
        assert_eq!(simulator.counters().polls_open, 0);
        let listen = simulator.first().world.address;
        let again = Simulator::start(Options {
            listen,
            ..Options::default()
        })
        .await;
        assert_eq!(again.unwrap().base_url(), simulator.base_url());
    }

    #[tokio::test]
    async fn the_server_ends_with_its_last_handle() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let client = Client::new(&simulator);
        let account = simulator.first().clone();
        drop(simulator);
        let poll = tokio::spawn(async move {
            client
                .post("getupdates", json!({"get_updates_buf": ""}))
                .await
        });
        while account.counters().polls_open == 0 {
            tokio::task::yield_now().await;
        }
        drop(account);
        assert!(poll.await.unwrap().is_err());
    }
}
