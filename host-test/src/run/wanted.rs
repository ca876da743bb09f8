//! Which accounts are wanted, and who says so.

use futures::future::LocalBoxFuture;

use super::error::RunError;
use crate::cli::ConfiguredAccount;

/// An account that a source wants.
#[derive(Clone)]
pub struct WantedAccount {
    /// What it is.
    pub account: ConfiguredAccount,
    /// Whether the run ends when it can't be started; else that is told in the log, and it is tried
    /// again.
    pub is_required: bool,
}

/// Something that says which accounts are wanted: a file, the environment, the built-in simulator.
pub trait Source {
    /// The accounts that it wants now.
    ///
    /// # Errors
    /// When it can't say. At the start this ends the run; later it is told in the log, and what the
    /// source said before holds.
    fn accounts(&mut self) -> LocalBoxFuture<'_, Result<Vec<WantedAccount>, RunError>>;

    /// Waits until it may say something else. A call that is given up loses nothing. Changes of stored
    /// logins need not be waited for: each source is asked again after one.
    fn changed(&mut self) -> LocalBoxFuture<'_, ()>;
}
