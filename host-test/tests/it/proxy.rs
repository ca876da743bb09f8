//! The component behind a proxy.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use gateway_host::agent::message::Reply;
use gateway_host::egress::proxy::Proxies;
use gateway_host::listener::Names;
use gateway_host::runtime::Runtime;
use gateway_simulator::{MediaKind, Simulator, SimulatorOptions};
use http::StatusCode;
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::harness::{
    ALICE, Harness, Recorder, component, eventually, runner, runner_of, signal, until,
};

const PASSWORD: &str = "canary-password-77";

/// A proxy that forwards plain http to those who give its password.
#[derive(Clone)]
struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    client: Client<HttpConnector, Body>,
    /// Where hosts below `.test` are.
    test_hosts: SocketAddr,
    refuses: AtomicBool,
    refused: Mutex<usize>,
    /// Hosts and paths of what was forwarded.
    forwarded: Mutex<Vec<String>>,
}

impl Proxy {
    async fn start(test_hosts: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            client: Client::builder(TokioExecutor::new()).build_http(),
            test_hosts,
            refuses: AtomicBool::new(false),
            refused: Mutex::default(),
            forwarded: Mutex::default(),
        });
        let app = Router::new().fallback(forward).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Proxy { address, shared }
    }

    fn url(&self) -> String {
        format!("http://gateway:{PASSWORD}@{}", self.address)
    }

    fn has_forwarded(&self, what: &str) -> bool {
        let forwarded = self.shared.forwarded.lock().unwrap();
        forwarded.iter().any(|url| url.contains(what))
    }

    fn times_refused(&self) -> usize {
        *self.shared.refused.lock().unwrap()
    }
}

