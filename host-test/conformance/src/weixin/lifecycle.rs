//! What iLink alone has around start and stop.

use gateway_host::contract::Phase;

use super::simulator;
use crate::fixture::{Fixture, Outcome, answered, same};

pub async fn announcements(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    answered("drain", running.instance.drain(500)).await?;
    answered("stop", running.instance.stop()).await?;
    answered("the second stop", running.instance.stop()).await?;
    let counters = simulator(fixture)?.counters();
    same(
        "announced starts and stops",
        (counters.starts, counters.stops),
        (1, 1),
    )?;
    same("the phase", running.health().await?.phase, Phase::Stopped)
}
