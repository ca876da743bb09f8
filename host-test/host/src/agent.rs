//! The agent's side: one message of a person goes in, at most one reply comes out.
//!
//! - Before the reply an agent may say how far it is, by a [`Progress`].
//! - The JSON of a [`Message`] is a promise to users: every member is always there.
//! - `Ok` is the agent's acknowledgement, with or without a reply. An [`AgentError`] says by its
//!   [`Fault`] whether the same message is to be given once more, with the same id; when is the
//!   caller's to decide.
//! - What an agent answers is read leniently: unknown members are ignored, and what makes no sense
//!   is reported once and left out.

#[cfg(feature = "agents")]
mod answer;
#[cfg(feature = "agents")]
pub mod environment;
mod error;
#[cfg(feature = "agents")]
mod event_line;
#[cfg(feature = "agents")]
pub mod exec;
pub mod health;
#[cfg(feature = "agents")]
pub mod http;
pub mod message;
#[cfg(feature = "agents")]
mod objects;
#[cfg(feature = "agents")]
pub mod openai;
pub mod progress;
#[cfg(feature = "agents")]
mod spec;
#[cfg(feature = "agents")]
mod thought;
mod words;

use std::sync::Arc;
use std::time::Duration;

use ::http::Uri;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use health::Health;
use message::{Message, Reply};
use progress::Progress;

pub(crate) use error::KINDS;
pub use error::{AgentError, Fault};
#[cfg(feature = "agents")]
pub use spec::{AgentSpec, Settings, SpecError};
pub use words::Words;

/// An agent has this long for an answer.
pub const ANSWER_TIME: Duration = Duration::from_secs(10 * 60);
/// The largest answer: replies may carry files in base64.
pub const MAX_ANSWER_BYTES: usize = 150 * 1024 * 1024;

/// Something that answers messages. Any number may be with it at the same time.
pub trait Agent: Send + Sync {
    /// Gives a message to the agent. `None` acknowledges it without a reply. What is said to
    /// `progress` reaches the person before the reply.
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>>;

    /// Where the agent is, if it is a server: its replies may name files of the same origin by `url`,
    /// also on this machine or over plain http.
    fn url(&self) -> Option<&Uri> {
        None
    }

    /// What all accounts know together of how the agent does. Without one each account finds out
    /// for itself.
    fn health(&self) -> Option<Arc<Health>> {
        None
    }

    /// What people are told where the agent fails them.
    fn words(&self) -> Words {
        Words::default()
    }
}

/// An agent that says what it hears.
pub struct EchoAgent;

impl Agent for EchoAgent {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        _: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        ready(Ok(Reply::of_text(message.text.clone()))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::message::tests::hello;
    use super::*;

    #[tokio::test]
    async fn echo_replies_with_the_same_text() {
        let reply = EchoAgent
            .answer(&hello("1"), &Progress::nowhere())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(reply.text.as_deref(), Some("hello"));
        let silent = Message {
            text: String::new(),
            ..hello("1")
        };
        let answer = EchoAgent.answer(&silent, &Progress::nowhere()).await;
        assert_eq!(answer, Ok(None));
    }
}
