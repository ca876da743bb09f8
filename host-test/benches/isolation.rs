//! What an account feels of a hostile neighbour in the same process, and what the isolation costs.
//!
//! `cargo bench --bench isolation` prints the machine and the measurements; nothing is asserted. An argument
//! chooses one part: `interruption`, `neighbours` or `instances`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a benchmark that fails ends so"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_host::account::{Account, AccountOptions, Setup};
use gateway_host::agent::EchoAgent;
use gateway_host::clock::Clock;
use gateway_host::egress::client::HttpClient;
use gateway_host::egress::proxy::Proxies;
use gateway_host::egress::resolver::SystemResolver;
use gateway_host::instance::Instance;
use gateway_host::media::MediaRules;
use gateway_host::runtime::{Allocation, Runtime, RuntimeOptions};
use gateway_host::sandbox::limits::Limits;
use gateway_host::state::directory::DirectoryState;
use gateway_host::state::memory::MemoryState;
use gateway_host::state::{Durability, State};
use gateway_simulator::{Event, Simulator, SimulatorOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

mod measurements;

const PERSON: &str = "wxid_alice@im.wechat";
/// How long each neighbour is borne.
const TIME: Duration = Duration::from_secs(15);
const INSTANCES: usize = 300;

#[tokio::main]
async fn main() {
    println!("machine: {}", measurements::machine());
    println!("strict simulated server, agent and accounts in one process; pace off");
    let only = std::env::args()
        .nth(1)
        .filter(|only| !only.starts_with('-'));
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if is_wanted("interruption") {
        interruption().await;
    }
    if is_wanted("neighbours") {
        neighbours().await;
    }
    if is_wanted("instances") {
        instances().await;
    }
}

/// The same way of a message, and the same work, with epochs and without.
async fn interruption() {
    for interruption in [false, true, false, true] {
        let options = RuntimeOptions {
            interruption,
            ..RuntimeOptions::default()
        };
        let host = SharedHost::new(options).await;
        let name = if interruption { "with" } else { "without" };
        let begun = cpu();
        let times = host.answers(2000, None).await;
        let each = (cpu() - begun).as_secs_f64() * 1e3 / 2000.0;
        println!(
            "message to answer {name} interruption: {}",
            measurements::spread(times)
        );
        let instance = host.hostile("work").await;
        let begun = cpu();
        for _ in 0..20 {
            let found = instance.find("work".to_owned()).await;
            found.expect("it returns");
        }
        let work = (cpu() - begun).as_secs_f64() * 1e3 / 20.0;
        println!(
            "CPU {name} interruption: {each:.2} ms for a message, server and agent included; \
             {work:.1} ms for a digest of 50 MiB in the component"
        );
    }
}

/// CPU time of the process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// A neighbour's messages alone, and beside hostile accounts that come back after each end: with the
/// state in memory, and on the disk that both write to.
async fn neighbours() {
    let folder = tempfile::tempdir().expect("a directory");
    let opened = DirectoryState::open(folder.path(), Durability::Process);
    let host = SharedHost::on(
        RuntimeOptions::default(),
        Arc::new(opened.expect("a state directory")),
    );
    let host = host.await;
    let times = host.answers(usize::MAX, Some(TIME)).await;
    println!(
        "message to answer, alone, on disk: {}",
        measurements::spread(times)
    );
    beside(&host, &[("writes", 1), ("writes", 8), ("cursors", 1)]).await;
    drop(host);

    let mut host = SharedHost::new(RuntimeOptions::default()).await;
    let times = host.answers(usize::MAX, Some(TIME)).await;
    println!("message to answer, alone: {}", measurements::spread(times));
    let attacks = [
        ("spin", 1),
        ("spin", 8),
        ("yield", 1),
        ("yield", 8),
        ("allocate", 1),
        ("log", 1),
        ("denied", 1),
        ("messages", 1),
        ("texts", 1),
        ("fields", 1),
        ("appended", 1),
        ("clones", 1),
        ("composed", 1),
        ("unread", 1),
        ("uploads", 1),
        ("albums", 1),
        ("ids", 1),
        ("errors", 1),
        ("settled", 1),
        ("json", 1),
        ("random", 1),
        ("settings", 1),
    ];
    beside(&host, &attacks).await;
    // Lookups that never end; the neighbour's server has an address and no name.
    let hanging = SystemResolver::with_lookup(|_| {
        loop {
            std::thread::park();
        }
    });
    host.runtime.client = HttpClient::with_resolver(Arc::new(hanging), Proxies::none());
    beside(&host, &[("lookups", 1)]).await;
}

/// What the neighbour feels of each attack, done by so many accounts.
async fn beside(host: &SharedHost, attacks: &[(&str, usize)]) {
    for &(attack, count) in attacks {
        let before = memory_kib();
        let mut accounts = Vec::new();
        for number in 0..count {
            accounts.push(host.account(attack, number).await);
        }
        let times = host.answers(usize::MAX, Some(TIME)).await;
        let restarts: u64 = accounts
            .iter()
            .map(|account| account.metrics().restarts.get())
            .sum();
        let held: usize = accounts
            .iter()
            .map(|account| account.tenant().budget().used())
            .sum();
        println!(
            "beside {count} × {attack} ({restarts} ends, {} MiB held, the process {} MiB larger): {}",
            held / (1024 * 1024),
            memory_kib().saturating_sub(before) / 1024,
            measurements::spread(times)
        );
    }
}

/// What an instance costs, by where its memory comes from.
async fn instances() {
    for (allocation, copy_on_write) in [
        (Allocation::Pooled(1000), true),
        (Allocation::Pooled(1000), false),
        (Allocation::OnDemand, true),
        (Allocation::OnDemand, false),
    ] {
        let options = RuntimeOptions {
            allocation,
            copy_on_write,
            ..RuntimeOptions::default()
        };
        let host = SharedHost::new(options).await;
        let warm: Vec<Instance> = host.idle(20).await;
        drop(warm);
        let (maps, memory, begun) = (maps(), memory_kib(), Instant::now());
        let idle = host.idle(INSTANCES).await;
        let each = begun.elapsed().as_secs_f64() * 1e6 / INSTANCES as f64;
        println!(
            "{allocation:?}, copy on write {copy_on_write}: {each:.0} µs, {:.0} KiB and {:.1} maps \
             for each of {INSTANCES} started instances",
            memory_kib().saturating_sub(memory) as f64 / INSTANCES as f64,
            (self::maps() - maps) as f64 / INSTANCES as f64,
        );
        drop(idle);
    }
}

/// A server, a runtime, and the neighbour.
struct SharedHost {
    simulator: Simulator,
    runtime: Runtime,
    state: Arc<dyn State>,
    server: String,
    _neighbour: Account,
}

/// A server of the hostile accounts: it reads nothing of what is sent to it, and answers without end.
async fn flood() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                if head[..read].starts_with(b"POST /media/") {
                    return std::future::pending().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 16000000\r\n\r\n";
                let mut sent = stream.write_all(answer).await;
                while sent.is_ok() {
                    sent = stream.write_all(&[b'x'; 16 * 1024]).await;
                }
            });
        }
    });
    format!("http://{address}")
}

