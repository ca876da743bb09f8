//! Components that attack their host, each beside two neighbours. The neighbours are the real
//! component, and they must go on answering.
//!
//! Everything runs on one thread, so a component that does not yield stops all others.

mod budget;
mod calls;
mod log;
mod resources;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::post;
use futures::{StreamExt, stream};
use gateway_host::account::{Account, AccountOptions, Setup, StartError};
use gateway_host::agent::Agent;
use gateway_host::agent::EchoAgent;
use gateway_host::clock::Clock;
use gateway_host::instance::Instance;
use gateway_host::media::MediaRules;
use gateway_host::runtime::{Allocation, Plugin, Runtime, RuntimeOptions};
use gateway_host::sandbox::limits::Limits;
use gateway_host::state::memory::MemoryState;

use crate::harness::{ALICE, BOB, Harness, PATIENCE, Recorder};

/// The account of the second neighbour.
const SECOND: &str = "0123456789ab@im.bot";

/// A host that the real component (twice) shares with an attacker.
struct SharedHost {
    harness: Harness,
    neighbours: [Account; 2],
    answers: usize,
    server: String,
}

impl SharedHost {
    async fn new() -> SharedHost {
        SharedHost::of(Harness::new().await).await
    }

    async fn of(harness: Harness) -> SharedHost {
        let budget = |account: &str| serde_json::json!({"account": account, "budget": null});
        let bot = harness.simulator.add_account(SECOND);
        let mut second = harness.options(&[]);
        second.id = SECOND.to_owned();
        second.secrets = BTreeMap::from([("bot-token".to_owned(), bot.token())]);
        for account in [harness.simulator.account_id(), SECOND.to_owned()] {
            harness.simulator.faults(&budget(&account)).unwrap();
        }
        let first = harness.start(Recorder::replying(), &[]).await;
        let (runtime, plugin) = (&harness.runtime, &harness.plugin);
        let state = Arc::clone(&harness.state);
        let second = Account::start(runtime, plugin, state, Recorder::replying(), second);
        SharedHost {
            neighbours: [first, second.await.unwrap()],
            harness,
            answers: 0,
            server: server().await,
        }
    }

    fn options(&self, attack: &str, at: &str) -> AccountOptions {
        let config = [("attack", attack), ("at", at), ("base-url", &self.server)];
        AccountOptions {
            id: "hostile@im.bot".to_owned(),
            secrets: BTreeMap::from([("bot-token".to_owned(), "its own".to_owned())]),
            config: config
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            media: MediaRules::default(),
        }
    }

    async fn plugin(&self) -> Plugin {
        let component = Path::new(env!("HOSTILE"));
        self.harness.runtime.load(component).await.unwrap()
    }

    /// An account whose component performs this attack in this call.
    async fn try_start(
        &self,
        attack: &str,
        at: &str,
        limits: Limits,
    ) -> Result<Account, StartError> {
        self.start_with(Arc::new(EchoAgent), attack, at, limits)
            .await
    }

    async fn start_with(
        &self,
        agent: Arc<dyn Agent>,
        attack: &str,
        at: &str,
        limits: Limits,
    ) -> Result<Account, StartError> {
        let runtime = self.harness.runtime.limited(limits);
        let plugin = self.plugin().await;
        let state = Arc::clone(&self.harness.state);
        Account::start(&runtime, &plugin, state, agent, self.options(attack, at)).await
    }

    /// An instance that nobody serves.
    async fn instance(&self, attack: &str, at: &str, limits: Limits) -> Instance {
        let runtime = self.harness.runtime.limited(limits);
        let plugin = self.plugin().await;
        let state = Arc::clone(&self.harness.state);
        let setup = Setup::new(&runtime, &plugin, state, self.options(attack, at)).unwrap();
        setup.instance().await.unwrap()
    }

    /// Both neighbours answer once more. How soon is measured by `cargo bench --bench isolation`.
    async fn answers(&mut self) {
        let simulator = &self.harness.simulator;
        simulator.say(ALICE, &self.answers.to_string());
        let second = simulator.account(SECOND).unwrap();
        second.say(BOB, &self.answers.to_string());
        self.answers += 1;
        let count = self.answers;
        self.harness
            .until(|simulator| {
                [ALICE, BOB].map(|person| simulator.answers(person).len()) == [count, count]
            })
            .await;
    }

