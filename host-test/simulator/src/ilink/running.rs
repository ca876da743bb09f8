//! The task of a server that runs, and what it can be told.

use std::io;
use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// What a running server can be told.
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
