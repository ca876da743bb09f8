//! The state on a Redis server: outages, and two gateways on one server.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State as Shared;
use axum::routing::post;
use axum::{Json, Router};
use gateway_host::account::Phase;
use gateway_host::agent::message::Reply;
use gateway_host::state::{Durability, StateSpec};
use gateway_simulator::ilink::RuleChanges;
use gateway_simulator::ilink::rules::Cursors;
use gateway_simulator::{Simulator, SimulatorOptions};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::{
    ALICE, BOB, Harness, Recorder, advance_between, component, eventually, runner, runner_of,
    signal, until,
};
use crate::redis_server::{self, RedisServer};

async fn harness_on(server: &RedisServer) -> Harness {
    let spec: StateSpec = server.url().parse().unwrap();
    Harness::with_state(spec.open(Durability::Process).await.unwrap()).await
}

/// Fails unless each person got the answer to each message once, in order, but for a bubble whose
/// answer was not known.
fn check_answers(simulator: &Simulator, person: &str, texts: &[String]) {
    let mut answers = simulator.answers(person);
    let bubbles = answers.len();
    answers.dedup();
    let expected: Vec<String> = texts.iter().map(|text| format!("re: {text}")).collect();
    assert_eq!(answers, expected, "{person}");
    assert!(bubbles <= expected.len() + 2, "{person}: {bubbles} bubbles");
}

