//! Builds a messaging channel as a WebAssembly component.
//!
//! A channel is a type that implements [`platform::Platform`] and is handed to [`export!`] or
//! [`export_with_webhook!`]; [`platform`] has a whole one. The SDK does the rest: it polls, journals what
//! is received until it is acknowledged, stores what is to be sent until it is settled, writes Markdown
//! as text, splits it, keeps the pace, and tells how the account does.
//!
//! The core is values in and values out: no module has a clock, randomness or I/O of its own. The module
//! `component` connects it to the world of `wit/`, and is there for WebAssembly alone.

pub mod backoff;
pub mod channel;
pub mod clock;
#[cfg(target_family = "wasm")]
pub mod component;
pub mod control;
pub mod dedup;
pub mod error;
pub mod expiry;
mod export;
pub mod file_name;
pub mod health;
pub mod history;
pub mod host;
pub mod http;
pub mod journal;
pub mod json;
pub mod markdown;
pub mod message;
pub mod outbox;
pub mod pace;
pub mod peers;
pub mod platform;
pub mod policy;
pub mod settings;
pub mod signal;
pub mod sniff;
pub mod split;
pub mod store;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod transfer;

/// What a channel uses most.
pub mod prelude {
    pub use crate::error::{Error, ErrorKind};
    pub use crate::host::{Host, Level};
    pub use crate::http::{Answer, Method, Request, Response, TransportError};
    pub use crate::message::{
        Body, ChatKind, Conversation, Event, Media, MediaKind, Message, Quote,
    };
    pub use crate::outbox::Outcome;
    pub use crate::platform::{
        Batch, Callback, Description, Egress, HttpAnswer, HttpRequest, Incoming, Part, PartContent,
        Placement, Platform, Poll, PollError, Polling, Webhook, http_error, malformed, unsupported,
    };
    pub use crate::settings::{Defaults, Lookup, Markdown};
    pub use crate::split::Unit;
}
