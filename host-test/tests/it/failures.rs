//! Servers that misbehave.

use std::sync::Arc;
use std::time::Duration;

use gateway_host::account::Phase;
use gateway_host::agent::EchoAgent;
use gateway_simulator::Fault;
use gateway_simulator::faults::{CutAt, SentAs, StallAt};
use gateway_simulator::ilink::{Endpoint, RuleChanges};
use serde_json::json;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually};

/// Moves the clock on until the person has this many answers.
async fn answers(harness: &Harness, count: usize) {
    eventually(async || {
        harness.clock.advance(Duration::from_millis(500));
        harness.simulator.answers(ALICE).len() == count
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_bad_poll_is_survived() {
    for fault in [
        json!({"status": 500}),
        json!({"status": 502}),
        json!({"status": 524}),
        json!({"body": "<html>busy</html>"}),
        json!({"body": ""}),
        json!({"truncated": true}),
        json!({"ret": -1}),
        json!({"ret": -2, "errmsg": "freq limit"}),
        json!({"errcode": 40001}),
        json!({"cut": "before"}),
        json!({"cut": "body"}),
    ] {
        let harness = Harness::new().await;
        let mut fault = fault;
        fault["times"] = json!(3);
        harness
            .simulator
            .faults(&json!({"getupdates": fault}))
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        let account = harness.start(Arc::new(EchoAgent), &[]).await;
        harness.simulator.say(ALICE, "hello");
        answers(&harness, 1).await;
        assert_eq!(
            account.health().await.unwrap().phase,
            Phase::Connected,
            "{fault}"
        );
        harness.check();
    }
}

#[tokio::test]
async fn failed_polls_are_degraded_with_a_reason_and_no_storm() {
    let harness = Harness::new().await;
    harness
        .simulator
        .fault(Endpoint::GetUpdates, Fault::status(502))
        .unwrap();
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    eventually(async || account.health().await.unwrap().phase == Phase::Degraded).await;
    let reason = account.health().await.unwrap().reason.unwrap();
    assert!(reason.contains("HTTP 502"), "{reason}");
    // 1 + 2 + 4 + 8 + 10 × 9 s: about a dozen polls in 100 s, less jitter.
    for _ in 0..200 {
        harness.clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
    let polls = harness.simulator.counters().polls;
    assert!(polls <= 20, "{polls}");
    harness
        .simulator
        .change(&RuleChanges::new().clear(Endpoint::GetUpdates))
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    answers(&harness, 1).await;
    assert_eq!(account.health().await.unwrap().phase, Phase::Connected);
}

#[tokio::test]
async fn a_server_that_is_gone_and_comes_back_is_polled_again() {
    let harness = Harness::new().await;
    harness
        .simulator
        .fault(Endpoint::GetUpdates, Fault::cut(CutAt::Before))
        .unwrap();
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    eventually(async || account.health().await.unwrap().phase == Phase::Degraded).await;
    harness.clock.advance(Duration::from_secs(3600));
    harness
        .simulator
        .change(&RuleChanges::new().clear(Endpoint::GetUpdates))
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    answers(&harness, 1).await;
}

#[tokio::test]
async fn a_refused_token_is_told_in_words_and_heals() {
    for shape in ["errcode", "ret", "both"] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"session": {"expired": shape}}))
            .unwrap();
        let account = harness.start(Arc::new(EchoAgent), &[]).await;
        eventually(async || account.health().await.unwrap().phase == Phase::LoginRequired).await;
        let reason = account.health().await.unwrap().reason.unwrap();
        assert!(reason.contains("log in again"), "{reason}");
        harness
            .simulator
            .change(&RuleChanges::new().session(None))
            .unwrap();
        harness.simulator.say(ALICE, "hello");
        answers(&harness, 1).await;
        assert_eq!(account.health().await.unwrap().phase, Phase::Connected);
        assert!(
            harness.simulator.counters().starts >= 2,
            "the start is announced again"
        );
        harness.check();
    }
}

