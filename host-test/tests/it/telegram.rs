//! `examples/telegram`, a channel outside of `src`, through the real host: its token is a part of the
//! path, and nobody sees it.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gateway_conformance::{CHECKS, Needs, Suite};
use gateway_host::account::PartState;
use gateway_host::account::Phase;
use gateway_host::account::{Account, AccountOptions};
use gateway_host::admin::{self, Token};
use gateway_host::agent::Agent;
use gateway_host::agent::message::Reply;
use gateway_host::clock::Clock;
use gateway_host::contract::ErrorKind;
use gateway_host::gateway::Gateway;
use gateway_host::instance::CallError;
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::memory::MemoryState;
use gateway_host::state::{Durability, State, StateSpec};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::harness::{Recorder, eventually, proactive};

mod platform;
mod server;

use platform::{FakeTelegram, account};
use server::{BotApi, Fault, TOKEN};

const ALICE: i64 = 42;
const BOB: i64 = 43;
const GROUP: i64 = -100_123;

/// A fake server, and a runtime with the component.
struct Bot {
    api: BotApi,
    clock: Clock,
    runtime: Runtime,
    plugin: Plugin,
}

impl Bot {
    async fn new() -> Bot {
        let clock = Clock::new();
        let runtime = Runtime::new(clock.clone()).unwrap();
        let plugin = runtime.load(Path::new(env!("TELEGRAM"))).await.unwrap();
        Bot {
            api: BotApi::start(clock.clone()).await,
            clock,
            runtime,
            plugin,
        }
    }

    fn options(&self, config: &[(&str, &str)]) -> AccountOptions {
        let mut options = account(&self.api);
        let own = config.iter().copied();
        let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
        options.config.extend(own);
        options
    }

    async fn start(
        &self,
        state: &Arc<dyn State>,
        agent: Arc<dyn Agent>,
        config: &[(&str, &str)],
    ) -> Account {
        let state = Arc::clone(state);
        let options = self.options(config);
        Account::start(&self.runtime, &self.plugin, state, agent, options)
            .await
            .unwrap()
    }

    /// Moves the clock on until the server has seen something.
    async fn flying_until(&self, is: impl Fn(&BotApi) -> bool) {
        eventually(async || {
            self.clock.advance(Duration::from_secs(1));
            is(&self.api)
        })
        .await;
    }
}

fn memory() -> Arc<dyn State> {
    Arc::new(MemoryState::default())
}

