//! All servers of the process, as web pages, strangers and hostile connections meet them.

mod processes;

use std::sync::Arc;
use std::time::Duration;

use gateway_host::admin::{self, Token};
use gateway_host::agent::EchoAgent;
use gateway_host::clock::Clock;
use gateway_host::listener::{Listener, ListenerLimits, Names};
use gateway_host::runtime::{Runtime, RuntimeOptions};
use gateway_simulator::wecom::WecomSimulator;
use gateway_simulator::{MediaKind, Simulator, SimulatorOptions};
use rustix::process::Signal;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

use crate::harness::{
    ALICE, Harness, Recorder, component, eventually, runner, runner_of, signal, until,
};
use crate::wecom::harness::Corp;

const TOKEN: &str = "s3cret";

/// What a server says to these bytes, until it closes the connection.
async fn raw(address: &str, request: &str) -> Vec<u8> {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return Vec::new();
    };
    // It may refuse before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

/// A server, and what it does for who may ask.
struct Endpoint {
    name: &'static str,
    address: String,
    method: &'static str,
    target: String,
    token: Option<String>,
    body: String,
    /// The status that a complete request gets.
    expected: u16,
    obeys_any_host: bool,
    obeys_any_origin: bool,
}

impl Endpoint {
    fn new(name: &'static str, url: &str, method: &'static str, path: &str) -> Endpoint {
        let address = url.strip_prefix("http://").unwrap();
        let address = address.split('/').next().unwrap();
        Endpoint {
            name,
            address: address.to_owned(),
            method,
            target: path.to_owned(),
            token: None,
            body: String::new(),
            expected: 200,
            obeys_any_host: false,
            obeys_any_origin: false,
        }
    }

    fn with_token(self, token: &str) -> Endpoint {
        Endpoint {
            token: Some(token.to_owned()),
            ..self
        }
    }

    async fn ask(&self, headers: &str) -> Option<u16> {
        let token = self.token.as_ref();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "{} {} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{}{headers}\r\n{}",
            self.method,
            self.target,
            self.body.len(),
            token.unwrap_or_default(),
            self.body,
        );
        status(&raw(&self.address, &request).await)
    }
}

/// Each server with what it does, and what keeps it alive.
async fn endpoints(
    harness: &Harness,
    corp: &Corp,
) -> (Vec<Endpoint>, Box<dyn std::any::Any + Send>) {
    let (simulator, wecom) = (&harness.simulator, &corp.wecom);
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let config = harness.simulator.cdn_base_url();
    let (gateway, _) = harness
        .serve(agent.clone(), &[("cdn-base-url", &config)])
        .await;
    simulator.send_file(ALICE, MediaKind::File, "a.html", "<script>");
    eventually(async || !agent.texts().is_empty()).await;
    let media = agent.asked.lock().unwrap()[0].media[0].url.clone().unwrap();
    let path = media[media.find("/media/").unwrap()..].to_owned();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let token = Token::new(TOKEN).unwrap();
    tokio::spawn(admin::serve(listener, token, gateway.clone()));

    let served = corp.serve(Arc::new(EchoAgent), &[]).await;
    let post = corp.wecom.sealed(&corp.text("alice", 7, "hello"));
    let webhook = served.url[served.url.find("/webhook/").unwrap()..].to_owned();

    let (ilink, cgi) = (simulator.base_url(), wecom.base_url());
    let endpoints = vec![
        Endpoint::new(
            "iLink",
            &ilink,
            "POST",
            "/ilink/bot/get_bot_qrcode?bot_type=3",
        ),
        Endpoint {
            body: r#"{"text": "hello"}"#.to_owned(),
            ..Endpoint::new("iLink's control", &ilink, "POST", "/sim/messages")
                .with_token(simulator.control_token())
        },
        Endpoint::new(
            "WeCom",
            &cgi,
            "GET",
            "/cgi-bin/gettoken?corpid=x&corpsecret=y",
        ),
        Endpoint::new("WeCom's control", &cgi, "GET", "/sim/log").with_token(wecom.control_token()),
        Endpoint::new("media", &media, "GET", &path),
        Endpoint {
            obeys_any_host: true,
            ..Endpoint::new("admin", &admin, "GET", "/accounts").with_token(TOKEN)
        },
        Endpoint::new("admin to strangers", &admin, "GET", "/healthz"),
        Endpoint {
            body: post.body,
            obeys_any_host: true,
            obeys_any_origin: true,
            ..Endpoint::new(
                "webhooks",
                &served.url,
                "POST",
                &format!("{webhook}?{}", post.query),
            )
        },
    ];
    let account = gateway.account(&simulator.account_id()).unwrap();
    eventually(async || account.status().await.phase == gateway_host::account::Phase::Connected)
        .await;
    (endpoints, Box::new((gateway, served)))
}

