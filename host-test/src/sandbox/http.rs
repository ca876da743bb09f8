//! `wasi:http` outgoing: every request goes through the account's [`Egress`].

use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::egress::error::Failure;
use crate::egress::{Egress, Timeouts};

/// Sends the requests of one account.
pub struct Hooks {
    egress: Egress,
}

impl Hooks {
    /// Sends through `egress`.
    pub fn new(egress: Egress) -> Hooks {
        Hooks { egress }
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
        Box::new(async move {
            let request = request.map(|body| body.map_err(RequestBodyError));
            let response = egress
                .send(request, timeouts)
                .await
                .map_err(|error| error_of(error.failure))?;
            let response =
                response.map(|body| body.map_err(|error| error_of(error.failure)).boxed_unsync());
            let processed: Processed = Box::new(std::future::ready(Ok(())));
            Ok((response, processed))
        })
    }
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
        | Failure::RequestTooLarge { .. } => Error::HttpRequestDenied,
        Failure::ProhibitedAddress => Error::DestinationIpProhibited,
        Failure::Dns(why) => Error::DnsError {
            rcode: Some(why),
            info_code: None,
        },
        Failure::Connect(_) | Failure::Proxy(_) => Error::ConnectionRefused,
        Failure::ConnectTimeout(_) => Error::ConnectionTimeout,
        Failure::Tls(_) => Error::TlsProtocolError,
        Failure::RequestBody(_) | Failure::ConnectionLost(_) => Error::ConnectionTerminated,
        Failure::FirstByteTimeout(_) => Error::HttpResponseTimeout,
        Failure::BodyTimeout(_) | Failure::TotalTimeout(_) => Error::ConnectionReadTimeout,
        Failure::Incomplete(_) => Error::HttpResponseIncomplete,
        Failure::Protocol(_) | Failure::CredentialHidden { .. } => Error::HttpProtocolError,
        Failure::ResponseTooLarge { limit } => Error::HttpResponseBodySize(Some(limit)),
    }
}
