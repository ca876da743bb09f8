//! What stands where the environment's account of WeChat would stand.

use tokio::sync::watch;

use crate::cli::ConfiguredAccount;

/// What runs of WeChat when no file of accounts says it.
#[derive(Clone)]
pub enum Stage {
    /// This account of the built-in simulator, with which a person talks.
    Simulated(ConfiguredAccount),
    /// Nothing: a person logs in.
    LoggingIn,
    /// What the environment means, once there is such an account.
    Chosen,
}

/// Waits until there is another stage.
pub async fn next(stage: &mut watch::Receiver<Stage>) {
    // After the last one nothing follows.
    if stage.changed().await.is_err() {
        std::future::pending().await
    }
}
