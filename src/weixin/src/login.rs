//! The login by QR code, as a machine of requests and answers.
//!
//! The login promises:
//! - A failed request is repeated. It never ends the login.
//! - An expired code is replaced by a new one, up to three in all. Host and digits of the old code are
//!   forgotten then.
//! - A redirect is followed only to the platform's hosts and to the configured origin.
//! - If the server refuses the tokens of earlier logins, it is asked once more without them.

use std::time::Duration;

use super::api::{self, CallError};
use super::url_policy::UrlPolicy;
use super::wire::{self, Confirmed, QrStatus};
use super::{LOGIN_BASE_URL, TOKEN_PLACEHOLDER, WeixinConfig};
use gateway_channel_sdk::backoff::Backoff;
use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::http::Answer;
use gateway_channel_sdk::platform::{Action, Identity, LoginMachine, Step};

/// How long the server keeps a code, by reports.
const CODE_LIFE: Duration = Duration::from_secs(120);
/// Codes that are shown at most.
const MAX_CODES: u32 = 3;
/// How long a whole login may take.
const DEADLINE: Duration = Duration::from_secs(480);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest code of digits.
const MAX_DIGITS_BYTES: usize = 64;

/// One login; times are on one monotonic clock.
#[derive(Debug)]
pub struct WeixinLogin {
    config: WeixinConfig,
    begun: Duration,
    /// Base URL of the requests for the status.
    base_url: String,
    /// The code on show. None when a new one is needed.
    qrcode: Option<String>,
    /// The server refused a request that had the tokens of earlier logins.
    without_tokens: bool,
    codes: u32,
    digits: Option<String>,
    told_scanned: bool,
    told_code: bool,
    pauses: Backoff,
    /// Why the last request failed.
    trouble: Option<String>,
    has_ended: bool,
}

impl LoginMachine for WeixinLogin {
    fn next(&mut self, now: Duration, random: u64) -> Action {
        if now.saturating_sub(self.begun) >= DEADLINE {
            return self.fail("nobody finished the login within eight minutes: start it again");
        }
        match &self.qrcode {
            Some(qrcode) => Action::Ask(api::get_qrcode_status(
                &self.base_url,
                qrcode,
                self.digits.as_deref(),
            )),
            None if self.codes >= MAX_CODES => self.fail(
                "three codes were shown and none was confirmed in time: start the login again",
            ),
            None => Action::Ask(api::get_bot_qrcode(
                &self.config.qr_base_url,
                random,
                !self.without_tokens,
            )),
        }
    }

    fn answer(&mut self, random: u64, answer: Answer) -> Action {
        let answer = match api::read(answer) {
            Ok(answer) => answer,
            Err(error) if self.may_be_for_the_tokens(&error) => {
                self.without_tokens = true;
                self.trouble = Some(error.to_string());
                return Action::Wait(Duration::ZERO);
            }
            // The server says no; anything else may be the way to it.
            Err(error @ CallError::Refused(_)) if self.qrcode.is_none() => {
                let why = error.into_error();
                let code = why.platform.unwrap_or_default();
                return self.fail(&format!("WeChat gives no code for a login ({code})"));
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                return Action::Wait(self.pauses.fail(random));
            }
        };
        if self.qrcode.is_some() {
            self.pauses.reset();
            return self.follow(wire::qr_status(&answer));
        }
        let Some(code) = wire::qr_code(&answer) else {
            self.trouble = Some("the server's answer has no code".to_owned());
            return Action::Wait(self.pauses.fail(random));
        };
        self.pauses.reset();
        self.codes += 1;
        self.qrcode = Some(code.qrcode);
        self.base_url.clone_from(&self.config.qr_base_url);
        self.digits = None;
        self.told_scanned = false;
        self.told_code = false;
        Action::Tell(Step::ShowQr(code.content, CODE_LIFE))
    }

