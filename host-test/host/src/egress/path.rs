//! Credentials in the path: `{{name}}` within one segment, such as `/bot{{bot-token}}/getMe`.
//!
//! The path prefix of the rule holds the placeholder, and so says where it may stand. The rule is
//! checked while the placeholder is in place. Then the host inserts the credential, percent-encoded.
//! The braces may be percent-encoded, as some URL libraries do it.
//!
//! A path with anything else that looks like a placeholder is refused: it would go out as it is, in an
//! anonymous request. A credential that is no plain segment is refused, too: the path with it would
//! lead to another place than the path that was checked, or an answer could repeat it in a spelling that
//! `redact.rs` does not know.

use std::borrow::Cow;
use std::ops::Range;

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::capture::SHORTEST_PART;
use super::credential::Secret;
use super::error::FailureKind;

/// What is percent-encoded in a path: all but the unreserved characters, and the colon of such tokens as
/// `1234:abc`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// The placeholder of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The credential's name.
    pub name: String,
    /// Where it stands, braces included.
    range: Range<usize>,
}

impl Placeholder {
    /// The placeholder of a path, if it has one.
    ///
    /// # Errors
    /// When there are several, or something that could pass for one.
    pub fn find(path: &str) -> Result<Option<Placeholder>, &'static str> {
        let starts = |from: usize| {
            let rest = path.get(from..).unwrap_or_default();
            let mut starts = rest.char_indices();
            starts.find_map(|(at, _)| Some((from + at, pair(rest.get(at..)?, "{", "%7b")?)))
        };
        let Some((start, opening)) = starts(0) else {
            return Ok(None);
        };
        let name_start = start + opening;
        let rest = path.get(name_start..).unwrap_or_default();
        let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        let (name, after) = rest.split_at(rest.find(|char| !is_name(char)).unwrap_or(rest.len()));
        let closing = pair(after, "}", "%7d").filter(|_| !name.is_empty());
        let Some(closing) = closing else {
            return Err("the URL's path holds a placeholder that is none");
        };
        let end = name_start + name.len() + closing;
        match starts(end) {
            Some(_) => Err("the URL's path holds more than one placeholder"),
            None => Ok(Some(Placeholder {
                name: name.to_owned(),
                range: start..end,
            })),
        }
    }

    /// The path with the braces spelled out.
    pub fn spelled_out<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let text = format!("{{{{{}}}}}", self.name);
        match path.get(self.range.clone()) == Some(&*text) {
            true => Cow::Borrowed(path),
            false => Cow::Owned(self.replaced(path, &text)),
        }
    }

    /// The URL with the credential in its path.
    ///
    /// # Errors
    /// When the credential is no plain segment, too short to be taken out of answers, or too long for
    /// a URL.
    pub fn filled(&self, uri: &Uri, secret: &Secret) -> Result<Uri, FailureKind> {
        let unusable = || FailureKind::CredentialUnusable {
            name: self.name.clone(),
        };
        if secret.expose().len() < SHORTEST_PART || !is_segment(secret.expose()) {
            return Err(unusable());
        }
        let mut path = self.replaced(uri.path(), &encoded(secret.expose()));
        if let Some(query) = uri.query() {
            path.push('?');
            path.push_str(query);
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| unusable())?);
        Uri::from_parts(parts).map_err(|_| unusable())
    }

    fn replaced(&self, path: &str, text: &str) -> String {
        let before = path.get(..self.range.start).unwrap_or_default();
        let after = path.get(self.range.end..).unwrap_or_default();
        format!("{before}{text}{after}")
    }
}

/// A value as it stands in a path.
pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// Whether every server reads a value as a part of one segment, and repeats it in a spelling that is
/// known: JSON, HTML and the libraries for URLs agree about few other characters.
fn is_segment(value: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'=' | b'@')
    };
    value.bytes().all(is_plain) && !value.contains("..")
}