    /// The hostile account is down for a reason with these words, and the neighbour answers before
    /// and after.
    async fn down(&mut self, attack: &str, limits: Limits, words: &[&str]) {
        let account = self.try_start(attack, "receive", limits).await.unwrap();
        let patience = Instant::now() + PATIENCE;
        loop {
            self.answers().await;
            let status = account.status().await;
            let reason = status.reason.unwrap_or_default();
            if words.iter().all(|words| reason.contains(words)) {
                break;
            }
            assert!(Instant::now() < patience, "{attack}: {words:?}: {reason}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.answers().await;
        drop(account);
        self.harness.check();
    }

    async fn end(self) {
        self.harness.check();
        for neighbour in self.neighbours {
            neighbour.stop().await;
        }
    }
}

/// A server that hangs, takes everything, and answers without end.
async fn server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sink = async |body: Body| {
        let mut windows = body.into_data_stream();
        while windows.next().await.is_some() {}
    };
    let flood = async || {
        let window = || Ok::<_, std::convert::Infallible>(Bytes::from(vec![0; 64 * 1024]));
        Body::from_stream(stream::repeat_with(window))
    };
    let app = Router::new()
        .route("/api/hang", post(std::future::pending::<()>))
        .route("/media/hang", post(std::future::pending::<()>))
        .route("/api/sink", post(sink))
        .route("/media/sink", post(sink))
        .route("/api/flood", post(flood));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn what_computes_without_end_is_stopped() {
    let mut host = SharedHost::new().await;
    let limits = Limits {
        cpu_slice: Duration::from_millis(300),
        ..Limits::default()
    };
    let words = ["computes without a pause", "`cpu_slice`", "spin"];
    host.down("spin", limits.clone(), &words).await;
    let starting = async {
        let account = host.try_start("spin", "start", limits).await;
        account.err().unwrap().to_string()
    };
    let error = starting.await;
    assert!(error.contains("`cpu_slice`"), "{error}");
    host.answers().await;
    host.end().await;
}

#[tokio::test]
async fn what_yields_and_computes_without_end_is_slowed_down() {
    let mut host = SharedHost::new().await;
    let log = log::Captured::new();
    let limits = Limits {
        // So little that it gets more also where others fill the machine.
        cpu_share: 1,
        cpu_burst: Duration::from_millis(20),
        ..Limits::default()
    };
    let account = host.try_start("yield", "receive", limits).await.unwrap();
    while !log.text().contains("`cpu_share`") {
        host.answers().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What it takes of the one thread from now on: a loaded machine makes that less.
    let (begun, cpu) = (Instant::now(), cpu());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let share = (self::cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.4, "{share:.2} of a core");
    host.answers().await;
    drop(account);
    host.end().await;
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

#[tokio::test]
async fn a_trap_is_told_with_its_message_and_its_place() {
    let mut host = SharedHost::new().await;
    let log = log::Captured::new();
    let words = [
        "panicked at",
        "a reason of  [31mtwo lines",
        "unreachable",
        "innermost",
    ];
    host.down("panic", Limits::default(), &words).await;
    let text = log.text();
    let line = text.lines().find(|line| line.contains("panicked at"));
    let line = line.expect("the panic is in the log");
    assert!(
        line.contains("innermost") && line.contains("follows in 1 s"),
        "{line}"
    );
    for (attack, words) in [
        // The component's own stack, in its memory; then the host's, below it.
        ("recurse", ["out of bounds memory access", "recurse"]),
        ("deep", ["call stack exhausted", "deep"]),
    ] {
        host.down(attack, Limits::default(), &words).await;
    }
    host.down("exit", Limits::default(), &["exit"]).await;
    host.end().await;
}

#[tokio::test]
async fn a_describe_without_end_is_refused() {
    let component = std::fs::read(env!("HOSTILE")).unwrap();
    let (no, yes) = (b"hostile at describe: no ", b"hostile at describe: yes");
    let place = component.windows(no.len()).position(|bytes| bytes == no);
    let mut component = component.clone();
    component[place.unwrap()..][..yes.len()].copy_from_slice(yes);
    let folder = tempfile::tempdir().unwrap();
    let mut path = folder.path().join("spins.wasm");
    std::fs::write(&path, component).unwrap();
    let mut host = SharedHost::new().await;
    for (cpu, time, name) in [(200, 9000, "`cpu_slice`"), (9000, 200, "`calls.describe`")] {
        let mut limits = Limits {
            cpu_slice: Duration::from_millis(cpu),
            ..Limits::default()
        };
        limits.calls.describe = Duration::from_millis(time);
        let runtime = host.harness.runtime.limited(limits);
        let loading = tokio::spawn(async move { (runtime.load(&path).await.err(), path) });
        host.answers().await;
        let (error, loaded) = loading.await.unwrap();
        path = loaded;
        let error = error.unwrap().to_string();
        assert!(error.contains(name), "{error}");
    }
    host.end().await;
}

#[tokio::test]
async fn nothing_that_is_loaded_or_returned_makes_the_host_panic() {
    let runtime = Runtime::new(Clock::new()).unwrap();
    let whole = std::fs::read(env!("HOSTILE")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.wasm");
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    for round in 0..60 {
        let mut bytes = match round % 3 {
            // A header, and then anything.
            0 => {
                let mut bytes = whole[..8].to_vec();
                bytes.extend((0..random(200)).map(|_| random(256) as u8));
                bytes
            }
            1 => whole[..random(whole.len())].to_vec(),
            _ => whole.clone(),
        };
        let last = bytes.len() - 1;
        bytes[8 + random(2000.min(last - 8) + 1)..][..1].fill(random(256) as u8);
        std::fs::write(&path, &bytes).unwrap();
        // Whatever it is, it is an answer in one line.
        if let Err(error) = runtime.load(&path).await {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }

    let mut host = SharedHost::new().await;
    let account = host
        .try_start("garbage", "receive", Limits::default())
        .await
        .unwrap();
    for _ in 0..20 {
        host.answers().await;
    }
    assert_eq!(account.metrics().restarts.get(), 0);
    assert!(account.metrics().agent_messages.get() > 0);
    drop(account);
    host.end().await;
}

#[tokio::test]
async fn a_pool_that_is_empty_says_what_to_raise() {
    let options = RuntimeOptions {
        allocation: Allocation::Pooled(2),
        ..RuntimeOptions::default()
    };
    let runtime = Runtime::with_options(Clock::new(), options).unwrap();
    let plugin = runtime.load(Path::new(env!("HOSTILE"))).await.unwrap();
    let make = async |attack: &str| {
        let options = AccountOptions {
            id: "some@im.bot".to_owned(),
            secrets: BTreeMap::new(),
            config: [("attack", attack), ("at", "start")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            media: MediaRules::default(),
        };
        let setup = Setup::new(&runtime, &plugin, Arc::new(MemoryState::default()), options);
        setup.unwrap().instance().await
    };
    let _first = make("pass").await.unwrap();
    // A place is free again when nobody holds it any more, whatever it does.
    let make_again = async |attack: &str| {
        let making = async {
            loop {
                match make(attack).await {
                    Ok(instance) => return instance,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, making).await.expect(attack)
    };
    for attack in ["pass", "sleep", "block", "spin", "pass"] {
        let second = make_again(attack).await;
        let starting = tokio::time::timeout(Duration::from_millis(50), second.start());
        assert_eq!(starting.await.is_ok(), attack == "pass", "{attack}");
        let error = make("pass").await.err().unwrap().to_string();
        assert!(error.contains("RuntimeOptions::allocation"), "{error}");
    }
}

#[tokio::test]
async fn instances_also_run_without_a_pool() {
    let mut harness = Harness::new().await;
    let options = RuntimeOptions {
        allocation: Allocation::OnDemand,
        copy_on_write: false,
        ..RuntimeOptions::default()
    };
    harness.runtime = Runtime::with_options(harness.clock.clone(), options).unwrap();
    harness.plugin = harness
        .runtime
        .load(&crate::harness::component())
        .await
        .unwrap();
    let _account = harness.start(Recorder::replying(), &[]).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["re: hello"])
        .await;
}
