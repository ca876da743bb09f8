//! `wasi:http` outgoing: every request goes through the account's [`Egress`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http_body::Body;
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::held::weight_of_fields;
use super::limits::Exceeded;
use super::requests::Open;
use super::tenant::Tenant;
use crate::egress::error::{EgressError, FailureKind};
use crate::egress::{Egress, Timeouts};

/// The most bytes of a request's body that are read at a time, however many the component offers.
const CHUNK_BYTES: usize = 64 * 1024;
/// The price of an open request: its connection with buffers, and its state.
const REQUEST_BYTES: usize = 32 * 1024;
/// The price of a body on its way out: chunks in the engine, in the client and on the connection.
const BODY_BYTES: usize = 3 * CHUNK_BYTES;
/// The price of an answer's body that nobody reads: the connection's buffer, and the bytes that were
/// read from it before.
const ANSWER_BYTES: usize = 128 * 1024;

/// Sends the requests of one instance.
pub struct Hooks {
    egress: Egress,
    tenant: Arc<Tenant>,
    /// Where to add what comes into the instance's table.
    unseen: Arc<AtomicUsize>,
}

debug_by_name!(Hooks);

impl Hooks {
    /// Sends through `egress`, as many requests at the same time as the account may.
    pub fn new(egress: Egress, tenant: Arc<Tenant>, unseen: Arc<AtomicUsize>) -> Hooks {
        Hooks {
            egress,
            tenant,
            unseen,
        }
    }
}

/// At most `most`, or what a body announces.
fn at_most(body: &impl Body, most: usize) -> usize {
    let announced = body.size_hint().upper();
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    announced.map_or(most, |bytes| bytes.min(most))
}

/// What a request takes while it is open.
fn weight(request: &http::Request<WasiBody>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |name| name.as_str().len());
    let body = at_most(request.body(), BODY_BYTES);
    REQUEST_BYTES + 2 * (path + authority) + weight_of_fields(request.headers()) + body
}

/// Logs the requests that the host itself stops. The component reports the other failures.
fn tell(tenant: &Tenant, error: &EgressError) {
    if let Some(exceeded) = error.failure.limit() {
        tenant.refuse(&exceeded);
        return;
    }
    let is_hidden = matches!(error.failure, FailureKind::CredentialHidden { .. });
    if is_hidden || error.failure.is_refusal() {
        tenant.warn(&error.to_string());
    }
}

type Processed = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Processed), Error>;

impl WasiHttpHooks for Hooks {
    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

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
        let Ok(permit) = Arc::clone(&tenant.free).try_acquire_owned() else {
            let (what, limit) = ("it opens more requests", tenant.limits.requests);
            tenant.refuse(&Exceeded::count(
                "requests",
                what,
                limit,
                "at the same time",
            ));
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        let mut held = match tenant.budget().charge(weight(&request)) {
            Ok(held) => held,
            Err(exceeded) => {
                tenant.refuse(&exceeded);
                return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
            }
        };
        let unseen = Arc::clone(&self.unseen);
        let open = Open::new(&tenant.requests);
        Box::new(async move {
            leave_the_stack().await;
            let request = request.map(|body| body.map_err(RequestBodyError));
            // Without the path that the operator configured: nobody may see it.
            let path = egress.own_path(request.uri());
            let result = egress.send(request, timeouts).await;
            let status = result.as_ref().ok().map(http::Response::status);
            tenant.requests.count(path.as_deref(), status);
            let response = result.map_err(|error| {
                tell(&tenant, &error);
                error_of(error.failure)
            })?;
            if let Err(exceeded) = held.grow(at_most(response.body(), ANSWER_BYTES)) {
                tenant.refuse(&exceeded);
                return Err(Error::ConnectionTerminated);
            }
            let response = response.map(|body| {
                let body = body.map_frame(move |frame| {
                    // Trailers become a resource of the component although it did not call for them.
                    let trailers = frame.trailers_ref().map_or(0, weight_of_fields);
                    unseen.fetch_add(trailers, Ordering::Relaxed);
                    frame
                });
                let body = body.map_err(move |error| {
                    // The request is open as long as its answer's body.
                    let _ = (&permit, &open, &held);
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

/// The first poll runs on the instance's own stack, which keeps every page that was ever touched, and
/// a request uses 50 KiB of stack. All later polls run on the thread's stack.
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
fn error_of(failure: FailureKind) -> Error {
    match failure {
        FailureKind::Denied(_)
        | FailureKind::CredentialNotAllowed { .. }
        | FailureKind::CredentialMissing { .. }
        | FailureKind::CredentialUnusable { .. }
        | FailureKind::RequestTooLarge { .. }
        | FailureKind::RequestOverLimit {
            is_begun: false, ..
        } => Error::HttpRequestDenied,
        FailureKind::ProhibitedAddress => Error::DestinationIpProhibited,
        FailureKind::OverShare(_) => Error::ConnectionLimitReached,
        FailureKind::Dns(why) => Error::DnsError {
            rcode: Some(why),
            info_code: None,
        },
        FailureKind::Connect(_) | FailureKind::Proxy(_) => Error::ConnectionRefused,
        FailureKind::ConnectTimeout(_) => Error::ConnectionTimeout,
        FailureKind::Tls(_) => Error::TlsProtocolError,
        FailureKind::RequestOverLimit { is_begun: true, .. }
        | FailureKind::RequestBody(_)
        | FailureKind::NoRoom(_)
        | FailureKind::ConnectionLost(_) => Error::ConnectionTerminated,
        FailureKind::FirstByteTimeout(_) => Error::HttpResponseTimeout,
        FailureKind::BodyTimeout(_) | FailureKind::TotalTimeout(_) => Error::ConnectionReadTimeout,
        FailureKind::Incomplete(_) => Error::HttpResponseIncomplete,
        FailureKind::Protocol(_) | FailureKind::CredentialHidden { .. } => Error::HttpProtocolError,
        FailureKind::ResponseTooLarge { limit, .. } => Error::HttpResponseBodySize(Some(limit)),
    }
}
