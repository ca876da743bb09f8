//! What users feel: the start, the way of a message, a backlog, a send beside a poll.
//!
//! `cargo bench` runs the runner's binary as a process of its own against the simulated server in
//! this one, with the durable store on. It prints the machine and the measurements; nothing is asserted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a benchmark that fails ends so"
)]

use std::net::SocketAddr;
use std::time::Instant;

use axum::routing::post;
use axum::{Json, Router};
use gateway_simulator::{Event, Simulator, SimulatorOptions};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

mod measurements;
mod runner;

use runner::Runner;

const PERSON: &str = "wxid_alice@im.wechat";
const STARTS: usize = 20;
const MESSAGES: usize = 2000;
const BACKLOG: usize = 5000;
const PEOPLE: usize = 50;

#[tokio::main]
async fn main() {
    println!("machine: {}", measurements::machine());
    println!("store: dir, --durability process; pace off; strict simulated server in this process");
    start().await;
    let agent = http_agent().await;
    for (name, agent) in [("echo", "echo".to_owned()), ("over HTTP", agent)] {
        latency(name, &agent).await;
        backlog(name, &agent).await;
    }
    send_beside_a_poll().await;
}

/// Process start to first poll.
async fn start() {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let simulator = simulator().await;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let begun = Instant::now();
        let runner = Runner::new(&simulator, folder.path(), "echo");
        simulator
            .wait_for(|simulator| simulator.counters().polls > 0)
            .await;
        times.push(begun.elapsed());
        drop(runner);
    }
    // The first one may have compiled the component.
    times.remove(0);
    println!("start to first poll: {}", measurements::spread(times));
}

/// A message is available, its answer is accepted: one at a time.
async fn latency(name: &str, agent: &str) {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let runner = Runner::new(&simulator, folder.path(), agent);
    let mut events = simulator.subscribe();
    let mut times = Vec::new();
    for number in 0..MESSAGES {
        simulator
            .wait_for(|simulator| simulator.counters().polls_open == 1)
            .await;
        let begun = Instant::now();
        simulator.say(PERSON, &number.to_string());
        answer(&mut events).await;
        times.push(begun.elapsed());
    }
    drop(runner);
    times.drain(..MESSAGES / 10);
    println!(
        "message to accepted answer, agent {name}: {}",
        measurements::spread(times)
    );
}

async fn answer(events: &mut Receiver<Event>) {
    loop {
        if let Ok(Event::Shown(bubble)) = events.recv().await
            && bubble["from"] == "bot"
        {
            return;
        }
    }
}

/// Messages that wait when the runner starts.
async fn backlog(name: &str, agent: &str) {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let people: Vec<String> = (0..PEOPLE)
        .map(|number| format!("wxid_{number}@im.wechat"))
        .collect();
    for number in 0..BACKLOG {
        simulator.say(&people[number % PEOPLE], &number.to_string());
    }
    let runner = Runner::new(&simulator, folder.path(), agent);
    simulator
        .wait_for(|simulator| simulator.counters().polls > 0)
        .await;
    let (begun, cpu) = (Instant::now(), runner.cpu());
    simulator
        .wait_for(|simulator| simulator.counters().accepted == BACKLOG as u64)
        .await;
    let (time, cpu) = (begun.elapsed(), runner.cpu() - cpu);
    let memory = runner.memory_kib() / 1024;
    drop(runner);
    let is_ordered = people.iter().all(|person| {
        let numbers: Vec<usize> = simulator
            .answers(person)
            .iter()
            .filter_map(|answer| answer.parse().ok())
            .collect();
        numbers.len() == BACKLOG / PEOPLE && numbers.is_sorted()
    });
    println!(
        "backlog of {BACKLOG} messages of {PEOPLE} people, agent {name}: {:.0} messages/s, {:.2} ms \
         of CPU each, peak {memory} MiB, {}",
        BACKLOG as f64 / time.as_secs_f64(),
        cpu.as_secs_f64() * 1000.0 / BACKLOG as f64,
        if is_ordered {
            "in order"
        } else {
            "NOT IN ORDER"
        },
    );
}

/// Sends through the library while a poll hangs.
async fn send_beside_a_poll() {
    use gateway_host::account::{Account, AccountOptions, Post};
    use gateway_host::agent::EchoAgent;
    use gateway_host::clock::Clock;
    use gateway_host::runtime::Runtime;
    use gateway_host::state::memory::MemoryState;
    use std::sync::Arc;

    let simulator = simulator().await;
    let runtime = Runtime::new(Clock::new()).expect("a runtime");
    let component = std::path::Path::new(env!("COMPONENT"));
    let plugin = runtime.load(component).await.expect("the component");
    let options = AccountOptions {
        id: simulator.account_id(),
        secrets: [("bot-token".to_owned(), simulator.token())].into(),
        config: [
            ("base-url".to_owned(), simulator.base_url()),
            ("send-interval-ms".to_owned(), "0".to_owned()),
            ("sends-per-message".to_owned(), "0".to_owned()),
        ]
        .into(),
        media: gateway_host::media::MediaRules::default(),
    };
    let state = Arc::new(MemoryState::default());
    let account = Account::start(&runtime, &plugin, state, Arc::new(EchoAgent), options)
        .await
        .expect("the account starts");
    simulator.say(PERSON, "hello");
    simulator
        .wait_for(|simulator| simulator.counters().accepted == 1)
        .await;
    let mut times = Vec::new();
    for number in 0..MESSAGES {
        simulator
            .wait_for(|simulator| simulator.counters().polls_open == 1)
            .await;
        let begun = Instant::now();
        let post = Post::new(number.to_string(), PERSON, "news");
        account.send(post).await.expect("it is sent");
        times.push(begun.elapsed());
    }
    account.stop().await;
    println!(
        "send to its receipt while a poll hangs: {}",
        measurements::spread(times)
    );
}

async fn simulator() -> Simulator {
    let simulator = Simulator::start(SimulatorOptions {
        strict: true,
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

/// An agent over HTTP that says what it hears.
async fn http_agent() -> String {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let answer = async |Json(message): Json<Value>| Json(json!({ "text": message["text"] }));
    let app = Router::new().route("/", post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}
