//! What happens while the server runs.

use std::sync::Arc;

use serde_json::Value;

/// What happens while the simulator runs, for a terminal or a test that follows it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A phone shows one more bubble: an entry as in [`Simulator::phone`](crate::Simulator::phone).
    Shown(Value),
    /// The typing indicator of `account` at `user`'s phone was switched.
    Typing {
        /// The bot account.
        account: Arc<str>,
        /// The person who sees the indicator.
        user: String,
        /// On or off.
        on: bool,
    },
}
