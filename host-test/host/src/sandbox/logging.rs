//! `wasi:logging`: lines of the component in the host's log, with the account and the instance.
//!
//! A component can neither flood the log nor forge lines of it.

use super::Sandbox;
use crate::bindings::wasi::logging::logging::{self, Level};
use crate::text::one_line;

impl logging::Host for Sandbox {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let is_wanted = match level {
            Level::Trace => tracing::enabled!(tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(tracing::Level::INFO),
            Level::Warn => tracing::enabled!(tracing::Level::WARN),
            Level::Error | Level::Critical => tracing::enabled!(tracing::Level::ERROR),
        };
        if !is_wanted {
            return Ok(());
        }
        let longest = self.tenant.limits.log_line_bytes;
        let (context, message) = (one_line(&context, longest), one_line(&message, longest));
        if !self.tenant.may_log(context.len() + message.len()) {
            return Ok(());
        }
        let (account, instance) = (&*self.tenant.account, self.number);
        match level {
            Level::Trace => tracing::trace!(account, instance, context, "{message}"),
            Level::Debug => tracing::debug!(account, instance, context, "{message}"),
            Level::Info => tracing::info!(account, instance, context, "{message}"),
            Level::Warn => tracing::warn!(account, instance, context, "{message}"),
            Level::Error | Level::Critical => {
                tracing::error!(account, instance, context, "{message}")
            }
        }
        Ok(())
    }
}
