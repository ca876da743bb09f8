//! A simulated server, a runtime and agents that tests can look into.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_host::account::{Account, AccountOptions, Handle, Post, Setup, StartError};
use gateway_host::agent::message::{Message, Reply};
use gateway_host::agent::progress::Progress;
use gateway_host::agent::{Agent, AgentError};
use gateway_host::clock::Clock;
use gateway_host::gateway::Gateway;
use gateway_host::instance::Instance;
use gateway_host::media::MediaRules;
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::State;
use gateway_host::state::memory::MemoryState;
use gateway_simulator::{Simulator, SimulatorOptions};
use tokio::io::{BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

pub const ALICE: &str = "wxid_alice@im.wechat";
pub const BOB: &str = "wxid_bob@im.wechat";

/// How long a condition may take to come true: far longer than it does, so that a test which fails
/// ends. Nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The component that the build made.
pub fn component() -> PathBuf {
    PathBuf::from(env!("COMPONENT"))
}

/// The one for platforms that call back.
pub fn component_wecom() -> PathBuf {
    PathBuf::from(env!("COMPONENT_WECOM"))
}

/// A strict simulated server and a runtime with the component.
pub struct Harness {
    pub simulator: Simulator,
    pub clock: Clock,
    pub state: Arc<dyn State>,
    pub runtime: Runtime,
    pub plugin: Plugin,
    pub media: MediaRules,
}

impl Harness {
    pub async fn new() -> Harness {
        Harness::with_state(Arc::new(MemoryState::default())).await
    }

    /// For many accounts that ask much: their wire is not looked at.
    pub async fn lenient() -> Harness {
        Harness::with(
            Arc::new(MemoryState::default()),
            SimulatorOptions {
                wire_log: 0,
                ..SimulatorOptions::default()
            },
        )
        .await
    }

    pub async fn with_state(state: Arc<dyn State>) -> Harness {
        let options = SimulatorOptions {
            strict: true,
            ..SimulatorOptions::default()
        };
        Harness::with(state, options).await
    }

    async fn with(state: Arc<dyn State>, options: SimulatorOptions) -> Harness {
        let clock = Clock::new();
        let simulator = Simulator::start(SimulatorOptions {
            clock: clock.clone(),
            ..options
        })
        .await
        .unwrap();
        let runtime = Runtime::new(clock.clone()).unwrap();
        let plugin = runtime.load(&component()).await.unwrap();
        Harness {
            simulator,
            clock,
            state,
            runtime,
            plugin,
            media: MediaRules::default(),
        }
    }

    /// The simulated account, with more configuration.
    pub fn options(&self, config: &[(&str, &str)]) -> AccountOptions {
        let config = [
            ("base-url", self.simulator.base_url().as_str()),
            ("send-interval-ms", "0"),
        ]
        .iter()
        .chain(config)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
        AccountOptions {
            id: self.simulator.account_id(),
            secrets: BTreeMap::from([("bot-token".to_owned(), self.simulator.token())]),
            config,
            media: self.media.clone(),
        }
    }

    pub async fn try_start(
        &self,
        agent: Arc<dyn Agent>,
        config: &[(&str, &str)],
    ) -> Result<Account, StartError> {
        let state = Arc::clone(&self.state);
        Account::start(
            &self.runtime,
            &self.plugin,
            state,
            agent,
            self.options(config),
        )
        .await
    }

    pub async fn start(&self, agent: Arc<dyn Agent>, config: &[(&str, &str)]) -> Account {
        self.try_start(agent, config).await.unwrap()
    }

    /// A gateway without accounts.
    pub fn gateway(&self) -> Gateway {
        let gateway = Gateway::new(&self.runtime, Arc::clone(&self.state));
        gateway.install(self.plugin.clone());
        gateway
    }

    /// The simulated account in a gateway.
    pub async fn serve(&self, agent: Arc<dyn Agent>, config: &[(&str, &str)]) -> (Gateway, Handle) {
        let gateway = self.gateway();
        let account = gateway.add("weixin", self.options(config), agent).await;
        (gateway, account.unwrap())
    }

    /// An instance that nobody serves yet.
    pub async fn instance(&self) -> Instance {
        let state = Arc::clone(&self.state);
        let setup = Setup::new(&self.runtime, &self.plugin, state, self.options(&[]));
        setup.unwrap().instance().await.unwrap()
    }

    pub async fn until(&self, what: impl FnMut(&Simulator) -> bool) {
        until(&self.simulator, what).await;
    }

    /// Fails when the client did anything that it must not do.
    pub fn check(&self) {
        assert_eq!(self.simulator.violations(), Vec::<String>::new());
    }
}

/// Waits for a condition; shows the wire when it does not come true.
pub async fn until(simulator: &Simulator, what: impl FnMut(&Simulator) -> bool) {
    if tokio::time::timeout(PATIENCE, simulator.wait_for(what))
        .await
        .is_err()
    {
        for line in simulator.log().iter().rev().take(20).rev() {
            eprintln!("{line}");
        }
        eprintln!("{:?}", simulator.counters());
        panic!("the condition did not come true");
    }
}

/// Moves the clock on by `step` when no request is open but polls: what is under way would time out
/// on a busy machine.
pub async fn advance_between(harness: &Harness, account: &Account, step: Duration) {
    eventually(async || {
        account.tenant().requests.open() == harness.simulator.counters().polls_open
    })
    .await;
    harness.clock.advance(step);
}

/// Waits for a condition that no event announces.
pub async fn eventually(what: impl AsyncFn() -> bool) {
    let waiting = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the condition did not come true");
}

/// How a [`Recorder`] answers a message, asked for the n-th time.
type Answer =
    dyn Fn(&Message, usize) -> BoxFuture<'static, Result<Option<Reply>, AgentError>> + Send + Sync;

/// An agent that writes down what it was asked.
pub struct Recorder {
    pub asked: Mutex<Vec<Message>>,
    answer: Box<Answer>,
}

impl Recorder {
    pub fn new<F>(answer: impl Fn(&Message, usize) -> F + Send + Sync + 'static) -> Arc<Recorder>
    where
        F: Future<Output = Result<Option<Reply>, AgentError>> + Send + 'static,
    {
        Arc::new(Recorder {
            asked: Mutex::default(),
            answer: Box::new(move |message, times| answer(message, times).boxed()),
        })
    }

    /// Answers `re: ` and the text.
    pub fn replying() -> Arc<Recorder> {
        Recorder::new(|message, _| {
            let text = format!("re: {}", message.text);
            async move { Ok(Reply::of_text(text)) }
        })
    }

    pub fn texts(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|message| message.text.clone()).collect()
    }
}

impl Agent for Recorder {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        _: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(message.clone());
        let times = asked.iter().filter(|other| other.id == message.id).count();
        (self.answer)(message, times)
    }
}

