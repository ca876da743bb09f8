//! Checks of messages from the platform to the gateway: each arrives at least once.

use std::time::Duration;

use super::fixture::{Fixture, Outcome, answered, expect, messages, refused, same, within, words};
use super::held::Writes;
use super::platform::Fault;
use gateway_host::contract::Phase;
use gateway_host::contract::{ChatKind, ErrorKind, MediaKind};

/// Unacknowledged messages at which polling pauses.
const PAUSE_AT: u32 = 10_000;
/// Far longer than the next poll or a write takes.
const A_WHILE: Duration = Duration::from_millis(60);

pub async fn members(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let first = fixture.say("the first");
    running.receive_only(&first).await?;
    let text = words("你好 👋🏽");
    let quoting = fixture.server.say_with_quote(&text, &first);
    let can_quote = quoting.is_some();
    let id = quoting.unwrap_or_else(|| fixture.server.say(&text));
    let message = running.receive_only(&id).await?;
    same("the text", &message.text, &text)?;
    same(
        "the conversation",
        &message.conversation.id,
        &fixture.alice.conversation,
    )?;
    same("its kind", message.conversation.kind, ChatKind::Direct)?;
    same("the sender", &message.sender.id, &fixture.alice.id)?;
    if let Some(sent_at) = fixture.server.sent_at(&id) {
        same("the time", message.sent_at, sent_at)?;
    }
    if can_quote {
        let quote = message.quote.ok_or("the quote is missing")?;
        same("the quoted id", quote.message_id, Some(first))?;
        same("the quoted text", quote.text, Some(words("the first")))?;
    }
    let Some(id) = fixture.server.send_file("报告.pdf", vec![1; 100]) else {
        return Ok(());
    };
    let message = running.receive_only(&id).await?;
    let [media] = message.media.as_slice() else {
        return Err(format!("{} media instead of one", message.media.len()));
    };
    same("the kind of media", media.kind, MediaKind::File)?;
    same("its name", media.name.as_deref(), Some("报告.pdf"))?;
    same("its size", media.size, Some(100))?;
    expect(media.handle.is_some(), || "it has no handle".to_owned())
}

pub async fn until_acknowledged(fixture: &Fixture) -> Outcome {
    fixture.say_nothing_twice()?;
    let id = fixture.say("hello");
    let mut event = String::new();
    for _ in 0..3 {
        let running = fixture.start().await?;
        let events = running.receive().await?;
        let ids: Vec<&str> = messages(&events)
            .iter()
            .map(|one| one.id.as_str())
            .collect();
        same("what an instance returns", ids, vec![id.as_str()])?;
        let again = events
            .first()
            .map(|event| event.id.clone())
            .unwrap_or_default();
        expect(event.is_empty() || event == again, || {
            "the event has another id the next time".to_owned()
        })?;
        event = again;
    }
    let running = fixture.start().await?;
    running.receive().await?;
    running.ack("unknown to everybody").await?;
    running.ack(&event).await?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let other = fixture.say("other");
    running.receive_only(&other).await.map(drop)
}

pub async fn store_first(fixture: &Fixture) -> Outcome {
    let (running, held) = fixture.start_held().await?;
    let mut receiving = running.receiving();
    fixture.until_polling().await?;
    held.set(Writes::Wait);
    let polls = fixture.server.counters().polls;
    let id = fixture.say("hello");
    let early = tokio::time::timeout(A_WHILE, &mut receiving).await;
    let early_poll = fixture.server.counters().polls > polls;
    held.set(Writes::Pass);
    expect(early.is_err(), || {
        "receive returns the message before it is stored".to_owned()
    })?;
    expect(!early_poll, || {
        "the next poll is sent before the message is stored".to_owned()
    })?;
    let events = within("receive", receiving).await?;
    let events = events.map_err(|error| error.to_string())?;
    let events = events.map_err(|error| error.to_string())?;
    let ids: Vec<&str> = messages(&events)
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    same("what is returned after that", ids, vec![id.as_str()])
}

pub async fn killed_after_the_write(fixture: &Fixture) -> Outcome {
    fixture.say_nothing_twice()?;
    let (running, held) = fixture.start_held().await?;
    let receiving = running.receiving();
    fixture.until_polling().await?;
    held.set(Writes::Hang);
    let id = fixture.say("hello");
    within("storing the message", held.hung()).await?;
    receiving.abort();
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    let result = running.receive_only(&id).await;
    // Only now does the killed one find out.
    held.set(Writes::Pass);
    result.map(drop)
}

