//! Text both ways.

use std::sync::Arc;
use std::time::Duration;

use gateway_host::agent::message::Reply;
use gateway_host::agent::{AgentError, EchoAgent};
use gateway_simulator::Repeat;
use gateway_simulator::ilink::RuleChanges;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually, proactive};

#[tokio::test]
async fn a_message_reaches_the_agent_and_its_answer_the_phone() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let account = harness.start(agent.clone(), &[]).await;
    let said = harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    assert_eq!(harness.simulator.answers(ALICE), ["re: hello"]);
    {
        let asked = agent.asked.lock().unwrap();
        assert_eq!(asked[0].id, said["message_id"].to_string());
        assert_eq!(asked[0].account, harness.simulator.account_id());
        assert_eq!(asked[0].conversation.id, ALICE);
        assert_eq!(asked[0].sender.id, ALICE);
        assert_eq!(asked[0].sent_at_ms, said["create_time_ms"]);
    }
    account.stop().await;
    let counters = harness.simulator.counters();
    assert_eq!((counters.starts, counters.stops), (1, 1));
    assert_eq!(counters.polls_open_max, 1);
    harness.check();
}

#[tokio::test]
async fn ids_beyond_2_to_the_53_are_exact() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let _account = harness.start(agent.clone(), &[]).await;
    for id in ["18446744073709551615", "9007199254740993"] {
        let id: serde_json::Value = serde_json::from_str(id).unwrap();
        harness.simulator.push_raw(json!({
            "message_id": id, "from_user_id": ALICE, "message_type": 1, "message_state": 2,
            "item_list": [{"type": 1, "text_item": {"text": "x"}}],
        }));
    }
    eventually(async || agent.texts().len() == 2).await;
    let asked = agent.asked.lock().unwrap();
    assert_eq!(asked[0].id, "18446744073709551615");
    assert_eq!(asked[1].id, "9007199254740993");
}

#[tokio::test]
async fn what_is_no_readable_message_leaves_the_others() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let _account = harness.start(agent.clone(), &[]).await;
    let deep: serde_json::Value = (0..100).fold(json!(1), |value, _| json!([value]));
    for odd in [
        json!(5),
        json!(null),
        json!("text"),
        json!({}),
        json!({"message_id": {"a": 1}, "from_user_id": 7}),
        json!({"from_user_id": ALICE, "message_id": "odd", "item_list": deep}),
        json!({"from_user_id": ALICE, "message_id": "bot", "message_type": 2,
            "item_list": [{"type": 1, "text_item": {"text": "of a bot"}}]}),
        json!({"from_user_id": ALICE, "message_id": "gone", "delete_time_ms": 5}),
    ] {
        harness.simulator.push_raw(odd);
    }
    harness
        .simulator
        .push(ALICE, vec![json!({"type": 99, "future_item": {"x": 1}})]);
    harness.simulator.say(ALICE, "after all that");
    eventually(async || {
        agent
            .texts()
            .last()
            .is_some_and(|text| text == "after all that")
    })
    .await;
    let texts = agent.texts();
    assert!(
        texts.contains(&"[unsupported content of type 99]".to_owned()),
        "{texts:?}"
    );
    assert!(!texts.contains(&"of a bot".to_owned()));
    harness.check();
}

#[tokio::test]
async fn repeats_of_the_platform_reach_the_agent_once() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let _account = harness.start(agent.clone(), &[]).await;
    let said = harness.simulator.say(ALICE, "ok");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    harness.simulator.first().repeat(&said, Repeat::SameId);
    harness.simulator.first().repeat(&said, Repeat::NewToken);
    // The same text with an id of its own is a message of its own.
    harness.simulator.say(ALICE, "ok");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 2)
        .await;
    harness.simulator.say(ALICE, "done");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 3)
        .await;
    assert_eq!(agent.texts(), ["ok", "ok", "done"]);
    harness.check();
}

