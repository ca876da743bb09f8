//! The sources of wanted accounts.

pub mod environment;
pub mod file;
pub mod simulator;
