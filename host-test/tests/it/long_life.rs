//! What happens to a channel that runs for months: edges, networks, clocks, and everything at once.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use gateway_host::account::{Account, AccountOptions, PartState, Phase};
use gateway_host::agent::message::{Message, Reply};
use gateway_host::agent::progress::Progress;
use gateway_host::agent::{Agent, AgentError, EchoAgent};
use gateway_host::clock::Clock;
use gateway_host::egress::client::HttpClient;
use gateway_host::egress::connector::Resolve;
use gateway_host::egress::proxy::Proxies;
use gateway_host::listener::Names;
use gateway_host::media::MediaRules;
use gateway_host::state::memory::MemoryState;
use gateway_simulator::faults::StallAt;
use gateway_simulator::ilink::{Endpoint, RuleChanges};
use gateway_simulator::{Account as Bot, Fault, Simulator, SimulatorOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::{ALICE, BOB, Harness, eventually, proactive, runner_of};

/// How long a life may take to end well: far longer than it does on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);

/// Moves the clock on in small steps until a condition comes true; how far it was moved. What passes
/// by itself meanwhile does not count: that is the machine's.
async fn after(harness: &Harness, what: impl AsyncFn() -> bool) -> Duration {
    const STEP: Duration = Duration::from_millis(100);
    let moved = Cell::new(Duration::ZERO);
    eventually(async || {
        if what().await {
            return true;
        }
        harness.clock.advance(STEP);
        moved.set(moved.get() + STEP);
        tokio::time::sleep(Duration::from_millis(1)).await;
        false
    })
    .await;
    moved.get()
}

async fn phase(account: &Account) -> Phase {
    account.health().await.unwrap().phase
}

async fn answered(harness: &Harness, count: usize) -> Duration {
    after(harness, async || {
        harness.simulator.answers(ALICE).len() == count
    })
    .await
}

#[tokio::test]
async fn an_edge_that_cuts_polls_is_learned_once_and_never_degrades() {
    let harness = Harness::new().await;
    harness
        .simulator
        .change(&RuleChanges::new().edge(Some(Duration::from_secs(16))))
        .unwrap();
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    after(&harness, async || phase(&account).await == Phase::Connected).await;
    // Ten idle minutes: polls that end before they are cut, and a sign of life now and then.
    for _ in 0..1200 {
        harness.clock.advance(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(1)).await;
        if harness.clock.elapsed() > Duration::from_secs(20) {
            let health = account.health().await.unwrap();
            assert!(
                matches!(health.phase, Phase::Connected),
                "{:?} {:?}",
                health.phase,
                health.reason
            );
        }
    }
    let log = harness.simulator.log();
    let cut = log.iter().filter(|entry| entry["status"] == 524).count();
    assert_eq!(cut, 1);
    let polls = harness.simulator.counters().polls;
    assert!((35..=60).contains(&polls), "{polls}");
    harness.simulator.say(ALICE, "hello");
    answered(&harness, 1).await;
}

#[tokio::test]
async fn a_network_that_is_gone_for_an_hour_is_back_within_seconds() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "one");
    answered(&harness, 1).await;
    harness.simulator.go_offline().await;
    harness.simulator.say(ALICE, "two");
    after(&harness, async || phase(&account).await == Phase::Degraded).await;
    for _ in 0..360 {
        harness.clock.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let reason = account.health().await.unwrap().reason.unwrap();
    assert!(reason.contains("refused"), "{reason}");
    let until_ms = harness.clock.unix_ms() + 3_600_000;
    let news = account.send(proactive("news", ALICE, "news").queued_until(until_ms));
    let mut news = std::pin::pin!(news);
    let news = loop {
        tokio::select! {
            news = &mut news => break news,
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                harness.clock.advance(Duration::from_millis(100));
            }
        }
    };
    assert!(news.is_ok());
    harness.simulator.come_online().await.unwrap();
    let took = answered(&harness, 3).await;
    assert!(took <= Duration::from_secs(75), "{took:?}");
    assert_eq!(phase(&account).await, Phase::Connected);
    let mut answers = harness.simulator.answers(ALICE);
    answers.sort();
    assert_eq!(answers, ["news", "one", "two"]);
    harness.check();
}

