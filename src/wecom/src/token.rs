//! The access token: the host holds it, the instance knows whether there is a valid one.
//!
//! Promises: there is one request for a token at a time, whoever needs one waits for it, and one that
//! is given up leaves nobody waiting.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use gateway_channel_sdk::host::Host;
use gateway_channel_sdk::signal::Signal;

use crate::access::{Access, Generation};
use crate::api::{self, CallError};
use crate::{Wecom, WecomConfig};

/// What is known of the access token.
#[derive(Debug, Default)]
pub struct Token {
    access: RefCell<Access>,
    /// Somebody asks for a token.
    is_renewing: Cell<bool>,
    /// That came to an end.
    renewed: Signal,
    /// Why there is no token.
    refusal: RefCell<Option<CallError>>,
}

impl Token {
    /// The platform refuses the app itself: whatever token there is, another one is asked for.
    pub fn forget(&self) {
        self.access.borrow_mut().forget();
    }

    /// The platform refused the token of a request.
    pub fn refused(&self, generation: Generation) {
        self.access.borrow_mut().refused(generation);
    }

    /// How long the token is still good for.
    pub fn left(&self, now: Duration) -> Duration {
        let until = self.access.borrow().until();
        until.unwrap_or_default().saturating_sub(now)
    }

    /// Waits until there is a valid token; says which.
    pub async fn get(&self, host: &Host, config: &WecomConfig) -> Result<Generation, CallError> {
        let mut is_asked = false;
        loop {
            let known = self.access.borrow().current(host.now());
            if let Some(generation) = known {
                return Ok(generation);
            }
            if is_asked && let Some(refusal) = self.refusal.borrow().clone() {
                return Err(refusal);
            }
            is_asked = true;
            let seen = self.renewed.count();
            if self.is_renewing.replace(true) {
                self.renewed.wait(seen).await;
                continue;
            }
            let _renewing = Renewing(self);
            self.renew(host, config).await;
        }
    }

    async fn renew(&self, host: &Host, config: &WecomConfig) {
        self.refusal.replace(None);
        let answer = host.fetch(api::get_token(config)).await;
        match api::read_token(answer) {
            Ok(life) => {
                self.access.borrow_mut().renewed(host.now(), life);
                host.is_alive();
                // The next renewal is due with this token's end, whoever asked for the token.
                host.refresh();
            }
            Err(error) => {
                host.fails(&error.clone().into_error());
                self.refusal.replace(Some(error));
            }
        }
    }
}

impl Wecom {
    /// Makes a call with a valid token; once more with a new one where the platform refuses it.
    pub(crate) async fn with_token<T>(
        &self,
        host: &Host,
        call: impl AsyncFn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let generation = self.token.get(host, &self.config).await?;
        match call().await {
            Err(error) if error.wants_new_token() => {
                self.token.refused(generation);
                self.token.get(host, &self.config).await?;
                call().await
            }
            result => result,
        }
    }
}

/// A request for a token under way.
struct Renewing<'a>(&'a Token);

impl Drop for Renewing<'_> {
    fn drop(&mut self) {
        self.0.is_renewing.set(false);
        self.0.renewed.raise();
    }
}
