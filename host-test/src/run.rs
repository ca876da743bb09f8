//! What the commands do.

mod accounts;
mod agents;
mod check;
mod components;
mod engine;
mod error;
mod login;
mod person;
mod person_stage;
mod prompt;
mod serve;
mod servers;
mod signals;
mod simulator;
mod source;
mod wanted;

pub use check::{check, compare};
pub use error::RunError;
pub use login::login;
pub use person::talks_to_a_person;
pub use serve::run;
pub use simulator::simulator;
