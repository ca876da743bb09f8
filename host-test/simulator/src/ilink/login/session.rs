//! One QR code from its making to its end.
//!
//! A login ends confirmed, already bound or blocked. The server repeats that answer for another life
//! of a code, so that a client can ask again for an answer that was lost. Then the code is expired.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::{Rng, RngCore};

use super::act::{Act, QrCode};
use crate::ilink::DEFAULT_USER;
use crate::ilink::rules::LoginRules;
use crate::ilink::state::{Confirmed, Redirect, ServerState, Session, Status, Step};
use crate::query::escaped;
use crate::sync::lock;

impl Session {
    /// A new code for a client that said to have these tokens.
    pub(super) fn new(server: &ServerState, rules: &LoginRules, tokens: Vec<String>) -> Session {
        let qrcode = new_qrcode();
        let page = rand::random::<u32>();
        let shown = escaped(&qrcode);
        let made = server.clock.elapsed();
        Session {
            url: format!("https://liteapp.weixin.qq.com/q/{page:08x}?qrcode={shown}&bot_type=3"),
            qrcode,
            tokens,
            made,
            ends: made.saturating_add(rules.life),
            user: None,
            digits: None,
            redirect: None,
            step: Step::Waiting,
        }
    }

    /// Whether the client was ever to send digits.
    pub(super) fn asks(&self) -> bool {
        self.digits.is_some()
    }

    /// When something happens to a waiting code by itself.
    pub(super) fn due(&self, rules: &LoginRules) -> Duration {
        let scan = rules.auto.as_ref().map(|auto| auto.after);
        scan.map_or(self.ends, |after| {
            self.ends.min(self.made.saturating_add(after))
        })
    }

    /// Lets happen what happens by itself with time.
    pub(super) fn catch_up(&mut self, server: &ServerState, rules: &LoginRules) {
        let now = server.clock.elapsed();
        if now >= self.ends {
            self.step = Step::Expired;
        }
        let Some(auto) = &rules.auto else {
            return;
        };
        let age = now.saturating_sub(self.made);
        // What is not possible, such as to confirm what another person scanned, does not happen.
        if matches!(self.step, Step::Waiting) && age >= auto.after {
            let _ = self.act(server, rules, Some(&auto.user), Act::Scan);
        }
        if matches!(self.step, Step::Scanned) && age >= auto.after.saturating_mul(2) {
            let _ = self.act(server, rules, Some(&auto.user), Act::Confirm);
        }
    }

    /// A person acts. On an error nothing has changed.
    pub(super) fn act(
        &mut self,
        server: &ServerState,
        rules: &LoginRules,
        user: Option<&str>,
        act: Act,
    ) -> Result<(), String> {
        if act == Act::Expire {
            self.step = Step::Expired;
            return Ok(());
        }
        let over = !matches!(self.step, Step::Waiting | Step::Asking(_) | Step::Scanned);
        if over {
            return Err(format!("The QR code is {} already.", self.status().name()));
        }
        let scanner = self.user.as_deref();
        let user = user.or(scanner).unwrap_or(DEFAULT_USER).to_owned();
        if scanner.is_some_and(|scanner| scanner != user) {
            return Err("Somebody else has scanned the QR code.".to_owned());
        }
        let waited = matches!(self.step, Step::Waiting);
        if !waited && matches!(act, Act::Scan | Act::ScanWithDigits) {
            return Err("The QR code has been scanned already.".to_owned());
        }
        if act == Act::Confirm && matches!(self.step, Step::Asking(_)) {
            return Err("The client has not sent the digits yet.".to_owned());
        }
        if waited && act != Act::Block {
            self.step = Step::Scanned;
            if act != Act::Bound && self.has_bot_of(server, &user) {
                self.end(server, rules, Step::Bound);
            }
        }
        self.user = Some(user.clone());
        if matches!(self.step, Step::Bound) {
            return Ok(());
        }
        match act {
            Act::Scan | Act::Expire => {}
            Act::ScanWithDigits => {
                self.digits = Some(format!("{:04}", rand::rng().random_range(0..10_000)));
                self.step = Step::Asking(0);
            }
            Act::Redirect(host) => self.redirect = Some(Redirect { host, asked: false }),
            Act::Confirm => {
                let bot = server.bind_new(&user);
                lock(&server.login.counters).logins += 1;
                let token = bot.lock().token.clone();
                let confirmed = Confirmed { bot, token, user };
                self.end(server, rules, Step::Confirmed(confirmed));
            }
            Act::Bound => self.end(server, rules, Step::Bound),
            Act::Block => self.end(server, rules, Step::Blocked),
        }
        Ok(())
    }

