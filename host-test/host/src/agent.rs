//! The agent's side: one message of a person goes in, at most one reply comes out.
//!
//! - Before the reply, an agent may report [`Progress`].
//! - The JSON of a [`Message`] is a promise to users: every member is always there.
//! - `Ok` acknowledges the message, with or without a reply. The [`Fault`] of an [`AgentError`] says
//!   whether the same message is to be given to the agent again, with the same id. The caller decides
//!   when.
//! - An agent's answer is read leniently: unknown members are ignored, and a member that makes no sense
//!   is reported once and left out.
//!
//! An agent is a closure:
//!
//! ```
//! use gateway_host::agent::{self, Agent};
//! use gateway_host::agent::message::Reply;
//!
//! let agent = agent::from_fn(|message, progress| async move {
//!     if message.text.len() > 1000 {
//!         // What takes long is told before the answer.
//!         progress.say("I am reading …".to_owned());
//!     }
//!     // `None` acknowledges the message without a reply; after an error it comes again.
//!     Ok(Reply::of_text(format!("You said: {}", message.text)))
//! });
//! # let _: Box<dyn Agent> = Box::new(agent);
//! ```

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

/// How long an agent may take for an answer.
pub const ANSWER_TIME: Duration = Duration::from_secs(10 * 60);
/// The largest answer: replies may carry files in base64.
pub const MAX_ANSWER_BYTES: usize = 150 * 1024 * 1024;

/// Something that answers messages. It may get any number of messages at the same time.
pub trait Agent: Send + Sync {
    /// Gives a message to the agent. `Ok(None)` acknowledges it without a reply. A text that is given to
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

    /// The health of the agent, shared by all accounts. Without it, each account finds out for itself.
    fn health(&self) -> Option<Arc<Health>> {
        None
    }

    /// What people are told when the agent fails.
    fn words(&self) -> Words {
        Words::default()
    }
}

/// An agent that is a closure. It gets each message with a [`Progress`] of its own, and what it returns
/// is what [`Agent::answer`] returns.
pub fn from_fn<F, A>(answer: F) -> impl Agent
where
    F: Fn(Message, Progress) -> A + Send + Sync,
    A: Future<Output = Result<Option<Reply>, AgentError>> + Send + 'static,
{
    FnAgent(answer)
}

struct FnAgent<F>(F);

impl<F, A> Agent for FnAgent<F>
where
    F: Fn(Message, Progress) -> A + Send + Sync,
    A: Future<Output = Result<Option<Reply>, AgentError>> + Send + 'static,
{
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        (self.0)(message.clone(), progress.clone()).boxed()
    }
}

/// An agent that says what it hears.
#[derive(Debug, Clone, Copy, Default)]
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
