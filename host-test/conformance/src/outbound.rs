//! Checks of messages from the gateway to the platform: each key is sent once.

use std::time::Duration;

use super::fixture::Running;
use super::fixture::{
    Fixture, Outcome, answer, answered, expect, part, post, refused, same, within, words,
};
use super::platform::{Fault, PlatformServer};
use gateway_host::account::Post;
use gateway_host::contract::Phase;
use gateway_host::contract::{ErrorKind, Message, PartState};

/// A started instance that has got a message, so that Alice can be written to.
pub async fn met(fixture: &Fixture) -> Result<(Running, Message), String> {
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
    fixture.fault(Fault::SendsStall)?;
    running.sending(answer(&message, "the answer"));
    let is_sent = |server: &dyn PlatformServer| server.counters().sends == 1;
    fixture.until("sending", is_sent).await?;
    fixture.kill(running).await?;
    fixture.heal(Fault::SendsStall)?;
    let running = fixture.start().await?;
    let is_shown = |server: &dyn PlatformServer| server.answers().len() == 1;
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
    same("sends without a lane", fixture.server.counters().sends, 0)?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let is_shown = |server: &dyn PlatformServer| server.answers().len() == 1;
    fixture.until("sending the answer", is_shown).await?;
    running.settled().await?;
    same("sends", fixture.server.counters().sends, 1)
}

pub async fn key_once(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let said = || fixture.post("k", "news");
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
    same("sends", fixture.server.counters().sends, 1)
}

pub async fn key_conflict(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    running.send(fixture.post("k", "news")).await?;
    for other in [
        fixture.post("k", "other news"),
        post("k", &fixture.bob.conversation, "news"),
    ] {
        let kinds = &[ErrorKind::KeyConflict];
        refused(
            "send of another content",
            kinds,
            running.instance.send(other),
        )
        .await?;
    }
    same("sends", fixture.server.counters().sends, 1)
}

pub async fn receipts(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let receipt = running.send(fixture.post("k", "news")).await?;
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
    let polls = fixture.server.counters().polls;
    let receipt = running.send(fixture.post("k", "news")).await?;
    part(&receipt, PartState::Accepted)?;
    let counters = fixture.server.counters();
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
    let limit = usize::try_from(fixture.plugin.descriptor().text_limit).unwrap_or(usize::MAX);
    let text: String = (0..limit / 2).map(|number| format!("{number} ")).collect();
    let long = Post {
        text: text.clone(),
        ..fixture.post("k", "")
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
    fixture.fault(Fault::SendsRefusedForNow)?;
    let receipt = fixture
        .flying(running.send(fixture.post("k", "news")))
        .await?;
    let is_shown = |server: &dyn PlatformServer| server.answers().len() == 1;
    fixture
        .flying(fixture.until("sending again", is_shown))
        .await?;
    // It may have been told as pending.
    expect(receipt.parts.len() == 1, || "it has no part".to_owned())?;
    running.settled().await?;
    same("sends", fixture.server.counters().sends, 3)
}

pub async fn typing(fixture: &Fixture) -> Outcome {
    let (running, _) = met(fixture).await?;
    let is_on = || fixture.server.is_typing();
    let show = async |on| {
        let call = running
            .instance
            .typing(fixture.alice.conversation.clone(), on);
        answered("typing", call).await
    };
    show(true).await?;
    expect(is_on(), || "it does not show".to_owned())?;
    show(false).await?;
    expect(!is_on(), || "it does not end".to_owned())
}

pub async fn login_required(fixture: &Fixture) -> Outcome {
    for way in 0..fixture.server.credential_refusals() {
        let (running, _) = met(fixture).await?;
        let receiving = running.receiving();
        fixture.until_polling().await?;
        fixture.fault(Fault::CredentialRefused(way))?;
        let step = Duration::from_millis(500);
        let phase = async |phase| Ok(running.health().await?.phase == phase);
        let told = async || phase(Phase::LoginRequired).await;
        fixture.moving("telling login-required", step, told).await?;
        let kinds = &[ErrorKind::LoginRequired];
        let news = running.instance.send(fixture.post("k", "news"));
        refused("send without a session", kinds, news).await?;
        fixture.heal(Fault::CredentialRefused(way))?;
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
