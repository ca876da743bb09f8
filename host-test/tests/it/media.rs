//! Images, voice, video and files, both ways.

mod inbound;
mod outbound;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_host::account::Account;
use gateway_host::agent::message::{Media, MediaKind, Message, Reply, ReplyMedia};
use gateway_host::agent::progress::Progress;
use gateway_host::agent::{Agent, AgentError};
use gateway_host::media::folder::Folder;
use gateway_simulator::faults::StallAt;
use gateway_simulator::ilink::Endpoint;
use gateway_simulator::{Content, Fault, File, MediaKind as SentKind};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually};

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

/// What a GET or HEAD of a media URL gives: status, type, and the bytes if they came whole.
async fn get(method: &str, url: &str) -> (StatusCode, String, Option<Bytes>) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(Empty::new())
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let mime = response.headers().get("content-type");
    let mime = mime.map(|mime| mime.to_str().unwrap().to_owned());
    let bytes = response.into_body().collect().await.ok();
    (
        status,
        mime.unwrap_or_default(),
        bytes.map(|bytes| bytes.to_bytes()),
    )
}

/// The media of the first message that the agent gets.
async fn received(agent: &Recorder) -> Vec<Media> {
    eventually(async || !agent.texts().is_empty()).await;
    agent.asked.lock().unwrap()[0].media.clone()
}

async fn silent(harness: &Harness) -> (Arc<Recorder>, Account) {
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let account = harness.start(agent.clone(), &[]).await;
    (agent, account)
}

fn cdn_config(harness: &Harness) -> Vec<(String, String)> {
    vec![("cdn-base-url".to_owned(), harness.simulator.cdn_base_url())]
}

/// An agent that answers each message with these media, and a text.
fn sending(text: &str, media: Vec<ReplyMedia>) -> Arc<Recorder> {
    let text = text.to_owned();
    Recorder::new(move |_: &Message, _| {
        let reply = Reply {
            text: Some(text.clone()).filter(|text| !text.is_empty()),
            media: media.clone(),
        };
        async move { Ok::<_, AgentError>(Some(reply)) }
    })
}

/// What the phone shows of the bot, as kinds and names, texts as they are.
fn shown(harness: &Harness) -> Vec<String> {
    harness
        .simulator
        .phone()
        .iter()
        .filter(|bubble| bubble["from"] == "bot")
        .map(|bubble| match bubble["text"].as_str() {
            Some(text) => text.to_owned(),
            None => {
                let broken = bubble["broken"]
                    .as_str()
                    .map(|why| format!(" broken: {why}"));
                let item = &bubble["item"];
                let name = item["name"].as_str().unwrap_or("-");
                let kind = item["kind"].as_str().unwrap();
                format!("{kind} {name}{}", broken.unwrap_or_default())
            }
        })
        .collect()
}

fn data(name: &str, bytes: &[u8]) -> ReplyMedia {
    use base64::Engine;
    ReplyMedia::Data {
        name: Some(name.to_owned()),
        mime: None,
        data: base64::engine::general_purpose::STANDARD.encode(bytes),
    }
}

async fn started(harness: &Harness, agent: Arc<dyn Agent>) -> Account {
    let config = cdn_config(harness);
    let config: Vec<(&str, &str)> = config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    harness.start(agent, &config).await
}

#[tokio::test]
async fn a_media_url_can_t_be_guessed_and_expires() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let _account = started(&harness, agent.clone()).await;
    harness
        .simulator
        .send_file(ALICE, SentKind::Image, "a.png", content(10));
    let url = received(&agent).await[0].url.clone().unwrap();
    let secret = url.rsplit('/').next().unwrap();
    assert_eq!(secret.len(), 32);
    let other = url.replace(secret, &"0".repeat(32));
    assert_eq!(get("GET", &other).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("POST", &url).await.0, StatusCode::METHOD_NOT_ALLOWED);
    harness.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(get("GET", &url).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_file_over_the_limit_is_broken_off() {
    let mut harness = Harness::new().await;
    harness.media.max_in = 100_000;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let _account = started(&harness, agent.clone()).await;
    harness
        .simulator
        .send_file(ALICE, SentKind::Image, "a.png", content(200_000));
    let url = received(&agent).await[0].url.clone().unwrap();
    assert_eq!(get("GET", &url).await.2, None);
}

#[tokio::test]
async fn text_flows_beside_a_slow_upload() {
    let harness = Harness::new().await;
    harness
        .simulator
        .fault(Endpoint::Upload, Fault::stall(StallAt::Before))
        .unwrap();
    let agent = Recorder::new(|message: &Message, _| {
        let reply = match message.sender.id == ALICE {
            true => Reply {
                text: None,
                media: vec![data("a.txt", b"hello")],
            },
            false => Reply {
                text: Some("quick".to_owned()),
                media: Vec::new(),
            },
        };
        async move { Ok(Some(reply)) }
    });
    let _account = started(&harness, agent).await;
    harness.simulator.say(ALICE, "a file please");
    harness
        .until(|simulator| simulator.counters().uploads == 1)
        .await;
    for round in 1..5 {
        harness.simulator.say(BOB, "hello");
        harness
            .until(|simulator| simulator.answers(BOB).len() == round)
            .await;
    }
}

/// 100 MiB each way at the same time; the component's memory stays small, and so does the process.
#[tokio::test]
async fn large_files_pass_in_constant_memory() {
    const SIZE: u64 = 100 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.bin");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    let mut harness = Harness::new().await;
    harness.media.allowed = vec![Folder::open(folder.path()).unwrap()];
    let reply = ReplyMedia::Path(path.to_str().unwrap().to_owned());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let agent = Recorder::new(move |message: &Message, _| {
        seen.lock().unwrap().extend(message.media.clone());
        let media = match message.text.as_str() {
            "upload" => vec![reply.clone()],
            _ => Vec::new(),
        };
        let text = Some(message.text.clone()).filter(|text| text == "ping");
        async move {
            Ok(Some(Reply { text, media })
                .filter(|reply| reply.text.is_some() || !reply.media.is_empty()))
        }
    });
    let account = started(&harness, agent).await;
    let generated = |simulator: &gateway_simulator::Simulator| {
        simulator.push_generated(ALICE, SentKind::File, SIZE, 7)
    };
    generated(&harness.simulator);
    eventually(async || !asked.lock().unwrap().is_empty()).await;
    let url = asked.lock().unwrap()[0].url.clone().unwrap();
    let before = resident();
    harness.simulator.say(BOB, "upload");
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client
        .request(Request::get(&url).body(Full::default()).unwrap())
        .await
        .unwrap();
    let mut body = response.into_body();
    let (mut total, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        total += frame
            .unwrap()
            .into_data()
            .map_or(0, |data| data.len() as u64);
        most = most.max(resident());
    }
    assert_eq!(total, SIZE);
    harness
        .until(|simulator| {
            let phone = simulator.phone();
            phone
                .iter()
                .any(|bubble| bubble["from"] == "bot" && bubble["item"]["size"] == json!(SIZE))
        })
        .await;
    most = most.max(resident());
    let memory = account.memory_bytes().await.unwrap();
    assert!(memory < 4 * 1024 * 1024, "{memory} bytes of linear memory");
    let grown = most.saturating_sub(before) / 1024 / 1024;
    println!("the process grew by {grown} MiB, linear memory is {memory} bytes");
    harness.check();
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
