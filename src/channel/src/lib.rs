//! What a messaging channel is, whatever the platform: what is received is journalled until it is
//! acknowledged, what is to be sent is stored until it is settled.
//!
//! Everything here is values in and values out: no module has a clock, randomness or I/O of its own.

pub mod backoff;
pub mod channel;
pub mod clock;
pub mod control;
pub mod dedup;
pub mod error;
pub mod expiry;
pub mod file_name;
pub mod health;
pub mod history;
pub mod http;
pub mod journal;
pub mod json;
pub mod markdown;
pub mod message;
pub mod outbox;
pub mod pace;
pub mod peers;
pub mod policy;
pub mod settings;
pub mod sniff;
pub mod split;
pub mod store;
