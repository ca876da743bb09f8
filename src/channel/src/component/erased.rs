//! A platform behind pointers, so that the driver is compiled once and not for each platform.

use std::time::Duration;

use super::Exported;
use crate::error::Error;
use crate::host::{Host, LocalFuture};
use crate::message::Media;
use crate::outbox::Outcome;
use crate::platform::{
    Batch, Callback, Description, Download, HttpAnswer, HttpRequest, LoginMachine, MediaTransfer,
    Part, Platform, Poll, PollError, Polling, Upload, Webhook,
};
use crate::settings::Lookup;
use crate::transfer::Content;

/// What is the same for all accounts of a platform.
#[derive(Debug)]
pub struct About {
    pub name: &'static str,
    pub title: &'static str,
    pub describe: fn() -> Description,
    pub plain: fn(&str) -> String,
    pub native: fn(&str) -> String,
    pub client_id: fn(u64, u64) -> String,
    pub check_conversation: fn(&str) -> Result<(), Error>,
    pub uploaded_for: fn(&str) -> Result<String, Error>,
    pub own_type: fn(&[u8]) -> Option<&'static str>,
    pub md5: fn(&[u8]) -> Vec<u8>,
    pub login: fn(Lookup<'_>, Duration) -> Result<Box<dyn LoginMachine>, Error>,
    /// A platform of this configuration.
    pub open: fn(Lookup<'_>) -> Result<OpenPlatform, Error>,
}

/// A platform and its events. It lives as long as the component.
pub type OpenPlatform = (&'static dyn AnyPlatform, Source);

impl About {
    /// Of a platform.
    pub const fn of<P: Exported>() -> About {
        About {
            name: P::NAME,
            title: P::TITLE,
            describe: P::describe,
            plain: P::plain,
            native: P::native,
            client_id: P::client_id,
            check_conversation: P::check_conversation,
            uploaded_for: P::uploaded_for,
            own_type: P::own_type,
            md5: P::md5,
            login: P::login,
            open: |config| {
                let platform: &'static P = Box::leak(Box::new(P::new(config)?));
                Ok((platform, platform.source()))
            },
        }
    }
}

/// Where the events of a platform come from.
#[derive(Clone, Copy)]
pub enum Source {
    /// The platform is polled.
    Polled(&'static dyn AnyPolling),
    /// The platform calls back.
    CallsBack(&'static dyn AnyWebhook),
}

/// [`Platform`] and [`MediaTransfer`].
pub trait AnyPlatform {
    fn deliver<'a>(&'a self, host: &'a Host, part: &'a Part<'a>) -> LocalFuture<'a, Outcome>;
    fn typing<'a>(
        &'a self,
        host: &'a Host,
        conversation: &'a str,
        reply_token: Option<&'a str>,
        on: bool,
    ) -> LocalFuture<'a, Result<(), Error>>;
    fn hello<'a>(&'a self, host: &'a Host) -> LocalFuture<'a, Option<Result<(), Error>>>;
    fn goodbye<'a>(&'a self, host: &'a Host) -> LocalFuture<'a, Result<(), Error>>;
    fn not_answered(&self, events: &[String]);
    fn open<'a>(
        &'a self,
        host: &'a Host,
        handle: &'a str,
    ) -> LocalFuture<'a, Result<Download, Error>>;
    fn put<'a>(
        &'a self,
        host: &'a Host,
        upload: Upload,
        content: Content,
    ) -> LocalFuture<'a, Result<Media, Error>>;
}

impl<P: Platform + MediaTransfer> AnyPlatform for P {
    fn deliver<'a>(&'a self, host: &'a Host, part: &'a Part<'a>) -> LocalFuture<'a, Outcome> {
        Box::pin(Platform::deliver(self, host, part))
    }

    fn typing<'a>(
        &'a self,
        host: &'a Host,
        conversation: &'a str,
        reply_token: Option<&'a str>,
        on: bool,
    ) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(Platform::typing(self, host, conversation, reply_token, on))
    }

    fn hello<'a>(&'a self, host: &'a Host) -> LocalFuture<'a, Option<Result<(), Error>>> {
        Box::pin(Platform::hello(self, host))
    }

    fn goodbye<'a>(&'a self, host: &'a Host) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(Platform::goodbye(self, host))
    }

    fn not_answered(&self, events: &[String]) {
        Platform::not_answered(self, events);
    }

    fn open<'a>(
        &'a self,
        host: &'a Host,
        handle: &'a str,
    ) -> LocalFuture<'a, Result<Download, Error>> {
        Box::pin(MediaTransfer::open(self, host, handle))
    }

    fn put<'a>(
        &'a self,
        host: &'a Host,
        upload: Upload,
        content: Content,
    ) -> LocalFuture<'a, Result<Media, Error>> {
        Box::pin(MediaTransfer::put(self, host, upload, content))
    }
}

/// [`Polling`].
pub trait AnyPolling {
    fn poll<'a>(
        &'a self,
        host: &'a Host,
        poll: &'a Poll<'a>,
    ) -> LocalFuture<'a, Result<Batch, PollError>>;
}

impl<P: Polling> AnyPolling for P {
    fn poll<'a>(
        &'a self,
        host: &'a Host,
        poll: &'a Poll<'a>,
    ) -> LocalFuture<'a, Result<Batch, PollError>> {
        Box::pin(Polling::poll(self, host, poll))
    }
}

/// [`Webhook`].
pub trait AnyWebhook {
    fn max_body_bytes(&self) -> usize;
    fn callback(&self, host: &Host, request: &HttpRequest) -> Callback;
    fn answer<'a>(&'a self, host: &'a Host, held: &'a str) -> LocalFuture<'a, HttpAnswer>;
    fn refresh<'a>(&'a self, host: &'a Host) -> LocalFuture<'a, Result<Duration, Error>>;
}

impl<P: Webhook> AnyWebhook for P {
    fn max_body_bytes(&self) -> usize {
        P::MAX_BODY_BYTES
    }

    fn callback(&self, host: &Host, request: &HttpRequest) -> Callback {
        Webhook::callback(self, host, request)
    }

    fn answer<'a>(&'a self, host: &'a Host, held: &'a str) -> LocalFuture<'a, HttpAnswer> {
        Box::pin(Webhook::answer(self, host, held))
    }

    fn refresh<'a>(&'a self, host: &'a Host) -> LocalFuture<'a, Result<Duration, Error>> {
        Box::pin(Webhook::refresh(self, host))
    }
}
