//! Callbacks that are held open until their answer's turn, where the operator chose so.
//!
//! Promises: a part goes out in its callback's exchange or as a message, never as both: who takes the
//! exchange out of those that are held decides alone, and there is no `await` between the taking and
//! what follows from it. An exchange that does not come to its end gives its part back.

use super::*;
use crate::component::instance::media::random_bytes;
use crate::{passive, reply};

/// Takes what the exchange is answered with.
pub type Exchange = oneshot::Sender<Given>;

/// An answer for an exchange.
pub struct Given {
    body: Vec<u8>,
    sent: oneshot::Sender<bool>,
}

impl Instance {
    /// Holds the exchange of an event open, and answers it with what it is given, else with nothing.
    pub(super) async fn hold(&self, event: &str) -> Answer {
        let (exchange, given) = oneshot::channel();
        let exchanges = &self.platform.exchanges;
        if !exchanges.borrow_mut().hold(event, exchange) {
            return Answer::empty(200);
        }
        let over = std::pin::pin!(self.sleep(passive::HOLD));
        let given = match select(given, over).await {
            Either::Left((given, _)) => given.ok(),
            Either::Right(_) => None,
        };
        exchanges.borrow_mut().take(event);
        match given {
            Some(Given { body, sent }) => Answer::xml(body, sent),
            None => Answer::empty(200),
        }
    }

    /// Nothing will answer these events: nobody need wait for it.
    pub(in super::super) fn not_answered(&self, events: &[String]) {
        let mut exchanges = self.platform.exchanges.borrow_mut();
        for event in events {
            exchanges.take(event);
        }
    }

    /// Gives the begin of an answer to the exchange of its callback; none where it has to go as a
    /// message.
    pub(super) async fn give(&self, job: &Job, markdown: Markdown) -> Option<Outcome> {
        let exchanges = &self.platform.exchanges;
        if exchanges.borrow().is_given(&job.client_id) {
            return Some(Outcome::Answered);
        }
        let event = job.answers.as_deref()?;
        let exchange = exchanges.borrow_mut().take(event)?;
        let text = passive::text(markdown, &job.content, job.is_again)?;
        let body = self.sealed(&job.conversation, text)?.into_bytes();
        let (sent, is_sent) = oneshot::channel();
        exchange.send(Given { body, sent }).ok()?;
        exchanges.borrow_mut().give(&job.client_id);
        if is_sent.await.unwrap_or(false) {
            return Some(Outcome::Answered);
        }
        exchanges.borrow_mut().not_given(&job.client_id);
        None
    }

    fn sealed(&self, user: &str, text: &str) -> Option<String> {
        let now_s = imports::now_ms() / 1000;
        let fresh = reply::Fresh {
            random: random_bytes(),
            now_s,
            nonce: imports::random(),
        };
        let content = reply::text(&self.options, user, now_s, text);
        reply::xml(&self.options.seal, fresh, &content)
    }
}
