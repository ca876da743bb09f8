//! What a person writes within a moment reaches the agent as one message.

use std::sync::Arc;
use std::time::Duration;

use gateway_host::agent::EchoAgent;
use gateway_simulator::MediaKind;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually};

const MERGE: [(&str, &str); 1] = [("merge-ms", "3000")];

#[tokio::test]
async fn texts_and_pictures_of_a_moment_are_one_message() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let account = harness.start(agent.clone(), &MERGE).await;
    harness.simulator.say(ALICE, "look at this");
    harness
        .simulator
        .push_generated(ALICE, MediaKind::Image, 100, 1);
    eventually(async || account.health().await.unwrap().unacknowledged == 2).await;
    harness.clock.advance(Duration::from_secs(2));
    let last = harness.simulator.say(ALICE, "what is it?");
    harness.simulator.say(BOB, "hello");
    eventually(async || account.health().await.unwrap().unacknowledged == 4).await;
    assert!(agent.texts().is_empty());
    harness.clock.advance(Duration::from_secs(3));
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1 && simulator.answers(BOB).len() == 1)
        .await;
    {
        let asked = agent.asked.lock().unwrap();
        let message = asked
            .iter()
            .find(|message| message.sender.id == ALICE)
            .unwrap();
        assert_eq!(message.text, "look at this\nwhat is it?");
        assert_eq!(message.media.len(), 1);
        assert_eq!(message.id, last["message_id"].to_string());
        assert_eq!(asked.len(), 2);
    }
    eventually(async || account.health().await.unwrap().unacknowledged == 0).await;
    harness.check();
}

#[tokio::test]
async fn a_burst_is_the_same_after_a_crash_and_settled_as_a_whole() {
    let harness = Harness::new().await;
    let silent = Recorder::new(|_, _| std::future::pending());
    let account = harness.start(silent.clone(), &MERGE).await;
    harness.simulator.say(ALICE, "one");
    harness.simulator.say(ALICE, "two");
    eventually(async || account.health().await.unwrap().unacknowledged == 2).await;
    harness.clock.advance(Duration::from_secs(3));
    eventually(async || silent.texts() == ["one\ntwo"]).await;
    drop(account);

    let agent = Recorder::replying();
    let account = harness.start(agent.clone(), &MERGE).await;
    harness.simulator.say(ALICE, "three");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    assert_eq!(agent.texts(), ["one\ntwo"]);
    assert_eq!(
        agent.asked.lock().unwrap()[0].id,
        silent.asked.lock().unwrap()[0].id
    );
    eventually(async || account.health().await.unwrap().unacknowledged == 1).await;
    harness.clock.advance(Duration::from_secs(3));
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 2)
        .await;
    assert_eq!(agent.texts(), ["one\ntwo", "three"]);
    eventually(async || account.health().await.unwrap().unacknowledged == 0).await;
    drop(account);

    // Nothing of it comes again, without joining either.
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "four");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 3)
        .await;
    eventually(async || account.health().await.unwrap().unacknowledged == 0).await;
    assert_eq!(
        harness.simulator.answers(ALICE),
        ["re: one\ntwo", "re: three", "four"]
    );
    harness.check();
}

#[tokio::test]
async fn who_never_pauses_is_heard_all_the_same() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let account = harness.start(agent.clone(), &MERGE).await;
    for number in 1..=8 {
        harness.simulator.say(ALICE, "and another thing");
        harness
            .until(|simulator| simulator.counters().delivered == number)
            .await;
        let stored = async || {
            let waiting = account.health().await.unwrap().unacknowledged as usize;
            waiting + agent.texts().join("\n").lines().count() >= number as usize
        };
        eventually(stored).await;
        harness.clock.advance(Duration::from_millis(2500));
    }
    eventually(async || !agent.texts().is_empty()).await;
}
