//! The bodies of requests and answers, within the host's limits.
//!
//! - The body of an answer fails if the server pauses for too long, if the whole takes too long, if
//!   it is too large, and if it breaks off. It never ends early as if it were whole. The time that
//!   the reader takes does not count.
//! - A body that is read to its end gives the connection back to the pool. One that is dropped
//!   earlier closes the connection.
//! - A body that the host has read and changed arrives in one piece.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use super::error::{BoxError, EgressError, FailureKind, Origin, innermost};
use super::redact::Redactor;
use crate::clock::Clock;

/// The body of an answer.
pub struct EgressBody {
    source: Source,
    origin: Origin,
    clock: Clock,
    limits: BodyLimits,
    received: u64,
    /// When the wait for the server began, by the clock's `elapsed`.
    waiting_since: Option<Duration>,
    timer: Option<BoxFuture<'static, ()>>,
    redaction: Option<Redaction>,
}

debug_by_name!(EgressBody);

/// Takes a credential out of a body.
struct Redaction {
    redactor: Redactor,
    /// What comes after the last data.
    trailers: Option<Frame<Bytes>>,
}

enum Source {
    Wire(Incoming),
    Read(Bytes),
    /// An error closed the connection.
    Failed,
}

/// What an answer's body may take.
pub(super) struct BodyLimits {
    /// The longest pause of the server.
    pub between_bytes: Duration,
    /// When the request began, by the clock's `elapsed`.
    pub started: Duration,
    /// The longest time from then to the end of the body.
    pub total: Duration,
    /// The most bytes, and which limit that is.
    pub bytes: u64,
    pub bytes_name: &'static str,
}

impl EgressBody {
    pub(super) fn new(
        incoming: Incoming,
        origin: Origin,
        clock: Clock,
        limits: BodyLimits,
    ) -> EgressBody {
        EgressBody {
            source: Source::Wire(incoming),
            origin,
            clock,
            limits,
            received: 0,
            waiting_since: None,
            timer: None,
            redaction: None,
        }
    }

    /// The same without a credential that it may hold.
    pub(super) fn redacted(self, redactor: Redactor) -> EgressBody {
        let redaction = Some(Redaction {
            redactor,
            trailers: None,
        });
        EgressBody { redaction, ..self }
    }

    /// The same with another content, which was read.
    pub(super) fn replaced(self, content: Bytes) -> EgressBody {
        EgressBody {
            source: Source::Read(content),
            redaction: None,
            ..self
        }
    }

    fn fail(&mut self, failure: FailureKind) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        self.source = Source::Failed;
        self.timer = None;
        Poll::Ready(Some(Err(failure.at(&self.origin))))
    }

    /// Ready when the server was waited for too long.
    fn poll_time_out(&mut self, context: &mut Context<'_>) -> Poll<FailureKind> {
        let BodyLimits {
            between_bytes,
            started,
            total,
            ..
        } = self.limits;
        loop {
            let now = self.clock.elapsed();
            let since = *self.waiting_since.get_or_insert(now);
            let pause_ends = since.saturating_add(between_bytes);
            let ends = started.saturating_add(total);
            if ends <= now {
                return Poll::Ready(FailureKind::TotalTimeout(total));
            }
            if pause_ends <= now {
                return Poll::Ready(FailureKind::BodyTimeout(between_bytes));
            }
            let deadline = pause_ends.min(ends);
            // The timer stays from one wait to the next. It may fire too early, but never too late.
            let timer = self.timer.get_or_insert_with(|| {
                let clock = self.clock.clone();
                async move { clock.sleep_until(deadline).await }.boxed()
            });
            ready!(timer.poll_unpin(context));
            self.timer = None;
        }
    }
}

impl Redaction {
    fn is_held(&self) -> bool {
        self.trailers.is_some() || self.redactor.is_holding()
    }
}

impl EgressBody {
    /// The next frame as the server sent it.
    fn poll_source(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = self;
        let incoming = match &mut this.source {
            Source::Wire(incoming) => incoming,
            Source::Read(content) if !content.is_empty() => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(content)))));
            }
            Source::Read(_) | Source::Failed => return Poll::Ready(None),
        };
        match Pin::new(incoming).poll_frame(context) {
            Poll::Pending => {
                let failure = ready!(this.poll_time_out(context));
                this.fail(failure)
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting_since = None;
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.received = this.received.saturating_add(length as u64);
                let (limit, name) = (this.limits.bytes, this.limits.bytes_name);
                if this.received > limit {
                    return this.fail(FailureKind::ResponseTooLarge { limit, name });
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) if error.is_parse() => {
                this.fail(FailureKind::Protocol(innermost(&error)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(FailureKind::Incomplete(innermost(&error))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }
}

impl Body for EgressBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = &mut *self;
        loop {
            if let Some(redaction) = &mut this.redaction
                && let Some(trailers) = redaction.trailers.take()
            {
                return Poll::Ready(Some(Ok(trailers)));
            }
            let frame = ready!(this.poll_source(context));
            let Some(Redaction { redactor, trailers }) = &mut this.redaction else {
                return Poll::Ready(frame);
            };
            let clean = match frame {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(mut frame)) => match frame.data_mut() {
                    Some(data) => redactor.push(std::mem::take(data)),
                    None => {
                        if let Some(headers) = frame.trailers_mut() {
                            redactor.clean(headers);
                        }
                        *trailers = Some(frame);
                        redactor.finish()
                    }
                },
                None => {
                    let rest = redactor.finish();
                    this.source = Source::Read(Bytes::new());
                    let rest = (!rest.is_empty()).then(|| Ok(Frame::data(rest)));
                    return Poll::Ready(rest);
                }
            };
            if !clean.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(clean))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_held = self.redaction.as_ref().is_some_and(Redaction::is_held);
        !is_held
            && match &self.source {
                Source::Wire(incoming) => incoming.is_end_stream(),
                Source::Read(content) => content.is_empty(),
                Source::Failed => true,
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Wire(_) if self.redaction.is_some() => SizeHint::default(),
            Source::Wire(incoming) => incoming.size_hint(),
            Source::Read(content) => SizeHint::with_exact(content.len() as u64),
            Source::Failed => SizeHint::with_exact(0),
        }
    }
}

/// When a request made its last step, by a clock's `elapsed`.
#[derive(Clone, Default)]
pub(super) struct Progress {
    milliseconds: Arc<AtomicU64>,
}

impl Progress {
    pub fn step(&self, now: Duration) {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.fetch_max(now, Ordering::Relaxed);
    }

    pub fn last_step(&self) -> Duration {
        Duration::from_millis(self.milliseconds.load(Ordering::Relaxed))
    }
}

/// The body of a request that notes each step. Without the notes, a long upload would look like a
/// server that does not answer.
pub(super) struct Upload {
    pub body: UnsyncBoxBody<Bytes, BoxError>,
    pub clock: Clock,
    pub progress: Progress,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.progress.step(self.clock.elapsed());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body that breaks off when it is longer than allowed.
pub(super) struct Capped {
    pub body: UnsyncBoxBody<Bytes, BoxError>,
    pub left: u64,
    pub over: OverLimit,
}

/// Why a request's body broke off.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it has more than {limit} bytes (`{name}`)")]
pub(super) struct OverLimit {
    pub limit: u64,
    pub name: &'static str,
}

impl Body for Capped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(self.over.into()))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
