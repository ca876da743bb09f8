//! One connection: what it waits for, and since when.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::either::Either;

use super::ListenerLimits;
use super::tls::Acceptor;
use crate::clock::Clock;

/// What a body must bring before its time begins anew.
const BODY_PROGRESS: usize = 1024;

/// The addresses of both ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Whoever connected.
    pub remote: SocketAddr,
    /// What was connected to.
    pub local: IpAddr,
}

/// What a connection does, as its server sees it.
pub(super) struct Watch {
    clock: Clock,
    state: Mutex<State>,
    close: Notify,
}

struct State {
    phase: Phase,
    /// When the phase began.
    since: Duration,
    body: BodyWait,
    /// Since when the client does not read.
    unread: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is awaited, and something of it has come; or nothing ever.
    Head,
    /// A request is being answered.
    Request,
    /// The answer is whole, and not yet all on its way.
    Answered,
    /// Between two requests.
    Idle,
}

/// The wait for a body: only while somebody wants more of it.
#[derive(Default)]
struct BodyWait {
    since: Option<Duration>,
    /// Before that, since the last progress.
    before: Duration,
    /// Since the last progress.
    bytes: usize,
}

/// What a connection waits for. When there is no room, the first variant is closed first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    /// Another request.
    Idle,
    /// The rest of one, or that its answer is read.
    Client,
}

impl Watch {
    pub(super) fn new(clock: &Clock) -> Watch {
        Watch {
            state: Mutex::new(State {
                phase: Phase::Head,
                since: clock.elapsed(),
                body: BodyWait::default(),
                unread: None,
            }),
            clock: clock.clone(),
            close: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the connection end soon.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// When the wait for the client becomes too long, if nothing happens until then.
    pub(super) fn deadline(&self, limits: &ListenerLimits) -> Option<Duration> {
        let state = self.state();
        let read = match state.phase {
            Phase::Head => Some(state.since + limits.head),
            Phase::Idle => Some(state.since + limits.idle),
            Phase::Request => {
                let left = limits.body.saturating_sub(state.body.before);
                state.body.since.map(|since| since + left)
            }
            Phase::Answered => None,
        };
        let write = state.unread.map(|since| since + limits.write);
        read.into_iter().chain(write).min()
    }

    /// What it waits for, and since when; none while it waits for this process.
    pub(super) fn waits(&self) -> Option<(Wait, Duration)> {
        let state = self.state();
        if let Some(since) = state.unread {
            return Some((Wait::Client, since));
        }
        match state.phase {
            Phase::Idle => Some((Wait::Idle, state.since)),
            Phase::Head => Some((Wait::Client, state.since)),
            Phase::Request => state.body.since.map(|since| (Wait::Client, since)),
            Phase::Answered => None,
        }
    }

    fn enter(&self, phase: Phase) {
        let now = self.clock.elapsed();
        let mut state = self.state();
        state.phase = phase;
        state.since = now;
        state.body = BodyWait::default();
    }

    fn has_read(&self) {
        if self.state().phase == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn waits_for_body(&self) {
        let now = self.clock.elapsed();
        self.state().body.since.get_or_insert(now);
    }

    fn has_body(&self, bytes: usize) {
        let now = self.clock.elapsed();
        let body = &mut self.state().body;
        body.bytes = body.bytes.saturating_add(bytes);
        if let Some(since) = body.since.take() {
            body.before += now.saturating_sub(since);
        }
        if body.bytes >= BODY_PROGRESS {
            *body = BodyWait::default();
        }
    }

    /// What became of a try to write, or to see that all is written.
    fn wrote<T>(&self, polled: &Poll<T>) {
        let now = self.clock.elapsed();
        let mut state = self.state();
        match polled {
            Poll::Ready(_) => state.unread = None,
            Poll::Pending => {
                state.unread.get_or_insert(now);
            }
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<A, F, B, E>(
    stream: TcpStream,
    tls: Option<Acceptor>,
    peer: Peer,
    watch: Arc<Watch>,
    limits: ListenerLimits,
    answer: A,
) where
    A: Fn(Request<Received>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<crate::BoxError>,
    E: Into<crate::BoxError>,
{
    // Without this option small answers may be delayed, which is no error.
    let _ = stream.set_nodelay(true);
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Either::Right(stream),
            Err(error) => {
                tracing::trace!("a connection brought no TLS: {error}");
                return;
            }
        },
    };
    let io = TokioIo::new(Watched {
        stream,
        watch: Arc::clone(&watch),
    });
    let service = service_fn(move |request: Request<Incoming>| {
        watch.enter(Phase::Request);
        let request = request.map(|body| Received {
            body,
            watch: Arc::clone(&watch),
        });
        let answering = answer(request, peer);
        let watch = Arc::clone(&watch);
        async move {
            let response = answering.await;
            response.map(|response| response.map(|body| Answered { body, watch }))
        }
    });
    let serving = http1::Builder::new()
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes.max(8192))
        .serve_connection(io, service);
    // What a client does to its own connection concerns nobody else.
    if let Err(error) = serving.await {
        tracing::trace!("a connection ended: {error}");
    }
}

/// A stream that tells what is read and written.
struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() && buffer.filled().len() > before {
            self.watch.has_read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watch.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.watch.wrote(&polled);
        // hyper asks for this only when everything is written.
        if polled.is_ready() && self.watch.state().phase == Phase::Answered {
            self.watch.enter(Phase::Idle);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch.wrote(&polled);
        polled
    }
}

/// The body of a request.
pub struct Received {
    body: Incoming,
    watch: Arc<Watch>,
}

debug_by_name!(Received);

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Pending => self.watch.waits_for_body(),
            Poll::Ready(Some(Ok(frame))) => {
                self.watch.has_body(frame.data_ref().map_or(0, Bytes::len));
            }
            Poll::Ready(_) => self.watch.has_body(BODY_PROGRESS),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    /// Nobody wants more of it.
    fn drop(&mut self) {
        let mut state = self.watch.state();
        if state.phase == Phase::Request {
            state.body = BodyWait::default();
        }
    }
}

/// The body of an answer: when it goes, all of it was handed over.
struct Answered<B> {
    body: B,
    watch: Arc<Watch>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Answered<B> {
    fn drop(&mut self) {
        self.watch.enter(Phase::Answered);
    }
}
