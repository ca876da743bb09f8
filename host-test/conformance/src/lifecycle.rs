//! Checks of the lifecycle, from the description to the stop.

use serde_json::Value;

use super::fixture::{Fixture, Outcome, answered, expect, refused, same, within, words};
use super::platform::{Fault, PlatformServer};
use gateway_host::contract::ErrorKind;
use gateway_host::contract::Phase;
use gateway_host::instance::CallError;

pub async fn description(fixture: &Fixture) -> Outcome {
    let about = fixture.plugin.descriptor();
    let again = within("describe", fixture.plugin.describe(&fixture.runtime)).await?;
    let again = again.map_err(|error| format!("describe fails: {error:#}"))?;
    expect(*about == again, || {
        "it says something else the second time".to_owned()
    })?;
    expect(!about.platform.is_empty(), || {
        "it names no platform".to_owned()
    })?;
    expect(!about.egress.is_empty(), || {
        "it declares no egress".to_owned()
    })?;
    expect(about.state_reads_from <= about.state_version, || {
        "it can't read the state that it writes".to_owned()
    })?;
    let schema: Value = serde_json::from_str(&about.config_schema)
        .map_err(|error| format!("config-schema is no JSON: {error}"))?;
    for origin in &about.origins {
        let key = schema.get("properties").and_then(|keys| keys.get(origin));
        expect(key.is_some_and(Value::is_object), || {
            format!("its origin {origin} is no key of config-schema")
        })?;
        let rule = format!("{{{origin}}}");
        expect(
            about.egress.iter().any(|egress| egress.host == rule),
            || format!("its origin {origin} has no rule in egress"),
        )?;
    }
    // Rules that a host can't hold are refused here.
    fixture.instance().await.map(drop)
}

pub async fn too_early(fixture: &Fixture) -> Outcome {
    let instance = fixture.instance().await?;
    let invalid = &[ErrorKind::Invalid];
    refused("receive before start", invalid, instance.receive()).await?;
    refused("run before start", invalid, instance.run()).await?;
    let said = fixture.post("k", "early");
    refused("send before start", invalid, instance.send(said)).await?;
    let health = answered("check before start", instance.check()).await?;
    same("the phase before start", health.phase, Phase::Starting)
}

pub async fn wrong_configuration(fixture: &Fixture) -> Outcome {
    let schema: Value =
        serde_json::from_str(&fixture.plugin.descriptor().config_schema).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    let choice = properties
        .into_iter()
        .flatten()
        .find(|(_, property)| property["enum"].is_array());
    // Without a choice there is no value of which it is known that it is wrong.
    let Some((key, _)) = choice else {
        return Ok(());
    };
    let mut config = fixture.config();
    config.insert(key.clone(), "no such choice".to_owned());
    let instance = fixture.instance_over(fixture.state.clone(), config).await?;
    let error = refused("start", &[ErrorKind::Invalid], instance.start()).await?;
    expect(error.message.contains(key), || {
        format!("the error does not name the key {key}")
    })
}

pub async fn second_start(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    refused(
        "the second start",
        &[ErrorKind::Invalid],
        running.instance.start(),
    )
    .await?;
    let id = fixture.say("hello");
    running.receive_only(&id).await.map(drop)
}

pub async fn health(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let id = fixture.say("hello");
    running.receive_only(&id).await?;
    let receiving = running.receiving();
    fixture.until_polling().await?;
    let polls = polls(fixture);
    let health = running.health().await?;
    same("polls that check waits for", self::polls(fixture), polls)?;
    same("the phase", health.phase, Phase::Connected)?;
    same("unacknowledged messages", health.unacknowledged, 1)?;
    expect(
        health.last_poll.is_some() && health.last_event.is_some(),
        || "it does not tell of the last poll and event".to_owned(),
    )?;
    drop(receiving);
    Ok(())
}

pub async fn drain(fixture: &Fixture) -> Outcome {
    let running = fixture.start_without_lane().await?;
    let receiving = running.receiving();
    let lane = running.instance.clone();
    let lane = tokio::spawn(async move { lane.run().await });
    fixture.until_polling().await?;
    let polls = polls(fixture);
    answered("drain", running.instance.drain(1000)).await?;
    let left = within("receive that is drained", receiving).await?;
    let left = left.map_err(|error| error.to_string())?;
    let left = left.map_err(|error| format!("receive that is drained fails: {error}"))?;
    same("events of receive that is drained", left.len(), 0)?;
    let ended = within("run that is drained", lane).await?;
    ended
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("run that is drained fails: {error}"))?;
    // The open poll is broken off.
    same("polls that drain waits for", self::polls(fixture), polls)?;
    same("events after that", running.receive().await?.len(), 0)?;
    let late = running.instance.send(fixture.post("late", "late"));
    refused("send after drain", &[ErrorKind::Draining], late).await?;
    Ok(())
}

pub async fn drain_in_time(fixture: &Fixture) -> Outcome {
    fixture.fault(Fault::SendsStall)?;
    let mut running = fixture.start().await?;
    let id = fixture.say("hello");
    running.receive_only(&id).await?;
    running.sending(fixture.post("k", "news"));
    let is_sent = |server: &dyn PlatformServer| server.counters().sends == 1;
    fixture.until("sending", is_sent).await?;
    // No answer ever comes, so a drain that waits for one is given up.
    answered("drain with 200 ms", running.instance.drain(200)).await
}

/// Polls that the server has ended by itself.
fn polls(fixture: &Fixture) -> u64 {
    fixture.server.counters().polls_answered
}

pub async fn fence(fixture: &Fixture) -> Outcome {
    fixture.say_nothing_twice()?;
    let old = fixture.start().await?;
    let receiving = old.receiving();
    fixture.until_polling().await?;
    let new = fixture.start().await?;
    // What the open poll of the older one brings is stored by it, and returned by the newer one.
    let id = fixture.say("hello");
    match within("receive of the older instance", receiving).await? {
        Ok(Err(CallError::Channel(error))) if error.kind == ErrorKind::Fenced => {}
        other => {
            return Err(format!(
                "receive of the older instance is not fenced: {:?}",
                other.map(|result| result.map(|events| events.len()))
            ));
        }
    }
    let late = old.instance.send(fixture.post("late", "late"));
    let kinds = &[ErrorKind::Fenced, ErrorKind::Draining];
    refused("send of the older instance", kinds, late).await?;
    fixture.flying(new.receive_only(&id)).await?;
    let shown = fixture.shown();
    expect(!shown.contains(&words("late")), || {
        "the older instance sends".to_owned()
    })
}
