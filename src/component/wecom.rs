//! The calls of the wecom component. In this version an instance starts, waits and drains, and every
//! other call is refused.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use wit_bindgen::StreamReader;

use super::imports;
use super::signal::Signal;
use super::values::{Opened, Report, Upload};
use super::webhook::{Answer, Callback};
use crate::channel::Delivery;
use crate::channel::error::{Error, ErrorKind};
use crate::channel::health::Phase;
use crate::channel::message::Media;
use crate::channel::outbox::{NewPost, Receipt};

pub mod login {
    //! There is no login: the host has the app's secret.

    use super::{Error, Infallible, unsupported};

    /// Starts over.
    pub async fn begin() -> Result<Infallible, Error> {
        Err(unsupported())
    }

    /// Waits for the next step.
    pub async fn next() -> Result<Infallible, Error> {
        Err(unsupported())
    }

    /// Hands over the digits.
    pub async fn submit(_: &str) -> Result<Infallible, Error> {
        Err(unsupported())
    }
}

thread_local! {
    static INSTANCE: RefCell<Option<Rc<Instance>>> = const { RefCell::new(None) };
}

/// One instance at work.
pub struct Instance {
    started_ms: u64,
    is_draining: Cell<bool>,
    drain: Signal,
}

fn unsupported() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this version of the component does not do that",
    )
}

/// The instance, once it was started.
pub fn current() -> Result<Rc<Instance>, Error> {
    INSTANCE.with_borrow(Clone::clone).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "the instance was not started: call `start` first",
        )
    })
}

/// Takes the account over.
pub async fn start() -> Result<(), Error> {
    INSTANCE.set(Some(Rc::new(Instance {
        started_ms: imports::now_ms(),
        is_draining: Cell::new(false),
        drain: Signal::default(),
    })));
    Ok(())
}

/// Ends `receive` and `run`.
pub async fn drain(_: u64) {
    if let Ok(instance) = current() {
        instance.is_draining.set(true);
        instance.drain.raise();
    }
}

/// Announces the stop.
pub async fn stop() -> Result<(), Error> {
    Ok(())
}

/// What the instance knows of itself.
pub fn check() -> Report {
    let current = current().ok();
    Report {
        phase: match &current {
            None => Phase::Starting,
            Some(instance) if instance.is_draining.get() => Phase::Draining,
            Some(_) => Phase::Connected,
        },
        since_ms: current.map_or_else(imports::now_ms, |instance| instance.started_ms),
        last_poll_ms: None,
        last_event_ms: None,
        last_send_ms: None,
        unacknowledged: 0,
        queued: 0,
        reason: None,
    }
}

/// Answers what the platform posts.
pub async fn callback(callback: Callback) -> Answer {
    let bytes = callback.body.len();
    Answer {
        status: 501,
        body: format!("this version takes no callbacks ({bytes} bytes came)").into_bytes(),
    }
}

impl Instance {
    async fn drained(&self) {
        let seen = self.drain.count();
        if !self.is_draining.get() {
            self.drain.wait(seen).await;
        }
    }

    /// Waits for events.
    pub async fn receive(&self) -> Result<Vec<Delivery>, Error> {
        self.drained().await;
        Ok(Vec::new())
    }

    /// Acknowledges events.
    pub fn ack(&self, _: &[String]) -> Result<(), Error> {
        Err(unsupported())
    }

    /// Stores a post and waits until it is settled.
    pub async fn send(&self, _: NewPost) -> Result<Receipt, Error> {
        Err(unsupported())
    }

    /// The receipt of a key.
    pub fn find(&self, _: &str) -> Result<Option<Receipt>, Error> {
        Err(unsupported())
    }

    /// Sends what is stored, until draining.
    pub async fn run(&self) -> Result<(), Error> {
        self.drained().await;
        Ok(())
    }

    /// There is no indicator.
    pub async fn typing(&self, _: &str, _: bool) -> Result<(), Error> {
        Err(unsupported())
    }

    /// Opens the content of a handle.
    pub async fn open(&self, _: &str) -> Result<Opened, Error> {
        Err(unsupported())
    }

    /// Uploads.
    pub async fn put(&self, _: Upload, _: StreamReader<u8>) -> Result<Media, Error> {
        Err(unsupported())
    }
}