#[tokio::test]
async fn a_slow_conversation_holds_up_no_other_and_keeps_its_order() {
    let harness = Harness::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let agent = Recorder::new(move |message, _| {
        let gate = Arc::clone(&held);
        let text = message.text.clone();
        let is_slow = message.sender.id == ALICE;
        async move {
            if is_slow {
                gate.acquire().await.unwrap().forget();
            }
            Ok(Reply::of_text(text))
        }
    });
    let _account = harness.start(agent, &[]).await;
    for text in ["1", "2", "3"] {
        harness.simulator.say(ALICE, text);
        harness.simulator.say(BOB, text);
    }
    harness
        .until(|simulator| simulator.answers(BOB).len() == 3)
        .await;
    assert!(harness.simulator.answers(ALICE).is_empty());
    gate.add_permits(3);
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 3)
        .await;
    assert_eq!(harness.simulator.answers(ALICE), ["1", "2", "3"]);
    assert_eq!(harness.simulator.answers(BOB), ["1", "2", "3"]);
    harness.check();
}

#[tokio::test]
async fn an_agent_that_fails_is_asked_again_with_the_same_id() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, times| async move {
        match times {
            1 => Err(AgentError::Status(500)),
            2 => Err(AgentError::TimedOut),
            _ => Ok(Reply::of_text("at last".to_owned())),
        }
    });
    let _account = harness.start(agent.clone(), &[]).await;
    harness.simulator.say(ALICE, "hello");
    for asked in 1..3 {
        eventually(async || agent.texts().len() == asked).await;
        harness.clock.advance(Duration::from_secs(2));
    }
    harness
        .until(|simulator| !simulator.answers(ALICE).is_empty())
        .await;
    let asked = agent.asked.lock().unwrap();
    assert!(asked.iter().all(|message| message.id == asked[0].id));
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn no_reply_is_an_acknowledgement() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let account = harness.start(agent.clone(), &[]).await;
    harness.simulator.say(ALICE, "just so you know");
    eventually(async || {
        let health = account.health().await.unwrap();
        agent.texts().len() == 1 && health.unacknowledged == 0
    })
    .await;
    account.stop().await;

    let again = Recorder::replying();
    let account = harness.start(again.clone(), &[]).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| !simulator.answers(ALICE).is_empty())
        .await;
    assert_eq!(again.texts(), ["hello"]);
    account.stop().await;
    harness.check();
}

#[tokio::test]
async fn a_long_answer_arrives_in_parts_and_in_order() {
    let harness = Harness::new().await;
    let text: String = (0..400)
        .map(|line| format!("{line}: 一二三四五六七八九十 👨‍👩‍👧‍👦 and so on.\n"))
        .collect();
    let reply = text.clone();
    let agent = Recorder::new(move |_, _| {
        let reply = reply.clone();
        async move { Ok(Reply::of_text(reply)) }
    });
    harness
        .simulator
        .change(&RuleChanges::new().budget(None))
        .unwrap();
    let _account = harness.start(agent, &[]).await;
    harness.simulator.say(ALICE, "tell me");
    harness
        .until(|simulator| simulator.answers(ALICE).concat().len() == text.trim_end().len())
        .await;
    let parts = harness.simulator.answers(ALICE);
    assert_eq!(parts.concat(), text.trim_end());
    assert!(parts.len() > 5);
    assert!(
        parts
            .iter()
            .all(|part| part.chars().count() <= 2000 && part.len() <= 16_000)
    );
    harness.check();
}

#[tokio::test]
async fn sends_keep_the_pace_of_the_account() {
    let harness = Harness::new().await;
    let _account = harness
        .start(Arc::new(EchoAgent), &[("send-interval-ms", "1000")])
        .await;
    for number in 0..4 {
        harness.simulator.say(ALICE, &number.to_string());
    }
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 2)
        .await;
    // The third waits for the clock, so nothing else can be sent now.
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    assert_eq!(harness.simulator.answers(ALICE).len(), 2);
    for sent in 3..5 {
        eventually(async || {
            harness.clock.advance(Duration::from_millis(100));
            harness.simulator.answers(ALICE).len() == sent
        })
        .await;
    }
    let times: Vec<u64> = harness
        .simulator
        .phone()
        .iter()
        .filter(|bubble| bubble["from"] == "bot")
        .filter_map(|bubble| bubble["at_ms"].as_u64())
        .collect();
    assert!(
        times[2] - times[1] >= 900 && times[3] - times[2] >= 900,
        "{times:?}"
    );
    assert_eq!(harness.simulator.answers(ALICE), ["0", "1", "2", "3"]);
    harness.check();
}

