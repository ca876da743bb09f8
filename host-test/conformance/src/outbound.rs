//! From the gateway to the platform, once per key.

use std::time::Duration;

use serde_json::json;

use super::fixture::{
    ALICE, BOB, Outcome, World, answer, answered, expect, part, post, refused, same, within, words,
};
use gateway_host::account::Post;
use gateway_host::bindings::exports::gateway::channel::lifecycle::Phase;
use gateway_host::bindings::gateway::channel::types::{ErrorKind, Message, PartState};
use gateway_simulator::Simulator;

use super::fixture::Running;

/// A started instance that has got a message, so that Alice can be written to.
async fn met(world: &World) -> Result<(Running, Message), String> {
    let running = world.start().await?;
    let id = world.say("hello");
    let message = running.receive_only(&id).await?;
    Ok((running, message))
}

pub async fn answer_acknowledges(world: &World) -> Outcome {
    world.say_nothing_twice()?;
    let (running, message) = met(world).await?;
    let receipt = running.send(answer(&message, "the answer")).await?;
    let sent = part(&receipt, PartState::Accepted)?;
    expect(sent.message_id.is_some(), || {
        "it is accepted, and has no id".to_owned()
    })?;
    world.kill(running).await?;
    let running = world.start().await?;
    let other = world.say("other");
    running.receive_only(&other).await?;
    same(
        "what the person sees",
        world.shown(),
        vec![words("the answer")],
    )
}

pub async fn interrupted(world: &World) -> Outcome {
    world.say_nothing_twice()?;
    let (mut running, message) = met(world).await?;
    world.faults(json!({"sendmessage": {"stall": "before"}}))?;
    running.sending(answer(&message, "the answer"));
    let is_sent = |simulator: &Simulator| simulator.counters().sends == 1;
    world.until("sending", is_sent).await?;
    world.kill(running).await?;
    world.faults(json!({"sendmessage": null}))?;
    let running = world.start().await?;
    let is_shown = |simulator: &Simulator| simulator.answers(ALICE).len() == 1;
    world
        .flying(world.until("sending the answer again", is_shown))
        .await?;
    let other = world.say("other");
    running.receive_only(&other).await?;
    same(
        "what the person sees",
        world.shown(),
        vec![words("the answer")],
    )
}

pub async fn stored(world: &World) -> Outcome {
    let mut running = world.start_without_lane().await?;
    let id = world.say("hello");
    let message = running.receive_only(&id).await?;
    running.sending(answer(&message, "the answer"));
    world
        .moving("storing the answer", Duration::ZERO, async || {
            Ok(running.health().await?.queued == 1)
        })
        .await?;
    same("sends without a lane", world.simulator.counters().sends, 0)?;
    world.kill(running).await?;
    let running = world.start().await?;
    let is_shown = |simulator: &Simulator| simulator.answers(ALICE).len() == 1;
    world.until("sending the answer", is_shown).await?;
    running.settled().await?;
    same("sends", world.simulator.counters().sends, 1)
}

pub async fn key_once(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    let said = || post("k", ALICE, "news");
    let (first, second) = tokio::join!(running.send(said()), running.send(said()));
    let first = part(&first?, PartState::Accepted)?.clone();
    let second = part(&second?, PartState::Accepted)?.clone();
    world.kill(running).await?;
    let running = world.start().await?;
    let third = running.send(said()).await?;
    let third = part(&third, PartState::Accepted)?;
    for later in [&second, third] {
        let ids = (&later.message_id, &first.message_id);
        same("the id", ids.0.clone(), ids.1.clone())?;
    }
    same("sends", world.simulator.counters().sends, 1)
}

pub async fn key_conflict(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
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
    same("sends", world.simulator.counters().sends, 1)
}

