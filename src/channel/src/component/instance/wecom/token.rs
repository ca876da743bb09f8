//! The access token: the host holds it, the instance knows whether there is a valid one.
//!
//! Promises: there is one request for a token at a time, whoever needs one waits for it, and one that
//! is given up leaves nobody waiting.

use super::*;

/// How often the store is tidied when nothing else happens.
const TIDY_EVERY: Duration = Duration::from_secs(60);

impl Instance {
    /// Makes a call with a valid token; once more with a new one where the platform refuses it.
    pub(super) async fn with_token<T>(
        &self,
        call: impl AsyncFn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let generation = self.token().await?;
        match call().await {
            Err(error) if error.wants_new_token() => {
                self.platform.access.borrow_mut().refused(generation);
                self.token().await?;
                call().await
            }
            result => result,
        }
    }

    /// Waits until there is a valid token; says which.
    pub(super) async fn token(&self) -> Result<Generation, CallError> {
        let mut is_asked = false;
        loop {
            let known = self.platform.access.borrow().current(imports::now());
            if let Some(generation) = known {
                return Ok(generation);
            }
            if is_asked && let Some(refusal) = self.platform.refusal.borrow().clone() {
                return Err(refusal);
            }
            is_asked = true;
            let seen = self.platform.renewed.count();
            if self.platform.is_renewing.replace(true) {
                self.platform.renewed.wait(seen).await;
                continue;
            }
            let _renewing = Renewing(&self.platform);
            self.renew().await;
        }
    }

    async fn renew(&self) {
        self.platform.refusal.replace(None);
        let answer = imports::fetch(api::get_token(&self.options)).await;
        match api::read_token(answer) {
            Ok(life) => {
                let now = imports::now();
                self.look_at_clock();
                self.platform.access.borrow_mut().renewed(now, life);
                self.health.borrow_mut().poll_answered(now);
                self.log_phase();
                self.channel.borrow_mut().outbox().resume();
                self.lane.raise();
                self.platform.chores.raise();
            }
            Err(error) => {
                let words = error.clone().into_error();
                self.failed(words.message, words.kind == ErrorKind::LoginRequired);
                self.platform.refusal.replace(Some(error));
            }
        }
    }

    /// What has to be done beside the calls, until draining: the token is kept fresh, what an older
    /// instance stored is taken in, the store is tidied.
    pub(in super::super) async fn attend(&self) -> Result<(), Error> {
        let mut failures = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            self.ready()?;
            self.adopt()?;
            self.sweep()?;
            if self.is_draining.get() {
                return Ok(());
            }
            self.check_fence()?;
            if self.pause().await {
                continue;
            }
            let seen = self.platform.chores.count();
            let renewing = std::pin::pin!(self.token());
            let drained = std::pin::pin!(self.drain.wait(0));
            let pause = match select(drained, renewing).await {
                Either::Left(_) => return Ok(()),
                Either::Right((Ok(_), _)) => {
                    failures.reset();
                    let until = self.platform.access.borrow().until();
                    let left = until.unwrap_or_default().saturating_sub(imports::now());
                    left.min(match self.may_adopt() {
                        true => inbox::ADOPT_EVERY,
                        false => TIDY_EVERY,
                    })
                }
                Either::Right((Err(_), _)) => {
                    let pause = self.refusal_pause(&mut failures);
                    self.sleep(pause).await;
                    continue;
                }
            };
            let chores = std::pin::pin!(self.platform.chores.wait(seen));
            select(chores, std::pin::pin!(self.sleep(pause))).await;
        }
    }
}

/// A request for a token under way.
struct Renewing<'a>(&'a State);

impl Drop for Renewing<'_> {
    fn drop(&mut self) {
        self.0.is_renewing.set(false);
        self.0.renewed.raise();
    }
}