impl SharedHost {
    async fn new(options: RuntimeOptions) -> SharedHost {
        SharedHost::on(options, Arc::new(MemoryState::default())).await
    }

    async fn on(options: RuntimeOptions, state: Arc<dyn State>) -> SharedHost {
        let simulator = Simulator::start(SimulatorOptions {
            strict: true,
            wire_log: 0,
            ..SimulatorOptions::default()
        })
        .await
        .expect("a free port");
        let no_budget = simulator.faults(&json!({"budget": null}));
        no_budget.expect("a rule of the simulator");
        let runtime = Runtime::with_options(Clock::new(), options).expect("a runtime");
        let component = Path::new(env!("COMPONENT"));
        let plugin = runtime.load(component).await.expect("the component");
        let options = AccountOptions {
            id: simulator.account_id(),
            secrets: [("bot-token".to_owned(), simulator.token())].into(),
            config: [
                ("base-url".to_owned(), simulator.base_url()),
                ("send-interval-ms".to_owned(), "0".to_owned()),
            ]
            .into(),
            media: MediaRules::default(),
        };
        let agent = Arc::new(EchoAgent);
        let neighbour = Account::start(&runtime, &plugin, Arc::clone(&state), agent, options);
        SharedHost {
            _neighbour: neighbour.await.expect("the account starts"),
            state,
            server: flood().await,
            simulator,
            runtime,
        }
    }

