//! Requests of platforms, to a component that takes them and beside one that does not.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::join_all;
use gateway_host::account::{AccountOptions, Handle, Setup};
use gateway_host::agent::EchoAgent;
use gateway_host::gateway::Gateway;
use gateway_host::instance::HandleError;
use gateway_host::media::MediaRules;
use gateway_host::runtime::Plugin;
use gateway_host::webhooks;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::harness::{ALICE, Harness, component, component_wecom, eventually, runner, signal};

/// No WeCom is there, so that nothing leaves this machine.
const NOBODY: &str = "http://127.0.0.1:1";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn app(id: &str) -> AccountOptions {
    let config = [
        ("corp-id", "ww1"),
        ("agent-id", "1000002"),
        ("token", "t0ken"),
        ("encoding-aes-key", KEY),
        ("api-base-url", NOBODY),
    ];
    AccountOptions {
        id: id.to_owned(),
        secrets: BTreeMap::from([("corp-secret".to_owned(), "s3cret".to_owned())]),
        config: config
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        media: MediaRules::default(),
    }
}

async fn plugin(harness: &Harness) -> Plugin {
    harness.runtime.load(&component_wecom()).await.unwrap()
}

/// The simulated account and an app of WeCom's in one gateway, and where its webhooks are.
async fn both(id: &str) -> (Harness, Gateway, Handle, String) {
    let harness = Harness::new().await;
    let (gateway, _) = harness.serve(Arc::new(EchoAgent), &[]).await;
    assert!(gateway.install(plugin(&harness).await));
    let account = gateway.add("wecom", app(id), Arc::new(EchoAgent)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(webhooks::serve(listener, gateway.clone()));
    (harness, gateway, account.unwrap(), address)
}

/// What a server says to these bytes, until it closes the connection.
async fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may refuse before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[tokio::test]
async fn an_instance_takes_requests_while_everything_else_runs() {
    let harness = Harness::new().await;
    let plugin = plugin(&harness).await;
    assert!(plugin.has_handler() && !harness.plugin.has_handler());
    assert_eq!(plugin.platform(), "wecom");
    let state = Arc::clone(&harness.state);
    let setup = Setup::new(&harness.runtime, &plugin, state, app("ww1")).unwrap();
    let instance = setup.instance().await.unwrap();
    instance.start().await.unwrap();
    let receiving = tokio::spawn({
        let instance = instance.clone();
        async move { instance.receive().await }
    });
    let post = Request::post("/webhook/ww1?msg_signature=x");
    let post = post.body(Full::from("hello")).unwrap();
    let response = instance.handle(post).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "");

    // A body that takes its time holds up nobody, and there is an end to how many may.
    let hang = || {
        let (sender, receiver) = mpsc::unbounded::<Bytes>();
        let frames = receiver.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let request = Request::post("/").body(StreamBody::new(frames)).unwrap();
        (sender, request)
    };
    let (senders, requests): (Vec<_>, Vec<_>) = (0..64).map(|_| hang()).unzip();
    let hanging = join_all(requests.into_iter().map(|request| instance.handle(request)));
    let beside = async {
        let is_full = async || {
            let request = Request::get("/").body(Empty::new()).unwrap();
            matches!(instance.handle(request).await, Err(HandleError::Busy))
        };
        eventually(is_full).await;
        instance.check().await.unwrap();
        assert!(!receiving.is_finished());
        for sender in senders {
            sender.unbounded_send("ab".into()).unwrap();
            sender.unbounded_send("c".into()).unwrap();
        }
    };
    let (answers, ()) = tokio::join!(hanging, beside);
    for answer in answers {
        assert_eq!(answer.unwrap().status(), StatusCode::FORBIDDEN);
    }

    instance.drain(100).await.unwrap();
    assert!(receiving.await.unwrap().unwrap().is_empty());
    let other = harness.instance().await;
    let request = Request::get("/").body(Empty::new()).unwrap();
    let error = other.handle(request).await.err().unwrap();
    assert!(matches!(error, HandleError::NoHandler));
}

