//! kill -9 at random moments: no message is lost, none is given to the agent again once its answer
//! is stored, no answer is missing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use gateway_simulator::{Simulator, SimulatorOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{runner_of, until};
use crate::redis_server::{self, RedisServer};

const KILLS: usize = 25;
const PEOPLE: usize = 5;

/// An agent over HTTP that writes down what it was asked, and what it should not have been.
#[derive(Clone)]
struct Witness {
    simulator: Simulator,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    wrong: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(witness): State<Witness>, Json(message): Json<Value>) -> Json<Value> {
    let text = message["text"].as_str().unwrap().to_owned();
    let sender = message["sender"]["id"].as_str().unwrap();
    let reply = format!("re: {text}");
    if witness.simulator.answers(sender).contains(&reply) {
        let mut wrong = witness.wrong.lock().unwrap();
        wrong.push(format!("asked again after the answer: {text}"));
    }
    *witness.asked.lock().unwrap().entry(text).or_default() += 1;
    Json(json!({ "text": reply }))
}

async fn survives(cursor: &str, seed: u64, state: &str) {
    let simulator = Simulator::start(SimulatorOptions {
        strict: true,
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    simulator
        .faults(&json!({"cursor": cursor, "budget": null, "batch": 4}))
        .unwrap();
    let witness = Witness {
        simulator: simulator.clone(),
        asked: Arc::default(),
        wrong: Arc::default(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/", post(answer))
        .with_state(witness.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut random = StdRng::seed_from_u64(seed);
    let mut said: HashMap<String, Vec<String>> = HashMap::new();
    let mut number = 0;
    for _ in 0..KILLS {
        let mut child = runner_of(&simulator, state, &agent).spawn().unwrap();
        let life = Duration::from_millis(random.random_range(20..150));
        let death = tokio::time::Instant::now() + life;
        while tokio::time::Instant::now() < death {
            let person = format!("wxid_{}@im.wechat", random.random_range(0..PEOPLE));
            simulator.say(&person, &number.to_string());
            said.entry(person).or_default().push(number.to_string());
            number += 1;
            let pause = Duration::from_millis(random.random_range(0..10));
            tokio::time::sleep_until(death.min(tokio::time::Instant::now() + pause)).await;
        }
        child.kill().await.unwrap();
    }
    let mut last = runner_of(&simulator, state, &agent).spawn().unwrap();
    until(&simulator, |simulator| {
        said.iter().all(|(person, texts)| {
            let answers = simulator.answers(person);
            texts.iter().all(|text| {
                answers
                    .iter()
                    .any(|answer| *answer == format!("re: {text}"))
            })
        })
    })
    .await;
    last.kill().await.unwrap();

    assert_eq!(*witness.wrong.lock().unwrap(), Vec::<String>::new());
    for (person, texts) in &said {
        let answers = simulator.answers(person);
        let mut firsts: Vec<_> = answers
            .iter()
            .map(|text| text.trim_start_matches("re: "))
            .collect();
        let count = firsts.len();
        // A conversation has one part under way, so a crash between that request and its answer
        // doubles that one, and it comes before the next.
        firsts.dedup();
        assert_eq!(firsts, *texts, "in order, {person}");
        let doubled = count - firsts.len();
        assert!(doubled <= KILLS, "{doubled} bubbles were doubled");
    }
    assert_eq!(simulator.violations(), Vec::<String>::new());
    println!(
        "{number} messages, {} repeats of a bubble",
        simulator.counters().repeats
    );
}

async fn survives_in_a_directory(cursor: &str, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    survives(cursor, seed, &format!("dir:{}", folder.path().display())).await;
}

#[tokio::test]
async fn kill_9_with_a_server_that_rewinds() {
    survives_in_a_directory("rewind", 1).await;
}

#[tokio::test]
async fn kill_9_with_a_server_that_does_not_rewind() {
    survives_in_a_directory("acknowledge", 2).await;
}

#[tokio::test]
async fn kill_9_with_the_state_on_redis() {
    if redis_server::is_missing() {
        return;
    }
    for (cursor, seed) in [("rewind", 3), ("acknowledge", 4)] {
        survives(cursor, seed, &RedisServer::start().url()).await;
    }
}
