//! What only WeChat needs of an instance: the announcements, the typing indicator, and one request of
//! the lane.

use super::*;
use crate::api::{self, CallError};
use crate::media::Handle;
use crate::typing::Tickets;
use crate::wire;
use gateway_channel_sdk::settings::{Lookup, Settings};

pub mod login;
mod media;
mod poll;

pub use crate::{DIALECT, Options};
pub use media::Sealer;

/// The platform as people call it.
pub const NAME: &str = "WeChat";
/// What the ids of parts begin with; the platform knows the official client's.
pub const CLIENT: &str = "openclaw-weixin";
/// What the log says of an account that is degraded.
pub const TROUBLE: &str = "polls fail";
/// How long the platform holds a poll, until it says so itself.
pub const HOLD: Duration = api::DEFAULT_HOLD;

/// What is known of the platform.
#[derive(Default)]
pub struct State {
    /// What a poll brought and the store did not take yet.
    unstored: RefCell<Option<wire::Updates>>,
    tickets: RefCell<Tickets>,
    /// Polls whose answer could not be read.
    unreadable: RefCell<api::Unreadable>,
    /// The log knows that answers have to be repaired.
    is_repairing: Cell<bool>,
    /// What the log said last of messages that are skipped.
    skipped: Cell<u64>,
    /// What something on the way lets a poll hang at most, and since when that is known.
    longest_poll: Cell<Option<(Duration, Duration)>>,
}

/// Reads the settings that all platforms share.
pub fn settings(lookup: Lookup<'_>) -> Result<Settings, Error> {
    Settings::read(lookup, DIALECT.max_text_bytes)
}

/// Whether a conversation can be one.
pub fn check_conversation(_: &str) -> Result<(), Error> {
    Ok(())
}

/// The conversation that an upload can be sent to.
pub fn uploaded_for(handle: &str) -> Result<String, Error> {
    Ok(Handle::uploaded(handle)?.to)
}

impl Instance {
    /// Announces the start; the platform works without it.
    pub(super) async fn announce(&self) {
        let request = api::notify_start(&self.options, imports::random());
        match api::read(imports::fetch(request).await) {
            Ok(_) => self.health.borrow_mut().start_accepted = true,
            Err(error) => {
                if error.is_login_required() {
                    self.poll_failed(&error);
                } else {
                    log(Level::Info, &format!("notifystart: {error}"));
                }
            }
        }
    }

    /// Announces the stop.
    pub(super) async fn announce_stop(&self) {
        let request = api::notify_stop(&self.options, imports::random());
        if let Err(error) = api::read(imports::fetch(request).await) {
            log(Level::Info, &format!("notifystop: {error}"));
        }
    }

    /// Nobody waits for answers.
    pub(super) fn not_answered(&self, _: &[String]) {}

    /// Shows or ends the typing indicator. An end is tried twice, with a fresh ticket.
    pub async fn typing(&self, conversation: &str, on: bool) -> Result<(), Error> {
        self.check_credential()?;
        let tries = if on { 1 } else { 2 };
        let mut result = Ok(());
        for _ in 0..tries {
            self.renew_ticket(conversation).await?;
            let ticket = self
                .platform
                .tickets
                .borrow()
                .ticket(conversation)
                .map(str::to_owned);
            let Some(ticket) = ticket else {
                return Ok(());
            };
            let request =
                api::send_typing(&self.options, imports::random(), conversation, &ticket, on);
            result = api::read(imports::fetch(request).await)
                .map(drop)
                .map_err(CallError::into_error);
            match &result {
                Ok(()) => break,
                Err(_) => self.platform.tickets.borrow_mut().refused(conversation),
            }
        }
        result
    }

    async fn renew_ticket(&self, user: &str) -> Result<(), Error> {
        if !self.platform.tickets.borrow().is_due(imports::now(), user) {
            return Ok(());
        }
        let token = self.reply_token(user)?;
        let random = imports::random();
        let request = api::get_config(&self.options, random, user, token.as_deref());
        let answer = api::read(imports::fetch(request).await);
        let mut tickets = self.platform.tickets.borrow_mut();
        let now = imports::now();
        match answer {
            Ok(object) => tickets.granted(now, random, user, wire::typing_ticket(&object)),
            Err(error) => {
                tickets.failed(now, random, user);
                if tickets.ticket(user).is_none() {
                    return Err(error.into_error());
                }
            }
        }
        Ok(())
    }

    /// What an answer to a peer has to carry.
    fn reply_token(&self, peer: &str) -> Result<Option<String>, Error> {
        self.load_peer(peer)?;
        let mut channel = self.channel.borrow_mut();
        Ok(channel
            .peers()
            .peer(peer)
            .and_then(|peer| peer.reply_token.clone()))
    }

    /// Makes the request of a job, whose content is that of the job or the upload of its document.
    pub(super) async fn deliver(&self, job: &Job, content: &Content) -> Outcome {
        let token = match self.reply_token(&job.conversation) {
            Ok(token) => token,
            Err(error) => return Outcome::NotSent(error),
        };
        let random = imports::random();
        let request = api::send_message(&self.options, random, job, content, token.as_deref());
        match request {
            Ok(request) => api::sent(imports::fetch(request).await),
            Err(error) => Outcome::Refused(error),
        }
    }

    fn poll_failed(&self, error: &CallError) {
        self.failed(error.to_string(), error.is_login_required());
    }
}
