//! What leaves the process for one account: nothing but what its rules allow.
//!
//! - A request goes out only if a [`Rule`] matches its URL. Every other request is refused before a
//!   connection is made. A rule that the operator did not configure reaches public addresses over
//!   https only, and the address is checked when the connection is made.
//! - This module puts credentials into requests ([`credential`]) and takes them out of answers
//!   ([`capture`]), so the component never holds one.
//! - If the operator has a proxy ([`proxy`]), all requests to the platform go through it. Requests to
//!   agents, and to links in their replies, go direct, because those are in the operator's own
//!   network. Behind a proxy this host resolves no names and checks no resolved addresses: the proxy
//!   makes the connection.
//! - Each wait has a limit of the host's own, which a caller may only shorten.
//! - Redirects are not followed. The caller gets the answer as it is, but without the target if the
//!   URL had a credential. A credential of the path (`path.rs`) is taken out of the whole answer.
//! - An [`EgressError`] says whether the request may have taken effect.

pub mod address;
pub mod body;
pub mod capture;
pub mod client;
pub mod connector;
pub mod credential;
mod dialer;
pub mod error;
mod exchange;
mod headers;
mod json;
pub mod limits;
mod outgoing;
mod path;
pub mod pins;
pub mod proxy;
mod proxy_connection;
mod query;
mod redact;
pub mod resolver;
pub mod roots;
pub mod rule;
pub mod share;
pub mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Limited};

use crate::clock::Clock;
use crate::sandbox::budget::Budget;
use body::{BodyLimits, EgressBody};
use capture::{Capture, MAX_CAPTURED_BYTES};
use client::HttpClient;
use credential::{Secret, Secrets};
use error::{EgressError, FailureKind, Origin};
use outgoing::{Outgoing, capped, room_for};
use pins::Pins;
use redact::Redactor;
use rule::Rule;
use share::Share;
use target::Target;

pub use error::BoxError;
pub use limits::{Limits, Timeouts};

/// The way out for one account. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
    share: Arc<Share>,
}

debug_by_name!(Egress);

struct Shared {
    client: HttpClient,
    rules: Vec<Rule>,
    secrets: Secrets,
    /// What arrived, by its name, until the host takes it.
    captured: Mutex<HashMap<String, Secret>>,
    limits: Limits,
    clock: Clock,
    /// What the operator pinned, and the platform whose component asks.
    pins: Option<(Pins, String)>,
}

impl Egress {
    /// The way out with these rules. `secrets` may change at any time.
    pub fn new(
        client: HttpClient,
        rules: Vec<Rule>,
        secrets: Secrets,
        limits: Limits,
        clock: Clock,
    ) -> Egress {
        Egress {
            share: Share::new(&limits, Budget::new(usize::MAX)),
            shared: Arc::new(Shared {
                client,
                rules,
                secrets,
                captured: Mutex::default(),
                limits,
                clock,
                pins: None,
            }),
        }
    }

    /// The same within the share of an account, instead of one of its own.
    pub fn within(self, share: Arc<Share>) -> Egress {
        Egress { share, ..self }
    }

