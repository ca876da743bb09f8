//! What comes in, from where it is stored to where it is returned, and what has to be done beside.

use wit_bindgen::spawn_local;

use super::*;
use gateway_channel_sdk::channel::{Delivery, is_old};

/// A refused credential is tried again at growing pauses for this long, then each [`LOGIN_LATER`].
const LOGIN_SOON: Duration = Duration::from_secs(600);
const LOGIN_LATER: Duration = Duration::from_secs(300);
/// How long after the start a batch of an older instance may still arrive in the store.
const ADOPT_FOR: Duration = Duration::from_secs(300);
/// How often it is looked for.
pub(super) const ADOPT_EVERY: Duration = Duration::from_secs(5);

impl Instance {
    /// Waits for events; empty when draining.
    pub async fn receive(self: &Rc<Self>) -> Result<Vec<Delivery>, Error> {
        if self.is_receiving.replace(true) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "another call of `receive` is open: keep one",
            ));
        }
        let result = self.next_events().await;
        self.is_receiving.set(false);
        result
    }

    async fn next_events(self: &Rc<Self>) -> Result<Vec<Delivery>, Error> {
        loop {
            if let Some(error) = self.attend_error.take() {
                return Err(error);
            }
            if self.is_draining.get() {
                return Ok(Vec::new());
            }
            let seen = self.inbox.count();
            self.ready()?;
            let (deliveries, writes) = {
                let mut channel = self.channel.borrow_mut();
                channel.take(imports::now(), MAX_EVENTS)
            };
            self.store(writes)?;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            if !self.is_attending.replace(true) {
                let instance = Rc::clone(self);
                // It goes on when this call returns: a poll that is given up may take messages with
                // it.
                spawn_local(async move { instance.keep_attending().await });
            }
            let ripe_at = self.channel.borrow_mut().journal().ripe_at();
            let news = std::pin::pin!(self.inbox.wait(seen));
            let ripe = std::pin::pin!(imports::sleep_until(ripe_at.unwrap_or(Duration::MAX)));
            let drained = std::pin::pin!(self.drain.wait(0));
            select(drained, select(news, ripe)).await;
        }
    }

    async fn keep_attending(&self) {
        let result = self.attend().await;
        self.is_attending.set(false);
        self.attend_error.replace(result.err());
        self.inbox.raise();
    }

    /// Stores what arrived, with the cursor behind it, and tells `receive`; whether there was anything
    /// to store. A fenced instance does so, too: its successor finds it.
    pub(super) fn take_in(&self, cursor: String, events: Vec<Event>) -> Result<bool, Error> {
        for message in events.iter().filter_map(Event::message) {
            self.load_peer(&message.conversation.id)?;
        }
        let received = {
            let mut channel = self.channel.borrow_mut();
            channel.receive(imports::now(), imports::now_ms(), cursor, events)
        };
        if received.refused > 0 {
            let count = received.refused;
            log(
                Level::Info,
                &format!("messages dropped, because the sender is not admitted: {count}"),
            );
        }
        let is_news = received.write.is_some();
        if is_news {
            self.last_event_ms.set(Some(imports::now_ms()));
        }
        self.store(received.write)?;
        self.inbox.raise();
        // Who wrote may be written to again.
        self.lane.raise();
        self.check_fence()?;
        self.retire(false)?;
        Ok(is_news)
    }

    /// Waits while too much is unacknowledged; true when it waited.
    pub(super) async fn pause(&self) -> bool {
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

    /// Waits, but not longer than until draining.
    pub(super) async fn sleep(&self, pause: Duration) {
        let timer = std::pin::pin!(imports::sleep_until(imports::now() + pause));
        let drained = std::pin::pin!(self.drain.wait(0));
        select(drained, timer).await;
    }

    /// How long to wait before a refused credential is tried again.
    pub(super) fn refusal_pause(&self, refusals: &mut Backoff) -> Duration {
        let now = imports::now();
        let since = self.health.borrow().login_required_since().unwrap_or(now);
        match now.saturating_sub(since) < LOGIN_SOON {
            true => refusals.fail(imports::random()),
            false => LOGIN_LATER,
        }
    }

    /// Takes in what an older instance stored after this one had started.
    pub(super) fn adopt(&self) -> Result<(), Error> {
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
        log_problems(problems);
        self.replay_peers()
    }

    /// Whether a batch of an older instance may still arrive in the store.
    pub(super) fn may_adopt(&self) -> bool {
        imports::now().saturating_sub(self.started) <= ADOPT_FOR
    }

    /// Removes receipts and messages that have had their time, a chunk of each at once.
    pub(super) fn sweep(&self) -> Result<(), Error> {
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
