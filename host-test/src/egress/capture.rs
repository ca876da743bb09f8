//! Credentials that arrive in an answer: the host keeps them, and hands on their placeholder.
//!
//! - The answer to a request under a [`Capture`] is read whole before any of it is handed on,
//!   whatever its status. The string at the pointer, and each copy of it in another string or in a
//!   header, is replaced; no other byte of the body changes.
//! - What can't be searched may hold the credential, so it fails: no JSON, more than
//!   [`MAX_CAPTURED_BYTES`], compressed, a part of a document. The request asks for none of these.
//! - What is taken out is put aside, or is in use at once, as the capture says.
//! - JSON without a string at the pointer, or with an empty one, is handed on as it is.
//! - Where a member is repeated, all its strings are taken out, and the last one is kept.

use std::fmt;

use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, response};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::credential::Secret;
use super::json::{Place, Rewriter, strings};
use super::rule::RuleError;

/// The largest answer that a credential is taken out of.
pub const MAX_CAPTURED_BYTES: usize = 1024 * 1024;
/// A shorter value is no secret, and would be found in words that have nothing to do with it: it
/// is replaced where a string consists of it.
const SHORTEST_PART: usize = 8;

/// Where a credential arrives.
#[derive(Debug, Clone)]
pub struct Capture {
    /// As [`plain`] gives it.
    path_prefix: String,
    pointer: Vec<String>,
    /// The credential's name.
    pub credential: String,
    /// The account's requests carry the value from then on; otherwise it is put aside.
    pub(super) is_in_use: bool,
}

impl Capture {
    /// A credential in the answers to requests whose path starts with `path_prefix`, at an RFC 6901
    /// pointer.
    ///
    /// # Errors
    /// One sentence on the prefix or the pointer.
    pub fn new(
        path_prefix: &str,
        json_pointer: &str,
        credential: &str,
    ) -> Result<Capture, RuleError> {
        let wrong = |why: &str| RuleError(format!("capture of {credential:?}: {why}"));
        if !path_prefix.starts_with('/') {
            return Err(wrong(&format!(
                "path prefix {path_prefix:?} does not start with /"
            )));
        }
        let pointer = parse_pointer(json_pointer).ok_or_else(|| {
            wrong(&format!(
                "{json_pointer:?} is no JSON pointer: write /member/member, with ~1 for / and ~0 \
                 for ~"
            ))
        })?;
        Ok(Capture {
            path_prefix: plain(path_prefix),
            pointer,
            credential: credential.to_owned(),
            is_in_use: false,
        })
    }

    /// The same whose value the account's requests carry at once.
    pub fn in_use(self) -> Capture {
        Capture {
            is_in_use: true,
            ..self
        }
    }

    /// Whether the answer to a request with this path may hold the credential. In doubt it may: a
    /// server may take another spelling for the same path.
    pub fn applies_to(&self, path: &str) -> bool {
        plain(path).starts_with(&self.path_prefix)
    }
}

fn parse_pointer(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let step = |step: &str| {
        let escapes_are_right = step
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']));
        escapes_are_right.then(|| step.replace("~1", "/").replace("~0", "~"))
    };
    text.strip_prefix('/')?.split('/').map(step).collect()
}

/// A path without what servers overlook: encodings, however often, letter case, parameters of
/// segments, empty segments.
fn plain(path: &str) -> String {
    let mut decoded = Vec::new();
    for byte in path.bytes() {
        decoded.push(byte);
        while let [.., b'%', high, low] = decoded.as_slice() {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                break;
            };
            decoded.truncate(decoded.len() - 3);
            decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
        }
    }
    let decoded = String::from_utf8_lossy(&decoded).to_lowercase();
    let segments: Vec<&str> = decoded
        .split(['/', '\\'])
        .map(|segment| segment.split(';').next().unwrap_or_default())
        .filter(|segment| !segment.is_empty())
        .collect();
    segments.join("/")
}

/// Asks for an answer that can be searched: the whole of it, as it is.
pub(super) fn ask_for_plain(headers: &mut HeaderMap) {
    headers.remove(header::RANGE);
    headers.remove(header::IF_RANGE);
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
}

