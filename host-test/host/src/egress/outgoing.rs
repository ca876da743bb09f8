//! A request as it goes out: whether the rules allow it, and with the credentials in it.

use bytes::Bytes;
use http::{Method, Request, Uri, Version, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use super::body::{Capped, OverLimit};
use super::capture::{self, Capture};
use super::client::RequestBody;
use super::credential::{self, MAX_JSON_BYTES};
use super::dialer::AddressPolicy;
use super::error::{BoxError, FailureKind, innermost};
use super::redact::Redactor;
use super::rule::{Credential, Placement, Rule};
use super::target::Target;
use super::{Egress, headers, query};

/// A request that the rules allow, credentials included.
pub(super) struct Outgoing {
    pub request: Request<RequestBody>,
    pub policy: AddressPolicy,
    /// What its answer may hold.
    pub captures: Vec<Capture>,
    /// The URL holds a credential.
    pub is_in_url: bool,
    /// Takes the credential of the path out of the answer.
    pub redactor: Option<Redactor>,
    /// No credential may go there, unless in the URL.
    pub is_media: bool,
}

/// A URL whose placeholders were filled.
struct FilledUrl {
    /// None: it has no placeholder.
    uri: Option<Uri>,
    /// Takes the credential of the path out of the answer.
    redactor: Option<Redactor>,
}

impl Egress {
    /// The request as it goes out, credentials included, if the rules allow it.
    pub(super) async fn outgoing<B>(&self, request: Request<B>) -> Result<Outgoing, FailureKind>
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
        let rules = self.rules_for(&target)?;
        let policy = match rules.iter().any(|rule| rule.configured) {
            true => AddressPolicy::Anywhere,
            false => AddressPolicy::Public,
        };
        let captures = self.captures_for(&target, head.uri.path());
        let goes_into_url = |used: &Credential| match used.placement {
            Placement::Query | Placement::Path => true,
            Placement::Header | Placement::JsonBody => false,
        };
        let is_media = credentials(&rules).all(goes_into_url);
        let in_body: Vec<String> = credentials(&rules)
            .filter(|credential| credential.placement == Placement::JsonBody)
            .map(|credential| credential.name.clone())
            .collect();

        head.version = Version::HTTP_11;
        headers::remove_those_of_the_connection(&mut head.headers);
        // What is to be searched must not come compressed.
        if !captures.is_empty() || target.placeholder.is_some() {
            capture::ask_for_plain(&mut head.headers);
        }
        credential::fill_headers(&mut head.headers, &self.shared.secrets, |name| {
            may_hold(&rules, name, Placement::Header)
        })?;
        let FilledUrl { uri, redactor } = self.filled_url(&head.uri, &target, &rules)?;
        let is_in_url = uri.is_some();
        if let Some(uri) = uri {
            head.uri = uri;
        }
        let body = match !in_body.is_empty() && headers::is_json(&head.headers) {
            true => {
                // The length that the caller wrote may be that of the placeholder.
                head.headers.remove(header::CONTENT_LENGTH);
                self.filled_body(body, in_body).await?
            }
            false => body.map_err(Into::into).boxed_unsync(),
        };
        Ok(Outgoing {
            request: Request::from_parts(head, body),
            policy,
            captures,
            is_in_url,
            redactor,
            is_media,
        })
    }

    /// The rules that allow a target.
    fn rules_for(&self, target: &Target<'_>) -> Result<Vec<&Rule>, FailureKind> {
        let rules = self.shared.rules.iter();
        let mut rules: Vec<&Rule> = rules.filter(|rule| rule.allows(target)).collect();
        if rules.is_empty() {
            return Err(FailureKind::Denied("no rule allows this URL"));
        }
        rules.retain(|rule| self.is_free(rule, target));
        if rules.is_empty() {
            return Err(FailureKind::Denied(
                "the operator's pinned origins (`--allow-egress`) do not have this one",
            ));
        }
        Ok(rules)
    }

    /// What the answer to a request with this path may hold.
    fn captures_for(&self, target: &Target<'_>, path: &str) -> Vec<Capture> {
        let plain = capture::plain(path);
        let rules = self.shared.rules.iter();
        let mut captures: Vec<Capture> = Vec::new();
        for capture in rules.flat_map(|rule| rule.captures_of(target, &plain)) {
            // Several rules of an origin have the same.
            if !captures.iter().any(|other| other.finds_as(capture)) {
                captures.push(capture.clone());
            }
        }
        captures
    }

    /// Fills the placeholders of the path and of the query.
    fn filled_url(
        &self,
        uri: &Uri,
        target: &Target<'_>,
        rules: &[&Rule],
    ) -> Result<FilledUrl, FailureKind> {
        let secrets = &self.shared.secrets;
        let (mut filled_path, mut redactor) = (None, None);
        if let Some(placeholder) = &target.placeholder {
            let name = &placeholder.name;
            if !may_hold(rules, name, Placement::Path) {
                let name = name.clone();
                return Err(FailureKind::CredentialNotAllowed { name });
            }
            let secret = secrets.value(name)?;
            filled_path = Some(placeholder.filled(uri, &secret)?);
            let unusable = || FailureKind::CredentialUnusable { name: name.clone() };
            redactor = Some(Redactor::new(name, &secret).ok_or_else(unusable)?);
        }
        let in_query = |name: &str| may_hold(rules, name, Placement::Query);
        let filled = query::filled(filled_path.as_ref().unwrap_or(uri), secrets, in_query)?;
        Ok(FilledUrl {
            uri: filled.or(filled_path),
            redactor,
        })
    }

    /// A JSON body with these credentials in it.
    async fn filled_body<B>(&self, body: B, names: Vec<String>) -> Result<RequestBody, FailureKind>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
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
        let (secrets, read) = (self.shared.secrets.clone(), body.clone());
        let filling = move || {
            let is_named = |name: &str| names.iter().any(|other| other == name);
            (credential::filled_json(&read, &secrets, is_named), room)
        };
        let searched = self.share.searching(body.len(), filling).await;
        let (filled, room) = searched.map_err(FailureKind::RequestBody)?;
        if let Some(filled) = filled? {
            body = filled.into();
        }
        let body = Full::new(room.holding(body));
        Ok(body.map_err(|never| match never {}).boxed_unsync())
    }
}

/// What the host may put into requests that these rules allow.
fn credentials<'a>(rules: &'a [&Rule]) -> impl Iterator<Item = &'a Credential> {
    rules.iter().filter_map(|rule| rule.credential.as_ref())
}

/// Whether a rule puts this credential there.
fn may_hold(rules: &[&Rule], name: &str, there: Placement) -> bool {
    credentials(rules).any(|credential| credential.name == name && credential.placement == there)
}

/// What it takes to read a body of at most `most` bytes and to change it: two copies.
pub(super) fn room_for(body: &impl Body, most: usize) -> usize {
    let announced = body.size_hint().upper();
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    2 * announced.unwrap_or(most).min(most)
}

/// The request with a body that is no longer than allowed.
pub(super) fn capped(
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
