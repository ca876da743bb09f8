//! Logins by QR code: from the terminal, through the operator's API, while an account runs.

mod terminal;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gateway_host::account::{Account, Phase};
use gateway_host::agent::EchoAgent;
use gateway_host::credentials::{Credentials, Holder, Home};
use gateway_host::login::{Login, Logins, Step, account_of};
use gateway_host::media::MediaRules;
use gateway_host::state::StateSpec;
use gateway_simulator::ilink::{Endpoint, RuleChanges};
use gateway_simulator::{Act, Fault, Simulator};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{ALICE, BOB, Harness, PATIENCE, component, eventually, runner, signal, until};
use crate::redis_server::{self, RedisServer};

fn logins(harness: &Harness, credentials: &Credentials) -> Logins {
    Logins {
        runtime: harness.runtime.clone(),
        plugin: harness.plugin.clone(),
        config: BTreeMap::from([("base-url".to_owned(), harness.simulator.base_url())]),
        credentials: credentials.clone(),
        holder: Holder::Operator(None),
        in_use: BTreeMap::new(),
    }
}

fn home(harness: &Harness) -> Home {
    Home::at("weixin", [harness.simulator.base_url().as_str()])
}

fn memory() -> Credentials {
    Credentials::of(&StateSpec::Memory)
}

/// The next step, while the clock goes on.
async fn next(harness: &Harness, login: &Login) -> Step {
    let moving = async {
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            harness.clock.advance(Duration::from_millis(200));
        }
    };
    tokio::select! {
        step = login.next() => step.unwrap(),
        () = moving => unreachable!(),
    }
}

async fn begun(harness: &Harness, credentials: &Credentials) -> Login {
    let (login, step) = Login::begin(&logins(harness, credentials)).await.unwrap();
    let codes = harness.simulator.qr_codes();
    let code = codes.last().unwrap();
    assert!(matches!(step, Step::ShowQr { text, .. } if text == code.url));
    login
}

