//! What is sent: the calls that store posts, and what surrounds the requests of the sender.

use futures::future::select;

use super::*;
use crate::outbox::{Job, NewPost, Outcome, Receipt};

/// How long `send` waits for the parts to settle.
const SEND_WAIT: Duration = Duration::from_secs(15);

impl Account {
    /// Stores a post and waits until it is settled.
    pub async fn send(&self, post: NewPost) -> Result<Receipt, Error> {
        if self.is_draining.get() {
            return Err(Error::new(
                ErrorKind::Draining,
                "this instance is being drained: send to its successor",
            ));
        }
        self.ready()?;
        self.channel.borrow().check(&post)?;
        (self.about.check_conversation)(&post.conversation)?;
        self.check_media(&post)?;
        let key = post.key.clone();
        let known = self.channel.borrow_mut().outbox().known(&post)?;
        if known.is_none() {
            let stored = self.stored_receipt(&key)?;
            if let Some(receipt) = stored.filter(|receipt| !receipt.may_be_repeated()) {
                return receipt.of(&post);
            }
            self.check_login(&post)?;
            self.load_peer(&post.conversation)?;
            self.look_at_clock();
            let (now, now_ms) = (imports::now(), imports::now_ms());
            self.channel.borrow().admit(now, now_ms, &post)?;
            self.check_fence()?;
            let writes = {
                let mut channel = self.channel.borrow_mut();
                channel.post(now, now_ms, post, || {
                    (self.about.client_id)(imports::now_ms(), imports::random())
                })
            };
            self.store(writes)?;
            self.acknowledged.raise();
            self.outbox.raise();
            self.wake_callers();
        }
        self.decided(&key).await;
        self.ready()?;
        let told = self.channel.borrow_mut().outbox().tell(&key);
        self.store(told)?;
        self.find(&key)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                "the post's receipt is gone: another program changes this account's store",
            )
        })
    }

    /// Only what was uploaded for this conversation can be sent to it.
    fn check_media(&self, post: &NewPost) -> Result<(), Error> {
        for handle in &post.media {
            if (self.about.uploaded_for)(handle)? != post.conversation {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "only media that were `put` for this conversation can be sent to it",
                ));
            }
        }
        Ok(())
    }

    /// A post that neither answers nor would wait is refused while the credential is.
    fn check_login(&self, post: &NewPost) -> Result<(), Error> {
        if post.answers.is_some() || post.queue_until_ms.is_some() {
            return Ok(());
        }
        self.check_credential()
    }

    /// The receipt of a key.
    pub fn find(&self, key: &str) -> Result<Option<Receipt>, Error> {
        self.ready()?;
        let receipt = self.channel.borrow().receipt(key);
        match receipt {
            Some(receipt) => Ok(Some(receipt)),
            None => self.stored_receipt(key),
        }
    }

    pub fn stored_receipt(&self, key: &str) -> Result<Option<Receipt>, Error> {
        let value = self.buckets.get(Bucket::Receipts, key)?;
        Ok(value.and_then(|value| Receipt::parse(&value)))
    }

    /// Waits until every part of a post is settled or queued, at most [`SEND_WAIT`], or until the
    /// sender ends.
    async fn decided(&self, key: &str) {
        if self.channel.borrow_mut().outbox().is_decided(key) {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting
            .borrow_mut()
            .entry(key.to_owned())
            .or_default()
            .push(sender);
        let timer = std::pin::pin!(imports::sleep_until(imports::now() + SEND_WAIT));
        // The sender drops its end when it is done with the post.
        select(receiver, timer).await;
    }

    /// There is one sender.
    pub fn begin_run(&self) -> Result<(), Error> {
        if self.is_running.replace(true) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "another call of `run` is open: keep one",
            ));
        }
        Ok(())
    }

    /// The sender has ended.
    pub fn end_run(&self, has_failed: bool) {
        self.is_running.set(false);
        if has_failed {
            // Its requests went with it: what they did is for the store's count to tell.
            self.channel.borrow_mut().outbox().forget_requests();
            self.is_stale.set(true);
        }
        self.waiting.borrow_mut().clear();
        self.sender_ended.raise();
    }

    /// What is done before requests begin.
    pub fn begin_round(&self) -> Result<(), Error> {
        self.ready()?;
        self.look_at_clock();
        self.expire()
    }

    /// The next request, whose count is stored; none while draining.
    pub fn next_job(&self) -> Result<Option<Job>, Error> {
        if self.is_draining.get() {
            return Ok(None);
        }
        loop {
            let now = imports::now();
            let turn = self.channel.borrow_mut().outbox().turn(now);
            let Some(conversation) = turn else {
                return Ok(None);
            };
            if let Err(error) = self.load_peer(&conversation) {
                // Its turn is over, and would not come again.
                self.is_stale.set(true);
                return Err(error);
            }
            let (job, writes) = {
                let mut channel = self.channel.borrow_mut();
                channel.next(now, imports::now_ms(), &conversation)
            };
            self.store(writes)?;
            if job.is_some() {
                return Ok(job);
            }
        }
    }

    /// Fails what waited for too long.
    fn expire(&self) -> Result<(), Error> {
        let writes = self.channel.borrow_mut().outbox().expire(imports::now_ms());
        self.store(writes)
    }

    /// Tells callers, and `receive`, of posts that are settled or queued.
    pub fn wake_callers(&self) {
        let (keys, has_reports) = {
            let mut channel = self.channel.borrow_mut();
            let outbox = channel.outbox();
            (outbox.take_decided(), outbox.has_reports())
        };
        for key in keys {
            if self.channel.borrow_mut().outbox().is_decided(&key) {
                self.waiting.borrow_mut().remove(&key);
            }
        }
        if has_reports {
            self.inbox.raise();
        }
    }

    /// Waits until there may be something to send.
    pub async fn news(&self, seen: u64) {
        let wake_at = {
            let mut channel = self.channel.borrow_mut();
            channel.outbox().wake_at(imports::now(), imports::now_ms())
        };
        let raised = std::pin::pin!(self.outbox.wait(seen));
        match wake_at {
            Some(at) if !self.is_draining.get() => {
                let timer = std::pin::pin!(imports::sleep_until(at));
                select(raised, timer).await;
            }
            _ => raised.await,
        }
    }

    /// Takes in what became of a request.
    pub fn finish(&self, job: &Job, outcome: Outcome) -> Result<(), Error> {
        let now = imports::now();
        self.look_at_clock();
        self.log_outcome(&outcome);
        match &outcome {
            Outcome::Accepted { .. } | Outcome::Answered => {
                self.last_send_ms.set(Some(imports::now_ms()))
            }
            Outcome::LoginRequired(error) => self.failed(error),
            Outcome::NotSent(_)
            | Outcome::NotUploaded(_)
            | Outcome::Unknown(_)
            | Outcome::Refused(_)
            | Outcome::Declined { .. } => {}
        }
        self.load_peer(&job.conversation)?;
        let writes = {
            let mut channel = self.channel.borrow_mut();
            channel.settle(now, imports::now_ms(), imports::random(), job, outcome)
        };
        self.store(writes)?;
        self.wake_callers();
        self.retire(false)
    }

    /// One line when sends begin to fail in some way, and none until that changes.
    fn log_outcome(&self, outcome: &Outcome) {
        let (level, message) = match outcome {
            Outcome::Accepted {
                message_id: Some(_),
            } => {
                if self.send_trouble.replace(None).is_some() {
                    self.log(Level::Info, "sends work again");
                }
                return;
            }
            Outcome::Accepted { message_id: None } => (
                Level::Warn,
                format!(
                    "{} accepts messages without an id: they may not arrive, and are not sent again",
                    self.about.title
                ),
            ),
            Outcome::Refused(error) => (Level::Error, format!("a message is refused: {error}")),
            Outcome::Declined { error, .. } => (
                Level::Warn,
                format!(
                    "{} wants no message now, and is tried again less often: {error}",
                    self.about.title
                ),
            ),
            Outcome::NotUploaded(error) => (
                Level::Warn,
                format!("a long text can't be uploaded as a file, and is tried again: {error}"),
            ),
            Outcome::NotSent(error) | Outcome::Unknown(error) => {
                (Level::Warn, format!("sends fail and are retried: {error}"))
            }
            Outcome::Answered | Outcome::LoginRequired(_) => return,
        };
        if self.send_trouble.borrow().as_ref() != Some(&message) {
            self.log(level, &message);
            self.send_trouble.replace(Some(message));
        }
    }
}
