//! The WeCom account of the environment, beside the other one or alone.

use super::agents::Agents;
use super::serve::start_failure;
use super::{Failure, component::Components};
use crate::cli::{WECOM, WecomAccount};
use gateway_host::account::AccountOptions;
use gateway_host::gateway::Gateway;
use gateway_host::media::MediaRules;

/// Starts it.
///
/// # Errors
/// When its component can't be used, or its configuration is wrong.
pub async fn start(
    gateway: &Gateway,
    agents: &Agents,
    components: &Components,
    account: WecomAccount,
    media: &MediaRules,
    has_webhooks: bool,
) -> Result<(), Failure> {
    components.ensure(gateway, WECOM).await?;
    let options = AccountOptions {
        id: account.id,
        secrets: account.secrets,
        config: account.config,
        media: media.clone(),
    };
    let started = gateway.add(WECOM, options, agents.default()).await;
    let account = started.map_err(start_failure)?;
    tracing::info!(account = account.id(), "started");
    if !has_webhooks {
        tracing::warn!(
            account = account.id(),
            "its messages come as callbacks, and nothing listens for them: add --webhooks ADDR"
        );
    }
    Ok(())
}
