//! What a message quotes, when its client sends the id alone.

use std::sync::Arc;

use gateway_host::agent::message::{MediaKind, Quote, Reply};
use serde_json::{Value, json};

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually};

/// A text that quotes a message by its id.
fn quoting(id: &Value, more: Value) -> Vec<Value> {
    let mut reference = json!({"svr_id": id, "message_item": {"type": 0, "msg_id": id}});
    if let (Some(reference), Value::Object(more)) = (reference.as_object_mut(), more) {
        reference.extend(more);
    }
    vec![json!({"type": 1, "text_item": {"text": "see above"}, "ref_msg": reference})]
}

fn last_quote(agent: &Recorder) -> Quote {
    let asked = agent.asked.lock().unwrap();
    asked.last().unwrap().quote.clone().unwrap()
}

async fn answered(harness: &Harness, user: &str, count: usize) {
    harness
        .until(|simulator| simulator.answers(user).len() == count)
        .await;
}

#[tokio::test]
async fn what_was_heard_and_said_is_found_by_its_id_also_after_crashes() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let mut account = harness.start(agent.clone(), &[]).await;
    let first = harness.simulator.say(ALICE, "one two one two one");
    answered(&harness, ALICE, 1).await;
    let reply = harness.simulator.phone()[1]["message_id"].clone();
    let mut answers = 1;
    for crash in [false, true, true] {
        if crash {
            // A part whose answer was not stored would be sent twice.
            eventually(async || account.health().await.unwrap().queued == 0).await;
            drop(account);
            account = harness.start(agent.clone(), &[]).await;
        }
        for (id, text) in [
            (&first["message_id"], "one two one two one"),
            (&reply, "re: one two one two one"),
        ] {
            harness.simulator.push(ALICE, quoting(id, json!({})));
            answers += 1;
            answered(&harness, ALICE, answers).await;
            let quote = last_quote(&agent);
            assert_eq!(quote.id, Some(id.to_string()));
            assert_eq!(quote.text.as_deref(), Some(text));
        }
        // More than are kept in memory, so that the store is asked, too.
        for number in 0..20 {
            harness
                .simulator
                .say(ALICE, &format!("small talk {number}"));
            answers += 1;
            answered(&harness, ALICE, answers).await;
        }
    }
    let part = json!({"partial_text": {"start": "one", "startindex": 1, "end": "two",
        "endindex": 1, "quotemd5": "aae2c33a105ad3f28f39402d67a24b20"}});
    let id = first["message_id"].to_string();
    harness.simulator.push(ALICE, quoting(&json!(id), part));
    answered(&harness, ALICE, answers + 1).await;
    assert_eq!(last_quote(&agent).text.as_deref(), Some("one two"));
    harness.check();
    drop(account);
}

#[tokio::test]
async fn what_is_unknown_or_anothers_is_not_told() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let _account = harness.start(agent.clone(), &[]).await;
    let secret = harness.simulator.say(BOB, "for the bot alone");
    answered(&harness, BOB, 1).await;
    for (count, id) in [json!(4242), secret["message_id"].clone()]
        .iter()
        .enumerate()
    {
        harness.simulator.push(ALICE, quoting(id, json!({})));
        answered(&harness, ALICE, count + 1).await;
        let quote = last_quote(&agent);
        assert_eq!((quote.id, quote.text), (Some(id.to_string()), None));
    }
    harness.check();
}

#[tokio::test]
async fn a_quoted_picture_comes_with_the_question_about_it() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|message, _| {
        let text = format!("{} media", message.media.len());
        async move { Ok(Reply::of_text(text)) }
    });
    let _account = harness.start(Arc::clone(&agent) as _, &[]).await;
    let picture =
        harness
            .simulator
            .push_generated(ALICE, gateway_simulator::MediaKind::Image, 100, 1);
    answered(&harness, ALICE, 1).await;
    harness
        .simulator
        .push(ALICE, quoting(&picture["message_id"], json!({})));
    answered(&harness, ALICE, 2).await;
    let asked = agent.asked.lock().unwrap();
    let question = asked.last().unwrap();
    assert_eq!(question.media[0].kind, MediaKind::Image);
    assert!(question.media[0].url.is_some());
}
