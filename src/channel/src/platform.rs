//! What makes a channel: a type with [`Platform`], and with [`Polling`] or [`Webhook`].
//!
//! The SDK stores, retries, splits and keeps the order. A platform knows the platform's requests and
//! how to read the answers. It keeps nothing that has to outlive the instance, and asks the outside
//! only through the [`Host`] that it is given, so that its tests are native.
//!
//! A whole channel that is polled:
//!
//! ```
//! use std::time::Duration;
//!
//! use gateway_channel_sdk::prelude::*;
//! use serde_json::{Value, json};
//!
//! /// A platform with `GET /poll` and `POST /send`.
//! struct Example {
//!     base_url: String,
//! }
//!
//! impl Platform for Example {
//!     const NAME: &'static str = "example";
//!
//!     fn describe() -> Description {
//!         Description {
//!             egress: vec![
//!                 Egress::https("api.example.com", "/").with("token", Placement::Header),
//!             ],
//!             ..Description::new("0.1.0", r#"{"type": "object"}"#)
//!         }
//!     }
//!
//!     fn new(_config: Lookup<'_>) -> Result<Example, Error> {
//!         Ok(Example { base_url: "https://api.example.com".into() })
//!     }
//!
//!     async fn deliver(&self, host: &Host, part: &Part<'_>) -> Outcome {
//!         let PartContent::Text(text) = part.content else {
//!             return Outcome::Refused(unsupported("media"));
//!         };
//!         let url = format!("{}/send", self.base_url);
//!         let body = json!({"to": part.conversation, "text": text, "id": part.client_id});
//!         let mut request = Request::post_json(url, &body, Duration::from_secs(15));
//!         request.headers.push(("Authorization", "Bearer {{token}}".into()));
//!         match host.fetch(request).await {
//!             Ok(response) if response.status == 200 => Outcome::Accepted { message_id: None },
//!             Ok(response) => Outcome::of(http_error(response.status)),
//!             Err(error) => Outcome::of(error.into()),
//!         }
//!     }
//! }
//!
//! impl Polling for Example {
//!     async fn poll(&self, host: &Host, poll: &Poll<'_>) -> Result<Batch, PollError> {
//!         let url = format!("{}/poll?after={}", self.base_url, poll.cursor);
//!         let mut request = Request::get(url, poll.timeout);
//!         request.headers.push(("Authorization", "Bearer {{token}}".into()));
//!         let response = host.fetch(request).await?;
//!         if response.status != 200 {
//!             return Err(PollError::of_status(response.status));
//!         }
//!         let answer: Value = serde_json::from_slice(&response.body)
//!             .map_err(|_| PollError::Failed(malformed("no JSON")))?;
//!         let messages = answer["messages"].as_array().into_iter().flatten();
//!         Ok(Batch {
//!             cursor: answer["next"].as_str().map(str::to_owned),
//!             events: messages
//!                 .filter_map(|message| {
//!                     Some(Incoming::message(
//!                         message["id"].as_str()?,
//!                         Conversation::direct(message["from"].as_str()?),
//!                         message["from"].as_str()?,
//!                         message["time"].as_u64()?,
//!                         message["text"].as_str()?,
//!                     ))
//!                 })
//!                 .collect(),
//!             ..Batch::default()
//!         })
//!     }
//! }
//!
//! gateway_channel_sdk::export!(Example);
//!
//! // Its tests are native.
//! let host = gateway_channel_sdk::testing::TestHost::new();
//! host.answers(200, r#"{"next": "7", "messages": [
//!     {"id": "6", "from": "alice", "time": 1795000000000, "text": "hello"}]}"#);
//! let example = Example { base_url: "https://api.example.com".into() };
//! let poll = Poll { cursor: "5", hold: Duration::ZERO, timeout: Duration::from_secs(5) };
//! let batch = gateway_channel_sdk::testing::run(example.poll(&host.host(), &poll)).unwrap();
//! let batch = batch.unwrap();
//! assert_eq!(batch.cursor.as_deref(), Some("7"));
//! assert_eq!(batch.events[0].event.message().unwrap().text, "hello");
//! assert_eq!(host.requests()[0].url, "https://api.example.com/poll?after=5");
//! ```

mod description;
mod login;
mod media;
mod polling;
mod webhook;

pub use description::{Capture, CredentialUse, Description, Egress, Keeping, Placement};
pub use login::{Action, Identity, Login, LoginMachine, Step};
pub use media::{Download, MediaTransfer, Upload};
pub use polling::{Batch, Incoming, Poll, PollError, Polling, Quoted, UnreadableAnswers, hold};
pub use webhook::{Callback, HttpAnswer, HttpRequest, Webhook};