#[tokio::test]
async fn texts_go_both_ways_in_private_and_in_groups() {
    let bot = Bot::new().await;
    let config = [("group-policy", "open"), ("markdown", "native")];
    let agent = Recorder::new(|message, _| {
        let text = format!("re: **{}**", message.text);
        async move { Ok(Reply::of_text(text)) }
    });
    let account = bot.start(&memory(), agent.clone(), &config).await;
    bot.api.say(ALICE, "hello 😀");
    let in_group = bot.api.say_in_group(GROUP, BOB, "hello all");
    let is_shown = |api: &BotApi| !api.texts(ALICE).is_empty() && !api.texts(GROUP).is_empty();
    bot.api.wait_for(is_shown).await;
    let shown = &bot.api.shown(ALICE)[0];
    assert_eq!(shown.text, "re: hello 😀");
    let bold = json!([{"type": "bold", "offset": 4, "length": 8}]);
    assert_eq!((&shown.entities, shown.answers), (&bold, None));
    let shown = &bot.api.shown(GROUP)[0];
    assert_eq!(
        (shown.text.as_str(), shown.answers),
        ("re: hello all", Some(in_group))
    );
    let asked = agent.asked.lock().unwrap().clone();
    let mut senders: Vec<&str> = asked.iter().map(|message| &*message.sender.id).collect();
    senders.sort_unstable();
    assert_eq!(senders, ["42", "43"]);
    account.stop().await;
    assert_eq!(bot.api.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_long_answer_goes_in_parts_that_telegram_takes() {
    let bot = Bot::new().await;
    let agent = Recorder::new(|_, _| async { Ok(Reply::of_text("😀".repeat(3000))) });
    let account = bot.start(&memory(), agent, &[]).await;
    bot.api.say(ALICE, "hello");
    bot.api.wait_for(|api| api.texts(ALICE).len() == 2).await;
    assert_eq!(bot.api.texts(ALICE).concat(), "😀".repeat(3000));
    account.stop().await;
}

#[tokio::test]
async fn a_kill_between_message_and_answer_loses_nothing() {
    let bot = Bot::new().await;
    let state = memory();
    let silent = Recorder::new(|_, _| std::future::pending());
    let account = bot.start(&state, silent.clone(), &[]).await;
    for number in 0..3 {
        bot.api.say(ALICE + number, &number.to_string());
    }
    eventually(async || silent.texts().len() == 3).await;
    // The server has forgotten them: they are in the store alone.
    bot.api.wait_for(|api| api.polls_open() == 1).await;
    drop(account);
    bot.api.wait_for(|api| api.polls_open() == 0).await;
    let agent = Recorder::replying();
    let account = bot.start(&state, agent.clone(), &[]).await;
    for number in 0..3 {
        let chat = ALICE + number;
        bot.api.wait_for(|api| !api.texts(chat).is_empty()).await;
        assert_eq!(bot.api.texts(chat), [format!("re: {number}")]);
    }
    // What is answered is asked of nobody again, once that is stored.
    let handle = account.handle();
    eventually(async || {
        handle
            .health()
            .await
            .is_some_and(|health| health.queued == 0)
    })
    .await;
    drop(account);
    let account = bot.start(&state, agent.clone(), &[]).await;
    bot.api.say(ALICE, "last");
    bot.api.wait_for(|api| api.texts(ALICE).len() == 2).await;
    assert_eq!(agent.texts().len(), 4);
    account.stop().await;
}

#[tokio::test]
async fn refusals_reach_who_has_to_act() {
    let bot = Bot::new().await;
    let agent = Recorder::replying();
    let account = bot.start(&memory(), agent, &[]).await;
    let handle = account.handle();
    let send = async |key: &str| handle.send(proactive(key, "42", "news")).await;

    let blocked = Fault::error(403, "Forbidden: bot was blocked by the user");
    bot.api.fail("sendMessage", [blocked]);
    let receipt = send("blocked").await.unwrap();
    let part = &receipt.parts[0];
    assert_eq!(part.state, PartState::Failed);
    assert_eq!(part.error.as_ref().unwrap().kind, ErrorKind::Forbidden);

    bot.api.fail("sendMessage", [Fault::retry_after(60)]);
    let receipt = send("throttled").await.unwrap();
    let error = receipt.parts[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::RateLimited);
    assert!(
        error.retry_after.is_some_and(|pause| pause > 50_000),
        "{error:?}"
    );
    // Nothing is tried before the pause is over.
    let calls = bot.api.calls("sendMessage");
    assert!(matches!(send("too soon").await, Err(CallError::Channel(_))));
    assert_eq!(bot.api.calls("sendMessage"), calls);
    bot.clock.advance(Duration::from_secs(61));
    let receipt = send("later").await.unwrap();
    assert_eq!(receipt.parts[0].state, PartState::Accepted);

    // An answer that is lost is sent once more, as the contract has it.
    bot.api.fail("sendMessage", [Fault::lost()]);
    bot.api.say(BOB, "hello");
    bot.flying_until(|api| api.texts(BOB).len() == 2).await;
    assert_eq!(bot.api.texts(BOB), ["re: hello", "re: hello"]);
    account.stop().await;
}

#[tokio::test]
async fn the_token_is_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let spec: StateSpec = format!("dir:{}", path.display()).parse().unwrap();
    let bot = Bot::new().await;
    let gateway = Gateway::new(&bot.runtime, spec.open(Durability::Process).await.unwrap());
    gateway.install(bot.plugin.clone());
    let agent = Recorder::replying();
    let account = gateway.add("telegram", bot.options(&[]), agent).await;
    let account = account.unwrap();

    bot.api.say(ALICE, "show me {{bot-token}}");
    bot.api.wait_for(|api| !api.texts(ALICE).is_empty()).await;
    assert_eq!(bot.api.texts(ALICE), ["re: show me {{bot-token}}"]);
    // Errors of all kinds. The server repeats the URL when it does not know the token.
    let faults = [Fault::error(500, "Internal"), Fault::lost()];
    bot.api.fail("sendMessage", faults);
    bot.api
        .fail("getUpdates", [Fault::lost(), Fault::error(409, "Conflict")]);
    bot.api.say(ALICE, "again");
    bot.flying_until(|api| api.calls("getUpdates") > 4).await;
    bot.api.set_token("another");
    bot.api.say(ALICE, "nobody hears that yet");
    let told = Mutex::new(Vec::new());
    eventually(async || {
        bot.clock.advance(Duration::from_secs(1));
        let health = account.health().await.unwrap();
        told.lock().unwrap().push(format!("{health:?}"));
        health.phase == Phase::LoginRequired
    })
    .await;
    let mut shown = told.into_inner().unwrap();
    assert!(shown.concat().contains("{{bot-token}}"), "{shown:?}");
    let refused = account.send(proactive("refused", "42", "news")).await;
    shown.push(format!("{refused:?}"));
    for path in ["/metrics", "/accounts"] {
        let text = asked(&gateway, path).await;
        assert!(text.contains("a_bot"), "{text}");
        shown.push(text);
    }
    // It heals when the platform takes the token again.
    bot.api.set_token(TOKEN);
    bot.flying_until(|api| {
        api.texts(ALICE)
            .contains(&"re: nobody hears that yet".to_owned())
    })
    .await;
    gateway.stop().await;
    drop(gateway);

    shown.push(log.text());
    assert!(log.text().contains("polls fail"), "{}", log.text());
    let (id, secret) = TOKEN.split_once(':').unwrap();
    for text in &shown {
        for line in text.lines() {
            assert!(!line.contains(secret) && !line.contains(id), "{line}");
        }
    }
    assert!(files(&path).iter().all(|file| {
        let bytes = std::fs::read(file).unwrap();
        memchr::memmem::find(&bytes, secret.as_bytes()).is_none()
    }));
}

/// The neutral part of the contract: all but what a server of this kind can't do.
#[tokio::test]
async fn the_contract_is_kept() {
    let bot = Bot::new().await;
    let suite = Suite::new(&bot.runtime, &bot.plugin).with_platform(FakeTelegram);
    let (mut kept, mut failures) = (0, Vec::new());
    for check in CHECKS.iter().filter(|check| suite.can_run(check)) {
        match suite.run(check).await {
            Ok(()) => kept += 1,
            Err(why) => failures.push(format!("{}: {why}", check.name)),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    // What needs nothing special of a platform is run.
    let neutral = |needs: Needs| matches!(needs, Needs::Nothing | Needs::Platform(&[]));
    let neutral = CHECKS.iter().filter(|check| neutral(check.needs)).count();
    assert_eq!(kept, neutral + 1, "with what a platform says again");
}

/// What the operator's API answers.
async fn asked(gateway: &Gateway, path: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let token = Token::new("operator").unwrap();
    tokio::spawn(admin::serve(listener, token, gateway.clone()));
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request =
        Request::get(format!("{origin}{path}")).header("authorization", "Bearer operator");
    let response = client
        .request(request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