#[tokio::test]
async fn webhooks_reach_the_account_that_they_name() {
    let (harness, _gateway, account, address) = both("ww1/1000002").await;
    assert!(account.has_handler());
    let path = "/webhook/ww1%2F1000002?msg_signature=a&echostr=b%2B";
    for (method, body) in [("GET", ""), ("POST", "<xml/>")] {
        let (status, text) = ask(&address, method, path, body).await;
        assert_eq!((status, text.as_str()), (403, ""), "{method}");
    }
    let large = "x".repeat(1024 * 1024 + 1);
    let weixin = format!("/webhook/{}", harness.simulator.account_id());
    for (method, path, body, expected) in [
        ("GET", "/webhook/nobody", "", 403),
        ("GET", "/webhook/%FF", "", 403),
        ("GET", &*weixin, "", 403),
        ("GET", "/webhook/", "", 404),
        ("GET", "/webhook/ww1/1000002", "", 404),
        ("GET", "/accounts", "", 404),
        ("PUT", path, "", 405),
        ("HEAD", path, "", 405),
        ("POST", path, &large, 413),
        ("POST", path, &large[1..], 413),
        ("POST", path, &large[..256 * 1024 + 1], 413),
        ("POST", path, &large[..256 * 1024], 403),
    ] {
        let (status, _) = ask(&address, method, path, body).await;
        assert_eq!(status, expected, "{method} {path}");
    }
    // One that does not announce its length.
    let mut chunked = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n",
        large.len()
    );
    chunked.push_str(&large);
    chunked.push_str("\r\n0\r\n\r\n");
    let answer = raw(&address, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let headers: String = (0..100)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    for head in [
        format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n"),
        format!("GET {path} HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000)),
    ] {
        let answer = raw(&address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    // The other account was not disturbed.
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["hello"])
        .await;
}

#[tokio::test]
async fn strangers_can_not_tell_which_accounts_there_are() {
    let (harness, _gateway, _account, address) = both("ww1").await;
    // All of an answer but its date.
    let answer = async |method: &str, account: &str, more: &str, body: &str| {
        let request = format!(
            "{method} /webhook/{account} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n{body}"
        );
        let answer = raw(&address, request.as_bytes()).await;
        let lines = answer.lines().filter(|line| !line.starts_with("date: "));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let large = "x".repeat(256 * 1024 + 1);
    let announced = format!("content-length: {}\r\n", large.len());
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let weixin = harness.simulator.account_id();
    for (method, query, more, body, expect) in [
        ("GET", "", "", "", 403),
        (
            "GET",
            "?msg_signature=a&timestamp=1&nonce=2&echostr=b",
            "",
            "",
            403,
        ),
        (
            "POST",
            "?msg_signature=a&timestamp=1&nonce=2",
            "content-length: 6\r\n",
            "<xml/>",
            403,
        ),
        ("POST", "", "content-length: 0\r\n", "", 403),
        ("POST", "", &*announced, &*large, 413),
        ("POST", "", "transfer-encoding: chunked\r\n", &*chunked, 413),
        ("POST", "", "transfer-encoding: chunked\r\n", "x\r\n", 400),
        ("PUT", "", "", "", 405),
        ("HEAD", "", "", "", 405),
    ] {
        let known = answer(method, &format!("ww1{query}"), more, body).await;
        assert!(
            known.starts_with(&format!("HTTP/1.1 {expect} ")),
            "{method} {query}: {known}"
        );
        for account in [&*weixin, "nobody", "%FF", "ww1%2F", "WW1", "ww1%00"] {
            let other = answer(method, &format!("{account}{query}"), more, body).await;
            assert_eq!(other, known, "{method} {account}{query}");
        }
    }
}

#[tokio::test]
async fn a_swap_concerns_its_platform_and_loses_no_webhook() {
    let (harness, gateway, account, address) = both("ww1").await;
    let mut bytes = std::fs::read(component_wecom()).unwrap();
    bytes.extend([0, 5, 1, b'x', 1, 2, 3]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.wasm");
    std::fs::write(&path, bytes).unwrap();
    let plugins = [
        harness.runtime.load(&path).await.unwrap(),
        gateway.plugin("wecom").unwrap(),
    ];
    let first = gateway.plugin("weixin").unwrap().digest();
    let swapping = async {
        for number in 0..21 {
            let plugin = &plugins[number % 2];
            gateway.swap(plugin, Duration::from_secs(5)).await.unwrap();
        }
    };
    let asking = async {
        loop {
            let (status, text) = ask(&address, "POST", "/webhook/ww1", "x").await;
            assert_eq!(status, 403, "{text}");
        }
    };
    tokio::select! {
        () = swapping => {}
        () = asking => {}
    }
    assert_eq!(account.component(), plugins[0].digest());
    assert_eq!(
        gateway.plugin("wecom").unwrap().digest(),
        plugins[0].digest()
    );
    assert_eq!(gateway.plugin("weixin").unwrap().digest(), first);
    let id = harness.simulator.account_id();
    assert_eq!(gateway.account(&id).unwrap().component(), first);
    assert_eq!(harness.simulator.counters().starts, 1);
    assert!(!gateway.install(plugins[1].clone()), "it has one");
    let unknown = gateway.add("qq", app("q"), Arc::new(EchoAgent)).await;
    let error = unknown.err().unwrap().to_string();
    assert!(error.contains("platform qq"), "{error}");

    gateway.remove("ww1").await;
    let request = Request::get("/").body(Bytes::new()).unwrap();
    let error = account.webhook(request).await.err().unwrap();
    assert!(matches!(error, HandleError::Ended(_)), "{error}");
    assert_eq!(ask(&address, "GET", "/webhook/ww1", "").await.0, 403);
}

/// A runner with webhooks whose account `ww1` has started.
struct Running {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

impl Running {
    async fn start(command: &mut Command) -> Running {
        let mut child = command
            .args(["--log-format", "json", "--webhooks", "127.0.0.1:0"])
            .env("RUST_LOG", "trace")
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (address, is_started) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(false)));
        tokio::spawn({
            let (log, address, is_started) = (log.clone(), address.clone(), is_started.clone());
            async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
                    if json["message"] == "webhooks are listened for" {
                        *address.lock().unwrap() = json["address"].as_str().map(str::to_owned);
                    }
                    if json["message"] == "started" && json["account"] == "ww1" {
                        *is_started.lock().unwrap() = true;
                    }
                    log.lock().unwrap().push_str(&format!("{line}\n"));
                }
            }
        });
        eventually(async || *is_started.lock().unwrap()).await;
        let address = address.lock().unwrap().clone();
        Running {
            child,
            address: address.unwrap(),
            log,
        }
    }

    /// Ends it; returns what it logged.
    async fn stop(mut self) -> String {
        signal(&self.child, Signal::TERM);
        assert_eq!(self.child.wait().await.unwrap().code(), Some(0));
        let log = self.log.lock().unwrap();
        log.clone()
    }
}

#[tokio::test]
async fn the_runner_takes_webhooks_of_an_app_and_logs_nothing_of_them() {
    let running = Running::start(
        runner(&["run", "--state", "memory", "--component"])
            .arg(component_wecom())
            .env("WECOM_CORP_ID", "ww1")
            .env("WECOM_AGENT_ID", "1000002")
            .env("WECOM_SECRET", "c4nary-secret")
            .env("WECOM_TOKEN", "c4nary-token")
            .env("WECOM_ENCODING_AES_KEY", KEY)
            .env("WECOM_API_BASE_URL", NOBODY),
    )
    .await;
    let path = "/webhook/ww1?msg_signature=c4nary-query";
    let answer = ask(&running.address, "POST", path, "c4nary-body").await;
    assert_eq!(answer.0, 403, "{}", answer.1);
    assert_eq!(
        ask(&running.address, "GET", "/webhook/c4nary", "").await.0,
        403
    );
    let log = running.stop().await;
    assert!(!log.contains("c4nary") && !log.contains(KEY), "{log}");
}

#[tokio::test]
async fn the_accounts_of_a_file_may_be_of_both_platforms() {
    let harness = Harness::lenient().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.toml");
    let (id, token) = (harness.simulator.account_id(), harness.simulator.token());
    let url = harness.simulator.base_url();
    let accounts = format!(
        "[[account]]\nid = \"{id}\"\ntoken = \"{token}\"\nbase_url = \"{url}\"\n\
         [[account]]\nkind = \"wecom\"\ncorp_id = \"ww1\"\nagent_id = 1\nsecret = \"s\"\n\
         token = \"t\"\nencoding_aes_key = \"{KEY}\"\napi_base_url = \"{NOBODY}\"\n"
    );
    std::fs::write(&file, accounts).unwrap();
    let running = Running::start(
        runner(&["run", "--state", "memory", "--component"])
            .arg(component())
            .arg("--component")
            .arg(component_wecom())
            .arg("--accounts")
            .arg(&file),
    )
    .await;
    let answer = ask(&running.address, "GET", "/webhook/ww1", "").await;
    assert_eq!(answer.0, 403);
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["hello"])
        .await;
    running.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_the_users_to_correct() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = runner(&["run", "--state", "memory", "--webhooks", &address])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains(&format!("--webhooks {address}")), "{line}");
}