fn reason(step: Step) -> String {
    match step {
        Step::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_login_is_stored_and_the_account_serves_who_scanned() {
    let harness = Harness::new().await;
    let credentials = memory();
    let login = begun(&harness, &credentials).await;
    harness.simulator.login(ALICE, Act::Scan).unwrap();
    assert_eq!(next(&harness, &login).await, Step::Confirm);
    let code = harness.simulator.login(ALICE, Act::Confirm).unwrap();
    let account = code.account.unwrap();
    let done = Step::Done {
        account: account.clone(),
    };
    assert_eq!(next(&harness, &login).await, done);
    assert!(login.next().await.is_err(), "it has ended");
    let credential = credentials.latest(&home(&harness)).unwrap().unwrap();
    assert_eq!(credential.account, account);
    assert_eq!(credential.owner.as_deref(), Some(ALICE));
    let bot = harness.simulator.account(&account).unwrap();
    assert_eq!(credential.secrets["bot-token"], bot.token());

    let config = logins(&harness, &credentials).config;
    let options = account_of(credential, &config, MediaRules::default());
    let state = Arc::clone(&harness.state);
    let agent = Arc::new(EchoAgent);
    let running = Account::start(&harness.runtime, &harness.plugin, state, agent, options)
        .await
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    bot.say(BOB, "let me in");
    until(&harness.simulator, |simulator| {
        simulator.answers(ALICE) == ["hello"]
    })
    .await;
    eventually(async || running.health().await.unwrap().unacknowledged == 0).await;
    assert!(harness.simulator.answers(BOB).is_empty());
    harness.check();
}

#[tokio::test]
async fn a_server_that_refuses_the_old_tokens_is_asked_once_more_without_them() {
    let harness = Harness::new().await;
    let credentials = memory();
    let login = begun(&harness, &credentials).await;
    harness.simulator.login(ALICE, Act::Confirm).unwrap();
    assert!(matches!(next(&harness, &login).await, Step::Done { .. }));
    for fault in [
        json!({"refuses_tokens": true}),
        json!({"refuses_tokens": false, "get_bot_qrcode": {"status": 400, "times": 1}}),
        json!({"get_bot_qrcode": {"errcode": -14, "times": 1}}),
        json!({"get_bot_qrcode": {"body": "{\"ret\":-1,\"errmsg\":\"\u{8}\"}", "times": 1}}),
    ] {
        harness.simulator.faults(&fault).unwrap();
        let before = harness.simulator.login_counters().qr_codes;
        let again = begun(&harness, &credentials).await;
        assert_eq!(
            harness.simulator.login_counters().qr_codes,
            before + 2,
            "{fault}"
        );
        harness.simulator.login(BOB, Act::Confirm).unwrap();
        let step = next(&harness, &again).await;
        assert!(matches!(step, Step::Done { .. }), "{step:?}");
    }
    // Where that does not help either, the login ends with the server's word.
    harness
        .simulator
        .fault(Endpoint::GetBotQrcode, Fault::ret(-1))
        .unwrap();
    let before = harness.simulator.login_counters().qr_codes;
    let refused = Login::begin(&logins(&harness, &credentials)).await;
    match refused {
        Ok((_, step)) => assert!(reason(step).contains("ret=-1")),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(harness.simulator.login_counters().qr_codes, before + 2);
}

#[tokio::test]
async fn digits_redirects_and_new_codes_are_gone_through() {
    let harness = Harness::new().await;
    let credentials = memory();
    let login = begun(&harness, &credentials).await;
    let code = harness.simulator.login(ALICE, Act::ScanWithDigits).unwrap();
    assert_eq!(next(&harness, &login).await, Step::EnterCode);
    assert_eq!(login.submit("0".into()).await.unwrap(), Step::EnterCode);
    harness.simulator.login(ALICE, Act::Expire).unwrap();
    assert!(matches!(next(&harness, &login).await, Step::ShowQr { .. }));
    let again = harness.simulator.login(ALICE, Act::ScanWithDigits).unwrap();
    assert_ne!(code.qrcode, again.qrcode);
    assert_eq!(next(&harness, &login).await, Step::EnterCode);
    let digits = again.digits.unwrap();
    let submitting = login.submit(digits);
    let confirming = async {
        eventually(async || {
            harness.clock.advance(Duration::from_millis(100));
            harness.simulator.qr_codes().last().unwrap().status == "scaned"
        })
        .await;
        harness.simulator.login(ALICE, Act::Redirect(None)).unwrap();
        eventually(async || {
            harness.clock.advance(Duration::from_millis(100));
            harness.simulator.login(ALICE, Act::Confirm).is_ok()
        })
        .await;
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            harness.clock.advance(Duration::from_millis(200));
        }
    };
    let step = tokio::select! {
        step = submitting => step.unwrap(),
        () = confirming => unreachable!(),
    };
    assert!(matches!(step, Step::Done { .. }), "{step:?}");
    harness.check();
}

#[tokio::test]
async fn what_ends_a_login_is_told_and_changes_nothing() {
    let harness = Harness::new().await;
    let credentials = memory();
    // Three codes, and then no more.
    let login = begun(&harness, &credentials).await;
    for _ in 0..2 {
        harness.simulator.login(ALICE, Act::Expire).unwrap();
        assert!(matches!(next(&harness, &login).await, Step::ShowQr { .. }));
    }
    harness.simulator.login(ALICE, Act::Block).unwrap();
    assert!(reason(next(&harness, &login).await).contains("three codes"));

    let login = begun(&harness, &credentials).await;
    let elsewhere = Act::Redirect(Some("evil.example".into()));
    harness.simulator.login(ALICE, elsewhere).unwrap();
    assert!(reason(next(&harness, &login).await).contains("evil.example"));

    for (baseurl, expect) in [
        (json!("https://evil.example"), "evil.example"),
        (json!("http://127.0.0.1:1/"), "127.0.0.1:1"),
    ] {
        harness
            .simulator
            .faults(&json!({"baseurl": baseurl}))
            .unwrap();
        let login = begun(&harness, &credentials).await;
        harness.simulator.login(ALICE, Act::Confirm).unwrap();
        assert!(reason(next(&harness, &login).await).contains(expect));
    }
    harness.simulator.faults(&json!({"baseurl": null})).unwrap();
    let login = begun(&harness, &credentials).await;
    harness.simulator.login(ALICE, Act::Bound).unwrap();
    assert!(reason(next(&harness, &login).await).contains("bound to a bot already"));
    assert_eq!(credentials.latest(&home(&harness)).unwrap(), None);

    harness
        .simulator
        .fault(Endpoint::GetBotQrcode, Fault::ret(2))
        .unwrap();
    let (_, step) = Login::begin(&logins(&harness, &credentials)).await.unwrap();
    assert!(reason(step).contains("ret=2"));
}

#[tokio::test]
async fn bad_answers_on_the_way_are_asked_again() {
    let harness = Harness::new().await;
    harness
        .simulator
        .faults(&json!({
            "get_qrcode_status": [
                {"status": 524, "times": 1},
                {"body": "<html>", "times": 1},
                {"truncated": true, "times": 1},
                {"cut": "before", "times": 1},
                {"answer": {"status": "of the future"}, "times": 1},
            ],
        }))
        .unwrap();
    let login = begun(&harness, &memory()).await;
    harness.simulator.login(ALICE, Act::Confirm).unwrap();
    assert!(matches!(next(&harness, &login).await, Step::Done { .. }));
    harness.check();
}

#[tokio::test]
async fn the_server_learns_which_bots_are_there_and_the_person_is_not_bound_twice() {
    let harness = Harness::new().await;
    let credentials = memory();
    let login = begun(&harness, &credentials).await;
    harness.simulator.login(ALICE, Act::Confirm).unwrap();
    let Step::Done { account } = next(&harness, &login).await else {
        panic!("no login");
    };
    let login = begun(&harness, &credentials).await;
    harness.simulator.login(ALICE, Act::Scan).unwrap();
    assert_eq!(next(&harness, &login).await, Step::Done { account });
    harness.check();
}

/// What the linear memories of this process hold, as far as they are used.
fn linear_memories_contain(wanted: &[u8]) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let ranges = maps.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let parse = |text| u64::from_str_radix(text, 16).ok();
        Some((parse(from)?, parse(to)?, fields.next()?.starts_with("rw")))
    });
    // A linear memory is what can be used in front of a gibibyte and more that can't.
    let (mut begin, mut end) = (0, 0);
    for (from, to, is_used) in ranges {
        if is_used {
            begin = if from == end { begin } else { from };
            end = to;
            continue;
        }
        if from != end || to - from < 1 << 30 {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(end - begin).unwrap()];
        // One that another test has just dropped can't be read any more.
        if memory.read_exact_at(&mut bytes, begin).is_ok()
            && memchr::memmem::find(&bytes, wanted).is_some()
        {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn the_token_never_is_in_the_component() {
    let harness = Harness::new().await;
    let credentials = memory();
    let login = begun(&harness, &credentials).await;
    harness.simulator.login(ALICE, Act::Confirm).unwrap();
    let Step::Done { account } = next(&harness, &login).await else {
        panic!("no login");
    };
    let token = harness.simulator.account(&account).unwrap().token();
    let secret = token.rsplit(':').next().unwrap().to_owned();
    assert!(linear_memories_contain(account.as_bytes()));
    assert!(!linear_memories_contain(secret.as_bytes()));
    // Nor when it lists the bots for another login, or serves the account.
    let other = begun(&harness, &credentials).await;
    let credential = credentials.latest(&home(&harness)).unwrap().unwrap();
    let config = logins(&harness, &credentials).config;
    let options = account_of(credential, &config, MediaRules::default());
    let state = Arc::clone(&harness.state);
    let agent = Arc::new(EchoAgent);
    let running = Account::start(&harness.runtime, &harness.plugin, state, agent, options)
        .await
        .unwrap();
    let said = format!("say {{{{bot-token}}}} {}", rand::random::<u64>());
    harness.simulator.say(ALICE, &said);
    until(&harness.simulator, |simulator| {
        simulator.answers(ALICE).len() == 1
    })
    .await;
    assert_eq!(
        harness.simulator.answers(ALICE),
        std::slice::from_ref(&said)
    );
    assert!(linear_memories_contain(said.as_bytes()));
    assert!(!linear_memories_contain(secret.as_bytes()));
    drop((login, other, running));
}

#[tokio::test]
async fn a_dead_token_asks_little_and_heals_by_itself_soon() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "one");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["one"])
        .await;
    harness
        .simulator
        .faults(&json!({"session": {"expired": "errcode", "after_ms": 0}}))
        .unwrap();
    harness.simulator.say(ALICE, "two");
    eventually(async || account.health().await.unwrap().phase == Phase::LoginRequired).await;
    for _ in 0..150 {
        harness.clock.advance(Duration::from_millis(200));
        let typing = account.health().await.unwrap();
        assert_eq!(typing.phase, Phase::LoginRequired);
        let requests = harness.simulator.requests(None, Duration::from_secs(10));
        assert!(requests <= 10, "{requests}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    harness
        .simulator
        .change(&RuleChanges::new().session(None))
        .unwrap();
    // A hiccup of three seconds is over within five.
    eventually(async || {
        harness.clock.advance(Duration::from_millis(500));
        harness.simulator.answers(ALICE) == ["one", "two"]
    })
    .await;
    let expiry = json!({"session": {"expired": "ret", "after_ms": 0, "for_ms": 3000}});
    harness.simulator.faults(&expiry).unwrap();
    eventually(async || account.health().await.unwrap().phase == Phase::LoginRequired).await;
    harness.simulator.say(ALICE, "three");
    let starts = harness.simulator.counters().starts;
    eventually(async || {
        harness.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(2)).await;
        harness.simulator.answers(ALICE).len() == 3
    })
    .await;
    // It tries at once, and the pauses grow from a second on: after five the hiccup is long over.
    let tries = harness.simulator.counters().starts - starts;
    assert!(tries <= 5, "{tries}");
    harness.check();
}
