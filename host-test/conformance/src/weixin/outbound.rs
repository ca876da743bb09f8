//! What iLink alone does with what is sent: its acknowledgements have no id at times, client ids tell
//! repeats, and a message can be answered ten times.

use std::time::Duration;

use gateway_host::account::Post;
use gateway_host::contract::PartState;
use serde_json::json;

use super::{faults, simulator};
use crate::fixture::{Fixture, Outcome, answer, expect, part, same, words};
use crate::outbound::met;

pub async fn unconfirmed(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    faults(
        fixture,
        json!({"sendmessage": {"answer": "black-hole", "times": 1}}),
    )?;
    let receipt = running.send(fixture.post("k", "news")).await?;
    part(&receipt, PartState::Unconfirmed)?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    fixture.clock.advance(Duration::from_secs(120));
    let receipt = running.send(fixture.post("k", "news")).await?;
    part(&receipt, PartState::Unconfirmed)?;
    same("sends", simulator(fixture)?.counters().sends, 1)
}

pub async fn lost_answer(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    faults(
        fixture,
        json!({"sendmessage": {"cut": "after", "times": 1}}),
    )?;
    let sending = running.send(fixture.post("once", "news"));
    let receipt = fixture.flying(sending).await?;
    part(&receipt, PartState::Accepted)?;
    let phone = simulator(fixture)?.phone();
    let sent = phone.iter().filter(|bubble| bubble["from"] == "bot");
    let ids: Vec<_> = sent.map(|bubble| bubble["client_id"].to_string()).collect();
    same("bubbles", ids.len(), 2)?;
    expect(ids.first() == ids.last(), || {
        "the second has another client id".to_owned()
    })?;

    faults(fixture, json!({"sendmessage": {"cut": "after"}}))?;
    let sending = running.send(fixture.post("twice", "more"));
    let receipt = fixture.flying(sending).await?;
    part(&receipt, PartState::Unknown)?;
    same("sends", simulator(fixture)?.counters().sends, 4)
}

pub async fn progress(fixture: &Fixture) -> Outcome {
    let (running, message) = met(fixture).await?;
    for number in 0..30 {
        let step = Post {
            progress: true,
            ..fixture.post(&format!("p{number}"), &format!("step {number}"))
        };
        running.send(step).await?;
    }
    let receipt = running.send(answer(&message, "the answer")).await?;
    part(&receipt, PartState::Accepted)?;
    same(
        "what comes last",
        fixture.shown().pop(),
        Some(words("the answer")),
    )?;
    let counters = simulator(fixture)?.counters();
    same("refused sends", counters.refused, 0)?;
    expect(counters.accepted > 2, || "no progress is shown".to_owned())
}
