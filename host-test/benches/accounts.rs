//! What many accounts in one process take: memory, CPU while nobody writes, the start, and the way
//! of a message beside the others.
//!
//! `cargo bench --bench accounts` runs itself twice more for each size: the accounts in a process
//! of their own, so that nothing else is in their measurements, and the simulated server in another.
//! They hang in true polls of 35 s. It prints the machine and the measurements; nothing is asserted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a benchmark that fails ends so"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use gateway_host::account::{Account, AccountOptions};
use gateway_host::agent::EchoAgent;
use gateway_host::clock::Clock;
use gateway_host::media::MediaRules;
use gateway_host::runtime::{Allocation, Runtime, RuntimeOptions};
use gateway_host::state::{Durability, State, StateSpec};
use gateway_simulator::{Event, Simulator, SimulatorOptions};
use serde_json::json;

mod measurements;

const SIZES: [usize; 2] = [1_000, 5_000];
const PERSON: &str = "wxid_alice@im.wechat";
const MESSAGES: usize = 500;
/// Accounts that start at the same time.
const STARTING: usize = 64;
/// Two rounds of polls, which the server answers after 34 s.
const IDLE: Duration = Duration::from_secs(68);
/// What a process of this benchmark is: see [`main`].
const ROLE: &str = "BENCH_ACCOUNTS_ROLE";

