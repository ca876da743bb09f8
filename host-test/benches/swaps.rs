//! Components swapped under load: how long an account is without a poll, and whether anything is lost
//! or doubled.
//!
//! `cargo bench --bench swaps` runs the accounts and the simulated server in this process, with the
//! durable store on and a message for an account every few milliseconds. It prints the machine and
//! the measurements; it fails where a message is lost, doubled or out of order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a benchmark that fails ends so"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_host::account::AccountOptions;
use gateway_host::agent::EchoAgent;
use gateway_host::clock::Clock;
use gateway_host::gateway::Gateway;
use gateway_host::media::MediaRules;
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::{Durability, StateSpec};
use gateway_simulator::{Account, Event, Simulator, SimulatorOptions};
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

mod measurements;

const ACCOUNTS: usize = 20;
const SWAPS: usize = 1000;
const PERSON: &str = "wxid_alice@im.wechat";
/// Between two messages, each for the next account. A new component is connected when its first poll
/// has ended, or hangs for a second, so this is also most of what a swap takes.
const PAUSE: Duration = Duration::from_millis(2);
/// Until a new component has to be connected.
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    println!("machine: {}", measurements::machine());
    println!(
        "store: dir, --durability process; agent echo; {ACCOUNTS} accounts, a message every {} ms; \
         strict simulated server in this process",
        PAUSE.as_millis()
    );
    let simulator = Simulator::start(SimulatorOptions::default())
        .await
        .expect("it starts");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let state = StateSpec::Directory(folder.path().join("state"))
        .open(Durability::Process)
        .await
        .expect("the store opens");
    let runtime = Runtime::new(Clock::new()).expect("a runtime");
    let [first, other] = components(&runtime).await;
    let gateway = Gateway::new(&runtime, state);
    gateway.install(first.clone());
    let mut bots = Vec::new();
    for number in 0..ACCOUNTS {
        bots.push(add(&simulator, &gateway, number).await);
    }

    let answers = Answers::default();
    tokio::spawn(collect(simulator.subscribe(), Arc::clone(&answers)));
    let begun = Instant::now();
    let swapping = async {
        for number in 0..SWAPS {
            let plugin = [&other, &first][number % 2];
            gateway.swap(plugin, DEADLINE).await.expect("it connects");
        }
    };
    let mut said = 0;
    let talking = async {
        loop {
            bots[said % ACCOUNTS].say(PERSON, &said.to_string());
            said += 1;
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = swapping => {}
        () = talking => {}
    }
    let took = begun.elapsed();
    println!(
        "{SWAPS} swaps of {ACCOUNTS} accounts: {:.1} s, {:.0} ms each; {said} messages beside them",
        took.as_secs_f64(),
        took.as_secs_f64() * 1000.0 / SWAPS as f64,
    );

    let waiting = Instant::now();
    while count(&answers) < said && waiting.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut answers = std::mem::take(&mut *answers.lock().expect("nobody panicked"));
    for (place, bot) in bots.iter().enumerate() {
        let expected: Vec<usize> = (place..said).step_by(ACCOUNTS).collect();
        let got = answers.remove(bot.id()).unwrap_or_default();
        assert_eq!(got, expected, "{}: all, once, in order", bot.id());
        let account = gateway.account(bot.id()).expect("it is there");
        let asked = account.metrics().agent_messages.get();
        assert_eq!(asked, expected.len() as u64, "{}: once each", bot.id());
    }
    println!("nothing was lost, doubled or out of order, and the agent was asked once for each");

    let gaps = bots.iter().flat_map(Account::handovers).collect();
    println!(
        "old poll's end to new poll's start: {}",
        measurements::spread(gaps)
    );
}

/// The component, and another one that does the same: it has a custom section more.
async fn components(runtime: &Runtime) -> [Plugin; 2] {
    let component = std::path::Path::new(env!("COMPONENT"));
    let first = runtime.load(component).await.expect("the component");
    let mut bytes = std::fs::read(component).expect("the component");
    bytes.extend([0, 5, 1, b'x', 1, 2, 3]);
    let other = runtime.load_bytes(component, bytes).await;
    [first, other.expect("the component")]
}

type Answers = Arc<Mutex<HashMap<String, Vec<usize>>>>;

fn count(answers: &Answers) -> usize {
    let answers = answers.lock().expect("nobody panicked");
    answers.values().map(Vec::len).sum()
}

/// Keeps what the phones show, by account and in order.
async fn collect(mut events: Receiver<Event>, answers: Answers) {
    loop {
        match events.recv().await {
            Ok(Event::Shown(entry)) if entry["from"] == "bot" => {
                let account = entry["account"].as_str().unwrap_or_default().to_owned();
                let number = entry["text"].as_str().and_then(|text| text.parse().ok());
                let mut answers = answers.lock().expect("nobody panicked");
                answers
                    .entry(account)
                    .or_default()
                    .extend::<Option<usize>>(number);
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(missed)) => panic!("{missed} events were missed"),
        }
    }
}

async fn add(simulator: &Simulator, gateway: &Gateway, number: usize) -> Account {
    let id = format!("{number:012x}@im.bot");
    let bot = simulator.add_account(&id);
    simulator
        .faults(&json!({"account": id, "budget": null}))
        .expect("the rule is right");
    let options = AccountOptions {
        id: id.clone(),
        secrets: [("bot-token".to_owned(), bot.token())].into(),
        config: [
            ("base-url".to_owned(), simulator.base_url()),
            ("send-interval-ms".to_owned(), "0".to_owned()),
        ]
        .into(),
        media: MediaRules::default(),
    };
    let added = gateway.add("weixin", options, Arc::new(EchoAgent)).await;
    added.expect("the account starts");
    bot
}