#[tokio::test]
async fn every_server_obeys_its_names_and_no_foreign_page() {
    let (harness, corp) = (Harness::lenient().await, Corp::new().await);
    let (endpoints, _alive) = endpoints(&harness, &corp).await;
    for endpoint in &endpoints {
        let address = &endpoint.address;
        let port = address.rsplit_once(':').unwrap().1;
        // What the request says, and whether it is by another name, or from another page.
        for (headers, is_host, is_origin) in [
            (format!("host: {address}\r\n"), false, false),
            (format!("host: localhost:{port}\r\n"), false, false),
            (format!("host: LOCALHOST.:{port}\r\n"), false, false),
            (format!("host: [::1]:{port}\r\n"), false, false),
            ("host: 127.0.0.1:65000\r\n".to_owned(), false, false),
            (
                format!("host: {address}\r\norigin: http://{address}\r\n"),
                false,
                false,
            ),
            (format!("host: rebound.example:{port}\r\n"), true, false),
            ("host: gateway.internal\r\n".to_owned(), true, false),
            (
                format!("host: localhost.evil.example:{port}\r\n"),
                true,
                false,
            ),
            ("host: 192.0.2.1\r\n".to_owned(), true, false),
            (format!("host: 0.0.0.0:{port}\r\n"), true, false),
            (
                format!("host: {address}\r\norigin: https://evil.example\r\n"),
                false,
                true,
            ),
            (format!("host: {address}\r\norigin: null\r\n"), false, true),
            (
                format!("host: {address}\r\norigin: http://localhost:3000\r\n"),
                false,
                true,
            ),
            (
                // A page that was rebound, and its form, which asks no browser for leave.
                format!(
                    "host: rebound.example:{port}\r\norigin: http://rebound.example:{port}\r\n\
                     content-type: text/plain\r\n"
                ),
                true,
                true,
            ),
            (
                format!(
                    "host: {address}\r\norigin: https://evil.example\r\n\
                     content-type: text/plain\r\n"
                ),
                false,
                true,
            ),
        ] {
            let shown = harness.simulator.phone().len();
            let is_refused =
                is_host && !endpoint.obeys_any_host || is_origin && !endpoint.obeys_any_origin;
            let expect = if is_refused { 403 } else { endpoint.expected };
            let got = endpoint.ask(&headers).await;
            assert_eq!(got, Some(expect), "{}: {headers}", endpoint.name);
            let is_effective = harness.simulator.phone().len() > shown;
            assert_eq!(
                is_effective,
                !is_refused && endpoint.name == "iLink's control",
                "{}: {headers}",
                endpoint.name
            );
        }
    }
}

