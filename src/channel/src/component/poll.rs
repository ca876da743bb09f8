//! The poll loop. It waits for nothing but the platform and, at too many unacknowledged events, for the
//! gateway.

use std::convert::Infallible;
use std::time::Duration;

use futures::future::{Either, select};

use super::erased::AnyPolling;
use super::imports;
use super::instance::Instance;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind};
use crate::health::OPEN_LONG_ENOUGH;
use crate::host::Level;
use crate::platform::{Batch, Poll, PollError, hold};

/// How long it is believed that polls are cut off on the way.
const LEARNED_FOR: Duration = Duration::from_secs(3600);
/// An empty poll that ends sooner was not held.
const SHORT_POLL: Duration = Duration::from_millis(500);

/// The pauses after polls that brought nothing new.
struct Pauses {
    failures: Backoff,
    refusals: Backoff,
    idle: Backoff,
}

impl Instance {
    /// Polls until draining, or until something fails that the caller of `receive` has to know.
    pub async fn poll_all(&self, platform: &dyn AnyPolling) -> Result<(), Error> {
        let account = &self.account;
        let mut pauses = Pauses {
            failures: Backoff::new(Duration::from_secs(1), Duration::from_secs(10)),
            refusals: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            idle: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
        };
        loop {
            account.ready()?;
            account.accept_unstored()?;
            account.adopt()?;
            account.sweep()?;
            if account.is_draining.get() {
                return Ok(());
            }
            if account.pause().await {
                continue;
            }
            account.check_fence()?;
            let begun = imports::now();
            match self.poll(platform).await {
                None => return Ok(()),
                Some(Ok(batch)) => self.accept(batch, begun, &mut pauses).await?,
                Some(Err(error)) => self.poll_failed(error, begun, &mut pauses).await,
            }
        }
    }

    /// Stores what a poll brought, and waits where nothing else sets a pace.
    async fn accept(
        &self,
        batch: Batch,
        begun: Duration,
        pauses: &mut Pauses,
    ) -> Result<(), Error> {
        let account = &self.account;
        pauses.refusals.reset();
        let is_empty = batch.events.is_empty();
        let failure = batch.failure.clone();
        account.keep(batch);
        let is_news = account.accept_unstored()?;
        if let Some(failure) = failure {
            account.failed(&failure);
            account.sleep(pauses.failures.fail(imports::random())).await;
            return Ok(());
        }
        pauses.failures.reset();
        // A server that repeats itself, or has nothing to say and does not hold the poll, sets no pace.
        let was_held = imports::now().saturating_sub(begun) >= SHORT_POLL;
        if is_news || (is_empty && was_held) {
            pauses.idle.reset();
        } else {
            account.sleep(pauses.idle.fail(imports::random())).await;
        }
        Ok(())
    }

    /// Finds out whether anything is wrong when a poll brought nothing, and waits if so.
    async fn poll_failed(&self, error: PollError, begun: Duration, pauses: &mut Pauses) {
        let after = imports::now().saturating_sub(begun);
        let is_silence = match &error {
            PollError::Silent => true,
            // An edge that does not let polls hang for so long: they are made shorter.
            PollError::CutShort(_) => self.hold_is_shorter(after),
            PollError::Failed(_) => false,
        };
        let result = match is_silence {
            true => self.still_there().await,
            false => Err(error.into()),
        };
        let Err(error) = result else {
            pauses.failures.reset();
            return;
        };
        self.account.failed(&error);
        if error.kind == ErrorKind::LoginRequired {
            self.say_hello_again(&mut pauses.refusals).await;
        } else {
            let pause = pauses.failures.fail(imports::random());
            let wanted = error.retry_after.unwrap_or_default().min(hold::MAX);
            self.account.sleep(pause.max(wanted)).await;
        }
    }

    /// Learns from a poll that something on the way cut off after this time; false when it was so soon
    /// that it is a failure.
    fn hold_is_shorter(&self, after: Duration) -> bool {
        let Some(longest) = hold::before_cut(after) else {
            return false;
        };
        let learned = Some((longest, imports::now()));
        self.account.longest_poll.set(learned);
        let line = format!(
            "polls are cut off on the way after {} s: they end after {} s from now on",
            after.as_secs(),
            longest.as_secs()
        );
        self.account.log(Level::Info, &line);
        true
    }

    /// A poll that ends without an answer is no sign of life: now and then the server is asked for one.
    async fn still_there(&self) -> Result<(), Error> {
        let account = &self.account;
        account.health.borrow_mut().poll_ended();
        if !account.health.borrow().is_doubtful(imports::now()) {
            return Ok(());
        }
        let hello = std::pin::pin!(self.platform.hello(&self.host));
        let drained = std::pin::pin!(account.drain.wait(0));
        match select(drained, hello).await {
            Either::Left(_) => Ok(()),
            Either::Right((hello, _)) => {
                hello.unwrap_or(Err(PollError::Silent.into()))?;
                account.health.borrow_mut().poll_answered(imports::now());
                account.log_phase();
                Ok(())
            }
        }
    }

    /// One poll; none when draining ended it.
    async fn poll(&self, platform: &dyn AnyPolling) -> Option<Result<Batch, PollError>> {
        let account = &self.account;
        let hold = account.health.borrow().hold;
        let cursor = account.channel.borrow_mut().journal().cursor().to_owned();
        let learned = account.longest_poll.get();
        let learned =
            learned.filter(|(_, since)| imports::now().saturating_sub(*since) < LEARNED_FOR);
        let timeout = hold::timeout(hold, learned.map(|(longest, _)| longest));
        let poll = Poll {
            cursor: &cursor,
            // Nothing else shows soon that a platform is there which takes no announcement.
            hold: match account.last_poll_ms.get().is_none() && !account.has_started() {
                true => Duration::ZERO,
                false => hold.min(timeout.saturating_sub(hold::MARGIN)),
            },
            timeout,
        };
        account.health.borrow_mut().poll_opened(imports::now());
        let answer = std::pin::pin!(async {
            let answer = std::pin::pin!(platform.poll(&self.host, &poll));
            let shown = std::pin::pin!(self.show_connected());
            match select(answer, shown).await {
                Either::Left((answer, _)) => answer,
                Either::Right((never, _)) => match never {},
            }
        });
        let drained = std::pin::pin!(account.drain.wait(0));
        match select(drained, answer).await {
            Either::Left(((), _)) => None,
            Either::Right((answer, _)) => Some(answer),
        }
    }

    /// A poll that stays open is a connection, and nobody should have to wait for its end to hear
    /// so.
    async fn show_connected(&self) -> Infallible {
        while !self.account.is_shown_connected() {
            imports::sleep_until(imports::now() + OPEN_LONG_ENOUGH).await;
            self.account.log_phase();
        }
        std::future::pending().await
    }

    /// The platform refuses the credential: after a pause, the start is announced again.
    async fn say_hello_again(&self, refusals: &mut Backoff) {
        let account = &self.account;
        let is_first = refusals.failures() == 0;
        let pause = account.refusal_pause(refusals);
        if !is_first {
            account.sleep(pause).await;
        }
        if account.is_draining.get() {
            return;
        }
        if let Some(Ok(())) = self.platform.hello(&self.host).await {
            account.health.borrow_mut().start_accepted = true;
        }
    }
}