use crate::error::{Error, ErrorKind};
use crate::host::Host;
use crate::markdown;
use crate::outbox::Outcome;
use crate::settings::{Lookup, Markdown};

/// A messaging platform.
///
/// There is one value for each instance, so one for each account. Futures of several calls run at the
/// same time on one thread, so what changes is in a `Cell` or a `RefCell` that no `await` holds.
#[expect(async_fn_in_trait, reason = "a component has one thread")]
pub trait Platform: Sized + 'static {
    /// A short name, such as `weixin`. It is the descriptor's `platform`, the log's name for the
    /// component, and part of what is stored.
    const NAME: &'static str;
    /// What people call the platform, such as `WeChat`.
    const TITLE: &'static str = Self::NAME;

    /// What a host must know before it starts the component, and the platform's defaults. It is the
    /// same at every call.
    fn describe() -> Description;

    /// Reads the configuration.
    ///
    /// # Errors
    /// `invalid`, with the key, what was wrong and what would be right, and never with a secret value.
    fn new(config: Lookup<'_>) -> Result<Self, Error>;

    /// Sends one message.
    async fn deliver(&self, host: &Host, part: &Part<'_>) -> Outcome;

    /// Markdown as text without markup.
    fn plain(markdown: &str) -> String {
        markdown::plain(markdown)
    }

    /// Markdown as the platform's clients render it; without an own form the same as
    /// [`Platform::plain`].
    fn native(markdown: &str) -> String {
        Self::plain(markdown)
    }

    /// The id that a part keeps over all tries.
    fn client_id(now_ms: u64, random: u64) -> String {
        format!("{}:{now_ms}-{:08x}", Self::NAME, random >> 32)
    }

    /// Whether somebody can be written to by this id.
    ///
    /// # Errors
    /// `invalid`, with what an id is.
    fn check_conversation(_id: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Shows or ends the typing indicator. It is asked for only where the description has
    /// `typing_refresh`. `reply_token` is that of the person's newest message.
    ///
    /// # Errors
    /// Whatever the platform says.
    async fn typing(
        &self,
        _host: &Host,
        _conversation: &str,
        _reply_token: Option<&str>,
        _on: bool,
    ) -> Result<(), Error> {
        Err(unsupported("a typing indicator"))
    }

    /// Tells the platform that this instance is there, and whether the platform takes the credential.
    /// It is called at the start, while the credential is refused, and when polls end in silence.
    /// None for a platform that wants no such thing.
    async fn hello(&self, _host: &Host) -> Option<Result<(), Error>> {
        None
    }

    /// Tells the platform that this instance goes.
    ///
    /// # Errors
    /// They stop nothing: the log tells of them.
    async fn goodbye(&self, _host: &Host) -> Result<(), Error> {
        Ok(())
    }

    /// These events were acknowledged, and no post answers them.
    fn not_answered(&self, _events: &[String]) {}
}

/// One platform message of a post.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The id of the conversation.
    pub conversation: &'a str,
    /// What it says or shows.
    pub content: PartContent<'a>,
    /// How the text was written.
    pub markdown: Markdown,
    /// The event that it answers. Only the first part of an answer has it.
    pub answers: Option<&'a str>,
    /// The part's own id, the same at every try.
    pub client_id: &'a str,
    /// An earlier try may have taken effect.
    pub is_again: bool,
    /// [`Message::reply_token`](crate::message::Message::reply_token) of the newest message there.
    pub reply_token: Option<&'a str>,
}

/// What a part says or shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartContent<'a> {
    /// Text, rendered and within the limits.
    Text(&'a str),
    /// Media, by the handle that [`MediaTransfer::put`] gave.
    Media(&'a str),
}

/// The error of a call that the platform does not have.
pub fn unsupported(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("this channel does not have {what}"),
    )
}

/// The error of a response that is not what the endpoint answers. `what` it is instead completes the
/// sentence "the server's answer is …".
pub fn malformed(what: &str) -> Error {
    Error::new(
        ErrorKind::UnknownOutcome,
        format!("the server's answer is {what}"),
    )
}

/// The error of a status that is no success: `transient` for 429 and 503, which had no effect,
/// `unknown-outcome` for every other 5xx, `login-required` for 401, and `forbidden` for the rest.
pub fn http_error(status: u16) -> Error {
    let kind = match status {
        429 | 503 => ErrorKind::Transient,
        500.. => ErrorKind::UnknownOutcome,
        401 => ErrorKind::LoginRequired,
        _ => ErrorKind::Forbidden,
    };
    Error::new(kind, format!("the server answered HTTP {status}"))
}
