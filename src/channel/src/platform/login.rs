//! A login that the component leads through, as a machine of requests and answers.

use std::time::Duration;

use super::Platform;
use crate::error::Error;
use crate::http::{Answer, Request};
use crate::settings::Lookup;

/// A platform with a login.
pub trait Login: Platform {
    /// Begins a login at this time of a monotonic clock.
    ///
    /// # Errors
    /// `invalid` for a wrong configuration, and `unsupported` where there is no login.
    fn login(_config: Lookup<'_>, _now: Duration) -> Result<Box<dyn LoginMachine>, Error> {
        Err(super::unsupported("a login"))
    }
}

/// One login. Times are on one monotonic clock.
pub trait LoginMachine {
    /// What to do next.
    fn next(&mut self, now: Duration, random: u64) -> Action;

    /// Takes in the answer to the last request.
    fn answer(&mut self, random: u64, answer: Answer) -> Action;

    /// Takes in the digits that the person was asked for.
    ///
    /// # Errors
    /// `invalid` for what can be no digits.
    fn submit(&mut self, digits: &str) -> Result<(), Error>;

    /// Whether nothing more comes.
    fn has_ended(&self) -> bool;

    /// Why the first step was not reached, after so many failures in a row.
    fn cannot_begin(&self, failures: u32) -> Option<&str>;
}

/// What a login wants done.
#[derive(Debug)]
pub enum Action {
    /// Make this request, and hand in its answer with [`LoginMachine::answer`].
    Ask(Request),
    /// Wait, then [`LoginMachine::next`].
    Wait(Duration),
    /// Tell the person; [`LoginMachine::next`] goes on.
    Tell(Step),
}

/// What the person has to see or do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Scan a QR code of this text, within this time.
    ShowQr(String, Duration),
    /// Confirm on the phone.
    Confirm,
    /// Tell the digits on the phone.
    EnterCode,
    /// Logged in.
    Done(Identity),
    /// Bound already, with a credential that the host has.
    AlreadyBound,
    /// It ended, for this reason.
    Failed(String),
}

/// Whom a login brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account's id.
    pub account: String,
    /// Who logged in.
    pub owner: Option<String>,
    /// Configuration that belongs to the credential.
    pub config: Vec<(String, String)>,
}
