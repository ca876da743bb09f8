//! A host for the native tests of a platform.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Cursor;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::host::{Answered, Calls, Host, Level, LocalFuture, whole};
use crate::http::{Answer, Request, Response, TransportError};
use crate::transfer::{Content, Source, Transform};

/// A host that answers requests from a list, and whose clock moves when somebody waits.
#[derive(Debug, Default)]
pub struct TestHost {
    answers: RefCell<VecDeque<Answer>>,
    requests: RefCell<Vec<Request>>,
    lines: RefCell<Vec<(Level, String)>>,
    waited: Cell<Duration>,
    random: Cell<u64>,
    errors: RefCell<Vec<Error>>,
}

impl TestHost {
    /// A host that has no answers yet.
    pub fn new() -> Rc<TestHost> {
        Rc::default()
    }

    /// What a platform takes.
    pub fn host(self: &Rc<Self>) -> Host {
        Host::new(Rc::<TestHost>::clone(self))
    }

    /// Adds the response to a request that is yet to be made.
    pub fn answers(&self, status: u16, body: impl Into<Vec<u8>>) {
        let body = body.into();
        let answer = Ok(Response { status, body });
        self.answers.borrow_mut().push_back(answer);
    }

    /// Makes a request that is yet to be made fail.
    pub fn fails_with(&self, error: TransportError) {
        self.answers.borrow_mut().push_back(Err(error));
    }

    /// The requests that were made since the last call. The body of an upload is what was sent.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.take()
    }

    /// The lines of the log since the last call.
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.lines.take()
    }

    /// What the platform said of itself since the last call with [`Host::fails`].
    pub fn errors(&self) -> Vec<Error> {
        self.errors.take()
    }

    fn answer(&self, request: Request) -> Answer {
        self.requests.borrow_mut().push(request);
        let answer = self.answers.borrow_mut().pop_front();
        answer.unwrap_or_else(|| Err(TransportError::NotSent("no answer is left".to_owned())))
    }

    fn answered(&self, request: Request) -> Result<Answered, TransportError> {
        let Response { status, body } = self.answer(request)?;
        let body = Box::new(Cursor::new(body));
        Ok(Answered::new(status, Box::new(|_| None), body))
    }
}

impl Calls for TestHost {
    fn now(&self) -> Duration {
        Duration::from_secs(1000) + self.waited.get()
    }

    fn now_ms(&self) -> u64 {
        let waited = u64::try_from(self.waited.get().as_millis());
        1_795_000_000_000 + waited.unwrap_or_default()
    }

    fn random(&self) -> u64 {
        let random = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(random);
        random
    }

    fn log(&self, level: Level, line: &str) {
        self.lines.borrow_mut().push((level, line.to_owned()));
    }

    fn sleep(&self, pause: Duration) -> LocalFuture<'_, ()> {
        self.waited.set(self.waited.get() + pause);
        Box::pin(std::future::ready(()))
    }

    fn fetch(&self, request: Request) -> LocalFuture<'_, Answer> {
        Box::pin(std::future::ready(self.answer(request)))
    }

    fn download(&self, request: Request) -> LocalFuture<'_, Result<Answered, TransportError>> {
        Box::pin(std::future::ready(self.answered(request)))
    }

    fn upload(
        &self,
        mut request: Request,
        content: Content,
        mut transform: Box<dyn Transform>,
    ) -> LocalFuture<'_, Result<Answered, Error>> {
        Box::pin(async move {
            let transport =
                |error: TransportError| Error::new(ErrorKind::Transient, error.to_string());
            let mut source: Box<dyn Source> = content.into_source();
            let content = whole(&mut *source, usize::MAX).await.map_err(transport)?;
            let mut window = Vec::new();
            transform.prepare(&mut window);
            window.extend(content.unwrap_or_default());
            transform.update(&mut window);
            request.body.append(&mut window);
            transform.prepare(&mut window);
            transform.finish(&mut window)?;
            request.body.append(&mut window);
            self.answered(request).map_err(transport)
        })
    }

    fn check_credential(&self) -> Result<(), Error> {
        Ok(())
    }

    fn is_alive(&self) {}

    fn fails(&self, error: &Error) {
        self.errors.borrow_mut().push(error.clone());
    }

    fn refresh(&self) {}
}

/// Runs a future that waits for nothing but a [`TestHost`]; none when it waits for something else.
pub fn run<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
