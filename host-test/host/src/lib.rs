//! The host of the `channel` component: the library that a gateway embeds.
//!
//! The modules in reading order: [`runtime`] loads components, [`instance`] runs one, and [`sandbox`] is
//! what the instance sees. [`gateway`] has the accounts of a process. [`account`] runs one account and
//! gives its messages to an [`agent`]. `admin` is the operator's API, and `webhooks` takes the calls
//! of platforms. The sandbox is made of [`egress`] and [`state`]. All servers of this workspace use
//! [`listener`] and [`clock`].

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

#[macro_use]
mod debug;

pub mod account;
#[cfg(feature = "admin")]
pub mod admin;
pub mod agent;
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic,
    reason = "it is generated from wit/"
)]
mod bindings;
pub mod contract;
pub mod credentials;
pub mod egress;
mod exports;
pub mod gateway;
pub mod instance;
mod json;
pub mod login;
pub mod media;
pub mod runtime;
pub mod sandbox;
pub mod state;
pub mod text;
pub mod transfer;
pub mod watch;
#[cfg(feature = "webhooks")]
pub mod webhooks;

pub use gateway_listener as listener;
pub use gateway_listener::clock;

#[cfg(all(test, feature = "redis"))]
#[path = "../../tests/it/redis_server.rs"]
mod redis_server;