#[tokio::test]
async fn a_dead_token_causes_no_storm() {
    let harness = Harness::new().await;
    harness
        .simulator
        .faults(&json!({"session": {"expired": "errcode"}}))
        .unwrap();
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    eventually(async || account.health().await.unwrap().phase == Phase::LoginRequired).await;
    for second in 0..30 {
        harness.clock.advance(Duration::from_secs(1));
        // Whatever that made due is done when the account answers.
        account.health().await.unwrap();
        let recent = harness.simulator.requests(None, Duration::from_secs(10));
        assert!(recent <= 10, "{recent} requests in 10 s, after {second} s");
    }
}

#[tokio::test]
async fn an_answer_is_sent_once_more_when_nobody_knows_whether_it_was_taken() {
    let harness = Harness::new().await;
    harness
        .simulator
        .fault(Endpoint::SendMessage, Fault::cut(CutAt::After).once())
        .unwrap();
    let _account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "hello");
    answers(&harness, 2).await;
    assert_eq!(harness.simulator.answers(ALICE), ["hello", "hello"]);
    assert_eq!(
        harness.simulator.counters().repeats,
        1,
        "with the same client id"
    );
    harness.simulator.say(ALICE, "next");
    answers(&harness, 3).await;
    harness.check();
}

#[tokio::test]
async fn an_answer_survives_a_server_that_takes_no_sends() {
    for fault in [json!({"status": 503}), json!({"status": 429})] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"sendmessage": fault}))
            .unwrap();
        let account = harness.start(Arc::new(EchoAgent), &[]).await;
        harness.simulator.say(ALICE, "hello");
        harness
            .until(|simulator| simulator.counters().sends > 0)
            .await;
        eventually(async || {
            harness.clock.advance(Duration::from_secs(1));
            harness.simulator.counters().sends >= 4
        })
        .await;
        assert_eq!(account.health().await.unwrap().queued, 1);
        harness
            .simulator
            .change(&RuleChanges::new().clear(Endpoint::SendMessage))
            .unwrap();
        eventually(async || {
            harness.clock.advance(Duration::from_secs(5));
            harness.simulator.answers(ALICE) == ["hello"]
        })
        .await;
        harness.check();
    }
}

#[tokio::test]
async fn an_answer_without_an_id_is_not_sent_again() {
    let harness = Harness::new().await;
    harness
        .simulator
        .fault(
            Endpoint::SendMessage,
            Fault::sent_as(SentAs::BlackHole).once(),
        )
        .unwrap();
    let _account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "swallowed");
    harness.simulator.say(ALICE, "shown");
    answers(&harness, 1).await;
    assert_eq!(harness.simulator.answers(ALICE), ["shown"]);
    assert_eq!(harness.simulator.counters().sends, 2);
}

#[tokio::test]
async fn a_poll_that_is_never_answered_ends_by_the_components_own_limit() {
    let harness = Harness::new().await;
    harness
        .simulator
        .fault(Endpoint::GetUpdates, Fault::stall(StallAt::Before).once())
        .unwrap();
    let _account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness
        .until(|simulator| simulator.counters().polls == 1)
        .await;
    harness.clock.advance(Duration::from_secs(41));
    harness
        .until(|simulator| simulator.counters().polls >= 2)
        .await;
    harness.simulator.say(ALICE, "hello");
    answers(&harness, 1).await;
}

/// Waits until the agent was asked this, while the clock goes on.
async fn asked(harness: &Harness, agent: &Recorder, text: &str) {
    eventually(async || {
        harness.clock.advance(Duration::from_millis(500));
        agent.texts().iter().any(|asked| asked == text)
    })
    .await;
}

#[tokio::test]
async fn a_message_with_odd_bytes_is_read_and_mutes_nobody() {
    for (with, expect) in [
        ("\u{1b}[31mred\u{8}", "\u{1b}[31mred\u{8}"),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("\0", "\0"),
        ("\\x41\\q", "A\\q"),
        ("\\ud83d", "\u{fffd}"),
        ("\u{ff}\u{fe}", "\u{fffd}\u{fffd}"),
        ("so \"called\" quotes", "so \"called\" quotes"),
    ] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"getupdates": {"mangled": {"replace": {"MARK": with}}}}))
            .unwrap();
        for text in ["before", "a MARK here", "after"] {
            harness.simulator.say(ALICE, text);
        }
        harness.simulator.say(BOB, "hello");
        let agent = Recorder::new(|_, _| async { Ok(None) });
        let account = harness.start(agent.clone(), &[]).await;
        for text in ["before", &format!("a {expect} here"), "after", "hello"] {
            asked(&harness, &agent, text).await;
        }
        assert_eq!(agent.texts().len(), 4, "{with:?}");
        assert_eq!(account.health().await.unwrap().phase, Phase::Connected);
        harness.check();
    }
}

