//! What comes in, from where it is stored to where it is returned, and what has to be done beside.

use futures::future::select;

use super::*;
use crate::backoff::Backoff;
use crate::channel::{Delivery, is_old};
use crate::history::HistoryEntry;
use crate::message::{Body, Event};
use crate::platform::Incoming;

/// Events that one call of `receive` returns at most.
const MAX_EVENTS: usize = 256;
/// A refused credential is tried again at growing pauses for this long, then each [`LOGIN_LATER`].
const LOGIN_SOON: Duration = Duration::from_secs(600);
const LOGIN_LATER: Duration = Duration::from_secs(300);
/// How long after the start a batch of an older instance may still arrive in the store.
const ADOPT_FOR: Duration = Duration::from_secs(300);
/// How often it is looked for.
pub const ADOPT_EVERY: Duration = Duration::from_secs(5);

impl Account {
    /// What `receive` returns now; empty when draining, and none when there is nothing yet.
    pub fn take_events(&self) -> Result<Option<Vec<Delivery>>, Error> {
        if let Some(error) = self.attend_error.take() {
            return Err(error);
        }
        if self.is_draining.get() {
            return Ok(Some(Vec::new()));
        }
        self.ready()?;
        let (deliveries, writes) = {
            let mut channel = self.channel.borrow_mut();
            channel.take(imports::now(), MAX_EVENTS)
        };
        self.store(writes)?;
        Ok(Some(deliveries).filter(|deliveries| !deliveries.is_empty()))
    }

    /// Waits until there may be more of them.
    pub async fn wait_for_events(&self, seen: u64) {
        let ripe_at = self.channel.borrow_mut().journal().ripe_at();
        let news = std::pin::pin!(self.inbox.wait(seen));
        let ripe = std::pin::pin!(imports::sleep_until(ripe_at.unwrap_or(Duration::MAX)));
        let drained = std::pin::pin!(self.drain.wait(0));
        select(drained, select(news, ripe)).await;
    }

    /// Keeps what a poll brought until it is stored.
    pub fn keep(&self, batch: Batch) {
        self.unstored.replace(Some(batch));
    }

    /// Stores what is kept, and says whether it was new. What can't be stored now is kept: the server
    /// may not say it again.
    pub fn accept_unstored(&self) -> Result<bool, Error> {
        let Some(mut batch) = self.unstored.take() else {
            return Ok(false);
        };
        let result = self.accept(&mut batch);
        if let Err(error) = &result
            && error.kind == ErrorKind::Storage
        {
            self.is_stale.set(true);
            self.unstored.replace(Some(batch));
        }
        result
    }

    fn accept(&self, batch: &mut Batch) -> Result<bool, Error> {
        if batch.failure.is_none() {
            let mut health = self.health.borrow_mut();
            health.poll_answered(imports::now());
            if let Some(hold) = batch.hold {
                health.hold = hold.min(crate::platform::hold::MAX);
            }
            drop(health);
            self.last_poll_ms.set(Some(imports::now_ms()));
            self.resume();
        }
        self.resolve_quotes(&mut batch.events)?;
        let cursor = match &batch.cursor {
            Some(cursor) => cursor.clone(),
            None => self.channel.borrow_mut().journal().cursor().to_owned(),
        };
        let events = batch.events.iter().map(|incoming| incoming.event.clone());
        self.take_in(cursor, events.collect())
    }

    /// Looks up what messages quote by its id alone: in the batch before them, else in the history.
    fn resolve_quotes(&self, events: &mut [Incoming]) -> Result<(), Error> {
        for index in 0..events.len() {
            let (before, rest) = events.split_at_mut(index);
            let Some(incoming) = rest.first_mut() else {
                continue;
            };
            let Body::Message(message) = &mut incoming.event.body else {
                continue;
            };
            let Some(quoted) = &incoming.quoted else {
                continue;
            };
            let known = match entry_in(before, &quoted.id) {
                Some(entry) => Some(entry),
                None => self.history_entry(&quoted.id)?,
            };
            let is_here = |entry: &HistoryEntry| entry.conversation == message.conversation.id;
            let known = known.filter(is_here);
            message.quote = Some((quoted.read)(known.as_ref()));
            incoming.quoted = None;
        }
        Ok(())
    }

