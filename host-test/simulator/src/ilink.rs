//! A simulated iLink server: people who write, phones that show, and the API between them.
//!
//! - An account's state sits behind one lock that is held briefly; open polls wait without it.
//! - All time comes from the [`Clock`](gateway_listener::clock::Clock), so that a 24-hour rule is
//!   tested in seconds.
//! - Nothing grows without bound: messages, phones, wire log, violations and files are rings.
//! - The server ends with its last handle ([`Simulator`] or [`Account`]), open polls included.
//!
//! [`rules`] has the rules, [`faults`](crate::faults) the faults, and [`control`] the paths of
//! both over HTTP.

mod acceptor;
mod account;
mod call;
mod cdn;
mod cipher;
#[cfg(test)]
mod client;
mod content;
pub mod control;
mod endpoint;
mod files;
mod login;
mod media;
mod media_kind;
mod options;
mod people;
mod polling;
mod refusals;
pub mod rules;
mod running;
mod sending;
mod server;
mod simulator;
mod stamp;
mod state;
mod strict;
#[cfg(test)]
mod tests;
mod typing;
mod upload_url;

pub use account::Account;
pub use content::Content;
pub use endpoint::Endpoint;
pub use files::File;
pub use login::{Act, QrCode};
pub use media_kind::MediaKind;
pub use options::{DEFAULT_USER, SimulatorOptions};
pub use rules::{Repeat, RuleChanges};
pub use simulator::Simulator;
pub use state::{Counters, Event, LoginCounters, Typing};