/// The length of two braces at the start of a text, each of them spelled out or percent-encoded.
fn pair(text: &str, brace: &str, encoded: &str) -> Option<usize> {
    let one = |text: &str| {
        let start = text.get(..encoded.len()).unwrap_or_default();
        match text.starts_with(brace) {
            true => Some(brace.len()),
            false => start.eq_ignore_ascii_case(encoded).then_some(encoded.len()),
        }
    };
    let first = one(text)?;
    Some(first + one(text.get(first..)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(path: &str, value: &str) -> Result<String, FailureKind> {
        let uri: Uri = format!("https://example.com{path}").parse().unwrap();
        let placeholder = Placeholder::find(uri.path()).unwrap().unwrap();
        let filled = placeholder.filled(&uri, &Secret::new(value))?.to_string();
        Ok(filled
            .strip_prefix("https://example.com")
            .unwrap()
            .to_owned())
    }

    #[test]
    fn a_placeholder_is_replaced_by_the_credential() {
        for (path, expected) in [
            ("/bot{{token}}/getMe", "/bot123:Ab-_/getMe"),
            ("/bot%7B%7btoken%7D}/getMe", "/bot123:Ab-_/getMe"),
            ("/bot{{token}}", "/bot123:Ab-_"),
            ("/{{token}}x/y?a={b}&c", "/123:Ab-_x/y?a={b}&c"),
            ("/{a}/{{token}}/}}/%7D%7D", "/{a}/123:Ab-_/}}/%7D%7D"),
        ] {
            assert_eq!(fill(path, "123:Ab-_").unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn braces_are_compared_spelled_out() {
        for path in [
            "/b%7B%7btoken%7d%7D/x",
            "/b{%7Btoken}%7D/x",
            "/b{{token}}/x",
        ] {
            let placeholder = Placeholder::find(path).unwrap().unwrap();
            assert_eq!(placeholder.name, "token");
            assert_eq!(placeholder.spelled_out(path), "/b{{token}}/x");
        }
    }

    #[test]
    fn what_could_pass_for_a_placeholder_is_refused() {
        for path in [
            "/{{token}}/{{token}}",
            "/{{token}}{{other}}",
            "/{{token}}/%7b%7B",
            "/{{token",
            "/{{token}",
            "/{{token}/x",
            "/{{}}",
            "/{{{token}}}",
            "/{{to ken}}",
            "/{{tok%65n}}",
            "/{{tok/en}}",
            "/%7B%7B",
        ] {
            assert!(Placeholder::find(path).is_err(), "{path}");
        }
        // A second decoding makes no placeholder of it either, for nobody puts a credential there.
        for path in ["/", "/a}}", "/{a}/{b}", "/%257B%257Btoken%257D%257D"] {
            assert_eq!(Placeholder::find(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn a_credential_that_is_no_plain_segment_is_refused() {
        let is_refused = |value: &str| {
            let failure = fill("/bot{{token}}/x", value).unwrap_err();
            assert!(
                matches!(failure, FailureKind::CredentialUnusable { .. }),
                "{value:?}"
            );
        };
        for part in [
            "..", "a/..", "..b", "/", "\\", "?", "#", "%2f", " ", "\n", "\u{7f}", "é", "\0",
            // What others escape.
            "\"", "'", "<", ">", "&", "+", "!", "(", ";",
        ] {
            is_refused(&format!("long-enough{part}to-be-one"));
        }
        // What is too short to be found in an answer.
        for value in ["", ".", "..", "1234567"] {
            is_refused(value);
        }
        let long = fill("/{{token}}", &"x".repeat(70_000)).unwrap_err();
        assert!(matches!(long, FailureKind::CredentialUnusable { .. }));
    }

    proptest::proptest! {
        #[test]
        fn any_credential_stays_within_its_segment(value in "[A-Za-z0-9_~:=@-]{8,20}([.][A-Za-z0-9_~:=@-]{1,9}){0,2}") {
            let path = fill("/a/b{{token}}c/d?q", &value).unwrap();
            let sent = path.strip_prefix("/a/b").and_then(|rest| rest.strip_suffix("c/d?q"));
            let sent = sent.unwrap();
            proptest::prop_assert!(!sent.contains(['/', '?', '#', ';', '\\']));
            let decoded = percent_encoding::percent_decode_str(sent).decode_utf8().unwrap();
            proptest::prop_assert_eq!(decoded, value);
        }

        #[test]
        fn what_another_may_escape_is_refused(value in "[A-Za-z0-9]{8,20}[^A-Za-z0-9._~:=@-][A-Za-z0-9]{0,9}") {
            proptest::prop_assert!(fill("/a/b{{token}}c/d?q", &value).is_err());
        }
    }
}
