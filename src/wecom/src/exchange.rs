//! Callbacks that are held open until their answer's turn, where the operator chose so.
//!
//! A part goes out in the exchange of its callback or as a message, never as both. Whoever takes the
//! exchange out of the held ones decides alone, and no `await` comes between taking it and using it. A
//! part whose exchange breaks off goes out as a message.

use futures::channel::oneshot;
use futures::future::{Either, select};
use gateway_channel_sdk::host::Host;
use gateway_channel_sdk::outbox::Outcome;
use gateway_channel_sdk::platform::{HttpAnswer, Part};

use crate::{Wecom, passive, reply};

/// Takes what the exchange is answered with.
pub type Exchange = oneshot::Sender<Given>;

/// An answer for an exchange.
#[derive(Debug)]
pub struct Given {
    body: Vec<u8>,
    sent: oneshot::Sender<bool>,
}

impl Wecom {
    /// Holds the exchange of an event open, and answers it with what it is given, else with nothing.
    pub(crate) async fn hold(&self, host: &Host, event: &str) -> HttpAnswer {
        let (exchange, given) = oneshot::channel();
        if !self.exchanges.borrow_mut().hold(event, exchange) {
            return HttpAnswer::empty(200);
        }
        let over = std::pin::pin!(host.sleep(passive::HOLD));
        let given = match select(given, over).await {
            Either::Left((given, _)) => given.ok(),
            Either::Right(_) => None,
        };
        self.exchanges.borrow_mut().take(event);
        let Some(Given { body, sent }) = given else {
            return HttpAnswer::empty(200);
        };
        HttpAnswer {
            content_type: "application/xml",
            sent: Some(Box::new(move |is_sent| {
                // Who waited may have gone.
                let _ = sent.send(is_sent);
            })),
            ..HttpAnswer::text(body)
        }
    }

    /// Gives the begin of an answer to the exchange of its callback; none where it has to go as a
    /// message.
    pub(crate) async fn give(&self, host: &Host, part: &Part<'_>) -> Option<Outcome> {
        if self.exchanges.borrow().is_given(part.client_id) {
            return Some(Outcome::Answered);
        }
        let exchange = self.exchanges.borrow_mut().take(part.answers?)?;
        let text = passive::text(part)?;
        let body = self.sealed(host, part.conversation, text)?.into_bytes();
        let (sent, is_sent) = oneshot::channel();
        exchange.send(Given { body, sent }).ok()?;
        self.exchanges.borrow_mut().give(part.client_id);
        if is_sent.await.unwrap_or(false) {
            return Some(Outcome::Answered);
        }
        self.exchanges.borrow_mut().not_given(part.client_id);
        None
    }

    fn sealed(&self, host: &Host, user: &str, text: &str) -> Option<String> {
        let now_s = host.now_ms() / 1000;
        let fresh = reply::Fresh {
            random: host.random_bytes(),
            now_s,
            nonce: host.random(),
        };
        let content = reply::text(&self.config, user, now_s, text);
        reply::xml(&self.config.seal, fresh, &content)
    }
}