#[tokio::test]
async fn an_outage_in_virtual_time_loses_nothing_and_asks_the_agent_once() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let harness = harness_on(&server).await;
    harness
        .simulator
        .change(&RuleChanges::new().cursors(Cursors::Consume).budget(None))
        .unwrap();
    let agent = Recorder::new(|message, _| {
        let text = format!("re: {}", message.text);
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(Reply::of_text(text))
        }
    });
    let account = harness.start(agent.clone(), &[]).await;
    let mut said = Vec::new();
    // Each way to go away: a crash, and a network or a server that does not answer any more.
    for way in [None, Some(Signal::STOP)] {
        for _ in 0..20 {
            let text = said.len().to_string();
            harness.simulator.say(ALICE, &text);
            harness.simulator.say(BOB, &text);
            said.push(text);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        match way {
            None => server.kill(),
            Some(signal) => server.signal(signal),
        }
        for step in 0..20 {
            if step % 4 == 0 {
                let text = said.len().to_string();
                harness.simulator.say(ALICE, &text);
                harness.simulator.say(BOB, &text);
                said.push(text);
            }
            advance_between(&harness, &account, Duration::from_secs(1)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        match way {
            None => assert!(server.run()),
            Some(_) => server.signal(Signal::CONT),
        }
        eventually(async || {
            advance_between(&harness, &account, Duration::from_millis(100)).await;
            [ALICE, BOB].iter().all(|person| {
                let answers = harness.simulator.answers(person);
                answers.last() == said.last().map(|text| format!("re: {text}")).as_ref()
            })
        })
        .await;
    }
    for person in [ALICE, BOB] {
        check_answers(&harness.simulator, person, &said);
    }
    let mut asked = agent.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2 * said.len(), "each once");
    asked.sort_by_key(|message| message.id.clone());
    asked.dedup_by_key(|message| message.id.clone());
    assert_eq!(asked.len(), 2 * said.len());
    assert_eq!(account.health().await.unwrap().phase, Phase::Connected);
    harness.check();
}

/// Answers and counts.
async fn answer(
    Shared(asked): Shared<Arc<AtomicUsize>>,
    Json(message): Json<Value>,
) -> Json<Value> {
    asked.fetch_add(1, Ordering::SeqCst);
    Json(json!({ "text": format!("re: {}", message["text"].as_str().unwrap()) }))
}

#[tokio::test]
async fn a_runner_goes_on_after_an_outage_and_asks_the_agent_once() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let simulator = Simulator::start(SimulatorOptions {
        strict: true,
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    simulator
        .change(&RuleChanges::new().cursors(Cursors::Consume).budget(None))
        .unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/", post(answer))
        .with_state(Arc::clone(&asked));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut child = runner_of(&simulator, &server.url(), &agent)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let log = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Ok(Some(line)) = log.next_line().await {
            seen.push(line);
        }
        seen.join("\n")
    });

    let mut said = Vec::new();
    let mut talk = async |messages: usize| {
        for _ in 0..messages {
            let text = said.len().to_string();
            simulator.say(ALICE, &text);
            said.push(text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    talk(50).await;
    server.kill();
    talk(200).await;
    assert!(server.run());
    // Nothing but the server's return makes it go on: how soon it looks is tested with the connection.
    until(&simulator, |simulator| {
        simulator.answers(ALICE).last() == said.last().map(|text| format!("re: {text}")).as_ref()
    })
    .await;
    check_answers(&simulator, ALICE, &said);
    assert_eq!(asked.load(Ordering::SeqCst), said.len(), "each once");
    assert_eq!(simulator.violations(), Vec::<String>::new());
    signal(&child, Signal::TERM);
    assert!(child.wait().await.unwrap().success());
    let log = log.await.unwrap();
    assert_eq!(log.matches(" is away: ").count(), 1, "{log}");
    assert_eq!(log.matches(" is back after ").count(), 1, "{log}");
}

#[tokio::test]
async fn of_two_runners_on_one_server_the_older_one_says_so_and_ends() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let simulator = Simulator::start(SimulatorOptions {
        strict: true,
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    let old = runner_of(&simulator, &server.url(), "echo")
        .spawn()
        .unwrap();
    until(&simulator, |simulator| simulator.counters().polls_open == 1).await;
    let _new = runner_of(&simulator, &server.url(), "echo")
        .spawn()
        .unwrap();
    until(&simulator, |simulator| simulator.counters().starts == 2).await;
    // What the older one's open poll brings is the newer one's to answer.
    simulator.say(ALICE, "hello");
    let output = old.wait_with_output().await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(
        last.contains("another gateway that was started later"),
        "{errors}"
    );
    assert!(last.contains("run one of them"), "{errors}");
    simulator.say(ALICE, "world");
    until(&simulator, |simulator| simulator.answers(ALICE).len() == 2).await;
    assert_eq!(simulator.answers(ALICE), ["hello", "world"]);
    // It does not take leave of the server, which serves its successor.
    assert_eq!(simulator.counters().stops, 0);
}

#[tokio::test]
async fn a_server_that_can_not_be_used_is_exit_2_and_one_line() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let wrong = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let nowhere = "redis://:hunter2@127.0.0.1:1";
    for state in [wrong.as_str(), nowhere] {
        for command in ["run", "login"] {
            let output = runner(&[command, "--state", state, "--component"])
                .arg(component())
                .stdout(Stdio::piped())
                .output()
                .await
                .unwrap();
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{errors}");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert!(errors.contains("redis://127.0.0.1:"), "{errors}");
            assert!(!errors.contains("hunter2"), "{errors}");
        }
    }
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_system_trusts_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, content: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = write("certificate.pem", certified.cert.pem());
    let key = write("key.pem", certified.signing_key.serialize_pem());
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start_with_tls(&certificate, &key);
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let stranger = runner_of(&simulator, &server.url(), "echo")
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8(stranger.stderr).unwrap();
    assert_eq!(stranger.status.code(), Some(2), "{errors}");
    assert!(errors.contains("certificate"), "{errors}");
    assert!(errors.contains("SSL_CERT_FILE"), "{errors}");
    let _trusting = runner_of(&simulator, &server.url(), "echo")
        .env("SSL_CERT_FILE", &certificate)
        .spawn()
        .unwrap();
    simulator.say(ALICE, "hello");
    until(&simulator, |simulator| {
        simulator.answers(ALICE) == ["hello"]
    })
    .await;
}
