//! What the runner does about WeChat without a file of accounts.

use tokio::sync::watch;

use crate::cli::ConfiguredAccount;

/// How far the person at the terminal has come, and which account of WeChat runs meanwhile.
#[derive(Clone)]
pub enum PersonStage {
    /// The person talks with this account of the built-in simulator.
    Simulated(ConfiguredAccount),
    /// The person logs in, and no account of WeChat runs.
    LoggingIn,
    /// The account that the environment means runs, once there is one.
    Chosen,
}

/// Waits until there is another stage.
pub async fn next(stage: &mut watch::Receiver<PersonStage>) {
    // After the last one nothing follows.
    if stage.changed().await.is_err() {
        std::future::pending().await
    }
}
