//! The typing indicator.

use std::sync::Arc;
use std::time::Duration;

use gateway_host::agent::AgentError;
use gateway_host::agent::message::Reply;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::{ALICE, Harness, Recorder, eventually};

/// An agent that answers when it is let.
fn gated(harness: &Harness) -> (Arc<Recorder>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let agent = Recorder::new(move |_, _| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Reply::of_text("done".to_owned()))
        }
    });
    harness.simulator.say(ALICE, "work");
    (agent, gate)
}

fn is_on(harness: &Harness) -> bool {
    harness.simulator.first().typing(ALICE).on
}

#[tokio::test]
async fn a_quick_answer_costs_no_typing_requests() {
    let harness = Harness::new().await;
    let _account = harness.start(Recorder::replying(), &[]).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    harness.clock.advance(Duration::from_secs(10));
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    let counters = harness.simulator.counters();
    assert_eq!((counters.configs, counters.typings), (0, 0));
}

#[tokio::test]
async fn it_shows_while_the_agent_works_and_ends_with_the_reply() {
    let harness = Harness::new().await;
    let (agent, gate) = gated(&harness);
    let _account = harness.start(agent.clone(), &[]).await;
    eventually(async || agent.texts().len() == 1).await;
    assert!(!is_on(&harness));
    for refresh in 1..4 {
        eventually(async || {
            harness.clock.advance(Duration::from_millis(500));
            harness.simulator.first().typing(ALICE).started >= refresh
        })
        .await;
    }
    assert!(is_on(&harness));
    gate.add_permits(1);
    harness
        .until(|simulator| simulator.answers(ALICE) == ["done"])
        .await;
    eventually(async || !is_on(&harness)).await;
    assert_eq!(
        harness.simulator.counters().configs,
        1,
        "the ticket is kept"
    );
    harness.check();
}

#[tokio::test]
async fn it_ends_when_the_agent_fails() {
    let harness = Harness::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let agent = Recorder::new(move |_, _| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            Err(AgentError::Status(500))
        }
    });
    let _account = harness.start(agent, &[]).await;
    harness.simulator.say(ALICE, "work");
    eventually(async || {
        harness.clock.advance(Duration::from_millis(100));
        is_on(&harness)
    })
    .await;
    gate.add_permits(1);
    eventually(async || !is_on(&harness)).await;
}

#[tokio::test]
async fn it_ends_at_a_shutdown_and_the_message_comes_again() {
    let harness = Harness::new().await;
    let (agent, _gate) = gated(&harness);
    let account = harness.start(agent, &[]).await;
    eventually(async || {
        harness.clock.advance(Duration::from_millis(100));
        is_on(&harness)
    })
    .await;
    account.stop().await;
    assert!(!is_on(&harness));
    let _account = harness.start(Recorder::replying(), &[]).await;
    harness
        .until(|simulator| simulator.answers(ALICE) == ["re: work"])
        .await;
}

#[tokio::test]
async fn trouble_with_typing_never_delays_or_loses_a_reply() {
    for fault in [
        json!({"getconfig": {"status": 500}}),
        json!({"getconfig": {"stall": "before"}}),
        json!({"sendtyping": {"stall": "before"}}),
        json!({"sendtyping": {"ret": -1}}),
    ] {
        let harness = Harness::new().await;
        harness.simulator.faults(&fault).unwrap();
        let (agent, gate) = gated(&harness);
        let _account = harness.start(agent.clone(), &[]).await;
        eventually(async || {
            harness.clock.advance(Duration::from_millis(100));
            harness.simulator.counters().configs > 0
        })
        .await;
        gate.add_permits(1);
        harness
            .until(|simulator| simulator.answers(ALICE) == ["done"])
            .await;
        harness.check();
    }
}
