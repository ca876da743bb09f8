//! What leaves the process for one account: nothing but what its rules allow.
//!
//! - A request goes out only if a [`Rule`] matches its URL. Every other request is refused before a
//!   connection is made. A rule that the operator did not configure reaches public addresses over
//!   https only, and the address is checked when the connection is made.
//! - This module puts credentials into requests ([`Credential`]) and takes them out of answers
//!   ([`capture`]), so the component never holds one.
//! - If the operator has a proxy ([`proxy`]), all requests to the platform go through it. Requests to
//!   agents, and to links in their replies, go direct, because those are in the operator's own
//!   network. Behind a proxy this host resolves no names and checks no resolved addresses: the proxy
//!   makes the connection.
//! - Each wait has a limit of the host's own, which a caller may only shorten.
//! - Redirects are not followed. The caller gets the answer as it is, but without the target if the
//!   URL had a credential. A credential of the path ([`path`]) is taken out of the whole answer.
//! - An [`EgressError`] says whether the request may have taken effect.

pub mod address;
pub mod body;
pub mod capture;
pub mod client;
pub mod connector;
pub mod credential;
pub mod error;
mod exchange;
mod headers;
mod json;
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

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Uri, Version, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use crate::clock::Clock;
use crate::sandbox::budget::Budget;
use body::{BodyLimits, Capped, EgressBody, OverLimit};
use capture::{Capture, MAX_CAPTURED_BYTES};
use client::{HttpClient, RequestBody};
use connector::{AddressPolicy, innermost};
use credential::{Secret, Secrets};
use error::{EgressError, FailureKind, Origin};
use pins::Pins;
use redact::Redactor;
use rule::{Credential, Rule, Target};
use share::Share;

/// Any error of a body that a caller hands in.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The largest JSON body that credentials are put into.
pub const MAX_JSON_BYTES: usize = 1024 * 1024;

/// The way out for one account. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
    share: Arc<Share>,
}

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

/// What the host allows any request to take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start to a connection: resolution, TCP and TLS.
    pub connect: Duration,
    /// From the last step of the request to the head of the answer.
    pub first_byte: Duration,
    /// The longest pause within the body of an answer.
    pub between_bytes: Duration,
    /// From the start to the end of the answer's body.
    pub total: Duration,
    /// The largest body of a request to a place that gets credentials in a header or in JSON.
    pub request_bytes: u64,
    /// The largest body of its answer.
    pub response_bytes: u64,
    /// The largest body, in either direction, of all other requests: media, which are streamed.
    pub media_bytes: u64,
    /// Connections of an account, idle ones included.
    pub connections: usize,
    /// Names that are looked up for an account at the same time; the others wait.
    pub lookups: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(15),
            // A long poll is held for 35 s and more.
            first_byte: Duration::from_secs(120),
            between_bytes: Duration::from_secs(30),
            total: Duration::from_secs(30 * 60),
            request_bytes: 16 * 1024 * 1024,
            response_bytes: 16 * 1024 * 1024,
            media_bytes: 128 * 1024 * 1024,
            connections: 1024,
            lookups: 8,
        }
    }
}

/// What a caller asks for one request. A value above the host's [`Limits`] counts as that limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub between_bytes: Option<Duration>,
}

impl Limits {
    fn shortened(self, options: Timeouts) -> Limits {
        let shorter =
            |limit: Duration, wanted: Option<Duration>| wanted.unwrap_or(limit).min(limit);
        Limits {
            connect: shorter(self.connect, options.connect),
            first_byte: shorter(self.first_byte, options.first_byte),
            between_bytes: shorter(self.between_bytes, options.between_bytes),
            ..self
        }
    }