    /// What the history has under an id.
    fn history_entry(&self, id: &str) -> Result<Option<HistoryEntry>, Error> {
        if let Some(entry) = self.channel.borrow_mut().history().find(id) {
            return Ok(Some(entry.clone()));
        }
        let value = self.buckets.get(Bucket::Messages, id)?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// Stores what arrived, with the cursor behind it, and tells `receive`; whether there was anything
    /// to store. A fenced instance does so, too: its successor finds it.
    pub fn take_in(&self, cursor: String, events: Vec<Event>) -> Result<bool, Error> {
        for message in events.iter().filter_map(Event::message) {
            self.load_peer(&message.conversation.id)?;
        }
        let received = {
            let mut channel = self.channel.borrow_mut();
            channel.receive(imports::now(), imports::now_ms(), cursor, events)
        };
        if received.refused > 0 {
            let count = received.refused;
            let line = format!("messages dropped, because the sender is not admitted: {count}");
            self.log(Level::Info, &line);
        }
        let is_news = received.write.is_some();
        if is_news {
            self.last_event_ms.set(Some(imports::now_ms()));
        }
        self.store(received.write)?;
        self.inbox.raise();
        // Who wrote may be written to again.
        self.outbox.raise();
        self.check_fence()?;
        self.retire(false)?;
        Ok(is_news)
    }

    /// Waits while too much is unacknowledged; true when it waited.
    pub async fn pause(&self) -> bool {
        let seen = self.acknowledged.count();
        let is_paused = self.channel.borrow_mut().journal().is_paused();
        self.health.borrow_mut().is_paused = is_paused;
        if is_paused {
            self.log_phase();
            let acknowledged = std::pin::pin!(self.acknowledged.wait(seen));
            let drained = std::pin::pin!(self.drain.wait(0));
            select(acknowledged, drained).await;
        }
        is_paused
    }

    /// How long to wait before a refused credential is tried again.
    pub fn refusal_pause(&self, refusals: &mut Backoff) -> Duration {
        let now = imports::now();
        let since = self.health.borrow().login_required_since().unwrap_or(now);
        // Every refusal counts, however late: only the first one is answered without a pause.
        let soon = refusals.fail(imports::random());
        match now.saturating_sub(since) < LOGIN_SOON {
            true => soon,
            false => LOGIN_LATER,
        }
    }

    /// Takes in what an older instance stored after this one had started.
    pub fn adopt(&self) -> Result<(), Error> {
        let now = imports::now();
        if !self.may_adopt() || now.saturating_sub(self.adopted.get()) < ADOPT_EVERY {
            return Ok(());
        }
        self.adopted.set(now);
        let mut entries = Vec::new();
        for key in self.buckets.keys()? {
            let is_news = self.channel.borrow_mut().journal().is_foreign(&key);
            if is_news && let Some(value) = self.buckets.get(Bucket::State, &key)? {
                entries.push((key, value));
            }
        }
        let problems = self.channel.borrow_mut().adopt(&entries);
        self.log_problems(problems);
        if !entries.is_empty() {
            self.inbox.raise();
            self.outbox.raise();
        }
        self.replay_peers()
    }

    /// Whether a batch of an older instance may still arrive in the store.
    pub fn may_adopt(&self) -> bool {
        imports::now().saturating_sub(self.started) <= ADOPT_FOR
    }

    /// Removes receipts and messages that have had their time, a chunk of each at once.
    pub fn sweep(&self) -> Result<(), Error> {
        let now_ms = imports::now_ms();
        let due = self.channel.borrow_mut().receipts().due(now_ms);
        if let Some(key) = due {
            let value = self.buckets.get(Bucket::State, &key)?;
            let (names, chunk) = {
                let mut channel = self.channel.borrow_mut();
                channel.receipts().remove(&key, value.as_deref())
            };
            let mut writes = Vec::new();
            for name in names {
                // The key of a post that failed may have been used again since.
                if self
                    .stored_receipt(&name)?
                    .is_some_and(|receipt| is_old(&receipt, now_ms))
                {
                    writes.push(Write {
                        bucket: Bucket::Receipts,
                        key: name,
                        value: None,
                    });
                }
            }
            writes.push(chunk);
            self.store(writes)?;
        }
        let due = self.channel.borrow_mut().history().due(now_ms);
        if let Some(key) = due {
            let value = self.buckets.get(Bucket::State, &key)?;
            let writes = {
                let mut channel = self.channel.borrow_mut();
                channel.history().forget(&key, value.as_deref())
            };
            self.store(writes)?;
        }
        Ok(())
    }
}

/// The entry that a message of the same batch will be.
fn entry_in(events: &[Incoming], id: &str) -> Option<HistoryEntry> {
    let incoming = events.iter().find(|incoming| incoming.event.id == id)?;
    let message = incoming.event.message()?;
    Some(HistoryEntry {
        conversation: message.conversation.id.clone(),
        text: message.text.clone(),
        media: message.media.clone(),
    })
}