#[tokio::test]
async fn what_surrounds_an_answer_is_passed_over() {
    for mangled in [
        json!({"before": "\u{ef}\u{bb}\u{bf}"}),
        json!({"before": "\0\0", "behind": "\0"}),
        json!({"behind": "\r\n<!-- served by x -->"}),
        json!({"behind": "{}"}),
        json!({"replace": {"\"ret\":0": "\"ret\":NaN,\"took\":Infinity"}}),
        json!({"replace": {"\"ret\":0": "\"ret\":0,\"note\":\"\u{1b}\u{c3}\","}}),
        json!({"replace": {"\"msgs\":[": "\"msgs\":[NaN,{\"message_id\":NaN,\"item_list\":[},"}}),
    ] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"getupdates": {"mangled": mangled}}))
            .unwrap();
        let account = harness.start(Arc::new(EchoAgent), &[]).await;
        harness.simulator.say(ALICE, "hello");
        answers(&harness, 1).await;
        assert_eq!(account.health().await.unwrap().phase, Phase::Connected);
        harness.simulator.say(ALICE, "again");
        answers(&harness, 2).await;
        assert_eq!(
            harness.simulator.answers(ALICE),
            ["hello", "again"],
            "{mangled}"
        );
        harness.check();
    }
}

#[tokio::test]
async fn an_answer_that_stays_cut_off_holds_the_cursor_for_a_while_and_not_for_ever() {
    let harness = Harness::new().await;
    let message = json!({"message_id": 5, "from_user_id": BOB, "create_time_ms": 1,
        "item_list": [{"type": 1, "text_item": {"text": "whole"}}]});
    let cut = format!(r#"{{"ret":0,"get_updates_buf":"next","msgs":[{message},{{"message_id":6,"#);
    harness
        .simulator
        .faults(&json!({"getupdates": {"body": cut}}))
        .unwrap();
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let account = harness.start(agent.clone(), &[]).await;
    eventually(async || account.health().await.unwrap().phase == Phase::Degraded).await;
    assert!(agent.texts().is_empty());
    asked(&harness, &agent, "whole").await;
    let polls = harness.simulator.counters().polls;
    assert!(polls >= 10, "{polls}");
    harness
        .simulator
        .change(&RuleChanges::new().clear(Endpoint::GetUpdates))
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    asked(&harness, &agent, "hello").await;
    let polled = |entry: &serde_json::Value| {
        entry["endpoint"] == "getupdates" && entry["request"]["get_updates_buf"] == "next"
    };
    assert!(
        harness.simulator.log().iter().any(polled),
        "the cursor went on"
    );
    assert_eq!(agent.texts(), ["whole", "hello"]);
}

#[tokio::test]
async fn an_answer_without_a_cursor_delivers_what_it_can_and_causes_no_storm() {
    for fault in [
        json!({"without": ["get_updates_buf"]}),
        json!({"mangled": {"replace": {"\"get_updates_buf\":": "\"\u{1b}\":"}}}),
    ] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"getupdates": fault}))
            .unwrap();
        let agent = Recorder::replying();
        let _account = harness.start(agent.clone(), &[]).await;
        harness.simulator.say(ALICE, "hello");
        answers(&harness, 1).await;
        let before = harness.simulator.counters().polls;
        for _ in 0..200 {
            harness.clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let polls = harness.simulator.counters().polls - before;
        assert!(polls <= 60, "{polls}");
        assert_eq!(agent.texts(), ["hello"]);
        harness.simulator.say(BOB, "hi");
        asked(&harness, &agent, "hi").await;
    }
}