#[tokio::test]
async fn overlapping_conversations_never_mix_their_tokens() {
    let harness = Harness::new().await;
    harness
        .simulator
        .change(&RuleChanges::new().budget(None))
        .unwrap();
    let agent = Recorder::replying();
    let _account = harness.start(agent, &[]).await;
    let people: Vec<String> = (0..20).map(|n| format!("wxid_{n}@im.wechat")).collect();
    for round in 0..25 {
        for person in &people {
            harness.simulator.say(person, &round.to_string());
        }
    }
    harness
        .until(|simulator| {
            people
                .iter()
                .all(|person| simulator.answers(person).len() == 25)
        })
        .await;
    let expect: Vec<String> = (0..25).map(|round| format!("re: {round}")).collect();
    for person in &people {
        assert_eq!(harness.simulator.answers(person), expect);
    }
    // A person may write again while an answer is on its way: then its token is an older one.
    for bubble in harness.simulator.phone() {
        let context = &bubble["context"];
        assert!(
            bubble["from"] == "user" || context == "newest" || context == "older",
            "{bubble}"
        );
    }
    harness.check();
}

#[tokio::test]
async fn only_admitted_people_reach_the_agent() {
    for (config, expect) in [
        (
            &[("allowed-users", BOB)] as &[(&str, &str)],
            &[BOB] as &[&str],
        ),
        (
            &[("allowed-users", BOB), ("dm-policy", "open")],
            &[ALICE, BOB],
        ),
        (&[("dm-policy", "disabled")], &[]),
        (&[], &[ALICE, BOB]),
    ] {
        let harness = Harness::new().await;
        let agent = Recorder::replying();
        let account = harness.start(agent.clone(), config).await;
        harness.simulator.push_raw(json!({
            "message_id": 5, "from_user_id": BOB, "group_id": "g", "message_type": 1,
            "item_list": [{"type": 1, "text_item": {"text": "in a group"}}],
        }));
        harness.simulator.say(ALICE, "from alice");
        harness.simulator.say(BOB, "from bob");
        let is_delivered = || harness.simulator.first().unacknowledged() == 0;
        eventually(async || {
            let health = account.health().await.unwrap();
            is_delivered() && health.unacknowledged == 0 && health.queued == 0
        })
        .await;
        let asked = agent.asked.lock().unwrap();
        let senders: Vec<&str> = asked
            .iter()
            .map(|message| message.sender.id.as_str())
            .collect();
        assert_eq!(senders, expect, "{config:?}");
        assert_eq!(harness.simulator.counters().sends, expect.len() as u64);
        assert_eq!(harness.simulator.counters().configs, 0);
    }
}

#[tokio::test]
async fn the_newest_token_is_used_also_after_a_restart() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "one");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    harness.simulator.say(ALICE, "two");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 2)
        .await;
    account.stop().await;

    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    let sent = account
        .send(proactive("push-1", ALICE, "are you there?"))
        .await
        .unwrap();
    assert_eq!(sent.parts.len(), 1);
    let phone = harness.simulator.phone();
    let push = phone.last().unwrap();
    assert_eq!(
        (&push["text"], &push["context"]),
        (&json!("are you there?"), &json!("newest"))
    );
    harness.check();
}

#[tokio::test]
async fn a_key_is_sent_once() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    let first = account.send(proactive("k", ALICE, "news")).await.unwrap();
    let second = account.send(proactive("k", ALICE, "news")).await.unwrap();
    assert_eq!(first.parts[0].message_id, second.parts[0].message_id);
    let conflict = account
        .send(proactive("k", ALICE, "other news"))
        .await
        .unwrap_err();
    assert!(conflict.to_string().contains("key-conflict"), "{conflict}");
    account.stop().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    let third = account.send(proactive("k", ALICE, "news")).await.unwrap();
    assert_eq!(first.parts[0].message_id, third.parts[0].message_id);
    assert_eq!(harness.simulator.answers(ALICE), ["hello", "news"]);
    harness.check();
}

#[tokio::test]
async fn a_send_does_not_wait_for_the_poll() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    let polls = harness.simulator.counters().polls;
    account.send(proactive("k", ALICE, "news")).await.unwrap();
    let counters = harness.simulator.counters();
    assert_eq!((counters.polls, counters.polls_open), (polls, 1));
}
