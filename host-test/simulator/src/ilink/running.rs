//! The task of a running server, and the commands that it takes.

use std::io;
use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// A command to a running server.
pub(super) enum Command {
    GoOffline(oneshot::Sender<()>),
    ComeOnline(oneshot::Sender<io::Result<()>>),
}

/// Keeps the server alive; dropping it drops the sender, which the server takes for a stop.
pub(super) struct Running {
    pub(super) stop: watch::Sender<bool>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) task: Mutex<Option<JoinHandle<()>>>,
}
