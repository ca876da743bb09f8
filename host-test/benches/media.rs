//! 100 MiB in and out through the component: seconds, CPU, memory, and what a send beside it waits.
//!
//! `cargo bench` runs the runner's binary as a process of its own against the simulated server and
//! its CDN in this one. It prints measurements; nothing is asserted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a benchmark that fails ends so"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use gateway_simulator::{Event, MediaKind, Simulator, SimulatorOptions};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::mpsc;

mod example;
mod measurements;
mod runner;

use runner::Runner;

const ALICE: &str = "wxid_alice@im.wechat";
const BOB: &str = "wxid_bob@im.wechat";
const SIZE: u64 = 100 * 1024 * 1024;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    println!("machine: {}", measurements::machine());
    let [decrypt, encrypt] = example::in_the_sandbox("cipher").await[..] else {
        panic!("two numbers");
    };
    println!(
        "cipher alone, in the sandbox: decrypt {decrypt:.0} MiB/s, encrypt {encrypt:.0} MiB/s"
    );
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("big.bin");
    let created = std::fs::File::create(&file).expect("a file");
    created.set_len(SIZE).expect("room for it");

    let simulator = simulator().await;
    let (agent, mut media) = agent(&file).await;
    let runner = Runner::new(&simulator, folder.path(), &agent);
    simulator
        .wait_for(|simulator| simulator.counters().polls > 0)
        .await;
    let mut downloads = Vec::new();
    let mut uploads = Vec::new();
    let (before, mut cpu) = (runner.memory_kib(), Duration::ZERO);
    for round in 0..ROUNDS {
        simulator.push_generated(ALICE, MediaKind::File, SIZE, round as u64);
        let url = media.recv().await.expect("the agent gets it");
        let (begun, used) = (Instant::now(), runner.cpu());
        assert_eq!(download(&url).await, SIZE);
        downloads.push(begun.elapsed());
        cpu += runner.cpu() - used;
    }
    report(
        "download of 100 MiB to the agent's last byte",
        &downloads,
        decrypt,
    );
    println!(
        "  CPU of the runner: {:.2} s each",
        cpu.as_secs_f64() / ROUNDS as f64
    );
    cpu = Duration::ZERO;
    for round in 1..=ROUNDS {
        let (begun, used) = (Instant::now(), runner.cpu());
        simulator.say(ALICE, "upload");
        simulator
            .wait_for(|simulator| simulator.counters().accepted == round as u64)
            .await;
        uploads.push(begun.elapsed());
        cpu += runner.cpu() - used;
    }
    report(
        "upload of 100 MiB, MD5 and message included",
        &uploads,
        encrypt,
    );
    println!(
        "  CPU of the runner: {:.2} s each",
        cpu.as_secs_f64() / ROUNDS as f64
    );
    println!(
        "the runner's memory grew by {} KiB at its peak",
        runner.memory_kib() - before
    );
    let alone = answers(&simulator, async {}).await;
    simulator.push_generated(ALICE, MediaKind::File, SIZE, 99);
    let url = media.recv().await.expect("the agent gets it");
    simulator.say(ALICE, "upload");
    let beside = answers(&simulator, async {
        download(&url).await;
    })
    .await;
    println!(
        "a message and its answer, alone: {}",
        measurements::spread(alone)
    );
    println!(
        "a message and its answer beside a download and an upload: {}",
        measurements::spread(beside)
    );
}

async fn simulator() -> Simulator {
    let simulator = Simulator::start(SimulatorOptions {
        wire_log: 0,
        ..SimulatorOptions::default()
    })
    .await
    .expect("a free port");
    simulator
        .faults(&json!({"budget": null}))
        .expect("a rule of the simulator");
    simulator
}

/// An agent that hands on the URLs it gets, and sends the file when it is asked to.
async fn agent(file: &Path) -> (String, mpsc::UnboundedReceiver<String>) {
    type Shared = (mpsc::UnboundedSender<String>, String);
    async fn answer(State((urls, file)): State<Shared>, Json(message): Json<Value>) -> Json<Value> {
        if let Some(url) = message["media"][0]["url"].as_str() {
            let _ = urls.send(url.to_owned());
            return Json(json!({}));
        }
        match message["text"].as_str() {
            Some("upload") => Json(json!({"media": [{"path": file}]})),
            text => Json(json!({"text": text})),
        }
    }
    let (urls, received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let file = file.to_str().expect("UTF-8").to_owned();
    let app = Router::new()
        .route("/", post(answer))
        .with_state((urls, file));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

async fn download(url: &str) -> u64 {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::get(url).body(Empty::new()).expect("a request");
    let mut body = client
        .request(request)
        .await
        .expect("an answer")
        .into_body();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("a whole file");
        total += frame.into_data().map_or(0, |data| data.len() as u64);
    }
    total
}

/// Milliseconds of messages and answers until `work` is done, at least 200 of them.
async fn answers(simulator: &Simulator, work: impl Future<Output = ()>) -> Vec<Duration> {
    let mut events = simulator.subscribe();
    let mut work = std::pin::pin!(work);
    let mut is_done = false;
    let mut times = Vec::new();
    while times.len() < 200 || !is_done {
        let begun = Instant::now();
        simulator.say(BOB, "ping");
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Ok(Event::Shown(bubble))
                        if bubble["from"] == "bot" && bubble["user"] == BOB => break,
                    _ => {}
                },
                () = &mut work, if !is_done => is_done = true,
            }
        }
        times.push(begun.elapsed());
    }
    times
}

fn report(name: &str, times: &[Duration], cipher: f64) {
    let mut seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let rate = SIZE as f64 / 1024.0 / 1024.0 / median;
    println!(
        "{name}: median {median:.2} s, {rate:.0} MiB/s, {:.0} % of the cipher alone, n {}",
        rate / cipher * 100.0,
        seconds.len()
    );
}