    /// The same, restricted to the origins that the operator pinned for a platform. Call it before the
    /// egress is cloned.
    pub fn pinned(mut self, pins: &Pins, platform: &str) -> Egress {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.pins = Some((pins.clone(), platform.to_owned()));
        }
        self
    }

    /// Whether requests to the origin of this URL may be allowed.
    pub fn reaches(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else {
            return false;
        };
        let Ok(target) = Target::of(&uri) else {
            return false;
        };
        let mut rules = self.shared.rules.iter();
        rules.any(|rule| rule.allows_origin_of(&target) && self.is_free(rule, &target))
    }

    /// The path of a URL as the component knows it, without the path that the operator configured.
    /// `None` if the two can't be told apart.
    pub fn own_path(&self, uri: &Uri) -> Option<String> {
        let target = Target::of(uri).ok()?;
        let mut configured = self.shared.rules.iter().filter(|rule| rule.configured);
        if !configured
            .clone()
            .any(|rule| rule.allows_origin_of(&target))
        {
            return Some(target.path().to_owned());
        }
        let paths = configured
            .by_ref()
            .filter_map(|rule| rule.own_path(&target));
        paths.min_by_key(|path| path.len()).map(str::to_owned)
    }

    /// Whether the operator's pins allow a rule.
    fn is_free(&self, rule: &Rule, target: &Target<'_>) -> bool {
        let pins = self.shared.pins.as_ref();
        rule.configured || pins.is_none_or(|(pins, platform)| pins.allow(platform, target))
    }

    /// Takes the newest value of a credential that arrived in an answer and was put aside. The value is
    /// not among the secrets in use: the caller decides whose it is.
    pub fn take_captured(&self, name: &str) -> Option<Secret> {
        let captured = self.shared.captured.lock();
        captured
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
    }

    /// Sends a request and returns its answer when the head is there.
    ///
    /// # Errors
    ///
    /// [`FailureKind::nothing_was_sent`] says whether it is safe to send it once more. All failures are
    /// the caller's to report.
    pub async fn send<B>(
        &self,
        request: Request<B>,
        options: Timeouts,
    ) -> Result<Response<EgressBody>, EgressError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let origin = Origin::of(request.uri());
        let total = self.shared.limits.total;
        let result = tokio::select! {
            biased;
            result = self.send_to(&origin, request, options) => result,
            () = self.shared.clock.sleep(total) => Err(FailureKind::TotalTimeout(total)),
        };
        result.map_err(|failure| failure.at(&origin))
    }

    async fn send_to<B>(
        &self,
        origin: &Origin,
        request: Request<B>,
        options: Timeouts,
    ) -> Result<Response<EgressBody>, FailureKind>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Shared { limits, clock, .. } = &*self.shared;
        let limits = limits.shortened(options);
        let started = clock.elapsed();
        let Outgoing {
            request,
            policy,
            captures,
            is_in_url,
            redactor,
            is_media,
        } = self.outgoing(request).await?;
        let (request_bytes, response_bytes) = match is_media {
            true => (limits.media(), limits.media()),
            false => (
                (limits.request_bytes, "request_bytes"),
                (limits.response_bytes, "response_bytes"),
            ),
        };
        let request = capped(request, request_bytes)?;
        let exchange = self.shared.client.exchange(request, policy, limits, clock);
        let mut response = share::with(Some(Arc::clone(&self.share)), exchange).await?;
        if is_in_url {
            // They may repeat the URL, credential included.
            for name in [header::LOCATION, header::CONTENT_LOCATION] {
                response.headers_mut().remove(name);
            }
        }
        let response = response.map(|incoming| {
            let limits = BodyLimits {
                between_bytes: limits.between_bytes,
                started,
                total: limits.total,
                bytes: response_bytes.0,
                bytes_name: response_bytes.1,
            };
            EgressBody::new(incoming, origin.clone(), clock.clone(), limits)
        });
        let placeholder = redactor.as_ref().map(|one| one.placeholder().to_owned());
        let response = match redactor {
            Some(redactor) => redacted(response, redactor)?,
            None => response,
        };
        match captures.first() {
            Some(first) => {
                let name = first.credential.clone();
                self.searched(response, captures, &name, placeholder).await
            }
            None => Ok(response),
        }
    }

    /// The answer without the credentials in it, which are kept. `redacted` already stands in it where
    /// the request's own credential was.
    async fn searched(
        &self,
        response: Response<EgressBody>,
        captures: Vec<Capture>,
        name: &str,
        redacted: Option<String>,
    ) -> Result<Response<EgressBody>, FailureKind> {
        let (mut head, mut body) = response.into_parts();
        let room = self
            .share
            .budget
            .charge(room_for(&body, MAX_CAPTURED_BYTES));
        let room = room.map_err(FailureKind::NoRoom)?;
        let status = head.status.as_u16();
        let hidden = |reason| FailureKind::CredentialHidden {
            name: name.to_owned(),
            status,
            reason,
        };
        let collected = Limited::new(&mut body, MAX_CAPTURED_BYTES).collect().await;
        let read = collected
            .map_err(|error| match error.downcast::<EgressError>() {
                Ok(error) => error.failure,
                Err(_) => hidden("it has more than 1 MiB"),
            })?
            .to_bytes();
        // Nothing, say of a gateway's error, hides nothing.
        if read.is_empty() {
            return Ok(Response::from_parts(head, body));
        }
        if let Some(reason) = capture::unsearchable(&head) {
            return Err(hidden(reason));
        }
        let (bytes, mut headers) = (read.len(), std::mem::take(&mut head.headers));
        let searching = move || {
            let taken = capture::take_out(&mut headers, &read, &captures);
            (read, headers, taken, room)
        };
        let searched = self.share.searching(bytes, searching).await;
        let (read, headers, taken, room) = searched.map_err(FailureKind::RequestBody)?;
        head.headers = headers;
        let read = match taken.map_err(hidden)? {
            Some(taken) => {
                // Whatever repeats the request's own credential is no new one.
                let is_new = |value: &Secret| {
                    let redacted = redacted.as_deref();
                    redacted.is_none_or(|placeholder| !value.expose().contains(placeholder))
                };
                for (name, value) in taken.in_use.iter().filter(|(_, value)| is_new(value)) {
                    self.shared.secrets.set(name, value.expose());
                }
                let aside = taken.aside.into_iter().filter(|(_, value)| is_new(value));
                let mut captured = self.shared.captured.lock();
                let captured = captured.as_mut().unwrap_or_else(|error| error.get_mut());
                captured.extend(aside);
                taken.body.into()
            }
            None => read,
        };
        head.headers.remove(header::TRANSFER_ENCODING);
        head.headers
            .insert(header::CONTENT_LENGTH, read.len().into());
        Ok(Response::from_parts(
            head,
            body.replaced(room.holding(read)),
        ))
    }
}

/// The answer without the credential of the request's path.
fn redacted(
    mut response: Response<EgressBody>,
    redactor: Redactor,
) -> Result<Response<EgressBody>, FailureKind> {
    redactor.clean(response.headers_mut());
    if response.body().is_end_stream() {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    if let Some(reason) = capture::unsearchable(&head) {
        return Err(FailureKind::CredentialHidden {
            name: redactor.name().to_owned(),
            status: head.status.as_u16(),
            reason,
        });
    }
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, body.redacted(redactor)))
}

#[cfg(test)]
mod tests;