    fn end(&mut self, server: &ServerState, rules: &LoginRules, step: Step) {
        self.step = step;
        self.ends = server.clock.elapsed().saturating_add(rules.life);
    }

    /// Whether the client has the token of this person's live bot.
    fn has_bot_of(&self, server: &ServerState, user: &str) -> bool {
        let now = server.clock.elapsed();
        let bots = self
            .tokens
            .iter()
            .filter_map(|token| server.bot_of_token(token));
        bots.into_iter().any(|bot| bot.is_live_of(user, now))
    }

    /// Whether clients that ask for this code are sent to this host.
    pub(super) fn sends_to(&self, host: &str) -> bool {
        let redirect = self.redirect.as_ref();
        let there = redirect.and_then(|redirect| redirect.host.as_deref());
        there.is_some_and(|there| !there.is_empty() && there.eq_ignore_ascii_case(host))
    }

    /// The status for a poll that came to this host, with these digits or an empty text.
    pub(super) fn look(
        &mut self,
        server: &ServerState,
        rules: &LoginRules,
        host: &str,
        digits: &str,
    ) -> Status {
        let goes_on = matches!(
            self.step,
            Step::Asking(_) | Step::Scanned | Step::Confirmed(_)
        );
        if let Some(redirect) = self.redirect.as_mut().filter(|_| goes_on)
            && !redirect.is_followed_at(host)
        {
            return Status::Redirected(redirect.host.clone());
        }
        if let Step::Asking(wrong) = self.step
            && !digits.is_empty()
        {
            if self.digits.as_deref() == Some(digits) {
                self.step = Step::Scanned;
            } else if wrong + 1 < rules.wrong_codes {
                self.step = Step::Asking(wrong + 1);
            } else {
                self.end(server, rules, Step::Blocked);
            }
        }
        self.status()
    }

    fn status(&self) -> Status {
        match &self.step {
            Step::Waiting => Status::Wait,
            Step::Asking(_) => Status::NeedsDigits,
            Step::Scanned => Status::Scanned,
            Step::Confirmed(confirmed) => Status::Confirmed(confirmed.clone()),
            Step::Bound => Status::Bound,
            Step::Blocked => Status::Blocked,
            Step::Expired => Status::Expired,
        }
    }

    /// The code as it is now.
    pub(super) fn snapshot(&self, server: &ServerState) -> QrCode {
        let left = self.ends.saturating_sub(server.clock.elapsed());
        let until = server.clock.unix().saturating_add(left);
        let redirected = match &self.redirect {
            Some(redirect) if matches!(self.step, Step::Asking(_) | Step::Scanned) => {
                Some(Status::Redirected(redirect.host.clone()))
            }
            _ => None,
        };
        let account = match &self.step {
            Step::Confirmed(confirmed) => Some(confirmed.bot.account.to_string()),
            _ => None,
        };
        QrCode {
            qrcode: self.qrcode.clone(),
            url: self.url.clone(),
            status: redirected.unwrap_or_else(|| self.status()).name(),
            user: self.user.clone(),
            digits: self.digits.clone(),
            account,
            until_ms: u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Redirect {
    /// Whether a poll that came to this host has followed. If not, this poll is sent there.
    fn is_followed_at(&mut self, host: &str) -> bool {
        let wanted = self.host.as_deref().unwrap_or_default();
        // A client that is sent nowhere stays where it is.
        let is_there = wanted.is_empty() || wanted.eq_ignore_ascii_case(host);
        std::mem::replace(&mut self.asked, true) && is_there
    }
}

/// Base64 with each of its special characters, so that a client that does not escape them is
/// caught.
fn new_qrcode() -> String {
    let mut bytes = [0; 23];
    rand::rng().fill_bytes(&mut bytes);
    bytes[..3].copy_from_slice(&[0xfb, 0xff, 0xbf]);
    STANDARD.encode(bytes)
}