/// Why an answer with this head can't be searched.
pub(super) fn unsearchable(head: &response::Parts) -> Option<&'static str> {
    if head.status == StatusCode::PARTIAL_CONTENT {
        return Some("it is a part of a document");
    }
    let codings = head.headers.get_all(header::CONTENT_ENCODING);
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    match codings.iter().all(is_plain) {
        true => None,
        false => Some("it is compressed"),
    }
}

/// What was taken out of an answer.
pub(super) struct TakenOut {
    /// The body with placeholders.
    pub body: Vec<u8>,
    /// The last value of each credential that is put aside.
    pub aside: Vec<(String, Secret)>,
    /// The same of those that are in use at once.
    pub in_use: Vec<(String, Secret)>,
}

/// Takes the credentials out of an answer; `None` when there is none in it.
pub(super) fn take_out(
    headers: &mut HeaderMap,
    body: &[u8],
    captures: &[&Capture],
) -> Result<Option<TakenOut>, &'static str> {
    const NO_JSON: &str = "it is no JSON";
    let text = std::str::from_utf8(body).map_err(|_| NO_JSON)?;
    let mut found: Vec<(&str, String)> = Vec::new();
    let (mut aside, mut in_use) = (Vec::new(), Vec::new());
    for capture in captures {
        let mut here = Vec::new();
        let mut json = serde_json::Deserializer::from_str(text);
        let search = Search {
            pointer: &capture.pointer,
            found: &mut here,
        };
        search.deserialize(&mut json).map_err(|_| NO_JSON)?;
        json.end().map_err(|_| NO_JSON)?;
        let kept = match capture.is_in_use {
            true => &mut in_use,
            false => &mut aside,
        };
        if let Some(last) = here.last() {
            kept.push((capture.credential.clone(), Secret::new(last)));
        }
        found.extend(
            here.into_iter()
                .map(|value| (capture.credential.as_str(), value)),
        );
    }
    if found.is_empty() {
        return Ok(None);
    }
    // A value may be a part of another.
    found.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));

    let mut rewriter = Rewriter::new(body);
    for text in strings(body) {
        let token = body.get(text.range.clone()).unwrap_or_default();
        let token: String =
            serde_json::from_slice(token).map_err(|_| "it has a string that is no text")?;
        let is_name = text.place == Place::Name;
        if let Some(clean) = without(&token, &found, is_name) {
            rewriter.replace(text.range, [clean.as_str()]);
        }
    }
    let leaking: Vec<_> = headers
        .iter()
        .filter(|(_, value)| {
            without(&String::from_utf8_lossy(value.as_bytes()), &found, false).is_some()
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in leaking {
        headers.remove(name);
    }
    Ok(rewriter.finish().map(|body| TakenOut {
        body,
        aside,
        in_use,
    }))
}

/// The text with placeholders for the values; `None` when it has none of them.
fn without(text: &str, values: &[(&str, String)], is_name: bool) -> Option<String> {
    let mut clean = None;
    for (name, value) in values {
        let text = clean.as_deref().unwrap_or(text);
        let is_here = match value.len() < SHORTEST_PART {
            true => !is_name && text == value,
            false => text.contains(value),
        };
        if is_here {
            clean = Some(text.replace(value, &format!("{{{{{name}}}}}")));
        }
    }
    clean
}

/// Collects the strings at a pointer; more than one where members are repeated.
struct Search<'a> {
    pointer: &'a [String],
    found: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            match self.pointer.split_first() {
                Some((step, pointer)) if *step == name => members.next_value_seed(Search {
                    pointer,
                    found: self.found,
                })?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for number in 0_usize.. {
            let more = match self.pointer.split_first() {
                Some((step, pointer)) if *step == number.to_string() => elements
                    .next_element_seed(Search {
                        pointer,
                        found: self.found,
                    })?
                    .is_some(),
                _ => elements.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if self.pointer.is_empty() && !text.is_empty() {
            self.found.push(text.to_owned());
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
