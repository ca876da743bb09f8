//! The real component in wasmtime, and the real runner, against the simulated server.
//!
//! No test needs the internet, a fixed port, or a sleep that hopes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test that fails ends so"
)]

mod harness;
mod redis_server;

mod accounts_file;
mod admin;
mod agents;
mod bursts;
mod check;
mod contract;
mod conversations;
mod crash;
mod documents;
mod failures;
mod gateway;
mod hostile;
mod lifecycle;
mod listeners;
mod login;
mod long_life;
mod machine;
mod media;
mod outbox;
mod progress;
mod proxy;
mod quotes;
mod redis;
mod runner;
mod secrets;
mod storage;
mod telegram;
mod tenants;
mod typing;
mod webhooks;
mod wecom;
