//! What the simulated server knows: its accounts, files, logins and rules.
//!
//! Everything here is data with its own invariants. What requests and people do to it is in the
//! modules beside this one.

mod bot;
mod bots;
mod bucket;
mod event;
mod file_store;
mod inbox;
mod login;
mod server_state;
mod wire_log;

pub(crate) use bot::{Bot, BotState, Sent};
pub use bot::{Counters, Typing};
#[cfg(test)]
pub(crate) use bots::DISPLACED;
pub use event::Event;
#[cfg(test)]
pub(crate) use file_store::IN_MEMORY;
pub(crate) use file_store::{Announced, Blob};
#[cfg(test)]
pub(crate) use login::CODES;
pub use login::LoginCounters;
pub(crate) use login::{Confirmed, Redirect, Session, Status, Step};
pub(crate) use server_state::ServerState;
pub(crate) use wire_log::Exchange;
