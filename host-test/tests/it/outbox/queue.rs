//! What waits for a window or behind a throttle.

use gateway_simulator::Fault;
use gateway_simulator::ilink::rules::Burst;
use gateway_simulator::ilink::{Endpoint, RuleChanges};

use super::*;

#[tokio::test]
async fn what_was_queued_is_reported_when_it_went_out_or_expired_until_that_is_acknowledged() {
    let harness = Harness::new().await;
    let first = harness.instance().await;
    first.start().await.unwrap();
    let lane = first.clone();
    tokio::spawn(async move { lane.run().await });
    harness.simulator.say(ALICE, "hello");
    let events = first.receive().await.unwrap();
    first.ack(vec![events[0].id.clone()]).await.unwrap();
    harness.clock.advance(25 * HOUR);
    let mut short = queued(&harness, "short", ALICE, "soon stale");
    short.queue_until = Some(harness.clock.unix_ms() + 3_600_000);
    for post in [short, queued(&harness, "long", ALICE, "news")] {
        let receipt = first.send(post).await.unwrap();
        assert_eq!(receipt.parts[0].state, PartState::Queued);
    }
    let waiting = first.clone();
    let report = tokio::spawn(async move { waiting.receive().await.unwrap() });
    harness.clock.advance(2 * HOUR);
    let events = report.await.unwrap();
    let settled = |events: &[gateway_host::account::Event]| match &events[0].body {
        gateway_host::account::EventBody::Settled(receipt) => receipt.clone(),
        other => panic!("{other:?}"),
    };
    let receipt = settled(&events);
    assert_eq!(
        (receipt.key.as_str(), receipt.parts[0].state),
        ("short", PartState::Failed)
    );
    let error = receipt.parts[0].error.as_ref().unwrap();
    assert!(error.message.contains("time passed"), "{}", error.message);

    // Not acknowledged, it is told again by the next instance.
    drop(first);
    let second = harness.instance().await;
    second.start().await.unwrap();
    let lane = second.clone();
    tokio::spawn(async move { lane.run().await });
    let again = second.receive().await.unwrap();
    assert_eq!(again[0].id, events[0].id);
    second.ack(vec![again[0].id.clone()]).await.unwrap();
    harness.simulator.say(ALICE, "I am back");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(second.receive().await.unwrap());
    }
    let receipt = settled(&seen[1..]);
    assert_eq!(
        (receipt.key.as_str(), receipt.parts[0].state),
        ("long", PartState::Accepted)
    );
    let ids = seen.iter().map(|event| event.id.clone()).collect();
    second.ack(ids).await.unwrap();

    drop(second);
    let third = harness.instance().await;
    third.start().await.unwrap();
    harness.simulator.say(ALICE, "more");
    let events = third.receive().await.unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    harness.check();
}

#[tokio::test]
async fn a_thousand_queued_messages_wait_for_a_throttle_with_few_requests_and_flat_memory() {
    let harness = Harness::new().await;
    let config = [("sends-per-message", "0"), ("send-interval-ms", "0")];
    let account = harness.start(Arc::new(EchoAgent), &config).await;
    harness
        .simulator
        .change(&RuleChanges::new().budget(None))
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    harness
        .simulator
        .fault(
            Endpoint::SendMessage,
            Fault::ret(-2).with_errmsg("prepare failed"),
        )
        .unwrap();
    let before = harness.simulator.counters().sends;
    let text = "x".repeat(1000);
    let posts = (0..1000).map(|number| {
        let post = queued(
            &harness,
            &format!("k{number}"),
            ALICE,
            &format!("{number} {text}"),
        );
        account.send(post)
    });
    let sending = join_all(posts);
    let moving = async {
        // Step by step: each has the whole patience, however busy the machine is.
        for queued in (20..=1000).step_by(20) {
            eventually(async || account.health().await.unwrap().queued >= queued).await;
        }
        advance_until(&harness, &account, Duration::from_secs(1), async || {
            harness.simulator.counters().sends - before >= 2
        })
        .await;
    };
    let (receipts, ()) = tokio::join!(sending, moving);
    assert!(receipts.iter().all(Result::is_ok));
    // A call returns after 15 s; what it did not wait for is told by the receipt.
    for number in 0..1000 {
        eventually(async || {
            let receipt = account.find(format!("k{number}")).await.unwrap().unwrap();
            receipt.parts[0].state == PartState::Queued
        })
        .await;
    }
    // A poll ends meanwhile, and the next one begins: that lists the keys of the whole store.
    let polls = harness.simulator.counters().polls;
    advance_until(&harness, &account, Duration::from_secs(1), async || {
        harness.simulator.counters().polls > polls
    })
    .await;
    let memory = account.memory_bytes().await.unwrap();
    for _ in 0..600 {
        advance(&harness, &account, Duration::from_secs(1)).await;
    }
    // 5 + 10 + 20 + … + 300 s, less jitter.
    let requests = harness.simulator.counters().sends - before;
    assert!((6..=14).contains(&requests), "{requests}");
    assert_eq!(account.memory_bytes().await.unwrap(), memory);
    harness
        .simulator
        .change(&RuleChanges::new().clear(Endpoint::SendMessage))
        .unwrap();
    for count in (1..=1001).step_by(20) {
        advance_until(&harness, &account, Duration::from_secs(1), async || {
            harness.simulator.answers(ALICE).len() >= count
        })
        .await;
    }
    let answers = harness.simulator.answers(ALICE);
    for (number, answer) in answers.iter().skip(1).enumerate() {
        assert!(answer.starts_with(&format!("{number} ")), "{answer}");
    }
    eventually(async || account.health().await.unwrap().queued == 0).await;
    assert_eq!(account.memory_bytes().await.unwrap(), memory);
    harness.check();
}

#[tokio::test]
async fn two_hundred_messages_never_find_the_bucket_empty_and_keep_their_order() {
    let harness = Harness::new().await;
    let config = [("sends-per-message", "0"), ("send-interval-ms", "1000")];
    let account = harness.start(Arc::new(EchoAgent), &config).await;
    harness
        .simulator
        .change(&RuleChanges::new().budget(None).burst(Some(Burst {
            size: 3,
            per_second: 3.0,
            penalty: Duration::from_secs(3600),
        })))
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    let posts = (0..200).map(|number| {
        let key = format!("k{number}");
        account.send(proactive(&key, ALICE, &key))
    });
    let moving = async {
        let mut waited = Duration::ZERO;
        for count in (11..=201).step_by(10) {
            let step = Duration::from_millis(500);
            waited += advance_until(&harness, &account, step, async || {
                harness.simulator.answers(ALICE).len() >= count
            })
            .await;
        }
        waited
    };
    let (receipts, waited) = tokio::join!(join_all(posts), moving);
    assert!(receipts.iter().all(Result::is_ok));
    assert!(waited >= Duration::from_secs(190), "{waited:?}");
    let expect: Vec<String> = (0..200).map(|number| format!("k{number}")).collect();
    assert_eq!(harness.simulator.answers(ALICE)[1..], expect);
    assert_eq!(harness.simulator.counters().refused, 0);
    eventually(async || {
        let receipt = account.find("k199".to_owned()).await.unwrap().unwrap();
        receipt.parts[0].state == PartState::Accepted
    })
    .await;
    harness.check();
}
