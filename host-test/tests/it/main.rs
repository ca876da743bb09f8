//! The real component in wasmtime, and the real runner, against the simulated server.
//!
//! No test needs the internet, a fixed port, or a sleep that hopes.

mod harness;
mod redis_server;

mod admin;
mod bursts;
mod contract;
mod conversations;
mod crash;
mod failures;
mod lifecycle;
mod login;
mod media;
mod outbox;
mod progress;
mod quotes;
mod redis;
mod runner;
mod secrets;
mod storage;
mod typing;
