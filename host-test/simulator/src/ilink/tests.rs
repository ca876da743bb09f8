//! The server as a client meets it.

mod answers;
mod bots;
mod control;
mod outage;
mod people;
mod polling;
mod server;
mod typing;
mod upload_url;
