//! From start to stop.

use std::sync::Arc;

use gateway_host::account::StartError;
use gateway_host::agent::EchoAgent;
use gateway_host::state::directory::DirectoryState;
use gateway_host::state::{Bucket, Durability, State};
use gateway_simulator::Fault;
use gateway_simulator::faults::StallAt;
use gateway_simulator::ilink::{Endpoint, RuleChanges};

use crate::harness::{ALICE, Harness, Recorder, eventually};

#[tokio::test]
async fn a_stop_while_a_poll_hangs_is_quick_and_announced() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    account.stop().await;
    // It was broken off: nobody waited until the server had held it for its time.
    assert_eq!(answered_polls(&harness), 0);
    harness
        .until(|simulator| simulator.counters().polls_open == 0)
        .await;
    assert_eq!(harness.simulator.counters().stops, 1);
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_running() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let mut start = Box::pin(harness.try_start(agent.clone(), &[]));
    assert!(futures::poll!(&mut start).is_pending());
    drop(start);
    // What runs holds the agent.
    eventually(async || Arc::strong_count(&agent) == 1).await;
    assert_eq!(harness.simulator.counters().polls_open, 0);
    // The account can be started again.
    let _account = harness.start(agent.clone(), &[]).await;
}

/// Polls that the server ended by itself.
fn answered_polls(harness: &Harness) -> usize {
    let log = harness.simulator.log();
    let polls = log.iter().filter(|entry| entry["endpoint"] == "getupdates");
    polls.filter(|entry| entry["status"] == 200).count()
}

#[tokio::test]
async fn a_stop_is_quick_also_when_the_server_is_silent() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness
        .simulator
        .change(
            &RuleChanges::new()
                .fault(Endpoint::SendMessage, Fault::stall(StallAt::Before))
                .fault(Endpoint::NotifyStop, Fault::stall(StallAt::Before)),
        )
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.counters().sends == 1)
        .await;
    let answered = answered_polls(&harness);
    account.stop().await;
    // Neither the send nor the announcement was answered, and no poll was waited for.
    assert_eq!(answered_polls(&harness), answered);

    // What was under way is finished by the next instance.
    harness
        .simulator
        .change(&RuleChanges::new().reset())
        .unwrap();
    let _account = harness.start(Recorder::replying(), &[]).await;
    harness
        .until(|simulator| {
            simulator
                .answers(ALICE)
                .last()
                .is_some_and(|text| text == "hello")
        })
        .await;
}

#[tokio::test]
async fn what_a_stop_leaves_is_done_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn State> {
        Arc::new(DirectoryState::open(folder.path(), Durability::Process).unwrap())
    };
    let harness = Harness::with_state(open()).await;
    harness
        .simulator
        .fault(Endpoint::SendMessage, Fault::status(503))
        .unwrap();
    let first = Recorder::replying();
    let account = harness.start(first.clone(), &[]).await;
    for person in ["1", "2", "3"] {
        harness.simulator.say(person, "hello");
    }
    eventually(async || first.texts().len() == 3).await;
    eventually(async || {
        account
            .health()
            .await
            .is_some_and(|health| health.queued == 3)
    })
    .await;
    account.stop().await;

    harness
        .simulator
        .change(&RuleChanges::new().clear(Endpoint::SendMessage))
        .unwrap();
    let second = Recorder::replying();
    let _account = harness.start(second.clone(), &[]).await;
    for person in ["1", "2", "3"] {
        harness
            .until(|simulator| simulator.answers(person) == ["re: hello"])
            .await;
    }
    assert_eq!(
        second.texts(),
        Vec::<String>::new(),
        "the agent was asked before"
    );
    harness.check();
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_its_key() {
    let harness = Harness::new().await;
    let error = harness
        .try_start(Arc::new(EchoAgent), &[("dm-policy", "everyone")])
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StartError::Invalid(_)));
    assert!(error.to_string().contains("dm-policy"), "{error}");
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_refused_and_left_alone() {
    let harness = Harness::new().await;
    let name = format!("state/{}", harness.simulator.account_id());
    let bucket: Arc<dyn Bucket> = harness.state.bucket(&name).unwrap();
    bucket.set("version", b"99".to_vec()).await.unwrap();
    let error = harness
        .try_start(Arc::new(EchoAgent), &[])
        .await
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("version 99") && text.contains("version 1"),
        "{text}"
    );
    assert_eq!(harness.simulator.counters().starts, 0);
}

#[tokio::test]
async fn a_hundred_restarts_poll_once_at_a_time_and_lose_nothing() {
    let harness = Harness::new().await;
    harness
        .simulator
        .change(&RuleChanges::new().budget(None))
        .unwrap();
    let agent = Recorder::replying();
    for round in 0..100 {
        let account = harness.start(agent.clone(), &[]).await;
        harness.simulator.say(ALICE, &round.to_string());
        if round % 3 == 0 {
            harness
                .until(|simulator| simulator.counters().polls_open == 1)
                .await;
        }
        account.stop().await;
    }
    let _account = harness.start(agent.clone(), &[]).await;
    harness
        .until(|simulator| simulator.answers(ALICE).len() >= 100)
        .await;
    let expect: Vec<String> = (0..100).map(|round| format!("re: {round}")).collect();
    assert_eq!(harness.simulator.answers(ALICE), expect);
    assert_eq!(harness.simulator.counters().polls_open_max, 1);
    harness.check();
}