/// A message of the gateway's own accord.
pub fn proactive(key: &str, conversation: &str, text: &str) -> Post {
    Post::new(key, conversation, text)
}

/// The runner's own binary, with a clean environment.
pub fn runner(arguments: &[&str]) -> Command {
    runner_at(Path::new(env!("CARGO_BIN_EXE_host-test")), arguments)
}

/// The same binary at another path.
pub fn runner_at(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", std::env::var_os("HOME").unwrap_or_default())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A runner that talks to `simulator` as its first account.
pub fn runner_of(simulator: &Simulator, state: &str, agent: &str) -> Command {
    let mut command = runner(&["run", "--component"]);
    command
        .arg(component())
        .args(["--state", state, "--agent", agent])
        .env("WEIXIN_BASE_URL", simulator.base_url())
        .env("WEIXIN_TOKEN", simulator.token())
        .env("WEIXIN_ACCOUNT_ID", simulator.account_id())
        .env("WEIXIN_SEND_INTERVAL_MS", "0");
    command
}

/// Sends a signal to a runner.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
}

/// Reads a runner's log until it has these words.
pub async fn heard(log: &mut Lines<BufReader<ChildStderr>>, words: &str) {
    let reading = async {
        while let Some(line) = log.next_line().await.unwrap() {
            if line.contains(words) {
                return true;
            }
        }
        false
    };
    let is_heard = tokio::time::timeout(PATIENCE, reading).await;
    assert_eq!(is_heard, Ok(true), "the log has no {words:?}");
}
