//! The poll: it waits for nothing but the platform.

use std::convert::Infallible;

use super::*;
use crate::inbound::{self, Reading};
use crate::quote;
use crate::wire::Condition;
use gateway_channel_sdk::dedup::fnv1a;
use gateway_channel_sdk::health::OPEN_LONG_ENOUGH;
use gateway_channel_sdk::history::HistoryEntry;
use gateway_channel_sdk::http::Failure;
use gateway_channel_sdk::message::Body;

/// How long it is believed that polls are cut off on the way.
const LEARNED_FOR: Duration = Duration::from_secs(3600);
/// An empty poll that ends sooner was not held.
const SHORT_POLL: Duration = Duration::from_millis(500);

impl Instance {
    /// Polls until draining, or until something fails that the caller of `receive` has to know.
    pub(in super::super) async fn attend(&self) -> Result<(), Error> {
        let mut failures = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut refusals = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut idle = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            self.ready()?;
            self.accept_unstored()?;
            self.adopt()?;
            self.sweep()?;
            if self.is_draining.get() {
                return Ok(());
            }
            if self.pause().await {
                continue;
            }
            self.check_fence()?;
            let begun = imports::now();
            let Some(answer) = self.poll().await else {
                return Ok(());
            };
            match answer {
                Ok(updates) => {
                    refusals.reset();
                    let leads_nowhere = updates.leads_nowhere();
                    let is_empty = updates.messages.is_empty();
                    self.platform.unstored.replace(Some(updates));
                    let is_news = self.accept_unstored()?;
                    if leads_nowhere {
                        self.poll_failed(&CallError::Malformed(
                            "no whole JSON object, again and again, and names no next cursor",
                        ));
                        self.sleep(failures.fail(imports::random())).await;
                        continue;
                    }
                    failures.reset();
                    // A server that repeats itself, or has nothing to say and does not hold the poll,
                    // sets no pace.
                    let was_held = imports::now().saturating_sub(begun) >= SHORT_POLL;
                    if is_news || (is_empty && was_held) {
                        idle.reset();
                    } else {
                        self.sleep(idle.fail(imports::random())).await;
                    }
                }
                Err(error) => {
                    let after = imports::now().saturating_sub(begun);
                    let is_silence = match &error {
                        CallError::Transport(Failure::TimedOut) => true,
                        // An edge that does not let polls hang for so long: they are made shorter.
                        error => error.is_cut_short() && self.hold_is_shorter(after),
                    };
                    let result = match is_silence {
                        true => self.still_there().await,
                        false => Err(error),
                    };
                    let Err(error) = result else {
                        failures.reset();
                        continue;
                    };
                    self.poll_failed(&error);
                    if error.is_login_required() {
                        self.announce_again(&mut refusals).await;
                    } else {
                        self.sleep(failures.fail(imports::random())).await;
                    }
                }
            }
        }
    }

    /// Learns from a poll that something on the way cut off after this time; false when it was so soon
    /// that it is a failure.
    fn hold_is_shorter(&self, after: Duration) -> bool {
        let Some(hold) = api::hold_before(after) else {
            return false;
        };
        self.platform.longest_poll.set(Some((hold, imports::now())));
        log(
            Level::Info,
            &format!(
                "polls are cut off on the way after {} s: they end after {} s from now on",
                after.as_secs(),
                hold.as_secs()
            ),
        );
        true
    }

    /// A poll that ends without an answer is no sign of life: now and then the server is asked for one.
    async fn still_there(&self) -> Result<(), CallError> {
        self.health.borrow_mut().poll_ended();
        if !self.health.borrow().is_doubtful(imports::now()) {
            return Ok(());
        }
        let request = api::notify_start(&self.options, imports::random());
        let fetch = std::pin::pin!(imports::fetch(request));
        let drained = std::pin::pin!(self.drain.wait(0));
        match select(drained, fetch).await {
            Either::Left(_) => Ok(()),
            Either::Right((answer, _)) => {
                api::read(answer)?;
                self.health.borrow_mut().poll_answered(imports::now());
                self.log_phase();
                Ok(())
            }
        }
    }

    /// One poll; none when draining ended it.
    async fn poll(&self) -> Option<Result<wire::Updates, CallError>> {
        let hold = self.health.borrow().hold;
        let request = {
            let mut channel = self.channel.borrow_mut();
            let cursor = channel.journal().cursor();
            let learned = self.platform.longest_poll.get();
            let learned =
                learned.filter(|(_, since)| imports::now().saturating_sub(*since) < LEARNED_FOR);
            let wait = api::poll_wait(hold, learned.map(|(longest, _)| longest));
            api::get_updates(&self.options, imports::random(), cursor, wait)
        };
        self.health.borrow_mut().poll_opened(imports::now());
        let fetch = std::pin::pin!(async {
            let fetch = std::pin::pin!(imports::fetch(request));
            let shown = std::pin::pin!(self.show_connected());
            match select(fetch, shown).await {
                Either::Left((answer, _)) => answer,
                Either::Right((never, _)) => match never {},
            }
        });
        let drained = std::pin::pin!(self.drain.wait(0));
        match select(drained, fetch).await {
            Either::Left(((), _)) => None,
            Either::Right((answer, _)) => {
                let mut unreadable = self.platform.unreadable.borrow_mut();
                Some(api::read_updates(answer, &mut unreadable))
            }
        }
    }

    /// A poll that stays open is a connection, and nobody should have to wait for its end to hear
    /// so.
    async fn show_connected(&self) -> Infallible {
        while *self.logged.borrow() != Some(Phase::Connected) {
            imports::sleep_until(imports::now() + OPEN_LONG_ENOUGH).await;
            self.log_phase();
        }
        std::future::pending().await
    }

    /// Stores what a poll brought, and says whether it was new. What can't be stored now is kept: the
    /// server may not say it again.
    fn accept_unstored(&self) -> Result<bool, Error> {
        let Some(updates) = self.platform.unstored.take() else {
            return Ok(false);
        };
        let result = self.accept(&updates);
        if let Err(error) = &result
            && error.kind == ErrorKind::Storage
        {
            self.is_stale.set(true);
            self.platform.unstored.replace(Some(updates));
        }
        result
    }

    /// Stores a batch with its cursor, and says whether either is new. A fenced instance does so, too: its
    /// successor finds it.
    fn accept(&self, updates: &wire::Updates) -> Result<bool, Error> {
        if !updates.leads_nowhere() {
            self.answered_well(updates);
        }

        self.tell_condition(updates);
        let events = self.read_all(&updates.messages)?;
        if !updates.messages.is_empty() {
            let (count, read) = (updates.messages.len(), events.len());
            log(
                Level::Debug,
                &format!("received messages: {count}, of people: {read}"),
            );
        }
        let cursor = match &updates.cursor {
            Some(cursor) => cursor.clone(),
            None => self.channel.borrow_mut().journal().cursor().to_owned(),
        };
        self.take_in(cursor, events)
    }

    fn answered_well(&self, updates: &wire::Updates) {
        {
            let mut health = self.health.borrow_mut();
            health.poll_answered(imports::now());
            if let Some(hold) = api::hold(updates) {
                health.hold = hold;
            }
        }
        self.last_poll_ms.set(Some(imports::now_ms()));
        self.look_at_clock();
        self.log_phase();
        self.channel.borrow_mut().outbox().resume();
        self.lane.raise();
    }

    /// The log tells once that answers have to be repaired, and each time that one is given up.
    fn tell_condition(&self, updates: &wire::Updates) {
        let is_repaired = updates.condition == Condition::Repaired;
        let was_repairing = self.platform.is_repairing.replace(is_repaired);
        match updates.condition {
            Condition::Repaired if !was_repairing => log(
                Level::Warn,
                "the server's answers are no valid JSON: they are read with what is wrong in them made \
                 harmless",
            ),
            Condition::Broken if updates.cursor.is_some() => log(
                Level::Error,
                "an answer of the server could not be read, however often it was asked for: it is \
                 passed over, and messages in it are lost",
            ),
            _ => {}
        }
    }

    /// The platform refuses the credential: after a pause, the start is announced again.
    async fn announce_again(&self, refusals: &mut Backoff) {
        let is_first = refusals.failures() == 0;
        let pause = self.refusal_pause(refusals);
        if !is_first {
            self.sleep(pause).await;
        }
        if self.is_draining.get() {
            return;
        }
        let request = api::notify_start(&self.options, imports::random());
        if api::read(imports::fetch(request).await).is_ok() {
            self.health.borrow_mut().start_accepted = true;
        }
    }

    /// Reads the messages of a batch, and looks up what they quote by its id alone.
    fn read_all(&self, messages: &[String]) -> Result<Vec<Event>, Error> {
        let mut events: Vec<Event> = Vec::new();
        let mut skipped = Vec::new();
        for json in messages {
            match inbound::read(json) {
                Reading::Event(mut event, reference) => {
                    if let Some(reference) = reference
                        && let Body::Message(message) = &mut event.body
                    {
                        let id = reference.id.as_deref().unwrap_or_default();
                        let known = match entry_in(&events, id) {
                            Some(entry) => Some(entry),
                            None => self.history_entry(id)?,
                        };
                        let is_here =
                            |entry: &HistoryEntry| entry.conversation == message.conversation.id;
                        let known = known.filter(is_here);
                        message.quote = Some(quote::read(&reference, known.as_ref()));
                    }
                    events.push(*event);
                }
                Reading::Ignored => {}
                Reading::Unreadable(why) => skipped.push((json.as_str(), why)),
            }
        }
        self.tell_skipped(&skipped);
        Ok(events)
    }

    /// The log tells of messages that are skipped; not again when a server repeats them.
    fn tell_skipped(&self, skipped: &[(&str, &str)]) {
        let texts: Vec<&str> = skipped.iter().map(|(json, _)| *json).collect();
        let this = fnv1a(texts.concat().as_bytes());
        if skipped.is_empty() || self.platform.skipped.replace(this) == this {
            return;
        }
        for (_, why) in skipped {
            log(Level::Warn, &format!("a message was skipped: it {why}"));
        }
    }

    /// What the history has under an id.
    fn history_entry(&self, id: &str) -> Result<Option<HistoryEntry>, Error> {
        if let Some(entry) = self.channel.borrow_mut().history().find(id) {
            return Ok(Some(entry.clone()));
        }
        let value = self.buckets.get(Bucket::Messages, id)?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }
}

/// The entry that a message of the same batch will be.
fn entry_in(events: &[Event], id: &str) -> Option<HistoryEntry> {
    let event = events.iter().find(|event| event.id == id)?;
    let message = event.message()?;
    Some(HistoryEntry {
        conversation: message.conversation.id.clone(),
        text: message.text.clone(),
        media: message.media.clone(),
    })
}
