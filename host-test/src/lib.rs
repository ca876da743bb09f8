//! The command line of the reference host: it runs accounts, simulated servers and checks.
//!
//! The library that gateways embed is `gateway-host`; the simulated servers are `gateway-simulator`,
//! the checks `gateway-conformance`.

#![warn(missing_debug_implementations)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        reason = "a test that fails ends so"
    )
)]

// The README's example is compiled by the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod about;
pub mod cli;
pub mod run;
pub mod terminal;