/// A resolver that can lose its answers.
struct Flaky {
    fails: AtomicBool,
}

impl Resolve for Flaky {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let fails = self.fails.load(Ordering::Relaxed);
        async move {
            match host.as_str() {
                "weixin.test" if !fails => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
                _ => Err(io::Error::other("no such host")),
            }
        }
        .boxed()
    }
}

#[tokio::test]
async fn names_that_can_t_be_resolved_for_a_while_end_nothing() {
    let mut harness = Harness::new().await;
    harness.simulator = Simulator::start(SimulatorOptions {
        clock: harness.clock.clone(),
        names: Names::new(["weixin.test".to_owned()]).unwrap(),
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    let resolver = Arc::new(Flaky {
        fails: AtomicBool::new(true),
    });
    harness.runtime.client = HttpClient::with_resolver(resolver.clone(), Proxies::none());
    let base = harness
        .simulator
        .base_url()
        .replace("127.0.0.1", "weixin.test");
    let account = harness
        .start(Arc::new(EchoAgent), &[("base-url", &base)])
        .await;
    after(&harness, async || phase(&account).await == Phase::Degraded).await;
    let reason = account.health().await.unwrap().reason.unwrap();
    assert!(reason.contains("no address"), "{reason}");
    for _ in 0..60 {
        harness.clock.advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    harness.simulator.say(ALICE, "hello");
    resolver.fails.store(false, Ordering::Relaxed);
    let took = answered(&harness, 1).await;
    assert!(took <= Duration::from_secs(15), "{took:?}");
    assert_eq!(phase(&account).await, Phase::Connected);
}

#[tokio::test]
async fn a_clock_that_is_wrong_closes_no_window() {
    const DAY_MS: i64 = 24 * 3_600_000;
    for wrong_ms in [DAY_MS, -DAY_MS, 40 * DAY_MS, -40 * DAY_MS, 12 * 3_600_000] {
        let mut harness = Harness::new().await;
        // The server has a clock of its own.
        harness.simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        harness.clock.set_by(wrong_ms);
        let account = harness.start(Arc::new(EchoAgent), &[]).await;
        let state = async |key: &str| {
            let receipt = account.send(proactive(key, ALICE, key)).await.unwrap();
            receipt.parts[0].state
        };
        harness.simulator.say(ALICE, "one");
        harness
            .until(|simulator| simulator.answers(ALICE).len() == 1)
            .await;
        assert_eq!(
            state("while it is wrong").await,
            PartState::Accepted,
            "{wrong_ms}"
        );
        // It is set right, and wrong again, while what was said is there.
        harness.clock.set_by(-wrong_ms);
        assert_eq!(
            state("when it is right").await,
            PartState::Accepted,
            "{wrong_ms}"
        );
        harness.clock.set_by(2 * wrong_ms);
        assert_eq!(
            state("when it jumps").await,
            PartState::Accepted,
            "{wrong_ms}"
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told() {
    for (behind_ms, expect) in [
        (86_430_000, "1 day ahead of"),
        (-9_030_000, "2 h 30 min behind"),
    ] {
        let clock = Clock::new();
        clock.set_by(-behind_ms);
        let options = SimulatorOptions {
            clock,
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(options).await.unwrap();
        let mut child = runner_of(&simulator, "memory", "echo").spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                if line.contains("this machine's clock is") {
                    return line;
                }
            }
        };
        let told = told.await;
        assert!(told.contains(expect), "{told}");
    }
}

#[tokio::test]
async fn clocks_that_are_set_and_laptops_that_sleep_lose_nothing() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "one");
    answered(&harness, 1).await;
    for hours in [8, -20, 11] {
        // While it slept the connection died without a word.
        harness
            .simulator
            .fault(Endpoint::GetUpdates, Fault::stall(StallAt::Before).once())
            .unwrap();
        let count = harness.simulator.answers(ALICE).len();
        harness.simulator.say(ALICE, "before the sleep");
        answered(&harness, count + 1).await;
        harness.clock.set_by(hours * 3_600_000);
        harness.simulator.say(ALICE, "after it");
        let took = answered(&harness, count + 2).await;
        assert!(took <= Duration::from_secs(50), "{took:?}");
        assert_eq!(phase(&account).await, Phase::Connected);
        let key = format!("push {hours}");
        account.send(proactive(&key, ALICE, &key)).await.unwrap();
    }
    harness.check();
}

#[tokio::test]
async fn a_throttle_that_outlives_a_day_of_silence_ends_when_the_person_writes() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "one");
    answered(&harness, 1).await;
    harness
        .simulator
        .fault(
            Endpoint::SendMessage,
            Fault::ret(-2).with_errmsg("freq limit"),
        )
        .unwrap();
    harness.simulator.say(ALICE, "two");
    eventually(async || harness.simulator.counters().sends == 2).await;
    harness.clock.advance(30 * HOUR);
    harness
        .simulator
        .change(&RuleChanges::new().clear(Endpoint::SendMessage))
        .unwrap();
    harness.simulator.say(ALICE, "three");
    let took = answered(&harness, 3).await;
    assert!(took <= Duration::from_secs(20), "{took:?}");
    assert_eq!(harness.simulator.answers(ALICE), ["one", "two", "three"]);
    assert_eq!(phase(&account).await, Phase::Connected);
}

/// Counts how often it was asked each message.
#[derive(Default)]
struct Counting(Mutex<BTreeMap<String, usize>>);

impl Agent for Counting {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        _: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        *self
            .0
            .lock()
            .unwrap()
            .entry(message.id.clone())
            .or_default() += 1;
        let reply = Reply::of_text(message.text.clone());
        async move { Ok(reply) }.boxed()
    }
}

