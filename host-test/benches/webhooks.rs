//! How long a callback of WeCom waits for its 200: alone, and while 100 MiB of media pass through the
//! same instance, once in the time that the callbacks take, and as fast as they can.
//!
//! `cargo bench --bench webhooks` runs the runner's binary as a process of its own, with the durable
//! store on, against the simulated WeCom in this one. Callbacks come at a steady pace, whether those
//! before them are answered or not. It prints the machine and the measurements; nothing is asserted about
//! them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a benchmark that fails ends so"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use futures::future::join_all;
use gateway_simulator::wecom::{MediaKind, SealedCallback, WecomOptions, WecomSimulator};
use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

mod measurements;

/// Of each row; so many take less time than the CPU lasts that an account may take at once.
const CALLBACKS: u64 = 2500;
const PACE: Duration = Duration::from_millis(2);
/// The largest file that WeCom takes, so many times at once: 100 MiB.
const FILE_BYTES: usize = 20 * 1024 * 1024;
const FILES: usize = 5;
const PEOPLE: u64 = 50;

#[tokio::main]
async fn main() {
    println!("machine: {}", measurements::machine());
    println!(
        "store: dir, --durability process; a callback each {} ms of {PEOPLE} people, each given to \
         an agent over HTTP; simulated WecomSimulator, agent and who reads the media in this process",
        PACE.as_millis()
    );
    let wecom = WecomSimulator::start(WecomOptions::default())
        .await
        .expect("a free port");
    let (agent, mut media) = agent().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (_runner, url) = runner(&wecom, folder.path(), &agent).await;
    let content = Bytes::from(vec![7; FILE_BYTES]);
    let mut urls = Vec::new();
    for _ in 0..FILES {
        wecom.send_file("sender", MediaKind::File, "a.bin", "", content.clone());
        urls.push(media.recv().await.expect("the agent gets it"));
    }
    // What happens once has happened.
    callbacks(&wecom, &url, 0, CALLBACKS / 10).await;
    let alone = callbacks(&wecom, &url, 1, CALLBACKS).await;
    report("callback to its 200", alone);

    let time = PACE * u32::try_from(CALLBACKS).expect("it is small");
    let slowly = join_all(urls.iter().map(|url| download(url, time)));
    let (_, beside) = tokio::join!(slowly, callbacks(&wecom, &url, 2, CALLBACKS));
    report("the same while 100 MiB pass in that time", beside);

    let (begun, is_over) = (Instant::now(), AtomicBool::new(false));
    let passing = async {
        let mut passes = 0;
        while !is_over.load(Ordering::Relaxed) {
            join_all(urls.iter().map(|url| download(url, Duration::ZERO))).await;
            passes += 1;
        }
        (passes * FILES * FILE_BYTES) as f64 / begun.elapsed().as_secs_f64()
    };
    let calling = async {
        let times = callbacks(&wecom, &url, 3, CALLBACKS).await;
        is_over.store(true, Ordering::Relaxed);
        times
    };
    let (rate, beside) = tokio::join!(passing, calling);
    report(
        &format!(
            "the same while they pass again and again, {:.0} MiB/s",
            rate / 1024.0 / 1024.0
        ),
        beside,
    );
}

/// How long so many callbacks took, from the first byte of the request to the last of the answer; none
/// for one that is told to come again, because too many are open.
async fn callbacks(
    wecom: &WecomSimulator,
    url: &str,
    round: u64,
    count: u64,
) -> Vec<Option<Duration>> {
    let client = Arc::new(Client::builder(TokioExecutor::new()).build_http());
    let mut open = JoinSet::new();
    let begun = tokio::time::Instant::now();
    for number in 0..count {
        tokio::time::sleep_until(begun + PACE * u32::try_from(number).expect("it is small")).await;
        let post = sealed(wecom, round * 1_000_000 + number);
        let url = format!("{url}?{}", post.query);
        open.spawn(answered(Arc::clone(&client), url, post.body));
    }
    open.join_all().await
}

async fn answered(
    client: Arc<Client<HttpConnector, Full<Bytes>>>,
    url: String,
    body: String,
) -> Option<Duration> {
    let request = Request::post(url)
        .body(Full::from(body))
        .expect("a request");
    let begun = Instant::now();
    let answer = client.request(request).await.expect("an answer");
    let is_taken = answer.status() == 200;
    answer.into_body().collect().await.expect("a whole answer");
    is_taken.then(|| begun.elapsed())
}

/// A text of one of several people, as it would be posted now.
fn sealed(wecom: &WecomSimulator, id: u64) -> SealedCallback {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_s = now.expect("after 1970").as_secs();
    wecom.sealed(&format!(
        "<xml><ToUserName>{}</ToUserName><FromUserName>person{}</FromUserName>\
         <CreateTime>{now_s}</CreateTime><MsgType>text</MsgType><Content>hello</Content>\
         <MsgId>{}</MsgId><AgentID>{}</AgentID></xml>",
        wecom.corp_id(),
        id % PEOPLE,
        id + 1,
        wecom.agent_id()
    ))
}

/// The runner with the app as its account, and where its callbacks go; killed when it is dropped.
async fn runner(wecom: &WecomSimulator, folder: &Path, agent: &str) -> (Child, String) {
    let state = format!("dir:{}", folder.join("state").display());
    let mut child = Command::new(env!("CARGO_BIN_EXE_host-test"))
        .args(["run", "--state", &state, "--agent", agent])
        .args(["--component", env!("COMPONENT_WECOM")])
        .args(["--webhooks", "127.0.0.1:0", "--log-format", "json"])
        .env("WECOM_CORP_ID", wecom.corp_id())
        .env("WECOM_AGENT_ID", wecom.agent_id().to_string())
        .env("WECOM_SECRET", wecom.secret())
        .env("WECOM_TOKEN", wecom.token())
        .env("WECOM_ENCODING_AES_KEY", wecom.encoding_aes_key())
        .env("WECOM_API_BASE_URL", wecom.base_url())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the runner starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let address = loop {
        let line = lines.next_line().await.expect("UTF-8");
        let line: Value = serde_json::from_str(&line.expect("it runs")).expect("JSON");
        if line["message"] == "webhooks are listened for" {
            break line["address"].as_str().unwrap_or_default().to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let url = format!("http://{address}/webhook/{}", wecom.corp_id());
    // The account starts behind it.
    while wecom.verify(&url).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (child, url)
}

/// An agent that hands on the URLs it gets, and says nothing.
async fn agent() -> (String, mpsc::UnboundedReceiver<String>) {
    async fn hear(
        State(urls): State<mpsc::UnboundedSender<String>>,
        Json(message): Json<Value>,
    ) -> Json<Value> {
        if let Some(url) = message["media"][0]["url"].as_str() {
            let _ = urls.send(url.to_owned());
        }
        Json(json!({}))
    }
    let (urls, received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let app = Router::new().route("/", post(hear)).with_state(urls);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

/// Reads a file, in no less than this time.
async fn download(url: &str, time: Duration) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::get(url).body(Empty::new()).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    let mut body = answer.into_body();
    let begun = tokio::time::Instant::now();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("a whole file");
        total += frame.into_data().map_or(0, |data| data.len());
        let share = total as f64 / FILE_BYTES as f64;
        tokio::time::sleep_until(begun + time.mul_f64(share)).await;
    }
    assert_eq!(total, FILE_BYTES);
}

fn report(name: &str, times: Vec<Option<Duration>>) {
    let count = times.len();
    let times: Vec<Duration> = times.into_iter().flatten().collect();
    let refused = count - times.len();
    println!("{name}: {}, refused {refused}", measurements::spread(times));
}