pub async fn failed_write(fixture: &Fixture) -> Outcome {
    fixture.say_nothing_twice()?;
    let (running, held) = fixture.start_held().await?;
    let receiving = running.receiving();
    fixture.until_polling().await?;
    held.set(Writes::Fail);
    let id = fixture.say("hello");
    match within("receive with a store that fails", receiving).await? {
        Ok(Err(gateway_host::instance::CallError::Channel(error)))
            if error.kind == ErrorKind::Storage => {}
        other => {
            return Err(format!(
                "receive with a store that fails does not fail with storage: {:?}",
                other.map(|result| result.map(|events| events.len()))
            ));
        }
    }
    held.set(Writes::Pass);
    running.receive_only(&id).await?;
    fixture.kill(running).await?;
    fixture.start().await?.receive_only(&id).await.map(drop)
}

pub async fn repeats(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let first = fixture.say("ok");
    running.receive_only(&first).await?;
    // Before and after the acknowledgement, and after a kill.
    fixture.server.repeat(&first);
    let second = fixture.say("ok");
    running.receive_only(&second).await?;
    running.ack(&first).await?;
    fixture.server.repeat(&first);
    let third = fixture.say("ok");
    running.receive_only(&third).await?;
    running.ack(&second).await?;
    running.ack(&third).await?;
    fixture.kill(running).await?;
    let running = fixture.start().await?;
    fixture.server.repeat(&first);
    let fourth = fixture.say("ok");
    running.receive_only(&fourth).await.map(drop)
}

pub async fn backlog(fixture: &Fixture) -> Outcome {
    let ids: Vec<String> = (0..350)
        .map(|number| fixture.say(&number.to_string()))
        .collect();
    let running = fixture.start().await?;
    let first = running.receive().await?;
    expect(!first.is_empty(), || "receive returns nothing".to_owned())?;
    fixture.kill(running).await?;
    // Nothing is acknowledged, so the next one returns all.
    let running = fixture.start().await?;
    let events = running.receive_all(ids.len()).await?;
    let found: Vec<String> = messages(&events).iter().map(|one| one.id.clone()).collect();
    expect(found == ids, || {
        format!("{} of {} messages, or out of order", found.len(), ids.len())
    })
}

pub async fn second_receive(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let receiving = running.receiving();
    fixture.until_polling().await?;
    let second = running.instance.receive();
    refused("the second receive", &[ErrorKind::Invalid], second).await?;
    let id = fixture.say("hello");
    let events = within("the first receive", receiving).await?;
    let events = events.map_err(|error| error.to_string())?;
    let events = events.map_err(|error| format!("the first receive fails: {error}"))?;
    same(
        "its message",
        messages(&events).first().map(|one| &one.id),
        Some(&id),
    )
}

pub async fn bad_polls(fixture: &Fixture) -> Outcome {
    fixture.fault(Fault::PollsFail)?;
    let running = fixture.start().await?;
    let id = fixture.say("hello");
    fixture.flying(running.receive_only(&id)).await?;
    let polls = fixture.server.counters().polls;
    expect(polls <= 12, || format!("{polls} polls where 6 were enough"))
}

pub async fn pause(fixture: &Fixture) -> Outcome {
    for number in 0..PAUSE_AT + 2_000 {
        fixture.say(&number.to_string());
    }
    let running = fixture.start().await?;
    let mut events = Vec::new();
    while events.len() < PAUSE_AT as usize {
        events.extend(running.receive().await?);
    }
    let receiving = running.receiving();
    fixture
        .moving("pausing", Duration::ZERO, async || {
            Ok(running.health().await?.phase == Phase::Paused)
        })
        .await?;
    let health = running.health().await?;
    expect(health.reason.is_some(), || "it gives no reason".to_owned())?;
    expect(health.unacknowledged < PAUSE_AT + 2_000, || {
        "it goes on polling".to_owned()
    })?;
    let ids: Vec<String> = events.into_iter().map(|event| event.id).collect();
    answered("ack of all", running.instance.ack(ids)).await?;
    let more = within("receive after that", receiving).await?;
    let more = more.map_err(|error| error.to_string())?;
    let more = more.map_err(|error| format!("receive after that fails: {error}"))?;
    expect(!more.is_empty(), || "polling does not go on".to_owned())
}

pub async fn redirects(fixture: &Fixture) -> Outcome {
    fixture.fault(Fault::Redirects)?;
    let running = fixture.start().await?;
    let id = fixture.say("hello");
    fixture.flying(running.receive_only(&id)).await?;
    let sending = running.send(fixture.post("k", "news"));
    fixture.flying(sending).await?;
    fixture.clock.advance(Duration::from_secs(1));
    Ok(())
}
