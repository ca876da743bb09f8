//! HTTP requests to an instance, beside all its other calls.
//!
//! - Bodies stream both ways, with back-pressure. The caller bounds them.
//! - If the caller of a request goes away, the component can't be told, and the request goes on. So the
//!   number of open requests is bounded here. A request is open until the head of its answer is there.
//! - The component learns whether its answer was sent: whether the caller took all of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{Semaphore, oneshot};
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, WasiHttpView, p3};

use super::{Ended, Instance};
use crate::sandbox::budget::{Budget, Charge};
use crate::text::{REASON_BYTES, one_line};

/// Requests that may be open at once.
const MOST_OPEN: usize = 64;
/// What a body takes on its way whose length nobody knows.
const BODY_BYTES: usize = 192 * 1024;

/// The body of an answer: it fails where the component breaks it off.
pub type ResponseBody = UnsyncBoxBody<Bytes, Error>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The component's world has no handler.
    #[error("the component takes no HTTP requests")]
    NoHandler,
    /// As many requests as are let in are open.
    #[error("{MOST_OPEN} requests are open")]
    Busy,
    /// The component failed without an answer.
    #[error("the component has no answer: {0}")]
    Failed(String),
    /// The instance is gone.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// The handler of an instance.
#[derive(Clone)]
pub(super) struct Handler {
    service: Arc<Service>,
    open: Arc<Semaphore>,
    budget: Arc<Budget>,
}

impl Handler {
    pub fn new(service: Arc<Service>, budget: Arc<Budget>) -> Handler {
        Handler {
            service,
            budget,
            open: Arc::new(Semaphore::new(MOST_OPEN)),
        }
    }
}

impl Instance {
    /// `wasi:http/handler`: hands over a request and waits for the head of its answer, while everything
    /// else goes on. The component sees the method, the path with its query, the headers but those of
    /// the connection, and the body.
    ///
    /// # Errors
    /// All of [`HandleError`]. After [`HandleError::Ended`] the request may have taken effect.
    pub async fn handle<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, HandleError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        let handler = self.handler.clone().ok_or(HandleError::NoHandler)?;
        let permit = handler.open.try_acquire_owned();
        let permit = permit.map_err(|_| HandleError::Busy)?;
        let (service, budget) = (handler.service, handler.budget);
        let waiting = request.body().size_hint().upper();
        let waiting = waiting.map_or(BODY_BYTES, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        let held = budget.charge(waiting).map_err(|_| HandleError::Busy)?;
        let request = request.map(|body| {
            body.map_frame(move |frame| {
                // It is the account's as long as the component does not read it.
                let _ = &held;
                frame
            })
        });
        let answering = budget.charge(BODY_BYTES).map_err(|_| HandleError::Busy)?;
        let answer = self.call(None, move |accessor, _| {
            Box::pin(async move {
                let _permit = permit;
                let request = accessor.with(|mut access| {
                    access.get().note(request.headers());
                    let view = access.get().http();
                    let (request, _) = p3::Request::from_http(view.hooks, request);
                    Ok::<_, wasmtime::Error>(view.table.push(request)?)
                })?;
                let handler = service.wasi_http_handler();
                let response = match handler.call_handle(accessor, request).await? {
                    Ok(response) => response,
                    // Some codes carry a text of the component.
                    Err(code) => return Ok(Err(one_line(&format!("{code:?}"), REASON_BYTES))),
                };
                accessor.with(|mut access| {
                    let response = access.get().http().table.delete(response)?;
                    let (taken, is_taken) = oneshot::channel();
                    let transmitted = async {
                        // The sender is dropped with an answer that nobody took.
                        is_taken.await.map_err(|_| Error::ConnectionTerminated)
                    };
                    Ok(response
                        .into_http(access, transmitted)
                        .map(|response| watched(response, taken, answering))
                        .map_err(|error| one_line(&error.root_cause().to_string(), REASON_BYTES)))
                })
            })
        });
        answer.await?.map_err(HandleError::Failed)
    }
}

fn watched(
    response: Response<ResponseBody>,
    taken: oneshot::Sender<()>,
    held: Charge,
) -> Response<ResponseBody> {
    let left = length(response.headers());
    response.map(|body| {
        let watched = Watched {
            body,
            left,
            taken: Some(taken),
            _held: held,
        };
        watched.boxed_unsync()
    })
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body of an answer; it says when all of it was taken.
struct Watched {
    body: ResponseBody,
    /// What is still to come, where that is known.
    left: Option<u64>,
    taken: Option<oneshot::Sender<()>>,
    _held: Charge,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let data = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        let count = data.map_or(0, |data| data.len() as u64);
        self.left = self.left.map(|left| left.saturating_sub(count));
        // Who knows the length asks for no more than that.
        if (frame.is_none() || self.left == Some(0))
            && let Some(taken) = self.taken.take()
        {
            // The component may not want to know.
            let _ = taken.send(());
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
