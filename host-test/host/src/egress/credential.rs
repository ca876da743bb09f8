//! Credentials that the component never sees: it writes `{{name}}`, and the host inserts the value.
//!
//! - In a header, the placeholder may be a part of the value. A placeholder that no matching rule
//!   allows, or that has no value, fails the request: it never leaves without its credential.
//! - In the query (`query.rs`), the placeholder is the whole value of a parameter.
//! - In the path (`path.rs`), it stands where the path prefix of its rule has it.
//! - In a JSON body, the host replaces a string that is the placeholder and nothing else. It never
//!   replaces a member's name, and no other byte changes.
//! - A credential may have several values, for instance one of each account. As an element of a JSON
//!   array, the placeholder stands for all of them, even if there are none. Elsewhere it stands for
//!   the first one.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, HeaderValue};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::error::FailureKind;
use super::json::{Rewriter, StringRole, strings};

/// The largest JSON body that credentials are put into.
pub const MAX_JSON_BYTES: usize = 1024 * 1024;
/// The longest placeholder in JSON, quotes and escapes included.
const PLACEHOLDER_BYTES: Range<usize> = 6..512;

/// The longest header with credentials in it: a short one may hold many placeholders.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The same of a body.
const MAX_FILLED_BYTES: usize = 2 * MAX_JSON_BYTES;

/// A value that no log shows, and that is overwritten when its last clone is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Keeps `value`.
    pub fn new(value: &str) -> Secret {
        Secret(Arc::new(value.to_owned().into()))
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The values of an account's credentials. Clones share them; `Debug` shows the names alone. A
/// change holds for every request that begins after it.
#[derive(Clone, Default)]
pub struct Secrets {
    /// An empty list means the same as no list.
    values: Arc<RwLock<HashMap<String, Vec<Secret>>>>,
}

impl Secrets {
    /// Keeps `value` under `name`, in place of all earlier ones.
    pub fn set(&self, name: &str, value: &str) {
        self.set_all(name, [value]);
    }

    /// Keeps `values` under `name`, the newest first, in place of all earlier ones.
    pub fn set_all<V: AsRef<str>>(&self, name: &str, values: impl IntoIterator<Item = V>) {
        let new = values
            .into_iter()
            .map(|value| Secret::new(value.as_ref()))
            .collect();
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        values.insert(name.to_owned(), new);
    }

    /// All values under `name`, the newest first.
    pub fn values(&self, name: &str) -> Vec<Secret> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.get(name).cloned().unwrap_or_default()
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

    pub(super) fn value(&self, name: &str) -> Result<Secret, FailureKind> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values
            .get(name)
            .and_then(|values| values.first())
            .cloned()
            .ok_or_else(|| FailureKind::CredentialMissing {
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
) -> Result<(), FailureKind> {
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
) -> Result<Option<HeaderValue>, FailureKind> {
    let mut filled = Zeroizing::new(Vec::new());
    let mut rest = value;
    let mut last = None;
    while let Some((before, name, after)) = next_placeholder(rest) {
        if !allowed(name) {
            return Err(FailureKind::CredentialNotAllowed {
                name: name.to_owned(),
            });
        }
        filled.extend_from_slice(before);
        filled.extend_from_slice(secrets.value(name)?.expose().as_bytes());
        if filled.len() > MAX_HEADER_BYTES {
            return Err(FailureKind::CredentialUnusable {
                name: name.to_owned(),
            });
        }
        rest = after;
        last = Some(name);
    }
    let Some(name) = last else {
        return Ok(None);
    };
    filled.extend_from_slice(rest);
    let mut header =
        HeaderValue::from_bytes(&filled).map_err(|_| FailureKind::CredentialUnusable {
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
) -> Result<Option<Vec<u8>>, FailureKind> {
    // The scan below relies on the syntax being right.
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return Ok(None);
    }
    let mut rewriter = Rewriter::new(body);
    for text in strings(body) {
        if text.role == StringRole::Name || !PLACEHOLDER_BYTES.contains(&text.range.len()) {
            continue;
        }
        let token = body.get(text.range.clone()).unwrap_or_default();
        // A string with escapes may be a placeholder, too, so the decoded string is compared.
        let Ok(token) = serde_json::from_slice::<String>(token) else {
            continue;
        };
        let Some(name) = token
            .strip_prefix("{{")
            .and_then(|token| token.strip_suffix("}}"))
            .filter(|name| allowed(name))
        else {
            continue;
        };
        let values = match text.role {
            StringRole::Element => secrets.values(name),
            StringRole::Value | StringRole::Name => vec![secrets.value(name)?],
        };
        rewriter.replace(text.range, values.iter().map(Secret::expose));
        if rewriter.len() > MAX_FILLED_BYTES {
            return Err(FailureKind::RequestTooLarge {
                limit: MAX_FILLED_BYTES,
            });
        }
    }
    Ok(rewriter.finish())
}

#[cfg(test)]
mod tests;
