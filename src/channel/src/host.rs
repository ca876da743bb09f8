//! What a platform may ask of the host: requests, time, random numbers and lines of the log.
//!
//! A platform gets a [`Host`] as an argument and has no other way out. Inside a component it leads to
//! the host's imports. In a native test it leads to a [`TestHost`](crate::testing::TestHost).

use std::rc::Rc;
use std::time::Duration;

use crate::error::Error;
use crate::http::{self, Answer, Request, Response, TransportError};
pub use crate::transfer::LocalFuture;
use crate::transfer::{Content, Source, Transform};

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For who looks for an error in the channel.
    Debug,
    /// Something happened that is as it should be.
    Info,
    /// Something is wrong, and may pass.
    Warn,
    /// Somebody has to do something.
    Error,
}

/// The host of an instance.
#[derive(Clone)]
pub struct Host(Rc<dyn Calls>);

/// What stands behind a [`Host`]. Channels do not implement it.
pub trait Calls {
    /// See [`Host::now`].
    fn now(&self) -> Duration;
    /// See [`Host::now_ms`].
    fn now_ms(&self) -> u64;
    /// See [`Host::random`].
    fn random(&self) -> u64;
    /// See [`Host::log`].
    fn log(&self, level: Level, line: &str);
    /// See [`Host::sleep`].
    fn sleep(&self, pause: Duration) -> LocalFuture<'_, ()>;
    /// See [`Host::fetch`].
    fn fetch(&self, request: Request) -> LocalFuture<'_, Answer>;
    /// See [`Host::download`].
    fn download(&self, request: Request) -> LocalFuture<'_, Result<Answered, TransportError>>;
    /// See [`Host::upload`].
    fn upload(
        &self,
        request: Request,
        content: Content,
        transform: Box<dyn Transform>,
    ) -> LocalFuture<'_, Result<Answered, Error>>;
    /// See [`Host::check_credential`].
    fn check_credential(&self) -> Result<(), Error>;
    /// See [`Host::is_alive`].
    fn is_alive(&self);
    /// See [`Host::fails`].
    fn fails(&self, error: &Error);
    /// See [`Host::refresh`].
    fn refresh(&self);
}

impl Host {
    /// A host behind which these calls stand.
    pub fn new(calls: Rc<dyn Calls>) -> Host {
        Host(calls)
    }

    /// Time on a monotonic clock.
    pub fn now(&self) -> Duration {
        self.0.now()
    }

    /// Milliseconds since the Unix epoch, by the host's clock.
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    /// A random number that nobody can guess.
    pub fn random(&self) -> u64 {
        self.0.random()
    }

    /// 16 random bytes that nobody can guess.
    pub fn random_bytes(&self) -> [u8; 16] {
        let bits = (u128::from(self.random()) << 64) | u128::from(self.random());
        bits.to_le_bytes()
    }

    /// Writes one line to the host's log. It must hold no credential and no text of a message.
    pub fn log(&self, level: Level, line: &str) {
        self.0.log(level, line);
    }

    /// Waits. The wait ends early when the instance is drained.
    pub async fn sleep(&self, pause: Duration) {
        self.0.sleep(pause).await;
    }

    /// Makes a request and reads the whole response, of at most [`http::MAX_BODY_BYTES`], within the
    /// request's time.
    ///
    /// # Errors
    /// [`TransportError`] when there is no whole response. Any status is a response.
    pub async fn fetch(&self, request: Request) -> Answer {
        self.0.fetch(request).await
    }

    /// Makes a request and reads the head of its response. The request's time limits each pause
    /// within the response, not the whole.
    ///
    /// # Errors
    /// [`TransportError`] when there is no head of a response.
    pub async fn download(&self, request: Request) -> Result<Answered, TransportError> {
        self.0.download(request).await
    }

    /// Makes a request whose body is what `transform` makes of `content`. The request has to have its
    /// own `Content-Length`.
    ///
    /// # Errors
    /// `transient` when there is no head of a response, and `invalid` when the content has another
    /// length than was announced. The request never ends as if it were whole then.
    pub async fn upload(
        &self,
        request: Request,
        content: Content,
        transform: Box<dyn Transform>,
    ) -> Result<Answered, Error> {
        self.0.upload(request, content, transform).await
    }

    /// Whether requests make sense now.
    ///
    /// # Errors
    /// `login-required` while the platform refuses the credential.
    pub fn check_credential(&self) -> Result<(), Error> {
        self.0.check_credential()
    }

    /// Notes that the platform is there and takes the credential. A platform that is polled need not
    /// say so: each poll does.
    pub fn is_alive(&self) {
        self.0.is_alive();
    }

    /// Notes that the platform can't be used, and why. The kind `login-required` means that it refuses
    /// the credential.
    pub fn fails(&self, error: &Error) {
        self.0.fails(error);
    }

    /// Has [`Webhook::refresh`](crate::platform::Webhook::refresh) called soon.
    pub fn refresh(&self) {
        self.0.refresh();
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

/// Finds the first header of a name, in any case.
pub type HeaderLookup = Box<dyn Fn(&str) -> Option<String>>;

/// The head of a response, and its body to be read.
pub struct Answered {
    /// Status code.
    pub status: u16,
    headers: HeaderLookup,
    body: Box<dyn Source>,
}

impl Answered {
    /// A head with this look-up of headers, and a body.
    pub fn new(status: u16, headers: HeaderLookup, body: Box<dyn Source>) -> Answered {
        Answered {
            status,
            headers,
            body,
        }
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<String> {
        (self.headers)(name)
    }

    /// Reads the whole response.
    ///
    /// # Errors
    /// [`TransportError`] when it breaks off or is longer than [`http::MAX_BODY_BYTES`].
    pub async fn whole(mut self) -> Answer {
        let body = whole(&mut *self.body, http::MAX_BODY_BYTES).await?;
        Ok(Response {
            status: self.status,
            body: body
                .ok_or_else(|| TransportError::Unanswered("the answer is too long".to_owned()))?,
        })
    }

    /// The body alone.
    pub fn into_body(self) -> Box<dyn Source> {
        self.body
    }
}

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answered({})", self.status)
    }
}

/// Room for the first part of a response. Most are shorter, and a poll holds it while it hangs.
const READ_BYTES: usize = 2 * 1024;

/// Reads all of a source; none when that is more than `limit`.
pub(crate) async fn whole(
    source: &mut (impl Source + ?Sized),
    limit: usize,
) -> Result<Option<Vec<u8>>, TransportError> {
    let mut whole = Vec::with_capacity(READ_BYTES);
    while source.read(&mut whole).await? {
        if whole.len() > limit {
            return Ok(None);
        }
        if whole.capacity() - whole.len() < READ_BYTES {
            whole.reserve(whole.capacity());
        }
    }
    Ok((whole.len() <= limit).then_some(whole))
}
