//! From the gateway to the platform, once per key.

use std::time::Duration;

use serde_json::json;

use super::fixture::{
    ALICE, BOB, Fixture, Outcome, answer, answered, expect, part, post, refused, same, within,
    words,
};
use gateway_host::account::Post;
use gateway_host::bindings::exports::gateway::channel::lifecycle::Phase;
use gateway_host::bindings::gateway::channel::types::{ErrorKind, Message, PartState};
use gateway_simulator::Simulator;

use super::fixture::Running;

/// A started instance that has got a message, so that Alice can be written to.
async fn met(fixture: &Fixture) -> Result<(Running, Message), String> {
    let running = fixture.start().await?;
    let id = fixture.say("hello");
    let message = running.receive_only(&id).await?;
    Ok((running, message))
}

pub async fn answer_acknowledges(fixture: &Fixture) -> Outcome {
    fixture.say_nothing_twice()?;
    let (running, message) = met(fixture).await?;
    let receipt = running.send(answer(&message, "the answer")).await?;
    let sent = part(&receipt, PartState::Accepted)?;
    expect(sent.message_id.is_some(), || {
        "it is accepted, and has no id".to_owned()
    })?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let other = fixture.say("other");
    running.receive_only(&other).await?;
    same(
        "what the person sees",
        fixture.shown(),
        vec![words("the answer")],
    )
}

pub async fn interrupted(fixture: &Fixture) -> Outcome {
    fixture.say_nothing_twice()?;
    let (mut running, message) = met(fixture).await?;
    fixture.faults(json!({"sendmessage": {"stall": "before"}}))?;
    running.sending(answer(&message, "the answer"));
    let is_sent = |simulator: &Simulator| simulator.counters().sends == 1;
    fixture.until("sending", is_sent).await?;
    fixture.kill(running).await?;
    fixture.faults(json!({"sendmessage": null}))?;
    let running = fixture.start().await?;
    let is_shown = |simulator: &Simulator| simulator.answers(ALICE).len() == 1;
    fixture
        .flying(fixture.until("sending the answer again", is_shown))
        .await?;
    let other = fixture.say("other");
    running.receive_only(&other).await?;
    same(
        "what the person sees",
        fixture.shown(),
        vec![words("the answer")],
    )
}

pub async fn stored(fixture: &Fixture) -> Outcome {
    let mut running = fixture.start_without_lane().await?;
    let id = fixture.say("hello");
    let message = running.receive_only(&id).await?;
    running.sending(answer(&message, "the answer"));
    fixture
        .moving("storing the answer", Duration::ZERO, async || {
            Ok(running.health().await?.queued == 1)
        })
        .await?;
    same(
        "sends without a lane",
        fixture.simulator.counters().sends,
        0,
    )?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let is_shown = |simulator: &Simulator| simulator.answers(ALICE).len() == 1;
    fixture.until("sending the answer", is_shown).await?;
    running.settled().await?;
    same("sends", fixture.simulator.counters().sends, 1)
}

pub async fn key_once(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let said = || post("k", ALICE, "news");
    let (first, second) = tokio::join!(running.send(said()), running.send(said()));
    let first = part(&first?, PartState::Accepted)?.clone();
    let second = part(&second?, PartState::Accepted)?.clone();
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let third = running.send(said()).await?;
    let third = part(&third, PartState::Accepted)?;
    for later in [&second, third] {
        let ids = (&later.message_id, &first.message_id);
        same("the id", ids.0.clone(), ids.1.clone())?;
    }
    same("sends", fixture.simulator.counters().sends, 1)
}

pub async fn key_conflict(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    running.send(post("k", ALICE, "news")).await?;
    for other in [post("k", ALICE, "other news"), post("k", BOB, "news")] {
        let kinds = &[ErrorKind::KeyConflict];
        refused(
            "send of another content",
            kinds,
            running.instance.send(other),
        )
        .await?;
    }
    same("sends", fixture.simulator.counters().sends, 1)
}

pub async fn receipts(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let receipt = running.send(post("k", ALICE, "news")).await?;
    fixture.kill(running).await?;
    fixture.clock.advance(Duration::from_secs(71 * 3600));
    let running = fixture.start().await?;
    let found = answered("find", running.instance.find("k".to_owned())).await?;
    let found = found.ok_or("the receipt is gone before 72 hours")?;
    let ids =
        [&found, &receipt].map(|one| one.parts.first().and_then(|part| part.message_id.clone()));
    same("its id", &ids[0], &ids[1])?;
    let unknown = answered("find", running.instance.find("unknown".to_owned())).await?;
    expect(unknown.is_none(), || {
        "there is a receipt of an unknown key".to_owned()
    })
}

pub async fn beside_a_poll(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let receiving = running.receiving();
    fixture.until_polling().await?;
    let polls = fixture.simulator.counters().polls;
    let receipt = running.send(post("k", ALICE, "news")).await?;
    part(&receipt, PartState::Accepted)?;
    let counters = fixture.simulator.counters();
    same(
        "polls and open polls",
        (counters.polls, counters.polls_open),
        (polls, 1),
    )?;
    receiving.abort();
    Ok(())
}