/// One of these, for one request or for up to three.
fn one_of(random: &mut StdRng, faults: &[Value], most: u64) -> Value {
    let mut fault = faults[random.random_range(0..faults.len())].clone();
    fault["times"] = json!(random.random_range(1..=most));
    fault
}

/// After these nobody knows whether a request took effect.
fn unclear() -> Vec<Value> {
    vec![
        json!({"status": 500}),
        json!({"status": 502}),
        json!({"status": 524, "delay_ms": 17_000}),
        json!({"body": ""}),
        json!({"body": "<html>busy</html>"}),
        json!({"truncated": true}),
        json!({"cut": "before"}),
        json!({"cut": "after"}),
        json!({"cut": "body"}),
        json!({"delay_ms": 20_000}),
    ]
}

/// After these it did not, and may at the next try.
fn clear() -> Vec<Value> {
    vec![
        json!({"status": 503}),
        json!({"status": 429}),
        json!({"ret": -2, "errmsg": "prepare failed"}),
        json!({"ret": -2, "errmsg": "freq limit"}),
        json!({"ret": -14}),
        json!({"errcode": -14, "errmsg": "session timeout"}),
    ]
}

/// An account of this bot, with a store of its own.
async fn live(harness: &Harness, bot: &Bot, agent: Arc<dyn Agent>) -> Result<Account, String> {
    let options = AccountOptions {
        id: bot.id().to_owned(),
        secrets: BTreeMap::from([("bot-token".to_owned(), bot.token())]),
        config: BTreeMap::from([
            ("base-url".to_owned(), harness.simulator.base_url()),
            ("send-interval-ms".to_owned(), "0".to_owned()),
        ]),
        media: MediaRules::default(),
    };
    let state = Arc::new(MemoryState::default());
    let account = Account::start(&harness.runtime, &harness.plugin, state, agent, options);
    account.await.map_err(|error| error.to_string())
}

