//! How the accounts do.

use std::net::IpAddr;

use axum::extract::State;
use axum::{Extension, Json};
use futures::future::join_all;
use http::StatusCode;
use serde::Serialize;

use super::{Admin, Authorized};
use crate::account::{Handle, Phase, Status};
use crate::listener::Peer;

impl Admin {
    /// How each account does, all asked at the same time.
    pub(super) async fn statuses(&self) -> Vec<(Handle, Status)> {
        let ask = |account: Handle| async move {
            let status = account.status().await;
            (account, status)
        };
        join_all(self.gateway.accounts().into_iter().map(ask)).await
    }
}

/// What `/healthz` says.
#[derive(Serialize)]
pub struct Health {
    healthy: bool,
    /// Those that are not connected; left out for strangers on other machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Vec<Unhealthy>>,
}

#[derive(Serialize)]
struct Unhealthy {
    account: String,
    phase: &'static str,
    reason: Option<String>,
}

/// Whether `/healthz` tells ids and reasons: to this machine, as monitors on it expect, and elsewhere
/// to who has the token.
fn tells_all(authorized: Authorized, remote: IpAddr) -> bool {
    authorized.0 || remote.to_canonical().is_loopback()
}

/// `GET /healthz`: whether every account is connected, and those that are not. Without any account
/// nothing is healthy: none has started yet.
pub async fn healthz(
    State(admin): State<Admin>,
    Extension(authorized): Extension<Authorized>,
    Extension(peer): Extension<Peer>,
) -> (StatusCode, Json<Health>) {
    let statuses = admin.statuses().await;
    let is_any = !statuses.is_empty();
    let accounts: Vec<Unhealthy> = statuses
        .into_iter()
        .filter(|(_, status)| status.phase != Phase::Connected)
        .map(|(account, status)| Unhealthy {
            account: account.id().to_owned(),
            phase: phase_name(status.phase),
            reason: status.reason,
        })
        .collect();
    let healthy = is_any && accounts.is_empty();
    let status = match healthy {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let accounts = tells_all(authorized, peer.remote.ip()).then_some(accounts);
    (status, Json(Health { healthy, accounts }))
}

/// An account of `/accounts`, with the contract's members in their order.
#[derive(Serialize)]
pub struct Listed {
    account: String,
    phase: &'static str,
    since_ms: Option<u64>,
    last_poll_ms: Option<u64>,
    last_send_ms: Option<u64>,
    queued: Option<u32>,
    unacknowledged: Option<u32>,
    reason: Option<String>,
    component: String,
}

/// `GET /accounts`.
pub async fn accounts(State(admin): State<Admin>) -> Json<Vec<Listed>> {
    let statuses = admin.statuses().await;
    let listed = statuses.into_iter().map(|(account, status)| Listed {
        account: account.id().to_owned(),
        phase: phase_name(status.phase),
        since_ms: status.since_ms,
        last_poll_ms: status.last_poll_ms,
        last_send_ms: status.last_send_ms,
        queued: status.queued,
        unacknowledged: status.unacknowledged,
        reason: status.reason,
        component: account.component().to_string(),
    });
    Json(listed.collect())
}

/// All phases.
pub const PHASES: [Phase; 7] = [
    Phase::Starting,
    Phase::Connected,
    Phase::Degraded,
    Phase::LoginRequired,
    Phase::Paused,
    Phase::Draining,
    Phase::Stopped,
];

/// A phase's name in the contract.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Connected => "connected",
        Phase::Degraded => "degraded",
        Phase::LoginRequired => "login-required",
        Phase::Paused => "paused",
        Phase::Draining => "draining",
        Phase::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_on_other_machines_learn_no_ids() {
        for (authorized, remote, expected) in [
            (false, "127.0.0.1", true),
            (false, "::1", true),
            (false, "::ffff:127.0.0.1", true),
            (false, "192.168.1.7", false),
            (false, "::ffff:192.168.1.7", false),
            (false, "2001:db8::1", false),
            (true, "192.168.1.7", true),
        ] {
            let remote: IpAddr = remote.parse().unwrap();
            assert_eq!(
                tells_all(Authorized(authorized), remote),
                expected,
                "{remote}"
            );
        }
    }
}
