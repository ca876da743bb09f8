//! Takes credentials out of answers: the host keeps the value, and the component gets a placeholder.
//!
//! - If a [`Capture`] applies to a request, the host reads its whole answer, whatever the status,
//!   before it hands any of it on. It replaces the string at the pointer and each copy of that string
//!   in another string or in a header. No other byte of the body changes.
//! - An answer that can't be searched may hold the credential, so it is an error: one that is no JSON,
//!   is longer than [`MAX_CAPTURED_BYTES`], is compressed, or is a part of a document. The request
//!   asks the server for none of these.
//! - The capture says whether the value is put aside or used at once.
//! - JSON without a string at the pointer, or with an empty string there, is handed on as it is.
//! - If a member is repeated, all its strings are taken out, and the last one is kept. More than
//!   [`MAX_VALUES`] strings, or one that is longer than [`MAX_VALUE_BYTES`], are an error.
//! - The work is linear in the length of the answer: each of its strings is searched once, for all
//!   values together.

use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, response};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::credential::Secret;
use super::error::RuleError;
use super::json::{Rewriter, StringRole, strings};
use crate::json;

/// The largest answer that a credential is taken out of.
pub const MAX_CAPTURED_BYTES: usize = 1024 * 1024;
/// Values that are taken out of one answer.
pub const MAX_VALUES: usize = 8;
/// The longest of them.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;
/// The longest answer with placeholders.
const MAX_CLEAN_BYTES: usize = 4 * MAX_CAPTURED_BYTES;
/// A shorter value is no secret, and unrelated words would contain it. So it is replaced only where
/// it is a whole string.
pub(super) const SHORTEST_PART: usize = 8;

/// Where a credential arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// The same, but the account's requests carry the value at once.
    pub fn in_use(self) -> Capture {
        Capture {
            is_in_use: true,
            ..self
        }
    }

    /// Whether both take the same string out of an answer.
    pub(super) fn finds_as(&self, other: &Capture) -> bool {
        self.pointer == other.pointer
            && self.credential == other.credential
            && self.is_in_use == other.is_in_use
    }

    /// Whether the answer to a request with this path may hold the credential. In doubt it may: a
    /// server may take another spelling for the same path.
    pub fn applies_to(&self, path: &str) -> bool {
        self.applies_to_plain(&plain(path))
    }

    /// The same for a path as [`plain`] gives it.
    pub(super) fn applies_to_plain(&self, path: &str) -> bool {
        path.starts_with(&self.path_prefix)
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

/// A path without the differences that some servers ignore: repeated percent-encoding, letter case,
/// parameters of segments, empty segments.
pub(super) fn plain(path: &str) -> String {
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

/// Asks the server for an answer that can be searched: whole and not compressed.
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

/// Takes the credentials out of an answer; `None` if it has none. JSON that is not quite valid is
/// repaired first, and the component gets the repaired text: from the original it might read a
/// credential that this search did not see.
pub(super) fn take_out(
    headers: &mut HeaderMap,
    body: &[u8],
    captures: &[Capture],
) -> Result<Option<TakenOut>, &'static str> {
    let as_it_is = taken_out(headers, body, captures, |_| true);
    if as_it_is.is_ok() {
        return as_it_is;
    }
    let (mended, _) = json::mended(body)?;
    if mended.len() > MAX_CLEAN_BYTES.min(2 * body.len() + 1024) {
        return Err("it would be too long when it is mended");
    }
    // A credential must not depend on a guess.
    let is_whole = |value: &str| {
        value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    let taken = taken_out(headers, mended.as_bytes(), captures, is_whole)?;
    Ok(Some(taken.unwrap_or_else(|| TakenOut {
        body: mended.into_bytes(),
        aside: Vec::new(),
        in_use: Vec::new(),
    })))
}

fn taken_out(
    headers: &mut HeaderMap,
    body: &[u8],
    captures: &[Capture],
    is_credential: impl Fn(&str) -> bool,
) -> Result<Option<TakenOut>, &'static str> {
    let found = values(body, captures)?;
    if !found.iter().all(|(_, value)| is_credential(value)) {
        return Err("the credential itself can't be read");
    }
    if found.is_empty() {
        return Ok(None);
    }
    let finder = Finder::new(&found)?;
    let mut rewriter = Rewriter::new(body);
    for text in strings(body) {
        let token = body.get(text.range.clone()).unwrap_or_default();
        let token: String =
            serde_json::from_slice(token).map_err(|_| "it has a string that is no text")?;
        let is_name = text.role == StringRole::Name;
        if let Some(clean) = finder.without(&token, is_name) {
            rewriter.replace(text.range, [clean.as_str()]);
        }
        if rewriter.len() > MAX_CLEAN_BYTES {
            return Err("it would be too long with placeholders");
        }
    }
    let leaking: Vec<_> = headers
        .iter()
        .filter(|(_, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            finder.without(&value, false).is_some()
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in leaking {
        headers.remove(name);
    }
    let (mut aside, mut in_use) = (Vec::new(), Vec::new());
    for (capture, value) in found {
        let kept = match capture.is_in_use {
            true => &mut in_use,
            false => &mut aside,
        };
        kept.push((capture.credential.clone(), Secret::new(&value)));
    }
    Ok(rewriter.finish().map(|body| TakenOut {
        body,
        aside,
        in_use,
    }))
}

/// The strings at the captures' pointers, in their order.
fn values<'a>(
    body: &[u8],
    captures: &'a [Capture],
) -> Result<Vec<(&'a Capture, String)>, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| NO_JSON)?;
    let wanted: Vec<PendingCapture> = captures
        .iter()
        .map(|capture| (capture, capture.pointer.as_slice()))
        .collect();
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let search = Search {
        wanted: &wanted,
        found: &mut found,
    };
    let read = search.deserialize(&mut json).and_then(|()| json.end());
    match (found.refused, read) {
        (Some(why), _) => Err(why),
        (None, Err(_)) => Err(NO_JSON),
        (None, Ok(())) => Ok(found.values),
    }
}

const NO_JSON: &str = "it is no JSON";

/// Finds values in texts, all at once.
struct Finder<'a> {
    values: Vec<(&'a str, &'a str)>,
    /// The search for the values that are long enough to be found within a text, with their indexes.
    parts: AhoCorasick,
    long: Vec<usize>,
}

impl<'a> Finder<'a> {
    fn new(found: &'a [(&'a Capture, String)]) -> Result<Finder<'a>, &'static str> {
        let mut values: Vec<(&str, &str)> = Vec::new();
        for (capture, value) in found {
            if !values.iter().any(|(_, other)| other == value) {
                values.push((&capture.credential, value));
            }
        }
        let long = (0..values.len()).filter(|place| {
            let value = values.get(*place);
            value.is_some_and(|(_, value)| value.len() >= SHORTEST_PART)
        });
        let long: Vec<usize> = long.collect();
        let patterns = long.iter().filter_map(|place| values.get(*place));
        let parts = AhoCorasick::builder()
            // A table of all transitions would take a megabyte for a long value.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns.map(|(_, value)| value))
            .map_err(|_| "its values are too many")?;
        Ok(Finder {
            values,
            parts,
            long,
        })
    }

    /// The text with placeholders for the values; `None` when it has none of them. Values that
    /// overlap are hidden together.
    fn without(&self, text: &str, is_name: bool) -> Option<String> {
        #[cfg(test)]
        tests::note_search(text);
        let is_whole = |(_, value): &&(&str, &str)| *value == text;
        if let Some((name, _)) = self.values.iter().find(is_whole)
            && !(is_name && text.len() < SHORTEST_PART)
        {
            return Some(placeholder(name));
        }
        // The ranges to hide. Ranges that overlap become one.
        let mut hidden: Vec<(usize, usize, &str)> = Vec::new();
        for found in self.parts.try_find_overlapping_iter(text).ok()? {
            let place = self.long.get(found.pattern().as_usize());
            let (name, _) = place.and_then(|place| self.values.get(*place))?;
            let mut merged = (found.start(), found.end(), *name);
            while let Some(before) = hidden.pop_if(|before| before.1 > merged.0) {
                if before.0 <= merged.0 {
                    merged = (before.0, merged.1, before.2);
                }
            }
            hidden.push(merged);
        }
        if hidden.is_empty() {
            return None;
        }
        let mut clean = String::new();
        let mut copied = 0;
        for (start, end, name) in hidden {
            clean.push_str(text.get(copied..start).unwrap_or_default());
            clean.push_str(&placeholder(name));
            copied = end;
        }
        clean.push_str(text.get(copied..).unwrap_or_default());
        Some(clean)
    }
}

