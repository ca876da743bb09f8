//! The simulator's HTTP side: connections and paths.
//!
//! It uses the HTTP library directly, since faults need the connection: an answer that is never
//! given, a body that breaks off.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::breakage::{AnswerBody, Cut, date, whole};
use super::call::Call;
use super::endpoint::Endpoint;
use super::reach::{Door, Order};
use super::{World, cdn, control, login};

/// Bytes of a request's body that are read.
pub(super) const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// Serves until `stopped`; closes every connection then.
pub(super) async fn serve(
    listener: TcpListener,
    world: Arc<World>,
    late: mpsc::UnboundedReceiver<(Duration, Value)>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut stopped: watch::Receiver<bool>,
) {
    // Dropping a set ends what is in it.
    let mut showing = JoinSet::new();
    showing.spawn(show_late(world.clone(), late));
    let mut connections = JoinSet::new();
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
            Some(_) = connections.join_next() => {}
            accepted = door.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(world.clone(), stream, peer));
                }
                Err(error) => {
                    // Out of file descriptors, most likely; some may come free.
                    tracing::warn!(%error, "the simulator cannot accept a connection");
                    world.clock.sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    connections.shutdown().await;
    showing.shutdown().await;
}

async fn connection(world: Arc<World>, stream: TcpStream, peer: SocketAddr) {
    // Without it small answers may wait for acknowledgements; it is no error to go on so.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let world = world.clone();
        async move {
            let mut response = answer(world.clone(), peer, request).await?;
            response.headers_mut().insert(DATE, date(&world.clock));
            Ok::<_, Cut>(response)
        }
    });
    let serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::trace!(%error, "a connection to the simulator ended");
    }
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
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Cut> {
    let (head, body) = request.into_parts();
    let control = head.uri.path().strip_prefix("/sim/").map(str::to_owned);
    if is_refused(head.uri.path(), peer.ip()) {
        return Ok(problem(
            StatusCode::FORBIDDEN,
            "The control paths are for this machine only.",
        ));
    }
    if head.uri.path().starts_with("/c2c/") {
        return cdn::answer(world, head, body).await;
    }
    let Ok(body) = Limited::new(body, REQUEST_BYTES).collect().await else {
        return Ok(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body is larger than 4 MiB or broke off.",
        ));
    };
    let body = body.to_bytes();
    if let Some(path) = control {
        // A request may name a file on this machine, and reading it blocks.
        let answering = tokio::task::spawn_blocking(move || {
            control::answer(&world, &head.method, &path, &body)
        });
        let answered = answering.await.unwrap_or_else(|_| {
            let sentence = "The simulator failed over this request.".to_owned();
            Err((StatusCode::INTERNAL_SERVER_ERROR, sentence))
        });
        return Ok(match answered {
            Ok(value) => json_answer(StatusCode::OK, value.to_string().into()),
            Err((status, sentence)) => problem(status, &sentence),
        });
    }
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

/// The control paths are not for other machines.
fn is_refused(path: &str, peer: IpAddr) -> bool {
    path.starts_with("/sim/") && !peer.to_canonical().is_loopback()
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
    use std::net::Ipv4Addr;

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

    #[test]
    fn control_is_refused_to_other_machines() {
        for (address, refused) in [
            (IpAddr::from(Ipv4Addr::LOCALHOST), false),
            (Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), false),
            (Ipv4Addr::new(192, 0, 2, 1).into(), true),
        ] {
            assert_eq!(is_refused("/sim/log", address), refused, "{address}");
            assert!(!is_refused("/ilink/bot/getupdates", address));
        }
    }
}
