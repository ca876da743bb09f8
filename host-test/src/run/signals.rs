//! The signals that end a command.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::{RunError, other};

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens for them from now on.
    pub fn new() -> Result<Signals, RunError> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(other)?,
            interrupt: signal(SignalKind::interrupt()).map_err(other)?,
        })
    }

    /// Waits for one of them.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