    fn harmful(&self, attack: &str, name: String) -> AccountOptions {
        AccountOptions {
            id: name,
            secrets: [("bot-token".to_owned(), "its own".to_owned())].into(),
            config: [
                ("base-url".to_owned(), self.server.clone()),
                ("attack".to_owned(), attack.to_owned()),
            ]
            .into(),
            media: MediaRules::default(),
        }
    }

    async fn account(&self, attack: &str, number: usize) -> Account {
        let limits = Limits {
            // It ends and comes back as often as it can.
            cpu_slice: Duration::from_secs(2),
            ..self.runtime.limits().clone()
        };
        let runtime = self.runtime.limited(limits);
        let plugin = runtime.load(Path::new(env!("HOSTILE"))).await;
        let plugin = plugin.expect("the component");
        let state = Arc::clone(&self.state);
        let options = self.harmful(attack, format!("{attack}-{number}"));
        Account::start(&runtime, &plugin, state, Arc::new(EchoAgent), options)
            .await
            .expect("the account starts")
    }

    async fn hostile(&self, attack: &str) -> Instance {
        let plugin = self.runtime.load(Path::new(env!("HOSTILE"))).await;
        let plugin = plugin.expect("the component");
        let state = Arc::new(MemoryState::default());
        let options = self.harmful(attack, attack.to_owned());
        let setup = Setup::new(&self.runtime, &plugin, state, options).expect("a setup");
        setup.instance().await.expect("an instance")
    }

    /// Instances of the real component that have started and do nothing.
    async fn idle(&self, count: usize) -> Vec<Instance> {
        let plugin = self.runtime.load(Path::new(env!("COMPONENT"))).await;
        let plugin = plugin.expect("the component");
        let mut instances = Vec::new();
        for number in 0..count {
            let state = Arc::new(MemoryState::default());
            let mut options = self.harmful("", format!("idle-{number}"));
            options.config.remove("attack");
            let server = self.simulator.base_url();
            options.config.insert("base-url".to_owned(), server);
            let setup = Setup::new(&self.runtime, &plugin, state, options).expect("a setup");
            let instance = setup.instance().await.expect("an instance");
            instance.check().await.expect("it answers");
            instances.push(instance);
        }
        instances
    }

    /// Message to accepted answer, one at a time.
    async fn answers(&self, count: usize, time: Option<Duration>) -> Vec<Duration> {
        let mut events = self.simulator.subscribe();
        let mut times = Vec::new();
        let started = Instant::now();
        while times.len() < count && time.is_none_or(|time| started.elapsed() < time) {
            self.simulator
                .wait_for(|simulator| simulator.counters().polls_open == 1)
                .await;
            let begun = Instant::now();
            self.simulator.say(PERSON, &times.len().to_string());
            while !matches!(events.recv().await, Ok(Event::Shown(bubble)) if bubble["from"] == "bot")
            {
            }
            times.push(begun.elapsed());
        }
        times.drain(..times.len() / 10);
        times
    }
}

fn maps() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().count()
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