async fn forward(State(proxy): State<Arc<Shared>>, mut request: Request) -> Response {
    // "gateway" and the password.
    let expected = "Basic Z2F0ZXdheTpjYW5hcnktcGFzc3dvcmQtNzc=";
    let given = request.headers_mut().remove(PROXY_AUTHORIZATION);
    let is_known = given.is_some_and(|given| given == expected);
    if !is_known || proxy.refuses.load(Ordering::Relaxed) {
        *proxy.refused.lock().unwrap() += 1;
        let headers = [(PROXY_AUTHENTICATE, "Basic realm=\"proxy\"")];
        return (StatusCode::PROXY_AUTHENTICATION_REQUIRED, headers).into_response();
    }
    let uri = request.uri().clone();
    let host = uri.host().expect("a proxy is asked for whole URLs");
    let seen = format!("{host}{}", uri.path());
    proxy.forwarded.lock().unwrap().push(seen);
    if host.ends_with(".test") {
        let path = uri.path_and_query().unwrap();
        let url = format!("http://{}{path}", proxy.test_hosts);
        *request.uri_mut() = url.parse().unwrap();
    }
    match proxy.client.request(request).await {
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn address_of(simulator: &Simulator) -> SocketAddr {
    let url = simulator.base_url();
    url.trim_start_matches("http://").parse().unwrap()
}

#[tokio::test]
async fn messages_and_media_go_through_the_proxy_that_the_runtime_names() {
    let mut harness = Harness::new().await;
    let proxy = Proxy::start(address_of(&harness.simulator)).await;
    let proxies = Proxies::everything_through(&proxy.url()).unwrap();
    harness.runtime = Runtime::with_proxies(harness.clock.clone(), proxies).unwrap();
    harness.plugin = harness.runtime.load(&component()).await.unwrap();
    let agent = Recorder::replying();
    let cdn = harness.simulator.cdn_base_url();
    let account = harness
        .start(agent.clone(), &[("cdn-base-url", &cdn)])
        .await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["re: hello"])
        .await;
    for path in ["getupdates", "sendmessage", "notifystart"] {
        assert!(proxy.has_forwarded(path), "{path}");
    }
    // Each request of the component came through it.
    let asked = harness.simulator.requests(None, Duration::MAX);
    assert!(proxy.shared.forwarded.lock().unwrap().len() >= asked);
    assert_eq!(proxy.times_refused(), 0);

    // The media's bytes come through it, too; the agent's own request goes to this host.
    let picture = vec![7; 100_000];
    harness
        .simulator
        .send_file(ALICE, MediaKind::File, "a.bin", picture.clone());
    eventually(async || agent.texts().len() == 2).await;
    let url = agent.asked.lock().unwrap()[1].media[0].url.clone().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let response = client.get(url.parse().unwrap()).await.unwrap();
    let got = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await;
    assert_eq!(got.unwrap(), picture);
    let cdn_path = cdn.parse::<http::Uri>().unwrap().path().to_owned();
    assert!(proxy.has_forwarded(&cdn_path), "{cdn_path}");
    account.stop().await;
    harness.check();
}

#[tokio::test]
async fn what_a_proxy_refuses_was_not_sent_and_is_sent_when_it_agrees() {
    let mut harness = Harness::new().await;
    let proxy = Proxy::start(address_of(&harness.simulator)).await;
    let proxies = Proxies::everything_through(&proxy.url()).unwrap();
    harness.runtime = Runtime::with_proxies(harness.clock.clone(), proxies).unwrap();
    harness.plugin = harness.runtime.load(&component()).await.unwrap();
    let gate = Arc::new(tokio::sync::Notify::new());
    let open = gate.clone();
    let agent = Recorder::new(move |_, _| {
        let open = open.clone();
        async move {
            open.notified().await;
            Ok(Reply::of_text("late".to_owned()))
        }
    });
    let _account = harness.start(agent.clone(), &[]).await;
    harness.simulator.say(ALICE, "hello");
    eventually(async || agent.texts().len() == 1).await;
    proxy.shared.refuses.store(true, Ordering::Relaxed);
    gate.notify_one();
    eventually(async || {
        harness.clock.advance(Duration::from_secs(2));
        proxy.times_refused() >= 4
    })
    .await;
    assert_eq!(harness.simulator.answers(ALICE), Vec::<String>::new());
    proxy.shared.refuses.store(false, Ordering::Relaxed);
    eventually(async || {
        harness.clock.advance(Duration::from_secs(2));
        !harness.simulator.answers(ALICE).is_empty()
    })
    .await;
    assert_eq!(harness.simulator.answers(ALICE), ["late"]);
    harness.check();
}

#[tokio::test]
async fn the_runner_takes_the_proxy_from_the_environment_and_says_so() {
    let simulator = Simulator::start(SimulatorOptions {
        names: Names::new(["ilink.test".to_owned()]).unwrap(),
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    let proxy = Proxy::start(address_of(&simulator)).await;
    // A name that only the proxy knows, and this machine, which is reached directly.
    for (base_url, through) in [
        ("http://ilink.test:8080".to_owned(), true),
        (simulator.base_url(), false),
    ] {
        let before = simulator.answers(ALICE).len();
        proxy.shared.forwarded.lock().unwrap().clear();
        let mut child = runner_of(&simulator, "memory", "echo")
            .env("WEIXIN_BASE_URL", base_url)
            .env("http_proxy", proxy.url())
            .env("RUST_LOG", "trace")
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let reading = tokio::spawn(async move {
            let mut log = String::new();
            stderr.read_to_string(&mut log).await.unwrap();
            log
        });
        simulator.say(ALICE, "hello");
        until(&simulator, |simulator| {
            simulator.answers(ALICE).len() > before
        })
        .await;
        assert_eq!(proxy.has_forwarded("sendmessage"), through);
        signal(&child, rustix::process::Signal::TERM);
        assert!(child.wait().await.unwrap().success());
        let log = reading.await.unwrap();
        let line = format!(
            "proxies: http through http://{} (http_proxy)",
            proxy.address
        );
        assert_eq!(log.matches(&line).count(), 1, "{log}");
        for secret in [PASSWORD, "Z2F0ZXdheTpj"] {
            for line in log.lines() {
                assert!(!line.contains(secret), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn a_variable_that_is_no_proxy_is_exit_2_and_one_line() {
    for (name, value, expected) in [
        ("HTTPS_PROXY", "http://u:canary@host:port", "HTTPS_PROXY"),
        ("all_proxy", "ftp://u:canary@host", "all_proxy"),
        ("ALL_PROXY", "socks4://u:canary@host", "SOCKS 4"),
    ] {
        let output = runner(&["run", "--state", "memory"])
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env(name, value)
            .stderr(Stdio::piped())
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(expected) && !log.contains("canary"), "{log}");
    }
}