#[tokio::test]
async fn what_a_server_was_told_is_a_name_of_it() {
    let simulator = Simulator::start(SimulatorOptions {
        names: Names::new(["sim".to_owned()]).unwrap(),
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    let sim = Endpoint::new("sim", &simulator.base_url(), "GET", "/sim/log");
    let sim = sim.with_token(simulator.control_token());
    assert_eq!(sim.ask("host: sim:8000\r\n").await, Some(200));
    assert_eq!(sim.ask("host: sin:8000\r\n").await, Some(403));

    let harness = Harness::new().await;
    let (gateway, _) = harness.serve(Arc::new(EchoAgent), &[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let names = Names::new(["gateway.example".to_owned()]).unwrap();
    let listener = Listener::from(listener).named(names);
    tokio::spawn(admin::serve(listener, Token::new(TOKEN).unwrap(), gateway));
    let strangers = Endpoint::new("admin", &url, "GET", "/accounts");
    let operator = Endpoint::new("admin", &url, "GET", "/accounts").with_token(TOKEN);
    for (headers, to_strangers, to_the_operator) in [
        ("host: gateway.example\r\n", 401, 200),
        (
            "host: gateway.example\r\norigin: https://gateway.example\r\n",
            401,
            200,
        ),
        ("host: other.example\r\n", 403, 200),
        (
            "host: other.example\r\norigin: https://other.example\r\n",
            403,
            403,
        ),
        (
            "host: gateway.example\r\norigin: https://other.example\r\n",
            403,
            403,
        ),
        ("", 403, 200),
    ] {
        assert_eq!(
            strangers.ask(headers).await,
            Some(to_strangers),
            "{headers}"
        );
        assert_eq!(
            operator.ask(headers).await,
            Some(to_the_operator),
            "{headers}"
        );
    }
}

#[tokio::test]
async fn the_simulators_control_wants_its_token() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let wecom = WecomSimulator::start(Default::default()).await.unwrap();
    for (url, token, paths) in [
        (
            simulator.base_url(),
            simulator.control_token(),
            &[
                "messages", "files", "faults", "clock", "log", "login", "x", "",
            ] as &[&str],
        ),
        (
            wecom.base_url(),
            wecom.control_token(),
            &[
                "messages",
                "callback",
                "faults",
                "clock",
                "log",
                "deliveries",
                "",
            ],
        ),
    ] {
        for path in paths {
            for method in ["GET", "POST", "PUT"] {
                let path = format!("/sim/{path}");
                let endpoint = Endpoint::new("control", &url, method, &path);
                assert_eq!(
                    endpoint.ask("host: localhost\r\n").await,
                    Some(401),
                    "{path}"
                );
                let other = Endpoint::new("control", &url, method, &path).with_token("other");
                assert_eq!(other.ask("host: localhost\r\n").await, Some(401), "{path}");
                let with_token = Endpoint::new("control", &url, method, &path).with_token(token);
                assert_ne!(
                    with_token.ask("host: localhost\r\n").await,
                    Some(401),
                    "{path}"
                );
            }
        }
    }
    // Nothing of it is a way around.
    for path in ["//sim/log", "/sim%2Flog", "/SIM/log", "/./sim/log", "/sim"] {
        let endpoint = Endpoint::new("control", &simulator.base_url(), "GET", path);
        assert_eq!(
            endpoint.ask("host: localhost\r\n").await,
            Some(404),
            "{path}"
        );
    }
}

#[tokio::test]
async fn hostile_readers_do_not_end_the_media_of_others() {
    let mut harness = Harness::lenient().await;
    let clock = Clock::new();
    let options = RuntimeOptions {
        media: ListenerLimits {
            connections: 8,
            clock: clock.clone(),
            ..ListenerLimits::media()
        },
        ..RuntimeOptions::default()
    };
    harness.runtime = Runtime::with_options(harness.clock.clone(), options).unwrap();
    harness.plugin = harness.runtime.load(&component()).await.unwrap();
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let cdn = harness.simulator.cdn_base_url();
    let _account = harness
        .start(agent.clone(), &[("cdn-base-url", &cdn)])
        .await;
    let size = 16 * 1024 * 1024;
    harness
        .simulator
        .push_generated(ALICE, MediaKind::File, size, 1);
    eventually(async || !agent.texts().is_empty()).await;
    let url = agent.asked.lock().unwrap()[0].media[0].url.clone().unwrap();
    let (address, path) = url["http://".len()..].split_once('/').unwrap();
    let get = format!("GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut hostile = Vec::new();
    for number in 0..24 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let begun = if number % 2 == 0 { &get } else { "GET /media/" };
        let _ = stream.write_all(begun.as_bytes()).await;
        hostile.push(stream);
        let is_whole = async || raw(address, &get).await.len() as u64 > size;
        if number % 8 == 7 {
            eventually(is_whole).await;
        }
    }
    // Those that are still there have an end, read or not.
    let mut last = hostile.pop().unwrap();
    let mut nothing = Vec::new();
    tokio::select! {
        _ = last.read_to_end(&mut nothing) => {}
        () = async {
            loop {
                clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        } => {}
    }
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn media_is_a_file_for_a_browser() {
    let (harness, corp) = (Harness::lenient().await, Corp::new().await);
    let (endpoints, _alive) = endpoints(&harness, &corp).await;
    let media = endpoints
        .iter()
        .find(|endpoint| endpoint.name == "media")
        .unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        media.target
    );
    let answer = String::from_utf8(raw(&media.address, &request).await).unwrap();
    for header in [
        "content-disposition: attachment; filename*=UTF-8''a.html\r\n",
        "x-content-type-options: nosniff\r\n",
        "content-security-policy: default-src 'none'; sandbox\r\n",
    ] {
        assert!(answer.contains(header), "{answer}");
    }
    assert!(answer.contains("<script>"), "{answer}");
}
