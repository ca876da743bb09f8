//! The host of the `channel` component: the library that a gateway embeds.
//!
//! Modules in reading order: [`runtime`] loads components, [`instance`] runs one, [`sandbox`] is
//! what it sees; [`gateway`] has the accounts of a process, [`account`] keeps an instance of one going
//! and brings its messages to an [`agent`]; [`admin`] is the operator's way in, [`webhooks`] that of
//! platforms; [`egress`] and [`state`] are what the sandbox is made of. [`listener`] and [`clock`] are
//! shared with every other server of this workspace.

pub mod account;
#[cfg(feature = "admin")]
pub mod admin;
pub mod agent;
pub mod bindings;
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
