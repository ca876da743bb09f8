//! The typing indicator.

use std::sync::Arc;
use std::time::Duration;

use gateway_host::agent::AgentError;
use gateway_host::agent::message::Reply;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::{ALICE, Recorder, World, eventually};

/// An agent that answers when it is let.
fn gated(world: &World) -> (Arc<Recorder>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let agent = Recorder::new(move |_, _| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Reply::of_text("done".to_owned()))
        }
    });
    world.simulator.say(ALICE, "work");
    (agent, gate)
}

fn is_on(world: &World) -> bool {
    world.simulator.first().typing(ALICE).on
}

#[tokio::test]
async fn a_quick_answer_costs_no_typing_requests() {
    let world = World::new().await;
    let _account = world.start(Recorder::replying(), &[]).await;
    world.simulator.say(ALICE, "hello");
    world
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    world.clock.advance(Duration::from_secs(10));
    world
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    let counters = world.simulator.counters();
    assert_eq!((counters.configs, counters.typings), (0, 0));
}

#[tokio::test]
async fn it_shows_while_the_agent_works_and_ends_with_the_reply() {
    let world = World::new().await;
    let (agent, gate) = gated(&world);
    let _account = world.start(agent.clone(), &[]).await;
    eventually(async || agent.texts().len() == 1).await;
    assert!(!is_on(&world));
    for refresh in 1..4 {
        eventually(async || {
            world.clock.advance(Duration::from_millis(500));
            world.simulator.first().typing(ALICE).started >= refresh
        })
        .await;
    }
    assert!(is_on(&world));
    gate.add_permits(1);
    world
        .until(|simulator| simulator.answers(ALICE) == ["done"])
        .await;
    eventually(async || !is_on(&world)).await;
    assert_eq!(world.simulator.counters().configs, 1, "the ticket is kept");
    world.check();
}

#[tokio::test]
async fn it_ends_when_the_agent_fails() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let agent = Recorder::new(move |_, _| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            Err(AgentError::Status(500))
        }
    });
    let _account = world.start(agent, &[]).await;
    world.simulator.say(ALICE, "work");
    eventually(async || {
        world.clock.advance(Duration::from_millis(100));
        is_on(&world)
    })
    .await;
    gate.add_permits(1);
    eventually(async || !is_on(&world)).await;
}

#[tokio::test]
async fn it_ends_at_a_shutdown_and_the_message_comes_again() {
    let world = World::new().await;
    let (agent, _gate) = gated(&world);
    let account = world.start(agent, &[]).await;
    eventually(async || {
        world.clock.advance(Duration::from_millis(100));
        is_on(&world)
    })
    .await;
    account.stop().await;
    assert!(!is_on(&world));
    let _account = world.start(Recorder::replying(), &[]).await;
    world
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
        let world = World::new().await;
        world.simulator.faults(&fault).unwrap();
        let (agent, gate) = gated(&world);
        let _account = world.start(agent.clone(), &[]).await;
        eventually(async || {
            world.clock.advance(Duration::from_millis(100));
            world.simulator.counters().configs > 0
        })
        .await;
        gate.add_permits(1);
        world
            .until(|simulator| simulator.answers(ALICE) == ["done"])
            .await;
        world.check();
    }
}
