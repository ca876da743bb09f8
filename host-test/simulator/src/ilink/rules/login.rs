//! The rules of the login; their members are in [`rules`](super).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::ilink::DEFAULT_USER;
use crate::json::Millis;

/// The rules of the login, which belong to no account.
#[derive(Clone)]
pub(crate) struct LoginRules {
    /// How long a QR code lives.
    pub(crate) life: Duration,
    /// How long a status poll waits for a scan.
    pub(crate) hold: Duration,
    /// Wrong digits that end the login.
    pub(crate) wrong_codes: u64,
    /// Whether a client that has tokens gets no code.
    pub(crate) refuses_tokens: bool,
    pub(crate) base_url: LoginBaseUrl,
    pub(crate) auto: Option<AutoLogin>,
}

impl Default for LoginRules {
    fn default() -> LoginRules {
        LoginRules {
            life: Duration::from_secs(120),
            hold: Duration::from_secs(30),
            wrong_codes: 3,
            refuses_tokens: false,
            base_url: LoginBaseUrl::Own,
            auto: None,
        }
    }
}

/// `baseurl` of a confirmed login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginBaseUrl {
    /// This server's; `null` in JSON.
    Own,
    /// None; `false` in JSON.
    Absent,
    /// This string, which may be empty, foreign or garbage.
    Given(String),
}

impl<'de> Deserialize<'de> for LoginBaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LoginBaseUrl, D::Error> {
        struct BaseUrl;

        impl Visitor<'_> for BaseUrl {
            type Value = LoginBaseUrl;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string, false for no URL, or null for this server's")
            }

            fn visit_unit<E>(self) -> Result<LoginBaseUrl, E> {
                Ok(LoginBaseUrl::Own)
            }

            fn visit_bool<E: serde::de::Error>(self, is_there: bool) -> Result<LoginBaseUrl, E> {
                match is_there {
                    false => Ok(LoginBaseUrl::Absent),
                    true => Err(E::invalid_type(serde::de::Unexpected::Bool(true), &self)),
                }
            }

            fn visit_str<E>(self, url: &str) -> Result<LoginBaseUrl, E> {
                Ok(LoginBaseUrl::Given(url.to_owned()))
            }
        }

        deserializer.deserialize_any(BaseUrl)
    }
}

/// Each QR code is scanned and confirmed by itself, as soon as a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoLogin {
    /// Who scans and confirms.
    pub user: String,
    /// From the making of the code to the scan, and from there to the confirmation.
    pub after: Duration,
}

impl Default for AutoLogin {
    /// By [`DEFAULT_USER`], after a second each.
    fn default() -> AutoLogin {
        AutoLogin {
            user: DEFAULT_USER.to_owned(),
            after: Duration::from_secs(1),
        }
    }
}

/// `auto_login`: `true`, an object, or `null` or `false` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AutoLoginRule(pub(crate) Option<AutoLogin>);

impl<'de> Deserialize<'de> for AutoLoginRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AutoLoginRule, D::Error> {
        struct Rule;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a JSON object")]
        struct Members {
            user: Option<String>,
            after_ms: Option<Millis>,
        }

        impl<'de> Visitor<'de> for Rule {
            type Value = AutoLoginRule;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("true, false, null, or an object with `user` and `after_ms`")
            }

            fn visit_unit<E>(self) -> Result<AutoLoginRule, E> {
                Ok(AutoLoginRule(None))
            }

            fn visit_bool<E>(self, is_on: bool) -> Result<AutoLoginRule, E> {
                Ok(AutoLoginRule(is_on.then(AutoLogin::default)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AutoLoginRule, A::Error> {
                let members = Members::deserialize(MapAccessDeserializer::new(map))?;
                let usual = AutoLogin::default();
                Ok(AutoLoginRule(Some(AutoLogin {
                    user: members.user.unwrap_or(usual.user),
                    after: members.after_ms.map_or(usual.after, |after| after.0),
                })))
            }
        }

        deserializer.deserialize_any(Rule)
    }
}
