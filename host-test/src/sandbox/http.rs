//! `wasi:http` outgoing: every request goes through the account's [`Egress`].

use std::sync::Arc;
use std::task::Poll;

use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::limits::Exceeded;
use super::requests::Open;
use super::tenant::Tenant;
use crate::egress::error::{EgressError, Failure};
use crate::egress::{Egress, Timeouts};

/// Sends the requests of one instance.
pub struct Hooks {
    egress: Egress,
    tenant: Arc<Tenant>,
    /// What may still be opened.
    free: Arc<Semaphore>,
}

impl Hooks {
    /// Sends through `egress`, as many requests at the same time as the account may.
    pub fn new(egress: Egress, tenant: Arc<Tenant>) -> Hooks {
        Hooks {
            egress,
            free: Arc::new(Semaphore::new(
                tenant.limits.requests.min(Semaphore::MAX_PERMITS),
            )),
            tenant,
        }
    }
}

/// Tells what the host itself stops; the other failures are the component's to tell.
fn tell(tenant: &Tenant, error: &EgressError) {
    if let Some((name, what, limit)) = error.failure.limit() {
        tenant.refuse(&Exceeded::count(name, what, limit, "bytes"));
        return;
    }
    let is_hidden = matches!(error.failure, Failure::CredentialHidden { .. });
    if is_hidden || error.failure.is_refusal() {
        tenant.warn(&error.to_string());
    }
}

type Processed = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Processed), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Processed,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let egress = self.egress.clone();
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let tenant = Arc::clone(&self.tenant);
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            let (what, limit) = ("it opens more requests", tenant.limits.requests);
            tenant.refuse(&Exceeded::count(
                "requests",
                what,
                limit,
                "at the same time",
            ));
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        let open = Open::new(&tenant.requests);
        Box::new(async move {
            leave_the_stack().await;
            let request = request.map(|body| body.map_err(RequestBodyError));
            // Without what the operator configured: that is nobody's to see.
            let path = egress.own_path(request.uri()).map(str::to_owned);
            let result = egress.send(request, timeouts).await;
            let status = result.as_ref().ok().map(http::Response::status);
            tenant.requests.count(path.as_deref(), status);
            let response = result.map_err(|error| {
                tell(&tenant, &error);
                error_of(error.failure)
            })?;
            let response = response.map(|body| {
                let body = body.map_err(move |error| {
                    // The request is open as long as its answer's body.
                    let _ = (&permit, &open);
                    tell(&tenant, &error);
                    error_of(error.failure)
                });
                body.boxed_unsync()
            });
            let processed: Processed = Box::new(std::future::ready(Ok(())));
            Ok((response, processed))
        })
    }
}

/// The first poll is made on the instance's own stack, which keeps each page that was ever touched;
/// a request goes 50 KiB deep there. All later polls are made on the thread's.
async fn leave_the_stack() {
    let mut is_first = true;
    std::future::poll_fn(|context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// A body of the component that broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RequestBodyError(Error);

/// The cases tell the component whether anything was sent.
fn error_of(failure: Failure) -> Error {
    match failure {
        Failure::Denied(_)
        | Failure::CredentialNotAllowed { .. }
        | Failure::CredentialMissing { .. }
        | Failure::CredentialUnusable { .. }
        | Failure::RequestTooLarge { .. }
        | Failure::RequestOverLimit {
            is_begun: false, ..
        } => Error::HttpRequestDenied,
        Failure::ProhibitedAddress => Error::DestinationIpProhibited,
        Failure::Dns(why) => Error::DnsError {
            rcode: Some(why),
            info_code: None,
        },
        Failure::Connect(_) | Failure::Proxy(_) => Error::ConnectionRefused,
        Failure::ConnectTimeout(_) => Error::ConnectionTimeout,
        Failure::Tls(_) => Error::TlsProtocolError,
        Failure::RequestOverLimit { is_begun: true, .. }
        | Failure::RequestBody(_)
        | Failure::ConnectionLost(_) => Error::ConnectionTerminated,
        Failure::FirstByteTimeout(_) => Error::HttpResponseTimeout,
        Failure::BodyTimeout(_) | Failure::TotalTimeout(_) => Error::ConnectionReadTimeout,
        Failure::Incomplete(_) => Error::HttpResponseIncomplete,
        Failure::Protocol(_) | Failure::CredentialHidden { .. } => Error::HttpProtocolError,
        Failure::ResponseTooLarge { limit, .. } => Error::HttpResponseBodySize(Some(limit)),
    }
}
