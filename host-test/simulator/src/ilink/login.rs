//! The login by QR code: the codes, what people do with them at their phones, and what clients
//! learn of it.
//!
//! - A code lives for two minutes of the clock, and each request makes a new one. The server
//!   remembers a bounded number of codes. An unknown code is expired, as at the real server.
//! - A client hears of what happened only by `get_qrcode_status`, which waits while nothing has.
//! - A confirmed login makes a new bot, and the person's bot before is stale from then on.

mod act;
mod answer;
mod session;
#[cfg(test)]
mod tests;

use http::header::HOST;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::DEFAULT_USER;
use super::state::ServerState;
use crate::json::{self, Member};
use crate::sync::lock;
pub use act::{Act, QrCode};
pub(super) use answer::answer;

/// A person acts at the phone: on this code, or on the newest.
pub(super) fn act(
    server: &ServerState,
    qrcode: Option<&str>,
    user: Option<&str>,
    act: Act,
) -> Result<QrCode, String> {
    let rules = lock(&server.rules).login.clone();
    let mut codes = lock(&server.login.codes);
    let session = match qrcode {
        Some(qrcode) => codes.find(qrcode).ok_or("There is no such QR code."),
        None => codes.sessions.back_mut().ok_or("There is no QR code yet."),
    }?;
    session.catch_up(server, &rules);
    session.act(server, &rules, user, act)?;
    let code = session.snapshot(server);
    drop(codes);
    server.login.changed.notify_waiters();
    server.changed.notify_waiters();
    Ok(code)
}

/// The QR codes that are remembered, oldest first.
pub(super) fn qr_codes(server: &ServerState) -> Vec<QrCode> {
    let rules = lock(&server.rules).login.clone();
    let mut codes = lock(&server.login.codes);
    let list = codes.sessions.iter_mut().map(|session| {
        session.catch_up(server, &rules);
        session.snapshot(server)
    });
    list.collect()
}

/// Whether a client was sent here by the name that this request asks for.
pub(super) fn sends_to(server: &ServerState, head: &Parts) -> bool {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let codes = lock(&server.login.codes);
    let mut sessions = codes.sessions.iter();
    host.is_some_and(|host| sessions.any(|session| session.sends_to(host)))
}

/// Answers `GET /sim/login`.
pub(super) fn list(server: &ServerState) -> Value {
    qr_codes(server).iter().map(QrCode::json).collect()
}

/// What a person does, as `POST /sim/login` names it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Scan,
    Redirect,
    Confirm,
    Bound,
    Block,
    Expire,
    /// Logs in with another client.
    Elsewhere,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
struct LoginRequest {
    #[serde(rename = "do")]
    action: Action,
    #[serde(default)]
    user: String,
    #[serde(default)]
    qrcode: Member<String>,
    #[serde(default)]
    digits: Member<bool>,
    #[serde(default)]
    host: Member<Option<String>>,
}

/// Answers `POST /sim/login`; [`super::control`] has the shape.
pub(super) fn control(server: &ServerState, request: &Value) -> Result<Value, String> {
    let request: LoginRequest = json::read(request)?;
    let action = request.action;
    let user = Some(request.user.as_str()).filter(|user| !user.is_empty());
    let digits = request.digits.given();
    if request.host.is_given() && action != Action::Redirect
        || digits.is_some() && action != Action::Scan
    {
        return Err("`digits` belongs to \"scan\", and `host` to \"redirect\".".to_owned());
    }
    let own_host = || Some(server.address_to_call().to_string());
    let what = match action {
        Action::Scan if digits == Some(true) => Act::ScanWithDigits,
        Action::Scan => Act::Scan,
        Action::Redirect => Act::Redirect(request.host.given().unwrap_or_else(own_host)),
        Action::Confirm => Act::Confirm,
        Action::Bound => Act::Bound,
        Action::Block => Act::Block,
        Action::Expire => Act::Expire,
        Action::Elsewhere => {
            let user = user.unwrap_or(DEFAULT_USER);
            let bot = server.bind_new(user);
            return Ok(json!({"user": user, "account": &*bot.account}));
        }
    };
    let qrcode = request.qrcode.given();
    Ok(act(server, qrcode.as_deref(), user, what)?.json())
}
