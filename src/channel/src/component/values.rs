//! What calls take and give, the same for each platform.

use wit_bindgen::{FutureReader, StreamReader};

use super::bindings::gateway::channel::types as wit;
use gateway_channel_sdk::health::Phase;
use gateway_channel_sdk::message::MediaKind;

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

/// What is to be uploaded.
pub struct Upload {
    pub conversation: String,
    pub kind: Option<MediaKind>,
    pub name: String,
    pub mime: Option<String>,
    pub size: u64,
    #[cfg_attr(
        feature = "wecom",
        expect(dead_code, reason = "this platform asks for no digest")
    )]
    pub md5: Vec<u8>,
}

/// Content on its way to the host.
pub struct Opened {
    pub mime: &'static str,
    pub bytes: StreamReader<u8>,
    pub done: FutureReader<Result<(), wit::Error>>,
}
