//! Requests through the whole way out, against servers of this process.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::RequestBody;
use super::connector::{AddressPolicy, Resolve};
use super::credential::MAX_JSON_BYTES;
use super::exchange::failure_of;
use super::proxy::Proxies;
use super::rule::{Credential, Placement};
use super::*;

mod captures;
mod failures;
mod origins;
mod paths;
mod proxies;
mod proxy_server;
mod queries;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a server does with each request that it has read.
#[derive(Clone, Copy)]
enum Then {
    KeepOpen,
    Close,
}

/// A server that gives one and the same answer, and keeps what it was asked.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    received: watch::Receiver<usize>,
}

impl Server {
    async fn start(answer: &'static str, then: Then) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, received) = watch::channel(0);
        let count = Arc::new(count);
        let server = Server {
            address,
            connections: connections.clone(),
            requests: requests.clone(),
            received,
        };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (requests, count) = (requests.clone(), count.clone());
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        requests.lock().unwrap().push(request);
                        count.send_modify(|count| *count += 1);
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        if matches!(then, Then::Close) {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn rule(&self) -> Rule {
        Rule::configured(&self.url("/")).unwrap()
    }

    fn request(&self, number: usize) -> (String, String) {
        self.requests.lock().unwrap()[number].clone()
    }

    /// Connections are accepted in their order, so one of our own shows all before it.
    async fn connections_before_this(&self) -> usize {
        let egress = egress(vec![self.rule()], Secrets::default());
        send(&egress, &self.url("/last")).await.unwrap();
        self.connections.load(Ordering::Relaxed) - 1
    }
}

/// Head and body of a request; `None` when the connection ends or it is no HTTP.
async fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        if !bytes.is_empty() && !bytes[0].is_ascii_uppercase() {
            stream.write_all(b"not for you").await.ok()?;
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            let chunked = head.contains("transfer-encoding: chunked");
            if (!chunked && body.len() >= length) || (chunked && body.ends_with("0\r\n\r\n")) {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Every name has these addresses; without any, no answer ever comes.
struct Fixed(Vec<IpAddr>);

impl Resolve for Fixed {
    fn resolve(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let addresses = self.0.clone();
        async move {
            if addresses.is_empty() {
                pending::<()>().await;
            }
            Ok(addresses)
        }
        .boxed()
    }
}

fn client(addresses: &[&str]) -> HttpClient {
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    HttpClient::with_resolver(Arc::new(Fixed(addresses.collect())), Proxies::none())
}

fn egress(rules: Vec<Rule>, secrets: Secrets) -> Egress {
    let client = client(&["127.0.0.1"]);
    Egress::new(client, rules, secrets, Limits::default(), Clock::new())
}

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

fn post_json(url: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(url)
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(Full::from(body))
        .unwrap()
}

async fn send(egress: &Egress, url: &str) -> Result<Response<EgressBody>, FailureKind> {
    let result = egress.send(get(url), Timeouts::default()).await;
    result.map_err(|error| error.failure)
}

async fn text(response: Response<EgressBody>) -> Result<String, FailureKind> {
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| error.failure)?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

fn bot_token(placement: Placement) -> Option<Credential> {
    Some(Credential {
        name: "bot-token".to_owned(),
        placement,
    })
}

fn secrets() -> Secrets {
    let secrets = Secrets::default();
    secrets.set("bot-token", "s3cret");
    secrets
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let egress = egress(vec![server.rule()], Secrets::default());
    for _ in 0..3 {
        let response = send(&egress.clone(), &server.url("/a?b=c")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "ok");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    assert!(server.request(0).0.starts_with("GET /a?b=c HTTP/1.1\r\n"));
}

#[tokio::test]
async fn requests_can_be_sent_from_any_task() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let egress = egress(vec![server.rule()], Secrets::default());
    let url = server.url("/");
    let task = tokio::spawn(async move { text(send(&egress, &url).await?).await });
    assert_eq!(task.await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn what_no_rule_allows_makes_no_connection() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let port = server.address.port();
    let other = Rule::configured("http://127.0.0.1:1").unwrap();
    let named = Rule::new("https", "example.com", Some(port), "/a").unwrap();
    let egress = egress(vec![other, named], Secrets::default());
    for url in [
        server.url("/"),
        format!("http://example.com:{port}/a"),
        format!("https://example.com:{port}/b"),
        format!("https://example.com.evil.com:{port}/a"),
        format!("https://user@example.com:{port}/a"),
        format!("https://example.com.:{port}/a"),
        format!("https://127.1:{port}/a"),
    ] {
        let error = egress
            .send(get(&url), Timeouts::default())
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error.failure, FailureKind::Denied(_)),
            "{url}: {error}"
        );
        assert!(error.failure.nothing_was_sent());
    }
    assert_eq!(server.connections_before_this().await, 0);
}

#[tokio::test]
async fn methods_that_pass_by_the_rules_are_refused() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let egress = egress(vec![server.rule()], Secrets::default());
    for method in [Method::CONNECT, Method::TRACE] {
        let mut request = get(&server.url("/"));
        *request.method_mut() = method;
        let error = egress
            .send(request, Timeouts::default())
            .await
            .err()
            .unwrap();
        assert!(matches!(error.failure, FailureKind::Denied(_)));
    }
    assert_eq!(server.connections_before_this().await, 0);
}

#[tokio::test]
async fn addresses_that_are_not_public_make_no_connection() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let port = server.address.port();
    let rule = |host: &str| Rule::new("https", host, Some(port), "").unwrap();
    let rules = vec![
        rule("example.com"),
        rule("127.0.0.1"),
        rule("[::1]"),
        rule("[::ffff:127.0.0.1]"),
    ];
    for addresses in [&["127.0.0.1"][..], &["::1", "::ffff:127.0.0.1", "10.0.0.1"]] {
        let limits = Limits::default();
        let client = client(addresses);
        let egress = Egress::new(client, rules.clone(), secrets(), limits, Clock::new());
        for host in ["example.com", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
            let failure = send(&egress, &format!("https://{host}:{port}/"))
                .await
                .err()
                .unwrap();
            assert!(
                matches!(failure, FailureKind::ProhibitedAddress),
                "{host}: {failure}"
            );
            assert!(failure.nothing_was_sent() && failure.is_refusal());
        }
    }
    assert_eq!(server.connections_before_this().await, 0);
}

#[tokio::test]
async fn unchecked_connections_are_not_lent_to_checked_requests() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let client = client(&["127.0.0.1"]);
    let url = format!("http://example.com:{}/", server.address.port());
    let request = || Request::get(&url).body(RequestBody::default()).unwrap();
    let response = client
        .pool(AddressPolicy::Anywhere)
        .request(request())
        .await
        .unwrap();
    response.into_body().collect().await.unwrap();
    let error = client
        .pool(AddressPolicy::Public)
        .request(request())
        .await
        .unwrap_err();
    assert!(matches!(failure_of(&error), FailureKind::ProhibitedAddress));
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn redirects_are_handed_back() {
    const REDIRECT: &str =
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(REDIRECT, Then::KeepOpen).await;
    let egress = egress(vec![server.rule()], Secrets::default());
    let response = send(&egress, &server.url("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], "http://127.0.0.1:1/");
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn headers_get_the_credential_and_chat_text_never_does() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let mut rule = server.rule();
    rule.credential = bot_token(Placement::Header);
    let egress = egress(vec![rule], secrets());
    let chat = r#"{"text":"{{bot-token}}"}"#;
    let mut request = post_json(&server.url("/sendmessage"), chat);
    let placeholder = "Bearer {{bot-token}}".parse().unwrap();
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, placeholder);
    egress.send(request, Timeouts::default()).await.unwrap();
    let (head, body) = server.request(0);
    assert!(head.contains("authorization: Bearer s3cret"), "{head}");
    assert_eq!(body, chat);
}

#[tokio::test]
async fn json_bodies_get_the_credential_where_a_rule_says_so() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let mut rule = Rule::new("http", "127.0.0.1", Some(server.address.port()), "/qr").unwrap();
    rule.configured = true;
    rule.credential = bot_token(Placement::JsonBody);
    let egress = egress(vec![rule, server.rule()], secrets());
    let body = r#"{"local_token_list":["{{bot-token}}"],"text":"say {{bot-token}}"}"#;
    for path in ["/qr", "/other"] {
        let request = post_json(&server.url(path), body);
        egress.send(request, Timeouts::default()).await.unwrap();
    }
    let filled = r#"{"local_token_list":["s3cret"],"text":"say {{bot-token}}"}"#;
    assert_eq!(server.request(0).1, filled);
    assert_eq!(server.request(1).1, body);

    let large = vec![b' '; MAX_JSON_BYTES + 1];
    let request = post_json(&server.url("/qr"), "").map(|_| Full::from(large));
    let error = egress
        .send(request, Timeouts::default())
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error.failure, FailureKind::RequestTooLarge { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_placeholder_without_its_credential_is_never_sent() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let with = |credential| {
        let mut rule = server.rule();
        rule.credential = credential;
        rule
    };
    for (credential, secrets, missing) in [
        (None, secrets(), false),
        (bot_token(Placement::JsonBody), secrets(), false),
        (bot_token(Placement::Header), Secrets::default(), true),
    ] {
        let egress = egress(vec![with(credential)], secrets);
        let mut request = get(&server.url("/"));
        let placeholder = "Bearer {{bot-token}}".parse().unwrap();
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, placeholder);
        let error = egress
            .send(request, Timeouts::default())
            .await
            .err()
            .unwrap();
        match &error.failure {
            FailureKind::CredentialMissing { name } => assert!(missing && name == "bot-token"),
            FailureKind::CredentialNotAllowed { name } => assert!(!missing && name == "bot-token"),
            failure => panic!("{failure}"),
        }
        assert!(error.failure.nothing_was_sent());
    }
    let egress = egress(
        vec![with(bot_token(Placement::JsonBody))],
        Secrets::default(),
    );
    let request = post_json(&server.url("/"), r#"{"token":"{{bot-token}}"}"#);
    let error = egress
        .send(request, Timeouts::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(
        error.failure,
        FailureKind::CredentialMissing { .. }
    ));
    assert_eq!(server.connections_before_this().await, 0);
}

#[tokio::test]
async fn the_host_header_is_that_of_the_url() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let egress = egress(vec![server.rule()], Secrets::default());
    let mut request = get(&server.url("/"));
    for (name, value) in [
        ("host", "evil.com"),
        ("connection", "close"),
        ("te", "trailers"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    egress.send(request, Timeouts::default()).await.unwrap();
    let (head, _) = server.request(0);
    assert!(
        head.contains(&format!("host: {}", server.address)),
        "{head}"
    );
    assert!(
        !head.contains("evil") && !head.contains("close") && !head.contains("te:"),
        "{head}"
    );
}