    fn media(&self) -> (u64, &'static str) {
        (self.media_bytes, "media_bytes")
    }
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
        let Checked {
            request,
            policy,
            captures,
            is_in_url,
            redactor,
            is_media,
        } = self.checked(request).await?;
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
        let response = match redactor {
            Some(redactor) => redacted(response, redactor)?,
            None => response,
        };
        match captures.first() {
            Some(first) => {
                let name = first.credential.clone();
                self.searched(response, captures, &name).await
            }
            None => Ok(response),
        }
    }

    /// The answer without the credentials in it, which are kept.
    async fn searched(
        &self,
        response: Response<EgressBody>,
        captures: Vec<Capture>,
        name: &str,
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
                for (name, value) in taken.in_use {
                    self.shared.secrets.set(&name, value.expose());
                }
                let mut captured = self.shared.captured.lock();
                let captured = captured.as_mut().unwrap_or_else(|error| error.get_mut());
                captured.extend(taken.aside);
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

    /// The request as it goes out, credentials included, if the rules allow it.
    async fn checked<B>(&self, request: Request<B>) -> Result<Checked, FailureKind>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = request.into_parts();
        // CONNECT would open a tunnel past the rules; TRACE would answer with the credential.
        if head.method == Method::CONNECT || head.method == Method::TRACE {
            return Err(FailureKind::Denied("the method is CONNECT or TRACE"));
        }
        let target = Target::of(&head.uri).map_err(FailureKind::Denied)?;
        let rules: Vec<&Rule> = self
            .shared
            .rules
            .iter()
            .filter(|rule| rule.allows(&target))
            .collect();
        if rules.is_empty() {
            return Err(FailureKind::Denied("no rule allows this URL"));
        }
        let rules: Vec<&Rule> = rules
            .into_iter()
            .filter(|rule| self.is_free(rule, &target))
            .collect();
        if rules.is_empty() {
            return Err(FailureKind::Denied(
                "the operator's pinned origins (`--allow-egress`) do not have this one",
            ));
        }
        let policy = if rules.iter().any(|rule| rule.configured) {
            AddressPolicy::Anywhere
        } else {
            AddressPolicy::Public
        };
        let plain = capture::plain(head.uri.path());
        let mut captures: Vec<Capture> = Vec::new();
        for capture in self
            .shared
            .rules
            .iter()
            .flat_map(|rule| rule.captures_of(&target, &plain))
        {
            // Several rules of an origin have the same.
            if !captures.iter().any(|other| other.finds_as(capture)) {
                captures.push(capture.clone());
            }
        }
        let is_media = rules.iter().all(|rule| {
            let credential = rule.credential.as_ref();
            credential.is_none_or(|of| !of.in_headers && !of.in_json_body)
        });
        let allowed = |name: &str, place: fn(&Credential) -> bool| {
            rules
                .iter()
                .filter_map(|rule| rule.credential.as_ref())
                .any(|credential| credential.name == name && place(credential))
        };

        let secrets = &self.shared.secrets;
        head.version = Version::HTTP_11;
        headers::remove_those_of_the_connection(&mut head.headers);
        if !captures.is_empty() {
            capture::ask_for_plain(&mut head.headers);
        }
        credential::fill_headers(&mut head.headers, secrets, |name| {
            allowed(name, |credential| credential.in_headers)
        })?;
        let (mut filled_path, mut redactor) = (None, None);
        if let Some(placeholder) = &target.placeholder {
            let name = &placeholder.name;
            if !allowed(name, |credential| credential.in_path) {
                let name = name.clone();
                return Err(FailureKind::CredentialNotAllowed { name });
            }
            let secret = secrets.value(name)?;
            filled_path = Some(placeholder.filled(&head.uri, &secret)?);
            redactor = Redactor::new(name, &secret);
            capture::ask_for_plain(&mut head.headers);
        }
        let in_query = |name: &str| allowed(name, |credential| credential.in_query);
        let uri = filled_path.as_ref().unwrap_or(&head.uri);
        let filled = query::filled(uri, secrets, in_query)?.or(filled_path);
        let is_in_url = filled.is_some();

        let watched = rules
            .iter()
            .filter_map(|rule| rule.credential.as_ref())
            .any(|credential| credential.in_json_body);
        if !watched || !headers::is_json(&head.headers) {
            head.uri = filled.unwrap_or(head.uri);
            let body = body.map_err(Into::into).boxed_unsync();
            return Ok(Checked {
                request: Request::from_parts(head, body),
                policy,
                captures,
                is_in_url,
                redactor,
                is_media,
            });
        }
        let room = self.share.budget.charge(room_for(&body, MAX_JSON_BYTES));
        let room = room.map_err(FailureKind::OverShare)?;
        let limited = Limited::new(body, MAX_JSON_BYTES);
        let collected = limited.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FailureKind::RequestTooLarge {
                    limit: MAX_JSON_BYTES,
                }
            } else {
                FailureKind::RequestBody(innermost(&*error))
            }
        })?;
        let mut body = collected.to_bytes();
        let in_body: Vec<String> = rules
            .iter()
            .filter_map(|rule| rule.credential.as_ref())
            .filter(|credential| credential.in_json_body)
            .map(|credential| credential.name.clone())
            .collect();
        let (secrets, read) = (secrets.clone(), body.clone());
        let filling = move || {
            let in_body = |name: &str| in_body.iter().any(|other| other == name);
            (credential::filled_json(&read, &secrets, in_body), room)
        };
        let searched = self.share.searching(body.len(), filling).await;
        let (new_body, room) = searched.map_err(FailureKind::RequestBody)?;
        if let Some(new_body) = new_body? {
            body = new_body.into();
        }
        head.uri = filled.unwrap_or(head.uri);
        // The length that the caller wrote may be that of the placeholder.
        head.headers.remove(header::CONTENT_LENGTH);
        let body = Full::new(room.holding(body))
            .map_err(|never| match never {})
            .boxed_unsync();
        Ok(Checked {
            request: Request::from_parts(head, body),
            policy,
            captures,
            is_in_url,
            redactor,
            is_media,
        })
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

/// What it takes to read a body of at most `most` bytes and to change it: two copies.
fn room_for(body: &impl Body, most: usize) -> usize {
    let announced = body.size_hint().upper();
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    2 * announced.unwrap_or(most).min(most)
}

/// The request with a body that is no longer than allowed.
fn capped(
    request: Request<RequestBody>,
    (limit, name): (u64, &'static str),
) -> Result<Request<RequestBody>, FailureKind> {
    let hint = request.body().size_hint();
    if hint.lower() > limit {
        return Err(FailureKind::RequestOverLimit {
            limit,
            name,
            is_begun: false,
        });
    }
    if hint.upper().is_some_and(|upper| upper <= limit) {
        return Ok(request);
    }
    Ok(request.map(|body| {
        let capped = Capped {
            body,
            left: limit,
            over: OverLimit { limit, name },
        };
        capped.boxed_unsync()
    }))
}

/// A request that the rules allow.
struct Checked {
    request: Request<RequestBody>,
    policy: AddressPolicy,
    /// What its answer may hold.
    captures: Vec<Capture>,
    /// The URL holds a credential.
    is_in_url: bool,
    /// Takes the credential of the path out of the answer.
    redactor: Option<Redactor>,
    /// No credential may go there, unless in the URL.
    is_media: bool,
}

#[cfg(test)]
mod tests;
