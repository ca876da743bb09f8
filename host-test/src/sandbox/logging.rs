//! `wasi:logging`: lines of the component in the host's log, with the account.

use super::Sandbox;
use crate::bindings::wasi::logging::logging::{self, Level};

/// Longest line; the rest is cut off.
const MAX_LINE_BYTES: usize = 4096;

impl logging::Host for Sandbox {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let account = &*self.account;
        let message = cut(&message);
        let context = cut(&context);
        match level {
            Level::Trace => tracing::trace!(account, context, "{message}"),
            Level::Debug => tracing::debug!(account, context, "{message}"),
            Level::Info => tracing::info!(account, context, "{message}"),
            Level::Warn => tracing::warn!(account, context, "{message}"),
            Level::Error | Level::Critical => tracing::error!(account, context, "{message}"),
        }
        Ok(())
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_LINE_BYTES))
        .unwrap_or_default()
}
