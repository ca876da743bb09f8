//! HTTP requests to an instance, beside all its other calls.
//!
//! - Bodies stream both ways, with back-pressure; whoever makes the request bounds them.
//! - A request whose caller has gone goes on in the component, which can't be told, so the number of
//!   those that are open is bounded here: it counts until its answer's head is there.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, WasiHttpView, p3};

use super::{Ended, Instance};

/// Requests that may be open at once.
const MOST_OPEN: usize = 64;

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
}

impl Handler {
    pub fn new(service: Arc<Service>) -> Handler {
        Handler {
            service,
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
        let service = handler.service;
        let answer = self.call(None, move |accessor, _| {
            Box::pin(async move {
                let _permit = permit;
                let (request, transmitted) = accessor.with(|mut access| {
                    let view = access.get().http();
                    let (request, transmitted) = p3::Request::from_http(view.hooks, request);
                    let transmitted: BoxFuture<'static, _> = Box::pin(transmitted);
                    let request = view.table.push(request)?;
                    Ok::<_, wasmtime::Error>((request, transmitted))
                })?;
                let handler = service.wasi_http_handler();
                let response = match handler.call_handle(accessor, request).await? {
                    Ok(response) => response,
                    Err(code) => return Ok(Err(format!("{code:?}"))),
                };
                accessor.with(|mut access| {
                    let response = access.get().http().table.delete(response)?;
                    Ok(response
                        .into_http(access, transmitted)
                        .map_err(|error| error.root_cause().to_string()))
                })
            })
        });
        answer.await?.map_err(HandleError::Failed)
    }
}
