//! WeChat as a platform of the SDK: the announcements, the poll, one request for each part, and the
//! typing indicator.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use gateway_channel_sdk::dedup::fnv1a;
use gateway_channel_sdk::error::Error;
use gateway_channel_sdk::host::{Host, Level};
use gateway_channel_sdk::outbox::Outcome;
use gateway_channel_sdk::platform::{
    Batch, Description, Incoming, Login, LoginMachine, Part, Platform, Poll, PollError, Polling,
    Quoted, UnreadableAnswers,
};
use gateway_channel_sdk::settings::Lookup;

use crate::api::{self, CallError};
use crate::inbound::{self, Reading};
use crate::login::WeixinLogin;
use crate::typing::Tickets;
use crate::wire::{self, Condition};
use crate::{WeixinConfig, descriptor, markdown, quote};

/// One bot.
#[derive(Debug)]
pub struct Weixin {
    pub(crate) config: WeixinConfig,
    tickets: RefCell<Tickets>,
    /// Polls whose answer could not be read.
    unreadable: RefCell<UnreadableAnswers>,
    /// The log knows that answers have to be repaired.
    is_repairing: Cell<bool>,
    /// What the log said last of messages that are skipped.
    skipped: Cell<u64>,
}

impl Platform for Weixin {
    const NAME: &'static str = "weixin";
    const TITLE: &'static str = "WeChat";

    fn describe() -> Description {
        descriptor::describe()
    }

    fn new(config: Lookup<'_>) -> Result<Weixin, Error> {
        Ok(Weixin {
            config: WeixinConfig::read(config)?,
            tickets: RefCell::default(),
            unreadable: RefCell::default(),
            is_repairing: Cell::default(),
            skipped: Cell::default(),
        })
    }

    async fn deliver(&self, host: &Host, part: &Part<'_>) -> Outcome {
        match api::send_message(&self.config, host.random(), part) {
            Ok(request) => api::sent(host.fetch(request).await),
            Err(error) => Outcome::Refused(error),
        }
    }

    fn plain(text: &str) -> String {
        markdown::plain(text)
    }

    fn native(text: &str) -> String {
        markdown::native(text)
    }

    /// In the form of the official client.
    fn client_id(now_ms: u64, random: u64) -> String {
        format!("openclaw-weixin:{now_ms}-{:08x}", random >> 32)
    }

    /// An end is tried twice, with a fresh ticket.
    async fn typing(
        &self,
        host: &Host,
        conversation: &str,
        reply_token: Option<&str>,
        on: bool,
    ) -> Result<(), Error> {
        let tries = if on { 1 } else { 2 };
        let mut result = Ok(());
        for _ in 0..tries {
            self.renew_ticket(host, conversation, reply_token).await?;
            let ticket = self
                .tickets
                .borrow()
                .ticket(conversation)
                .map(str::to_owned);
            let Some(ticket) = ticket else {
                return Ok(());
            };
            let request = api::send_typing(&self.config, host.random(), conversation, &ticket, on);
            result = api::read(host.fetch(request).await)
                .map(drop)
                .map_err(CallError::into_error);
            match &result {
                Ok(()) => break,
                Err(_) => self.tickets.borrow_mut().refused(conversation),
            }
        }
        result
    }

    async fn hello(&self, host: &Host) -> Option<Result<(), Error>> {
        let request = api::notify_start(&self.config, host.random());
        let answer = api::read(host.fetch(request).await);
        Some(answer.map(drop).map_err(CallError::into_error))
    }

    async fn goodbye(&self, host: &Host) -> Result<(), Error> {
        let request = api::notify_stop(&self.config, host.random());
        let answer = api::read(host.fetch(request).await);
        answer.map(drop).map_err(CallError::into_error)
    }
}

impl Polling for Weixin {
    async fn poll(&self, host: &Host, poll: &Poll<'_>) -> Result<Batch, PollError> {
        let request = api::get_updates(&self.config, host.random(), poll.cursor, poll.timeout);
        let answer = host.fetch(request).await;
        let updates = api::read_updates(answer, &mut self.unreadable.borrow_mut())
            .map_err(CallError::into_poll_error)?;
        self.log_condition(host, &updates);
        let events = self.read_all(host, &updates.messages);
        if !updates.messages.is_empty() {
            let (count, read) = (updates.messages.len(), events.len());
            let line = format!("received messages: {count}, of people: {read}");
            host.log(Level::Debug, &line);
        }
        let leads_nowhere =
            CallError::Malformed("no whole JSON object, again and again, and names no next cursor");
        Ok(Batch {
            failure: updates.leads_nowhere().then(|| leads_nowhere.into_error()),
            hold: updates.hold_ms.map(Duration::from_millis),
            cursor: updates.cursor,
            events,
        })
    }
}

impl Login for Weixin {
    fn login(config: Lookup<'_>, now: Duration) -> Result<Box<dyn LoginMachine>, Error> {
        let config = WeixinConfig::read(config)?;
        Ok(Box::new(WeixinLogin::new(config, now)))
    }
}

impl Weixin {
    async fn renew_ticket(
        &self,
        host: &Host,
        user: &str,
        reply_token: Option<&str>,
    ) -> Result<(), Error> {
        if !self.tickets.borrow().is_due(host.now(), user) {
            return Ok(());
        }
        let random = host.random();
        let request = api::get_config(&self.config, random, user, reply_token);
        let answer = api::read(host.fetch(request).await);
        let mut tickets = self.tickets.borrow_mut();
        let now = host.now();
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

    /// The log tells once that answers have to be repaired, and each time that one is given up.
    fn log_condition(&self, host: &Host, updates: &wire::Updates) {
        let is_repaired = updates.condition == Condition::Repaired;
        let was_repairing = self.is_repairing.replace(is_repaired);
        match updates.condition {
            Condition::Repaired if !was_repairing => host.log(
                Level::Warn,
                "the server's answers are no valid JSON: they are read with what is wrong in them made \
                 harmless",
            ),
            Condition::Broken if updates.cursor.is_some() => host.log(
                Level::Error,
                "an answer of the server could not be read, however often it was asked for: it is \
                 passed over, and messages in it are lost",
            ),
            _ => {}
        }
    }

    /// Reads the messages of a batch.
    fn read_all(&self, host: &Host, messages: &[String]) -> Vec<Incoming> {
        let mut events = Vec::new();
        let mut skipped = Vec::new();
        for json in messages {
            match inbound::read(json) {
                Reading::Event(event, reference) => events.push(Incoming {
                    event: *event,
                    quoted: reference.map(|reference| Quoted {
                        id: reference.id.clone().unwrap_or_default(),
                        read: Box::new(move |known| quote::read(&reference, known)),
                    }),
                }),
                Reading::Ignored => {}
                Reading::Unreadable(why) => skipped.push((json.as_str(), why)),
            }
        }
        self.log_skipped(host, &skipped);
        events
    }

    /// The log tells of messages that are skipped; not again when a server repeats them.
    fn log_skipped(&self, host: &Host, skipped: &[(&str, &str)]) {
        let texts: Vec<&str> = skipped.iter().map(|(json, _)| *json).collect();
        let this = fnv1a(texts.concat().as_bytes());
        if skipped.is_empty() || self.skipped.replace(this) == this {
            return;
        }
        for (_, why) in skipped {
            host.log(Level::Warn, &format!("a message was skipped: it {why}"));
        }
    }
}

#[cfg(test)]
mod tests;