fn placeholder(name: &str) -> String {
    format!("{{{{{name}}}}}")
}

/// A capture, and the rest of its pointer below the current position.
type PendingCapture<'a, 'p> = (&'a Capture, &'p [String]);

/// What was found at the pointers.
#[derive(Default)]
struct Found<'a> {
    values: Vec<(&'a Capture, String)>,
    refused: Option<&'static str>,
}

impl<'a> Found<'a> {
    fn add(&mut self, capture: &'a Capture, value: &str) -> Result<(), &'static str> {
        let refused = if self.values.len() == MAX_VALUES {
            "it has more than 8 values of credentials"
        } else if value.len() > MAX_VALUE_BYTES {
            "its value is too long for a credential"
        } else {
            self.values.push((capture, value.to_owned()));
            return Ok(());
        };
        self.refused = Some(refused);
        Err(refused)
    }
}

/// Collects the strings at some pointers; more than one for each where members are repeated.
struct Search<'s, 'a> {
    wanted: &'s [PendingCapture<'a, 's>],
    found: &'s mut Found<'a>,
}

impl<'s, 'a> Search<'s, 'a> {
    /// The captures whose pointers go on below a member or an element.
    fn below(&self, is_step: impl Fn(&str) -> bool) -> Vec<PendingCapture<'a, 's>> {
        let wanted = self.wanted.iter().filter_map(|(capture, pointer)| {
            let (step, rest) = pointer.split_first()?;
            is_step(step).then_some((*capture, rest))
        });
        wanted.collect()
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let below = self.below(|step| step == name);
            match below.is_empty() {
                true => drop(members.next_value::<IgnoredAny>()?),
                false => members.next_value_seed(Search {
                    wanted: &below,
                    found: self.found,
                })?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for number in 0_usize.. {
            let below = self.below(|step| is_number(step, number));
            let more = match below.is_empty() {
                true => elements.next_element::<IgnoredAny>()?.is_some(),
                false => elements
                    .next_element_seed(Search {
                        wanted: &below,
                        found: self.found,
                    })?
                    .is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        for (capture, pointer) in self.wanted {
            if pointer.is_empty() && !text.is_empty() {
                self.found.add(capture, text).map_err(E::custom)?;
            }
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

/// Whether a step of a pointer is this index of an array. An index has no sign and no leading zero.
fn is_number(step: &str, number: usize) -> bool {
    let is_plain = step == "0" || !step.starts_with(['0', '+']);
    is_plain && step.parse() == Ok(number)
}

#[cfg(test)]
mod tests;
