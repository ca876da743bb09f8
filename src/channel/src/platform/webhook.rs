//! A platform that calls back over HTTP.

use std::time::Duration;

use super::Platform;
use crate::error::Error;
use crate::host::Host;
use crate::message::Event;

/// A platform that calls back.
#[expect(async_fn_in_trait, reason = "a component has one thread")]
pub trait Webhook: Platform {
    /// Longest body of a callback that is read.
    const MAX_BODY_BYTES: usize = 256 * 1024;

    /// Reads a request.
    fn callback(&self, host: &Host, request: &HttpRequest) -> Callback;

    /// The answer to the callback that brought [`Callback::Events`] with this `held` event. They are
    /// stored. Until it returns, the exchange is open.
    async fn answer(&self, _host: &Host, _held: &str) -> HttpAnswer {
        HttpAnswer::empty(200)
    }

    /// Renews what requests need, such as an access token. Returns how long it is good for.
    ///
    /// It is called at the start, when that time is over, and after [`Host::refresh`]; after an error
    /// again, with growing pauses. Code that renews it elsewhere calls [`Host::refresh`], so that the host
    /// learns the new time.
    ///
    /// It says [`Host::is_alive`] when the platform took the credential, and [`Host::fails`] when it did
    /// not.
    ///
    /// # Errors
    /// Whatever the platform says.
    async fn refresh(&self, host: &Host) -> Result<Duration, Error> {
        host.is_alive();
        Ok(Duration::MAX)
    }
}

/// What a request was.
pub enum Callback {
    /// Something happened. It is stored before the request is answered: with 200 and an empty body, or
    /// with what [`Webhook::answer`] says where an event is `held` and new. What can't be stored now is
    /// answered with 503, so that the platform repeats it.
    Events {
        /// What happened.
        events: Vec<Event>,
        /// The id of the one whose answer may go out in this exchange.
        held: Option<String>,
    },
    /// It is answered so, and nothing is stored.
    Answered(HttpAnswer),
    /// It is not from the platform. It is answered with this status and an empty body, and the log is
    /// told why, at most once within ten seconds: anybody can send such requests.
    Refused {
        /// The status.
        status: u16,
        /// The reason, for the log alone.
        why: String,
    },
}

/// A request to the component.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `POST`; otherwise it is a `GET`.
    pub is_post: bool,
    /// As it stands in the URL, without the `?`.
    pub query: String,
    /// Empty for none.
    pub body: Vec<u8>,
}

/// What a request is answered.
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Told whether all of it went out; dropped where nothing of it did.
    pub sent: Option<Box<dyn FnOnce(bool)>>,
}

impl HttpAnswer {
    /// No more than a status.
    pub fn empty(status: u16) -> HttpAnswer {
        HttpAnswer {
            status,
            ..HttpAnswer::text(Vec::new())
        }
    }

    /// 200 and a text.
    pub fn text(body: Vec<u8>) -> HttpAnswer {
        HttpAnswer {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            body,
            sent: None,
        }
    }
}