    fn submit(&mut self, digits: &str) -> Result<(), Error> {
        let digits = digits.trim();
        if digits.is_empty() || digits.len() > MAX_DIGITS_BYTES {
            let why = "the code is what the phone shows, a few digits";
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        self.digits = Some(digits.to_owned());
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn cannot_begin(&self, tries: u32) -> Option<&str> {
        self.trouble
            .as_deref()
            .filter(|_| self.codes == 0 && self.pauses.failures() >= tries)
    }
}

impl WeixinLogin {
    /// A login that begins now.
    pub fn new(config: WeixinConfig, now: Duration) -> WeixinLogin {
        WeixinLogin {
            base_url: config.qr_base_url.clone(),
            config,
            begun: now,
            qrcode: None,
            without_tokens: false,
            codes: 0,
            digits: None,
            told_scanned: false,
            told_code: false,
            pauses: Backoff::new(PAUSE, Duration::from_secs(10)),
            trouble: None,
            has_ended: false,
        }
    }

    /// Whether the server may give a code if the request leaves out the tokens of earlier logins. They may
    /// be too old or too many. Without them the server only can't tell who is bound already.
    fn may_be_for_the_tokens(&self, error: &CallError) -> bool {
        let is_refusal = match error {
            CallError::Refused(_) => true,
            CallError::Http(status) => matches!(status, 400..=407 | 409..=428 | 430..=500),
            CallError::Transport(_) | CallError::Malformed(_) => false,
        };
        is_refusal && self.qrcode.is_none() && !self.without_tokens
    }

    fn follow(&mut self, status: QrStatus) -> Action {
        match status {
            QrStatus::Wait => Action::Wait(PAUSE),
            QrStatus::Scanned => self.scanned(),
            QrStatus::NeedsCode => {
                let were_wrong = self.digits.take().is_some();
                self.told_scanned = true;
                if std::mem::replace(&mut self.told_code, true) && !were_wrong {
                    return Action::Wait(PAUSE);
                }
                Action::Tell(Step::EnterCode)
            }
            QrStatus::Blocked | QrStatus::Expired => {
                self.qrcode = None;
                Action::Wait(Duration::ZERO)
            }
            QrStatus::Redirected(host) => {
                let Some(host) = host else {
                    return self.scanned();
                };
                match UrlPolicy(&self.config).base_of_host(&host) {
                    Some(base_url) => {
                        self.base_url = base_url;
                        self.scanned()
                    }
                    None => self.fail(&format!(
                        "the server sends the login to {}, which is no host of the platform",
                        api::printable(&host)
                    )),
                }
            }
            QrStatus::Bound => self.end(Step::AlreadyBound),
            QrStatus::Confirmed(confirmed) => match self.identity(confirmed) {
                Ok(identity) => self.end(Step::Done(identity)),
                Err(why) => self.fail(&why),
            },
        }
    }

    fn scanned(&mut self) -> Action {
        self.digits = None;
        if std::mem::replace(&mut self.told_scanned, true) {
            return Action::Wait(PAUSE);
        }
        Action::Tell(Step::Confirm)
    }

    fn identity(&self, confirmed: Confirmed) -> Result<Identity, String> {
        let account = confirmed
            .bot_id
            .ok_or("the server confirmed the login without a bot's id: start it again")?;
        match confirmed.token.as_deref() {
            Some(TOKEN_PLACEHOLDER) => {}
            Some(_) => return Err("the host does not keep the token of a login".to_owned()),
            None => {
                return Err(
                    "the server confirmed the login without a token: start it again".to_owned(),
                );
            }
        }
        let mut config = Vec::new();
        if let Some(url) = confirmed.base_url {
            let url = UrlPolicy(&self.config).check(&url).map_err(|_| {
                format!(
                    "the server names {} for the bot's API, which is no host of the platform",
                    api::printable(&url)
                )
            })?;
            config.push((LOGIN_BASE_URL.to_owned(), url));
        }
        Ok(Identity {
            account,
            owner: confirmed.user_id,
            config,
        })
    }

    fn end(&mut self, step: Step) -> Action {
        self.has_ended = true;
        Action::Tell(step)
    }

    fn fail(&mut self, why: &str) -> Action {
        self.end(Step::Failed(why.to_owned()))
    }
}

#[cfg(test)]
mod tests;
