//! What the operator of the simulator can say about logins; the keys are in
//! [`faults`](crate::faults).

use std::time::Duration;

use serde_json::Value;

use crate::DEFAULT_USER;
use crate::faults::{flag, members, milliseconds, number, text};

const KEYS: [&str; 6] = [
    "qr_ms",
    "qr_hold_ms",
    "wrong_codes",
    "refuses_tokens",
    "baseurl",
    "auto_login",
];

/// The rules of the login, which belong to no account.
#[derive(Clone)]
pub(crate) struct LoginRules {
    /// How long a QR code lives.
    pub(super) life: Duration,
    /// How long a status poll waits for a scan.
    pub(super) hold: Duration,
    /// Wrong digits that end the login.
    pub(super) wrong_codes: u64,
    /// Whether a client that has tokens gets no code.
    pub(super) refuses_tokens: bool,
    pub(super) base_url: BaseUrl,
    pub(super) auto: Option<Auto>,
}

/// `baseurl` of a confirmed login.
#[derive(Clone)]
pub(super) enum BaseUrl {
    /// This server's.
    Own,
    Absent,
    Given(String),
}

/// Codes are scanned and confirmed by themselves.
#[derive(Clone)]
pub(super) struct Auto {
    pub(super) user: String,
    /// From the making of the code to the scan, and from there to the confirmation.
    pub(super) after: Duration,
}

impl Default for LoginRules {
    fn default() -> LoginRules {
        LoginRules {
            life: Duration::from_secs(120),
            hold: Duration::from_secs(30),
            wrong_codes: 3,
            refuses_tokens: false,
            base_url: BaseUrl::Own,
            auto: None,
        }
    }
}

impl LoginRules {
    /// Whether this key is one of the login's.
    pub(crate) fn has(key: &str) -> bool {
        KEYS.contains(&key)
    }

    pub(crate) fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "qr_ms" => self.life = milliseconds(key, value)?,
            "qr_hold_ms" => self.hold = milliseconds(key, value)?,
            "wrong_codes" => self.wrong_codes = number(key, value)?.max(1),
            "refuses_tokens" => self.refuses_tokens = flag(key, value)?,
            "baseurl" => {
                self.base_url = match value {
                    Value::Null => BaseUrl::Own,
                    Value::Bool(false) => BaseUrl::Absent,
                    value => BaseUrl::Given(text(key, value)?),
                }
            }
            "auto_login" => self.auto = auto(key, value)?,
            _ => return Err(format!("`{key}` is no rule of the login.")),
        }
        Ok(())
    }
}

fn auto(of: &str, value: &Value) -> Result<Option<Auto>, String> {
    let mut auto = Auto {
        user: DEFAULT_USER.to_owned(),
        after: Duration::from_secs(1),
    };
    match value {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => return Ok(Some(auto)),
        _ => {}
    }
    for (key, value) in members(of, value)? {
        let name = &format!("{of}.{key}");
        match key.as_str() {
            "user" => auto.user = text(name, value)?,
            "after_ms" => auto.after = milliseconds(name, value)?,
            _ => {
                return Err(format!(
                    "`{name}` is unknown; it has `user` and `after_ms`."
                ));
            }
        }
    }
    Ok(Some(auto))
}
