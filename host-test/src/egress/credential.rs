//! Credentials that the component never sees: it writes `{{name}}`, the host puts the value there.
//!
//! - In headers a placeholder may be part of a value. One that no matching rule allows, or that has
//!   no value, fails the request; it never goes out without its credential.
//! - In JSON bodies only a string that is the placeholder and nothing else is replaced, never a
//!   member's name, and every other byte stays as it was.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, HeaderValue};
use serde::de::IgnoredAny;

use super::error::Failure;

/// The values of an account's credentials. Clones share them; `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Arc<RwLock<HashMap<String, Arc<str>>>>,
}

impl Secrets {
    /// Keeps `value` under `name`, in place of an earlier one.
    pub fn set(&self, name: &str, value: &str) {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        values.insert(name.to_owned(), value.into());
    }

    /// Forgets a credential.
    pub fn remove(&self, name: &str) {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        values.remove(name);
    }

    /// Whether there is a value under `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.value(name).is_ok()
    }

    fn value(&self, name: &str) -> Result<Arc<str>, Failure> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values
            .get(name)
            .cloned()
            .ok_or_else(|| Failure::CredentialMissing {
                name: name.to_owned(),
            })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(values.keys()).finish()
    }
}

/// Replaces the placeholders in all headers.
pub(super) fn fill_headers(
    headers: &mut HeaderMap,
    secrets: &Secrets,
    allowed: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    for header in headers.values_mut() {
        if let Some(filled) = filled_header(header.as_bytes(), secrets, &allowed)? {
            *header = filled;
        }
    }
    Ok(())
}

fn filled_header(
    value: &[u8],
    secrets: &Secrets,
    allowed: impl Fn(&str) -> bool,
) -> Result<Option<HeaderValue>, Failure> {
    let mut filled = Vec::new();
    let mut rest = value;
    let mut last = None;
    while let Some((before, name, after)) = next_placeholder(rest) {
        if !allowed(name) {
            return Err(Failure::CredentialNotAllowed {
                name: name.to_owned(),
            });
        }
        filled.extend_from_slice(before);
        filled.extend_from_slice(secrets.value(name)?.as_bytes());
        rest = after;
        last = Some(name);
    }
    let Some(name) = last else {
        return Ok(None);
    };
    filled.extend_from_slice(rest);
    let mut header = HeaderValue::from_bytes(&filled).map_err(|_| Failure::CredentialUnusable {
        name: name.to_owned(),
    })?;
    header.set_sensitive(true);
    Ok(Some(header))
}

/// The first placeholder: what is before it, its name, what is after it.
fn next_placeholder(value: &[u8]) -> Option<(&[u8], &str, &[u8])> {
    let mut start = 0;
    loop {
        let rest = value.get(start..)?;
        start += rest.windows(2).position(|pair| pair == b"{{")?;
        let inside = value.get(start + 2..)?;
        let length = inside
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            .count();
        let (name, after) = inside.split_at_checked(length)?;
        if let (Ok(name), Some(after)) = (std::str::from_utf8(name), after.strip_prefix(b"}}"))
            && !name.is_empty()
        {
            return Some((value.get(..start)?, name, after));
        }
        start += 1;
    }
}

/// The body with the strings that are one of these placeholders replaced; `None` when there is
/// none, or when the body is no JSON.
pub(super) fn filled_json(
    body: &[u8],
    secrets: &Secrets,
    allowed: impl Fn(&str) -> bool,
) -> Result<Option<Vec<u8>>, Failure> {
    // The scan below relies on the syntax being right.
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return Ok(None);
    }
    let mut filled = Vec::new();
    let mut copied = 0;
    for token in string_values(body) {
        let text = body.get(token.clone()).unwrap_or_default();
        // Escapes hide a placeholder from a comparison of bytes, so JSON's own reading counts.
        let Ok(text) = serde_json::from_slice::<String>(text) else {
            continue;
        };
        let Some(name) = text
            .strip_prefix("{{")
            .and_then(|text| text.strip_suffix("}}"))
            .filter(|name| allowed(name))
        else {
            continue;
        };
        let value = secrets.value(name)?;
        filled.extend_from_slice(body.get(copied..token.start).unwrap_or_default());
        filled.extend_from_slice(serde_json::Value::from(&*value).to_string().as_bytes());
        copied = token.end;
    }
    if copied == 0 {
        return Ok(None);
    }
    filled.extend_from_slice(body.get(copied..).unwrap_or_default());
    Ok(Some(filled))
}