/// What a person's phone shows of this bot.
fn bubbles(harness: &Harness, bot: &str, person: &str) -> Vec<String> {
    let phone = harness.simulator.phone();
    let bubbles = phone.iter().filter(|entry| {
        entry["account"] == bot && entry["user"] == person && entry["from"] == "bot"
    });
    bubbles
        .map(|entry| entry["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn one_life(harness: &Harness, seed: u64) -> Result<(), String> {
    let mut random = StdRng::seed_from_u64(seed);
    let id = format!("{seed:012x}@im.bot");
    let bot = harness.simulator.add_account(&id);
    let rules = |rules: Value| {
        let mut rules = rules;
        rules["account"] = json!(id);
        harness.simulator.faults(&rules).unwrap();
    };
    // A repeated send is shown once, so that a doubled answer is one that was sent anew.
    rules(json!({"dedupe": true, "budget": null}));
    let agent = Arc::new(Counting::default());
    let account = live(harness, &bot, agent.clone()).await?;
    let mut said: HashMap<&str, Vec<String>> = HashMap::new();
    let say = |said: &mut HashMap<&str, Vec<String>>, person: &'static str| {
        let texts = said.entry(person).or_default();
        let text = format!("{seed} {person} {}", texts.len());
        bot.say(person, &text);
        texts.push(text);
    };
    let any: Vec<Value> = unclear().into_iter().chain(clear()).collect();
    // A part gets two tries whose end is unclear: then the receipt says so, and it may be missing.
    let mut is_unclear = false;
    for _ in 0..random.random_range(2..8) {
        match random.random_range(0..5) {
            0 => rules(json!({"getupdates": one_of(&mut random, &any, 3)})),
            1 => rules(json!({"sendmessage": one_of(&mut random, &clear(), 3)})),
            2 if !is_unclear => {
                is_unclear = true;
                rules(json!({"sendmessage": one_of(&mut random, &unclear(), 1)}));
            }
            3 => rules(json!({"session": {"expired": "errcode", "after_ms": 0, "for_ms": 3000}})),
            _ => {}
        }
        for _ in 0..random.random_range(0..4) {
            say(&mut said, [ALICE, BOB][random.random_range(0..2)]);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
    }
    rules(json!({"getupdates": null, "sendmessage": null, "session": null}));
    for person in [ALICE, BOB] {
        say(&mut said, person);
    }
    let shown = |person: &str| bubbles(harness, &id, person);
    let whole = async {
        loop {
            let health = account.health().await;
            let is_well = health.is_some_and(|health| {
                health.phase == Phase::Connected && health.unacknowledged == 0 && health.queued == 0
            });
            let is_said = said
                .iter()
                .all(|(person, texts)| shown(person).len() >= texts.len());
            if is_well && is_said {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let is_whole = tokio::time::timeout(PATIENCE, whole).await;
    for (person, texts) in &said {
        if shown(person) != *texts {
            let health = account.health().await;
            return Err(format!(
                "seed {seed}: {texts:?} became {:?} {health:?}",
                shown(person)
            ));
        }
    }
    is_whole.map_err(|_| format!("seed {seed} does not get well"))?;
    let asked = agent.0.lock().unwrap();
    match asked.iter().find(|(_, count)| **count != 1) {
        Some((id, count)) => Err(format!("seed {seed}: message {id} was asked {count} times")),
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_lives_of_random_faults_end_well() {
    let harness = Harness::lenient().await;
    let moving = async {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            harness.clock.advance(Duration::from_millis(500));
        }
    };
    let lives = async {
        for batch in 0..5 {
            let lives = (0..200).map(|life| one_life(&harness, batch * 200 + life));
            for result in join_all(lives).await {
                if let Err(why) = result {
                    panic!("{why}");
                }
            }
        }
    };
    tokio::select! {
        () = lives => {}
        () = moving => {}
    }
}
