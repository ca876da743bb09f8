//! Callbacks: nobody who is not the platform learns more than that it was refused. What is stored is
//! answered at once, unless the operator chose that the answer may go out in the exchange.

use std::time::Duration;

use gateway_channel_sdk::error::Error;
use gateway_channel_sdk::host::{Host, Level};
use gateway_channel_sdk::message::{Body, Event};
use gateway_channel_sdk::platform::{Callback, HttpAnswer, HttpRequest, Webhook};

use crate::Wecom;
use crate::callback::{self, MAX_BODY_BYTES, REFUSED_STATUS};
use crate::inbound::Reading;

/// Kinds of events that the log tells, and what of their names.
const MAX_EVENTS_TOLD: usize = 64;
const MAX_NAME: usize = 64;

impl Webhook for Wecom {
    const MAX_BODY_BYTES: usize = MAX_BODY_BYTES;

    fn callback(&self, host: &Host, request: &HttpRequest) -> Callback {
        let refused = |refusal: crate::crypto::Refusal| Callback::Refused {
            status: REFUSED_STATUS,
            why: refusal.to_string(),
        };
        let (query, body) = (&request.query, &request.body);
        if !request.is_post {
            return match callback::verify(&self.config.seal, host.now_ms(), query) {
                Ok(body) => Callback::Answered(HttpAnswer::text(body)),
                Err(refusal) => refused(refusal),
            };
        }
        match callback::receive(&self.config, host.now_ms(), query, body) {
            Ok(Reading::Event(event)) => {
                self.log_event(host, &event);
                let may_hold = self.config.passive_reply && event.message().is_some();
                Callback::Events {
                    held: may_hold.then(|| event.id.clone()),
                    events: vec![*event],
                }
            }
            Ok(Reading::Unreadable(why)) => {
                host.log(Level::Warn, &format!("a callback was skipped: {why}"));
                Callback::Answered(HttpAnswer::empty(200))
            }
            Err(refusal) => refused(refusal),
        }
    }

    async fn answer(&self, host: &Host, held: &str) -> HttpAnswer {
        self.hold(host, held).await
    }

    /// The token is kept fresh. Callbacks need none, so a start does not wait for one.
    async fn refresh(&self, host: &Host) -> Result<Duration, Error> {
        let token = self.token.get(host, &self.config).await;
        token.map_err(|error| error.into_error())?;
        Ok(self.token.left(host.now()))
    }
}

impl Wecom {
    /// What is no message reaches no agent: the log says so, once for each kind of event.
    fn log_event(&self, host: &Host, event: &Event) {
        let Body::Other { name, .. } = &event.body else {
            return;
        };
        let name: String = name.chars().filter(|char| !char.is_control()).collect();
        let name: String = name.chars().take(MAX_NAME).collect();
        let mut told = self.events.borrow_mut();
        if told.len() < MAX_EVENTS_TOLD && told.insert(name.clone()) {
            let line =
                format!("WeCom tells events `{name}`: they are no messages and reach no agent");
            host.log(Level::Info, &line);
        }
    }
}
