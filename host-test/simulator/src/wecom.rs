//! A simulated WeCom: the API of one app of a corp, callbacks that are sealed, posted and posted
//! again, people who write, and phones that show.
//!
//! It has a crypto of its own, and checks what comes. All time is the
//! [`Clock`](gateway_listener::clock::Clock)'s, what is recorded is in rings, and it ends with its
//! last handle. [`rules`] has the rules, [`faults`](crate::faults) the faults, and [`control`] the
//! paths of both over HTTP.

mod callbacks;
mod calls;
pub mod control;
mod counters;
mod endpoint;
mod media_kind;
mod multipart;
mod options;
mod people;
pub mod rules;
mod seal;
mod server;
mod simulator;
mod state;
#[cfg(test)]
mod tests;
mod xml;

pub use callbacks::SealedCallback;
pub use counters::Counters;
pub use endpoint::Endpoint;
pub use media_kind::MediaKind;
pub use options::{DEFAULT_USER, WecomOptions};
pub use rules::{CallbackFault, RuleChanges, SendLimit};
pub use simulator::WecomSimulator;