/// Where in valid JSON the strings are that are values, quotes included. Those that are too long
/// or too short for a placeholder are left out.
fn string_values(json: &[u8]) -> impl Iterator<Item = Range<usize>> {
    const LONGEST: usize = 512;
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + json.get(at..)?.iter().position(|byte| *byte == b'"')?;
            let mut end = start + 1;
            while *json.get(end)? != b'"' {
                end += if *json.get(end)? == b'\\' { 2 } else { 1 };
            }
            at = end + 1;
            let mut following = json
                .get(at..)?
                .iter()
                .filter(|byte| !byte.is_ascii_whitespace());
            let is_name = following.next() == Some(&b':');
            if !is_name && (6..LONGEST).contains(&(at - start)) {
                return Some(start..at);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let secrets = Secrets::default();
        secrets.set("bot-token", "s3cret\"");
        secrets
    }

    fn header(value: &str) -> Result<Option<String>, Failure> {
        let allowed = |name: &str| name != "other";
        let filled = filled_header(value.as_bytes(), &secrets(), allowed)?;
        Ok(filled.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn placeholders_in_headers_are_replaced_wherever_they_stand() {
        for (value, expected) in [
            ("{{bot-token}}", "s3cret\""),
            ("Bearer {{bot-token}}", "Bearer s3cret\""),
            ("{{{bot-token}}}", "{s3cret\"}"),
            ("a{{bot-token}}b{{bot-token}}c", "as3cret\"bs3cret\"c"),
        ] {
            assert_eq!(header(value).unwrap().as_deref(), Some(expected));
        }
        for value in [
            "",
            "{{}}",
            "{{bot token}}",
            "{bot-token}",
            "{{bot-token}",
            "{{",
        ] {
            assert_eq!(header(value).unwrap(), None, "{value}");
        }
    }

    #[test]
    fn filled_headers_are_not_shown() {
        let filled = filled_header(b"{{bot-token}}", &secrets(), |_| true)
            .unwrap()
            .unwrap();
        assert!(!format!("{filled:?} {:?}", secrets()).contains("s3cret"));
    }

    #[test]
    fn placeholders_that_can_not_be_filled_are_errors() {
        assert!(matches!(
            header("x {{other}}"),
            Err(Failure::CredentialNotAllowed { name }) if name == "other"
        ));
        assert!(matches!(
            header("{{bot-token}} {{absent}}"),
            Err(Failure::CredentialMissing { name }) if name == "absent"
        ));
        secrets().set("bot-token", "x");
        let broken = Secrets::default();
        broken.set("bot-token", "a\r\nb");
        assert!(matches!(
            filled_header(b"{{bot-token}}", &broken, |_| true),
            Err(Failure::CredentialUnusable { .. })
        ));
    }

    fn json(body: &str) -> Option<String> {
        filled_json(body.as_bytes(), &secrets(), |name| name == "bot-token")
            .unwrap()
            .map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn whole_strings_in_json_are_replaced_and_the_rest_stays() {
        assert_eq!(
            json(r#"{"z": 1.0e3, "list": ["{{bot-token}}" , "x"], "a": "{{bot-token}}", "a": 9007199254740995}"#),
            Some(r#"{"z": 1.0e3, "list": ["s3cret\"" , "x"], "a": "s3cret\"", "a": 9007199254740995}"#.to_owned())
        );
        assert_eq!(json(r#""{{bot-token}}""#), Some(r#""s3cret\"""#.to_owned()));
        assert_eq!(
            json(r#"{"\"": "\\", "a": "\u007b{bot\u002dtoken}}"}"#),
            Some(r#"{"\"": "\\", "a": "s3cret\""}"#.to_owned())
        );
    }

    #[test]
    fn text_around_a_placeholder_names_and_other_placeholders_stay() {
        for body in [
            r#"{"text": "say {{bot-token}}"}"#,
            r#"{"text": "{{bot-token}} "}"#,
            r#"{"text": "\"{{bot-token}}\""}"#,
            r#"{"{{bot-token}}" : 1}"#,
            r#"{"text": "{{other}}"}"#,
            r#"{"text": "{{bot-token}}""#,
            "{{bot-token}}",
            "",
        ] {
            assert_eq!(json(body), None, "{body}");
        }
    }

    #[test]
    fn a_missing_credential_in_json_is_an_error() {
        let result = filled_json(br#"["{{bot-token}}"]"#, &Secrets::default(), |_| true);
        assert!(matches!(result, Err(Failure::CredentialMissing { .. })));
    }
}
