//! The simulated server: alone, as the command `simulator`, or built into `run`.

use std::net::SocketAddr;

use super::error::{RunError, other};
use super::signals::Signals;
use crate::terminal;
use gateway_host::clock::Clock;
use gateway_host::egress::credential::Secret;
use gateway_host::listener::Names;
use gateway_simulator::{Simulator, SimulatorOptions};

/// Serves the simulator until SIGINT or SIGTERM, and prints what a client needs.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn simulator(
    listen: SocketAddr,
    names: Names,
    token: Option<Secret>,
) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let simulator = Simulator::start(SimulatorOptions {
        listen,
        names,
        control_token: token.map(|token| token.expose().to_owned()),
        ..SimulatorOptions::default()
    })
    .await
    .map_err(|error| RunError::Usage(format!("--listen {listen}: {error}")))?;
    if !listen.ip().is_loopback() {
        tracing::warn!(
            address = %listen,
            "the simulator is open to other machines, and its messages and tokens are not encrypted: \
             use --listen 127.0.0.1:PORT where they are not to come in"
        );
    }
    terminal::print(&format!(
        "WEIXIN_BASE_URL={}\nWEIXIN_CDN_BASE_URL={}\nWEIXIN_TOKEN={}\nWEIXIN_ACCOUNT_ID={}\n\
         WEIXIN_SIM_TOKEN={}\n",
        simulator.base_url(),
        simulator.cdn_base_url(),
        simulator.token(),
        simulator.account_id(),
        simulator.control_token(),
    ))
    .map_err(other)?;
    signals.end().await;
    simulator.shutdown().await;
    Ok(())
}

/// The server that stands in for WeChat where there is no account.
pub async fn built_in(clock: &Clock, token: Option<Secret>) -> Result<Simulator, RunError> {
    // A new account each time: what an earlier run left in the state is not this person's.
    let account_id = format!("{:012x}@im.bot", rand::random::<u64>() >> 16);
    Simulator::start(SimulatorOptions {
        clock: clock.clone(),
        account_id,
        control_token: token.map(|token| token.expose().to_owned()),
        // Files that the agent sends are saved for the person.
        whole_bytes: 100 * 1024 * 1024,
        ..SimulatorOptions::default()
    })
    .await
    .map_err(|error| RunError::Other(format!("the simulated server can't be started: {error}")))
}
