//! Checks of messages that the platform refuses for now.

use std::time::Duration;

use super::fixture::{Fixture, HOUR, Outcome, Running, expect, part, refused, same, within, words};
use super::platform::PlatformServer;
use gateway_host::account::Post;
use gateway_host::contract::{ErrorKind, Event, EventBody, PartState, Receipt};

/// A post that may wait for so long.
fn waiting(fixture: &Fixture, key: &str, hours: u64) -> Post {
    Post {
        queue_until: Some(fixture.clock.unix_ms() + hours * 3_600_000),
        ..fixture.post(key, key)
    }
}

/// A started instance, and Alice's window, which is closed.
async fn closed(fixture: &Fixture) -> Result<Running, String> {
    let running = fixture.start().await?;
    let id = fixture.say("hello");
    running.receive_only(&id).await?;
    running.ack(&id).await?;
    let window = fixture.plugin.descriptor().reply_window;
    let window = window.ok_or("the description tells no reply-window")?;
    fixture.clock.advance(Duration::from_millis(window) + HOUR);
    Ok(running)
}

/// The only event, which tells of this key.
fn told<'a>(events: &'a [Event], key: &str) -> Result<(&'a Event, &'a Receipt), String> {
    match events {
        [event] => match &event.body {
            EventBody::Settled(receipt) if receipt.key == key => Ok((event, receipt)),
            other => Err(format!("{other:?} instead of what became of {key}")),
        },
        events => Err(format!("{} events instead of one", events.len())),
    }
}

pub async fn window(fixture: &Fixture) -> Outcome {
    let running = closed(fixture).await?;
    let sends = fixture.server.counters().sends;
    let late = running.instance.send(fixture.post("k", "too late"));
    refused("send", &[ErrorKind::WindowClosed], late).await?;
    same("sends", fixture.server.counters().sends, sends)?;
    let id = fixture.say("I am back");
    running.receive_only(&id).await?;
    let receipt = running.send(fixture.post("k", "too late")).await?;
    part(&receipt, PartState::Accepted).map(drop)
}

pub async fn queued(fixture: &Fixture) -> Outcome {
    let running = closed(fixture).await?;
    let sends = fixture.server.counters().sends;
    for key in ["first", "second"] {
        let receipt = running.send(waiting(fixture, key, 100)).await?;
        part(&receipt, PartState::Queued)?;
    }
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let receipt = running.send(waiting(fixture, "first", 100)).await?;
    part(&receipt, PartState::Queued)?;
    same(
        "sends while the window is closed",
        fixture.server.counters().sends,
        sends,
    )?;
    let receiving = running.receiving();
    fixture.say("good morning");
    let is_shown = |server: &dyn PlatformServer| server.answers().len() == 2;
    fixture
        .flying(fixture.until("sending what was queued", is_shown))
        .await?;
    receiving.abort();
    let wanted = vec![words("first"), words("second")];
    same("what the person sees", fixture.shown(), wanted)
}

pub async fn settled(fixture: &Fixture) -> Outcome {
    let running = closed(fixture).await?;
    let receipt = running.send(waiting(fixture, "news", 100)).await?;
    part(&receipt, PartState::Queued)?;
    let id = fixture.say("good morning");
    let message = running.receive_only(&id).await?;
    running.ack(&message.id).await?;
    let events = fixture.flying(running.receive()).await?;
    let (event, receipt) = told(&events, "news")?;
    part(receipt, PartState::Accepted)?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let again = running.receive().await?;
    let (again, _) = told(&again, "news")?;
    same("the event's id", &again.id, &event.id)?;
    running.ack(&again.id).await?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let other = fixture.say("other");
    running.receive_only(&other).await.map(drop)
}

pub async fn expired(fixture: &Fixture) -> Outcome {
    let running = closed(fixture).await?;
    let receipt = running.send(waiting(fixture, "soon stale", 1)).await?;
    part(&receipt, PartState::Queued)?;
    let receiving = running.receiving();
    fixture.clock.advance(2 * HOUR);
    let events = fixture.flying(within("telling of it", receiving)).await?;
    let events = events.map_err(|error| error.to_string())?;
    let events = events.map_err(|error| format!("receive fails: {error}"))?;
    let (_, receipt) = told(&events, "soon stale")?;
    let stale = part(receipt, PartState::Failed)?;
    expect(stale.error.is_some(), || "it gives no reason".to_owned())?;
    fixture.say("good morning");
    let events = running.receive().await?;
    same("events after that", events.len(), 1)?;
    same("what the person sees", fixture.shown().len(), 0)
}
