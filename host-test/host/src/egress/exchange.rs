//! One request and the head of its answer, within the host's limits.
//!
//! A request that a proxy forwards carries the proxy's credentials. A request that the proxy itself
//! refuses was not sent to the server.

use std::error::Error;
use std::pin::pin;

use http::{Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::proxy::matcher::Intercept;

use super::body::{OverLimit, Progress, Upload};
use super::client::{HttpClient, RequestBody};
use super::dialer::{AddressPolicy, ConnectError};
use super::error::{FailureKind, innermost};
use super::limits::Limits;
use super::proxy_connection::{self, Manner};
use crate::clock::Clock;

/// Bodies up to this length are sent at once; longer ones are watched while they go out.
const SHORT_BODY_BYTES: u64 = 64 * 1024;

impl HttpClient {
    /// Sends the request and waits for the answer's head.
    pub(super) async fn exchange(
        &self,
        mut request: Request<RequestBody>,
        policy: AddressPolicy,
        limits: Limits,
        clock: &Clock,
    ) -> Result<Response<Incoming>, FailureKind> {
        let proxy = self.proxies.of_request(request.uri());
        let forwarding = proxy
            .as_ref()
            .filter(|proxy| Manner::of(proxy, request.uri()) == Manner::Forwarded);
        if let Some(credentials) = forwarding.and_then(Intercept::basic_auth) {
            let headers = request.headers_mut();
            headers.insert(header::PROXY_AUTHORIZATION, credentials.clone());
        }
        let result = self.head_of(request, policy, limits, clock).await;
        let result = match (result, &proxy) {
            (Ok(response), _) => match forwarding {
                Some(proxy) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    let why = proxy_connection::unauthorized(proxy);
                    Err(FailureKind::Proxy(format!(
                        "{}: {why}",
                        proxy_connection::name(proxy)
                    )))
                }
                _ => Ok(response),
            },
            (Err(FailureKind::ConnectTimeout(limit)), Some(proxy)) => {
                Err(FailureKind::Proxy(format!(
                    "{}: no connection through it within {limit:?}",
                    proxy_connection::name(proxy)
                )))
            }
            (result, _) => result,
        };
        if proxy.is_some() {
            match &result {
                Ok(_) => self.proxies.report(None),
                Err(failure @ FailureKind::Proxy(_)) => self.proxies.report(Some(failure)),
                Err(_) => {}
            }
        }
        result
    }

    async fn head_of(
        &self,
        request: Request<RequestBody>,
        policy: AddressPolicy,
        limits: Limits,
        clock: &Clock,
    ) -> Result<Response<Incoming>, FailureKind> {
        let progress = Progress::default();
        let short = request.body().size_hint().upper();
        let mut request = match short {
            Some(length) if length <= SHORT_BODY_BYTES => request,
            _ => request.map(|body| {
                let upload = Upload {
                    body,
                    clock: clock.clone(),
                    progress: progress.clone(),
                };
                upload.boxed_unsync()
            }),
        };
        let mut connection = capture_connection(&mut request);
        let mut response = pin!(self.pool(policy).request(request));

        // The answer is looked at first each time, so a connection that is there is not missed.
        let connected = async {
            connection.wait_for_connection_metadata().await;
        };
        tokio::select! {
            biased;
            result = &mut response => return result.map_err(|error| failure_of(&error)),
            () = connected => {}
            () = clock.sleep(limits.connect) => {
                return Err(FailureKind::ConnectTimeout(limits.connect));
            }
        }
        progress.step(clock.elapsed());
        loop {
            let deadline = progress.last_step().saturating_add(limits.first_byte);
            tokio::select! {
                biased;
                result = &mut response => return result.map_err(|error| failure_of(&error)),
                () = clock.sleep_until(deadline) => {
                    if progress.last_step().saturating_add(limits.first_byte) <= deadline {
                        return Err(FailureKind::FirstByteTimeout(limits.first_byte));
                    }
                }
            }
        }
    }
}

pub(super) fn failure_of(error: &legacy::Error) -> FailureKind {
    let source = error.source();
    if error.is_connect() {
        return match source.and_then(|source| source.downcast_ref::<ConnectError>()) {
            Some(ConnectError::Dns(reason)) => FailureKind::Dns(reason.clone()),
            Some(ConnectError::ProhibitedAddress) => FailureKind::ProhibitedAddress,
            Some(ConnectError::Tls(reason) | ConnectError::Cut(reason)) => {
                FailureKind::Tls(reason.clone())
            }
            Some(ConnectError::Proxy(reason)) => FailureKind::Proxy(reason.clone()),
            Some(ConnectError::Tcp(reason)) => FailureKind::Connect(reason.clone()),
            Some(ConnectError::Share(exceeded)) => FailureKind::OverShare(exceeded.clone()),
            None => FailureKind::Connect(innermost(error)),
        };
    }
    match source.and_then(|source| source.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_parse() => FailureKind::Protocol(innermost(error)),
        Some(error) if error.is_user() => {
            match error
                .source()
                .and_then(|source| source.downcast_ref::<OverLimit>())
            {
                Some(OverLimit { limit, name }) => FailureKind::RequestOverLimit {
                    limit: *limit,
                    name,
                    is_begun: true,
                },
                None => FailureKind::RequestBody(innermost(error)),
            }
        }
        _ => FailureKind::ConnectionLost(innermost(error)),
    }
}
