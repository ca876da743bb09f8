//! The login by QR code: the codes, what people do with them at their phones, and what clients
//! are told of it.
//!
//! - A code lives for two minutes of the clock, and a new one is made for each request. At most
//!   [`CODES`] are remembered; one that is not is told to be expired, as the real server does.
//! - A client hears of what happened only by `get_qrcode_status`, which waits while nothing has.
//! - A confirmed login makes a new bot, and the person's bot before is stale from then on.

mod answer;
mod rules;
mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Mutex;

use http::header::HOST;
use http::request::Parts;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::faults::{flag, optional, text};
use super::{DEFAULT_USER, ServerState, Simulator, lock};
pub(super) use answer::answer;
pub(super) use rules::LoginRules;
use session::Session;

/// QR codes that are remembered.
const CODES: usize = 256;

/// What a person does with a QR code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Scans it. If the client has the token of the person's live bot, that ends the login.
    Scan,
    /// Scans it, and the phone shows digits that the client must send.
    ScanWithDigits,
    /// The client is sent to another host, after a scan if there was none. Any string; `None`
    /// names no host.
    Redirect(Option<String>),
    /// Confirms, after a scan if there was none.
    Confirm,
    /// The login ends, because the client has the person's live bot.
    Bound,
    /// The login ends, as after too many wrong digits.
    Block,
    /// The code expires, and as when the person declines.
    Expire,
}

/// A QR code as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCode {
    /// What a client asks with.
    pub qrcode: String,
    /// What the code shows.
    pub url: String,
    /// In the words of the wire, such as `scaned`.
    pub status: &'static str,
    /// Who scanned it.
    pub user: Option<String>,
    /// The digits that the phone showed.
    pub digits: Option<String>,
    /// The bot that was made.
    pub account: Option<String>,
    /// When it expires, since the Unix epoch.
    pub until_ms: u64,
}

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
pub(super) struct Login {
    desk: Mutex<Desk>,
    counters: Mutex<LoginCounters>,
    /// Wakes the open status polls: an act of a person, or changed rules.
    changed: Notify,
}

#[derive(Default)]
struct Desk {
    /// The oldest first.
    sessions: VecDeque<Session>,
}

impl Login {
    /// Lets open status polls look again.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }
}

impl Desk {
    fn add(&mut self, session: Session) {
        if self.sessions.len() == CODES {
            self.sessions.pop_front();
        }
        self.sessions.push_back(session);
    }

    fn find(&mut self, qrcode: &str) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.is(qrcode))
    }
}

impl ServerState {
    /// A person acts at the phone: on this code, or on the newest.
    fn act(&self, qrcode: Option<&str>, user: Option<&str>, act: Act) -> Result<QrCode, String> {
        let rules = lock(&self.rules).login.clone();
        let mut desk = lock(&self.login.desk);
        let session = match qrcode {
            Some(qrcode) => desk.find(qrcode).ok_or("There is no such QR code."),
            None => desk.sessions.back_mut().ok_or("There is no QR code yet."),
        }?;
        session.catch_up(self, &rules);
        session.act(self, &rules, user, act)?;
        let code = session.snapshot(self);
        drop(desk);
        self.login.wake();
        self.changed.notify_waiters();
        Ok(code)
    }

    fn qr_codes(&self) -> Vec<QrCode> {
        let rules = lock(&self.rules).login.clone();
        let mut desk = lock(&self.login.desk);
        let codes = desk.sessions.iter_mut().map(|session| {
            session.catch_up(self, &rules);
            session.snapshot(self)
        });
        codes.collect()
    }
}

impl Simulator {
    /// A person does something with the newest QR code; returns the code as it is then.
    ///
    /// # Errors
    /// A sentence that says why it is not possible; nothing is changed then.
    pub fn login(&self, user: &str, act: Act) -> Result<QrCode, String> {
        self.server().act(None, Some(user), act)
    }

    /// A person does something with this QR code, given as its value or its URL; returns the code
    /// as it is then.
    ///
    /// # Errors
    /// A sentence that says why it is not possible; nothing is changed then.
    pub fn login_at(&self, qrcode: &str, user: &str, act: Act) -> Result<QrCode, String> {
        self.server().act(Some(qrcode), Some(user), act)
    }

    /// The QR codes that are remembered, oldest first.
    pub fn qr_codes(&self) -> Vec<QrCode> {
        self.server().qr_codes()
    }

    /// What the login has counted.
    pub fn login_counters(&self) -> LoginCounters {
        *lock(&self.server().login.counters)
    }
}

/// Whether a client was sent here by the name that this request asks for.
pub(super) fn sends_to(server: &ServerState, head: &Parts) -> bool {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let desk = lock(&server.login.desk);
    let mut sessions = desk.sessions.iter();
    host.is_some_and(|host| sessions.any(|session| session.sends_to(host)))
}

/// Answers `GET /sim/login`.
pub(super) fn list(server: &ServerState) -> Value {
    server.qr_codes().iter().map(QrCode::json).collect()
}

/// Answers `POST /sim/login`; [`super::control`] has the shape.
pub(super) fn control(server: &ServerState, request: &Map<String, Value>) -> Result<Value, String> {
    let own_host = || Some(server.address_to_call().to_string());
    let (mut user, mut qrcode, mut what) = (None, None, "");
    let (mut digits, mut host) = (None, None);
    for (key, value) in request {
        match key.as_str() {
            "do" => what = value.as_str().unwrap_or_default(),
            "user" => user = Some(text(key, value)?).filter(|user| !user.is_empty()),
            "qrcode" => qrcode = Some(text(key, value)?),
            "digits" => digits = Some(flag(key, value)?),
            "host" => host = Some(optional(key, value, text)?),
            _ => return Err(format!("`{key}` is no member of a login.")),
        }
    }
    if host.is_some() && what != "redirect" || digits.is_some() && what != "scan" {
        return Err("`digits` belongs to \"scan\", and `host` to \"redirect\".".to_owned());
    }
    let act = match what {
        "scan" if digits == Some(true) => Act::ScanWithDigits,
        "scan" => Act::Scan,
        "redirect" => Act::Redirect(host.unwrap_or_else(own_host)),
        "confirm" => Act::Confirm,
        "bound" => Act::Bound,
        "block" => Act::Block,
        "expire" => Act::Expire,
        "elsewhere" => {
            let user = user.as_deref().unwrap_or(DEFAULT_USER);
            let bot = server.bind_new(user);
            return Ok(json!({"user": user, "account": &*bot.account}));
        }
        _ => {
            return Err(
                "`do` must be one of \"scan\", \"redirect\", \"confirm\", \"bound\", \"block\", \
                 \"expire\", \"elsewhere\"."
                    .to_owned(),
            );
        }
    };
    let code = server.act(qrcode.as_deref(), user.as_deref(), act)?;
    Ok(code.json())
}

impl QrCode {
    fn json(&self) -> Value {
        json!({
            "qrcode": self.qrcode,
            "url": self.url,
            "status": self.status,
            "user": self.user,
            "digits": self.digits,
            "account": self.account,
            "until_ms": self.until_ms,
        })
    }
}