#[tokio::main]
async fn main() {
    let role = std::env::var(ROLE).unwrap_or_default();
    match role.split_once(' ') {
        Some(("server", size)) => serve(number(size)).await,
        Some(("accounts", size)) => measure(number(size)).await,
        _ => {
            println!("machine: {}", measurements::machine());
            println!(
                "store: dir, --durability process; polls of 35 s to a simulated server in a \
                 process of its own; agent echo"
            );
            for size in SIZES {
                // It prints for itself.
                let status = this_binary(&format!("accounts {size}")).status();
                status.expect("this binary starts");
            }
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn this_binary(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.env(ROLE, role);
    command
}

/// Starts so many accounts, and tells what they take.
async fn measure(size: usize) {
    let mut server = Server::start(size);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let state = StateSpec::Directory(folder.path().join("state"))
        .open(Durability::Process)
        .await
        .expect("the store opens");
    // As the runner does for so many.
    let options = RuntimeOptions {
        allocation: Allocation::OnDemand,
        ..RuntimeOptions::default()
    };
    let runtime = Runtime::with_options(Clock::new(), options).expect("a runtime");
    let component = std::path::Path::new(env!("COMPONENT"));
    let plugin = runtime.load(component).await.expect("the component");
    let options: Vec<AccountOptions> = server.accounts.clone();

    let (before, begun, cpu) = (Usage::now(), Instant::now(), cpu());
    let accounts: Vec<Account> = futures::stream::iter(options)
        .map(|options| {
            let (runtime, plugin, state) = (&runtime, &plugin, Arc::clone(&state));
            start(runtime, plugin, state, options)
        })
        .buffer_unordered(STARTING)
        .collect()
        .await;
    server.ask("polling");
    let time = begun.elapsed();
    println!(
        "{size} accounts: all poll after {:.2} s ({:.2} ms of CPU each)",
        time.as_secs_f64(),
        millis(self::cpu() - cpu) / size as f64,
    );

    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = Usage::now();
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / size as f64;
    println!(
        "{size} accounts: {:.1} KiB each, of which {:.1} KiB are no other account's too; {:.1} KiB \
         each in the resident set, which counts shared pages every time; {:.1} mappings each; the \
         process has {} MiB, before them {} MiB",
        each(after.proportional, before.proportional),
        each(after.anonymous, before.anonymous),
        each(after.resident, before.resident),
        each(after.mappings, before.mappings),
        after.proportional / 1024,
        before.proportional / 1024,
    );

    let cpu = self::cpu();
    tokio::time::sleep(IDLE).await;
    let share = (self::cpu() - cpu).as_secs_f64() / IDLE.as_secs_f64();
    println!(
        "{size} accounts: {:.2} % of a core while idle, {:.2} % per 1,000; then {:.1} KiB each",
        share * 100.0,
        share * 100.0 * 1000.0 / size as f64,
        each(Usage::now().proportional, before.proportional),
    );
    println!(
        "{size} accounts: message to accepted answer beside them: {}",
        server.ask("messages"),
    );
    println!("{size} accounts: the server takes {}", server.ask("memory"));

    let begun = Instant::now();
    futures::stream::iter(accounts)
        .for_each_concurrent(None, Account::stop)
        .await;
    println!(
        "{size} accounts: all stopped in order after {:.2} s",
        begun.elapsed().as_secs_f64()
    );
}

async fn start(
    runtime: &Runtime,
    plugin: &gateway_host::runtime::Plugin,
    state: Arc<dyn State>,
    options: AccountOptions,
) -> Account {
    Account::start(runtime, plugin, state, Arc::new(EchoAgent), options)
        .await
        .expect("the account starts")
}

/// The simulated server's process, as the accounts' process sees it.
struct Server {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    accounts: Vec<AccountOptions>,
}

impl Server {
    fn start(size: usize) -> Server {
        let mut child = this_binary(&format!("server {size}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts");
        let mut server = Server {
            questions: child.stdin.take().expect("it is piped"),
            answers: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
            accounts: Vec::new(),
        };
        let base_url = server.line();
        for _ in 0..size {
            let line = server.line();
            let (id, token) = line.split_once(' ').expect("an id and a token");
            server.accounts.push(AccountOptions {
                id: id.to_owned(),
                secrets: [("bot-token".to_owned(), token.to_owned())].into(),
                config: [
                    ("base-url".to_owned(), base_url.clone()),
                    ("send-interval-ms".to_owned(), "0".to_owned()),
                ]
                .into(),
                media: MediaRules::default(),
            });
        }
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the server says");
        line.trim_end().to_owned()
    }

    /// Blocks until the server has an answer, which costs this process nothing.
    fn ask(&mut self, question: &str) -> String {
        writeln!(self.questions, "{question}").expect("the server hears");
        tokio::task::block_in_place(|| self.line())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The simulated server: prints where it is and its accounts, then answers questions.
async fn serve(size: usize) {
    let before = Usage::now();
    let simulator = Simulator::start(SimulatorOptions {
        wire_log: 0,
        ..SimulatorOptions::default()
    })
    .await
    .expect("a free port");
    let rules = json!({"budget": null});
    simulator.faults(&rules).expect("a rule of the simulator");
    let mut accounts = vec![simulator.first().clone()];
    accounts
        .extend((1..size).map(|number| simulator.add_account(&format!("{number:012x}@im.bot"))));
    println!("{}", simulator.base_url());
    for account in &accounts {
        println!("{} {}", account.id(), account.token());
    }
    let lines = std::io::stdin().lines();
    for question in lines.map_while(Result::ok) {
        match question.as_str() {
            "polling" => {
                // Looking at each request would take the core that the accounts need.
                while !accounts.iter().all(|one| one.counters().polls_open == 1) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                println!("all");
            }
            "messages" => println!("{}", messages(&simulator).await),
            _ => {
                let now = Usage::now();
                println!(
                    "{:.1} KiB each",
                    now.resident.saturating_sub(before.resident) as f64 / size as f64
                );
            }
        }
    }
}

/// Writes to the first account, one message at a time.
async fn messages(simulator: &Simulator) -> String {
    let mut events = simulator.subscribe();
    let mut times = Vec::new();
    for number in 0..MESSAGES {
        simulator
            .wait_for(|simulator| simulator.counters().polls_open == 1)
            .await;
        let begun = Instant::now();
        simulator.say(PERSON, &number.to_string());
        loop {
            if let Ok(Event::Shown(bubble)) = events.recv().await
                && bubble["from"] == "bot"
            {
                break;
            }
        }
        times.push(begun.elapsed());
    }
    times.drain(..MESSAGES / 10);
    measurements::spread(times)
}

/// Memory of this process in KiB, and its mappings.
struct Usage {
    /// Every page once, also one that all instances map: the component's data is such.
    proportional: u64,
    resident: u64,
    anonymous: u64,
    mappings: u64,
}

impl Usage {
    fn now() -> Usage {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
        let kib = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kib.unwrap_or(0)
        };
        let status = file("status").expect("Linux");
        let sum = file("smaps_rollup").expect("Linux");
        let maps = file("maps").expect("Linux");
        Usage {
            proportional: kib(&sum, "Pss:"),
            resident: kib(&status, "VmRSS:"),
            anonymous: kib(&status, "RssAnon:"),
            mappings: maps.lines().count() as u64,
        }
    }
}

/// CPU time that this process has taken.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
