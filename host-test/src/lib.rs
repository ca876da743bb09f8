//! The reference host of the `channel` component, its runner and its test harness.
//!
//! Modules in reading order: [`runtime`] loads components, [`instance`] runs one, [`sandbox`] is
//! what it sees; [`gateway`] has the accounts of a process, [`account`] keeps an instance of one going
//! and brings its messages to an [`agent`]; [`admin`] is the operator's way in, [`webhooks`] that of
//! platforms, and [`listener`] has what all servers share; [`egress`], [`state`] and [`clock`] are what
//! the sandbox is made of; [`simulator`] plays the iLink server. The rest is the command line.

// The README's example is compiled by the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod account;
pub mod admin;
pub mod agent;
mod bindings;
pub mod check;
pub mod cli;
pub mod clock;
pub mod credentials;
pub mod egress;
mod exports;
pub mod gateway;
pub mod instance;
mod json;
pub mod listener;
pub mod login;
pub mod media;
pub mod run;
pub mod runtime;
pub mod sandbox;
pub mod simulator;
pub mod state;
pub mod terminal;
pub mod text;
pub mod transfer;
pub mod watch;
pub mod webhooks;

#[cfg(test)]
#[path = "../tests/it/redis_server.rs"]
mod redis_server;
