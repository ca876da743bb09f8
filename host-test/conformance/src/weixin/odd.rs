//! Checks of odd messages and answers that real clients have got.

use serde_json::{Value, json};

use super::{ALICE, faults, simulator};
use crate::fixture::{Fixture, Outcome, answered, expect, messages, same, words};

/// A message as the platform sends it, with this id and more members.
fn message(id: Value, more: Value) -> Value {
    let mut message = json!({
        "message_id": id, "from_user_id": ALICE, "message_type": 1, "message_state": 2,
        "item_list": [{"type": 1, "text_item": {"text": words("odd")}}],
    });
    if let (Some(message), Value::Object(more)) = (message.as_object_mut(), more) {
        message.extend(more);
    }
    message
}

pub async fn ids_and_fields(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let ids = [
        json!(18_446_744_073_709_551_615_u64),
        json!(9_007_199_254_740_993_u64),
        json!("9007199254740995"),
        json!("an id of letters"),
    ];
    let unknown = json!({"of_the_future": {"a": [1, null]}, "message_state": 77});
    for id in &ids {
        simulator(fixture)?.push_raw(message(id.clone(), unknown.clone()));
    }
    faults(fixture, json!({"inbound": {"string_ids": true}}))?;
    let last = fixture
        .say("with ids as strings")
        .trim_matches('"')
        .to_owned();
    let wanted: Vec<String> = ids
        .iter()
        .map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned))
        .chain([last])
        .collect();
    let events = running.receive_all(wanted.len()).await?;
    let found: Vec<String> = messages(&events).iter().map(|one| one.id.clone()).collect();
    same("the ids", found, wanted)
}

pub async fn poison(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let deep = (0..100).fold(json!(1), |value, _| json!([value]));
    for odd in [
        json!(5),
        json!(null),
        json!("text"),
        json!([]),
        json!({}),
        json!({"message_id": {"a": 1}, "from_user_id": 7}),
        json!({"message_id": 1, "from_user_id": "x".repeat(5000)}),
        message(json!("odd"), json!({"item_list": deep})),
        message(json!("of a bot"), json!({"message_type": 2})),
    ] {
        simulator(fixture)?.push_raw(odd);
    }
    let unknown = json!({"type": 99, "future_item": {"x": 1}});
    simulator(fixture)?.push(ALICE, vec![unknown]);
    let last = fixture.say("after all that");
    let mut found: Vec<String> = Vec::new();
    while found.last() != Some(&last) {
        let events = running.receive().await?;
        found.extend(messages(&events).iter().map(|one| one.id.clone()));
    }
    expect(!found.iter().any(|id| id == "of a bot"), || {
        "what the bot itself said is taken for a person's message".to_owned()
    })?;
    // And what was read is answered as ever.
    answered(
        "send",
        running.instance.send(fixture.post("k", "still here")),
    )
    .await?;
    expect(fixture.shown().len() == 1, || {
        "nothing is sent after it".to_owned()
    })
}