pub async fn parts(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let limit = usize::try_from(fixture.plugin.descriptor.text_limit).unwrap_or(usize::MAX);
    let text: String = (0..limit / 2).map(|number| format!("{number} ")).collect();
    let long = Post {
        text: text.clone(),
        ..post("k", ALICE, "")
    };
    let receipt = running.send(long).await?;
    let shown = fixture.shown();
    expect(
        shown.len() > 1 && shown.len() == receipt.parts.len(),
        || format!("{} bubbles of {} parts", shown.len(), receipt.parts.len()),
    )?;
    let longest = shown.iter().map(|part| part.chars().count()).max();
    expect(longest <= Some(limit), || {
        format!("a part of {longest:?} characters")
    })?;
    let numbers = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    expect(numbers(&shown.join(" ")) == numbers(&text), || {
        "the parts together are another text".to_owned()
    })
}

pub async fn try_again(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    fixture.faults(json!({"sendmessage": [
        {"status": 503, "times": 1},
        {"status": 429, "times": 1},
    ]}))?;
    let receipt = fixture
        .flying(running.send(post("k", ALICE, "news")))
        .await?;
    let is_shown = |simulator: &Simulator| simulator.answers(ALICE).len() == 1;
    fixture
        .flying(fixture.until("sending again", is_shown))
        .await?;
    // It may have been told as pending.
    expect(receipt.parts.len() == 1, || "it has no part".to_owned())?;
    running.settled().await?;
    same("sends", fixture.simulator.counters().sends, 3)
}

pub async fn unconfirmed(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    fixture.faults(json!({"sendmessage": {"answer": "black-hole", "times": 1}}))?;
    let receipt = running.send(post("k", ALICE, "news")).await?;
    part(&receipt, PartState::Unconfirmed)?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    fixture.clock.advance(Duration::from_secs(120));
    let receipt = running.send(post("k", ALICE, "news")).await?;
    part(&receipt, PartState::Unconfirmed)?;
    same("sends", fixture.simulator.counters().sends, 1)
}

pub async fn lost_answer(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    fixture.faults(json!({"sendmessage": {"cut": "after", "times": 1}}))?;
    let sending = running.send(post("once", ALICE, "news"));
    let receipt = fixture.flying(sending).await?;
    part(&receipt, PartState::Accepted)?;
    let phone = fixture.simulator.phone();
    let sent = phone.iter().filter(|bubble| bubble["from"] == "bot");
    let ids: Vec<_> = sent.map(|bubble| bubble["client_id"].to_string()).collect();
    same("bubbles", ids.len(), 2)?;
    expect(ids.first() == ids.last(), || {
        "the second has another client id".to_owned()
    })?;

    fixture.faults(json!({"sendmessage": {"cut": "after"}}))?;
    let sending = running.send(post("twice", ALICE, "more"));
    let receipt = fixture.flying(sending).await?;
    part(&receipt, PartState::Unknown)?;
    same("sends", fixture.simulator.counters().sends, 4)
}

pub async fn progress(fixture: &Fixture) -> Outcome {
    let (running, message) = met(fixture).await?;
    for number in 0..30 {
        let step = Post {
            progress: true,
            ..post(&format!("p{number}"), ALICE, &format!("step {number}"))
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
    let counters = fixture.simulator.counters();
    same("refused sends", counters.refused, 0)?;
    expect(counters.accepted > 2, || "no progress is shown".to_owned())
}

pub async fn typing(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let is_on = || fixture.simulator.first().typing(ALICE).on;
    let show = async |on| {
        let call = running.instance.typing(ALICE.to_owned(), on);
        answered("typing", call).await
    };
    show(true).await?;
    expect(is_on(), || "it does not show".to_owned())?;
    show(false).await?;
    expect(!is_on(), || "it does not end".to_owned())
}

pub async fn login_required(fixture: &Fixture) -> Outcome {
    for shape in ["errcode", "ret", "both"] {
        let (running, _) = met(fixture).await?;
        let receiving = running.receiving();
        fixture.until_polling().await?;
        fixture.faults(json!({"session": {"expired": shape}}))?;
        let step = Duration::from_millis(500);
        let phase = async |phase| Ok(running.health().await?.phase == phase);
        let told = async || phase(Phase::LoginRequired).await;
        fixture.moving("telling login-required", step, told).await?;
        let kinds = &[ErrorKind::LoginRequired];
        let news = running.instance.send(post("k", ALICE, "news"));
        refused("send without a session", kinds, news).await?;
        fixture.faults(json!({"session": null}))?;
        fixture.say("are you back?");
        let events = fixture
            .flying(within("receive after it", receiving))
            .await?;
        let events = events.map_err(|error| error.to_string())?;
        events.map_err(|error| format!("receive after it fails: {error}"))?;
        fixture
            .moving("telling connected", step, async || {
                phase(Phase::Connected).await
            })
            .await?;
        fixture.kill(running).await?;
        // Nothing of this round is to be in the next one.
        let running = fixture.start().await?;
        let left = running.receive().await?;
        for event in left {
            running.ack(&event.id).await?;
        }
        fixture.kill(running).await?;
    }
    Ok(())
}