pub async fn receipts(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    let receipt = running.send(post("k", ALICE, "news")).await?;
    world.kill(running).await?;
    world.clock.advance(Duration::from_secs(71 * 3600));
    let running = world.start().await?;
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

pub async fn beside_a_poll(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    let receiving = running.receiving();
    world.until_polling().await?;
    let polls = world.simulator.counters().polls;
    let receipt = running.send(post("k", ALICE, "news")).await?;
    part(&receipt, PartState::Accepted)?;
    let counters = world.simulator.counters();
    same(
        "polls and open polls",
        (counters.polls, counters.polls_open),
        (polls, 1),
    )?;
    receiving.abort();
    Ok(())
}

pub async fn parts(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    let limit = usize::try_from(world.plugin.descriptor.text_limit).unwrap_or(usize::MAX);
    let text: String = (0..limit / 2).map(|number| format!("{number} ")).collect();
    let long = Post {
        text: text.clone(),
        ..post("k", ALICE, "")
    };
    let receipt = running.send(long).await?;
    let shown = world.shown();
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

pub async fn try_again(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    world.faults(json!({"sendmessage": [
        {"status": 503, "times": 1},
        {"status": 429, "times": 1},
    ]}))?;
    let receipt = world.flying(running.send(post("k", ALICE, "news"))).await?;
    let is_shown = |simulator: &Simulator| simulator.answers(ALICE).len() == 1;
    world.flying(world.until("sending again", is_shown)).await?;
    // It may have been told as pending.
    expect(receipt.parts.len() == 1, || "it has no part".to_owned())?;
    running.settled().await?;
    same("sends", world.simulator.counters().sends, 3)
}

pub async fn unconfirmed(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    world.faults(json!({"sendmessage": {"answer": "black-hole", "times": 1}}))?;
    let receipt = running.send(post("k", ALICE, "news")).await?;
    part(&receipt, PartState::Unconfirmed)?;
    world.kill(running).await?;
    let running = world.start().await?;
    world.clock.advance(Duration::from_secs(120));
    let receipt = running.send(post("k", ALICE, "news")).await?;
    part(&receipt, PartState::Unconfirmed)?;
    same("sends", world.simulator.counters().sends, 1)
}

pub async fn lost_answer(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    world.faults(json!({"sendmessage": {"cut": "after", "times": 1}}))?;
    let sending = running.send(post("once", ALICE, "news"));
    let receipt = world.flying(sending).await?;
    part(&receipt, PartState::Accepted)?;
    let phone = world.simulator.phone();
    let sent = phone.iter().filter(|bubble| bubble["from"] == "bot");
    let ids: Vec<_> = sent.map(|bubble| bubble["client_id"].to_string()).collect();
    same("bubbles", ids.len(), 2)?;
    expect(ids.first() == ids.last(), || {
        "the second has another client id".to_owned()
    })?;

    world.faults(json!({"sendmessage": {"cut": "after"}}))?;
    let sending = running.send(post("twice", ALICE, "more"));
    let receipt = world.flying(sending).await?;
    part(&receipt, PartState::Unknown)?;
    same("sends", world.simulator.counters().sends, 4)
}

pub async fn progress(world: &World) -> Outcome {
    let (running, message) = met(world).await?;
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
        world.shown().pop(),
        Some(words("the answer")),
    )?;
    let counters = world.simulator.counters();
    same("refused sends", counters.refused, 0)?;
    expect(counters.accepted > 2, || "no progress is shown".to_owned())
}

pub async fn typing(world: &World) -> Outcome {
    let (running, _) = met(world).await?;
    let is_on = || world.simulator.first().typing(ALICE).on;
    let show = async |on| {
        let call = running.instance.typing(ALICE.to_owned(), on);
        answered("typing", call).await
    };
    show(true).await?;
    expect(is_on(), || "it does not show".to_owned())?;
    show(false).await?;
    expect(!is_on(), || "it does not end".to_owned())
}

pub async fn login_required(world: &World) -> Outcome {
    for shape in ["errcode", "ret", "both"] {
        let (running, _) = met(world).await?;
        let receiving = running.receiving();
        world.until_polling().await?;
        world.faults(json!({"session": {"expired": shape}}))?;
        let step = Duration::from_millis(500);
        let phase = async |phase| Ok(running.health().await?.phase == phase);
        let told = async || phase(Phase::LoginRequired).await;
        world.moving("telling login-required", step, told).await?;
        let kinds = &[ErrorKind::LoginRequired];
        let news = running.instance.send(post("k", ALICE, "news"));
        refused("send without a session", kinds, news).await?;
        world.faults(json!({"session": null}))?;
        world.say("are you back?");
        let events = world.flying(within("receive after it", receiving)).await?;
        let events = events.map_err(|error| error.to_string())?;
        events.map_err(|error| format!("receive after it fails: {error}"))?;
        world
            .moving("telling connected", step, async || {
                phase(Phase::Connected).await
            })
            .await?;
        world.kill(running).await?;
        // Nothing of this round is to be in the next one.
        let running = world.start().await?;
        let left = running.receive().await?;
        for event in left {
            running.ack(&event.id).await?;
        }
        world.kill(running).await?;
    }
    Ok(())
}
