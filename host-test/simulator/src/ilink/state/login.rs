//! The QR codes of the login, and what became of each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::bot::Bot;

/// QR codes that are remembered.
pub(crate) const CODES: usize = 256;

/// What the login has counted since the start. Requests count when they arrive, whatever becomes
/// of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginCounters {
    /// Requests to `get_bot_qrcode`.
    pub qr_codes: u64,
    /// Requests to `get_qrcode_status`.
    pub status_polls: u64,
    /// Of those, the ones that are open now.
    pub status_polls_open: u64,
    /// Logins that were confirmed.
    pub logins: u64,
}

/// The login of a simulator.
#[derive(Default)]
pub(crate) struct Login {
    pub(crate) codes: Mutex<QrCodes>,
    pub(crate) counters: Mutex<LoginCounters>,
    /// Wakes the open status polls: an act of a person, or changed rules.
    pub(crate) changed: Notify,
}

/// The codes that are remembered.
#[derive(Default)]
pub(crate) struct QrCodes {
    /// The oldest first.
    pub(crate) sessions: VecDeque<Session>,
}

impl QrCodes {
    /// Adds a code; the oldest may go for it.
    pub(crate) fn add(&mut self, session: Session) {
        if self.sessions.len() == CODES {
            self.sessions.pop_front();
        }
        self.sessions.push_back(session);
    }

    /// The code with this value, or with this URL.
    pub(crate) fn find(&mut self, qrcode: &str) -> Option<&mut Session> {
        self.sessions
            .iter_mut()
            .find(|session| session.qrcode == qrcode || session.url == qrcode)
    }
}

/// One QR code and its state.
pub(crate) struct Session {
    pub(crate) qrcode: String,
    pub(crate) url: String,
    /// Tokens that the client claims to have and that belong to a bot.
    pub(crate) tokens: Vec<String>,
    pub(crate) made: Duration,
    pub(crate) ends: Duration,
    /// Who scanned it.
    pub(crate) user: Option<String>,
    /// What the phone showed.
    pub(crate) digits: Option<String>,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) step: Step,
}

pub(crate) enum Step {
    Waiting,
    /// The client must send the digits; so often they were wrong.
    Asking(u64),
    Scanned,
    Confirmed(Confirmed),
    Bound,
    Blocked,
    Expired,
}

/// What a confirmed login gives.
#[derive(Clone)]
pub(crate) struct Confirmed {
    pub(crate) bot: Arc<Bot>,
    pub(crate) token: String,
    pub(crate) user: String,
}

pub(crate) struct Redirect {
    pub(crate) host: Option<String>,
    pub(crate) asked: bool,
}

/// The answer to a status poll.
pub(crate) enum Status {
    Wait,
    NeedsDigits,
    Scanned,
    Redirected(Option<String>),
    Confirmed(Confirmed),
    Bound,
    Blocked,
    Expired,
}

impl Status {
    /// In the words of the wire.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Status::Wait => "wait",
            Status::NeedsDigits => "need_verifycode",
            Status::Scanned => "scaned",
            Status::Redirected(_) => "scaned_but_redirect",
            Status::Confirmed(_) => "confirmed",
            Status::Bound => "binded_redirect",
            Status::Blocked => "verify_code_blocked",
            Status::Expired => "expired",
        }
    }
}
