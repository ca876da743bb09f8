//! What calls give, the same for each platform.

use wit_bindgen::{FutureReader, StreamReader};

use super::bindings::gateway::channel::types as wit;
use crate::health::Phase;

/// What `check` tells.
pub struct Report {
    pub phase: Phase,
    pub since_ms: u64,
    pub last_poll_ms: Option<u64>,
    pub last_event_ms: Option<u64>,
    pub last_send_ms: Option<u64>,
    pub unacknowledged: usize,
    pub queued: usize,
    pub reason: Option<String>,
}

/// Content on its way to the host.
pub struct Opened {
    pub mime: &'static str,
    pub bytes: StreamReader<u8>,
    pub done: FutureReader<Result<(), wit::Error>>,
}
