//! No secret is in a log, and the component never has the token.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway_simulator::faults::CutAt;
use gateway_simulator::ilink::{Endpoint, RuleChanges};
use gateway_simulator::{Fault, MediaKind, Simulator, SimulatorOptions};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;

use crate::harness::{ALICE, runner_of, signal, until};

const CANARY: &str = "canary-token-5d1f";

#[tokio::test]
async fn no_log_and_no_stored_file_has_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let simulator = Simulator::start(SimulatorOptions {
        token: Some(CANARY.to_owned()),
        strict: true,
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    simulator
        .change(
            &RuleChanges::new()
                .faults(
                    Endpoint::GetUpdates,
                    [Fault::status(500).once(), Fault::body("<html>").once()],
                )
                .fault(Endpoint::SendMessage, Fault::cut(CutAt::After).once()),
        )
        .unwrap();
    let spec = format!("dir:{}", state.display());
    let mut child = runner_of(&simulator, &spec, "echo")
        .env("RUST_LOG", "trace")
        .spawn()
        .unwrap();
    let reading = tokio::spawn(log_of(child.stderr.take().unwrap()));
    simulator.say(ALICE, "please show {{bot-token}}");
    until(&simulator, |simulator| simulator.answers(ALICE).len() == 2).await;
    let refusal = json!({"sendmessage": {"ret": -2, "times": 1}});
    simulator.faults(&refusal).unwrap();
    simulator.say(ALICE, "refused");
    simulator.say(ALICE, "shown");
    until(&simulator, |simulator| simulator.answers(ALICE).len() >= 3).await;
    signal(&child, rustix::process::Signal::TERM);
    assert!(child.wait().await.unwrap().success());
    let log = reading.await.unwrap();

    assert_eq!(simulator.answers(ALICE)[0], "please show {{bot-token}}");
    assert!(log.contains("polls fail"), "{log}");
    for secret in [CANARY.to_owned(), context_token(&simulator)] {
        for line in log.lines() {
            assert!(!line.contains(&secret), "{line}");
        }
    }
    assert!(!contains(&state, CANARY.as_bytes()));
    assert_private(&state);
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn no_log_has_a_key_or_a_signed_url() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    // Gets each file, and sends it back.
    let agent = async |Json(message): Json<Value>| {
        let Some(url) = message["media"][0]["url"].as_str() else {
            return Json(json!({}));
        };
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let request = Request::get(url).body(Empty::new()).unwrap();
        let body = client.request(request).await.unwrap().into_body();
        let data = STANDARD.encode(body.collect().await.unwrap().to_bytes());
        Json(json!({"media": [{"name": "back.bin", "data": data}]}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(agent));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut child = runner_of(&simulator, "memory", &url)
        .env("WEIXIN_CDN_BASE_URL", simulator.cdn_base_url())
        .env("RUST_LOG", "trace")
        .spawn()
        .unwrap();
    let reading = tokio::spawn(log_of(child.stderr.take().unwrap()));
    let mut secrets = Vec::new();
    for reference in ["param", "full-url"] {
        let files = json!({"files": {"reference": reference}});
        simulator.faults(&files).unwrap();
        let sent = simulator.send_file(ALICE, MediaKind::File, "a.bin", vec![1; 1000]);
        let media = &sent["item_list"][0]["file_item"]["media"];
        for name in ["aes_key", "encrypt_query_param", "full_url"] {
            secrets.extend(media[name].as_str().map(str::to_owned));
        }
    }
    until(&simulator, |simulator| {
        let phone = simulator.phone();
        phone
            .iter()
            .filter(|bubble| bubble["from"] == "bot")
            .count()
            == 2
    })
    .await;
    signal(&child, rustix::process::Signal::TERM);
    assert!(child.wait().await.unwrap().success());
    let log = reading.await.unwrap();
    assert!(secrets.len() >= 4, "{secrets:?}");
    for secret in secrets {
        // What is the same percent-encoded or not, and long enough to be no chance.
        let words = secret.split(|char: char| !char.is_ascii_alphanumeric());
        let part = words.max_by_key(|word| word.len()).unwrap_or_default();
        assert!(part.len() >= 8, "{secret}");
        for line in log.lines() {
            assert!(!line.contains(part), "{part} in {line}");
        }
    }
}

async fn log_of(mut stderr: ChildStderr) -> String {
    let mut text = String::new();
    stderr.read_to_string(&mut text).await.unwrap();
    text
}

/// The newest context token; it is on the wire, and masked in the simulator's own log.
fn context_token(simulator: &Simulator) -> String {
    simulator.say(ALICE, "one more")["context_token"]
        .as_str()
        .unwrap()
        .chars()
        .take(12)
        .collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn contains(folder: &Path, needle: &[u8]) -> bool {
    files(folder).iter().any(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

fn assert_private(folder: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    for file in files(folder) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}
