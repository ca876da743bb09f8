//! Credentials in the query: a parameter whose whole value is `{{name}}` gets the credential's value,
//! percent-encoded. The braces may be percent-encoded, too.
//!
//! As in headers, a placeholder that no matching rule allows here, or that has no value, fails the
//! request. Other braces that are not encoded are refused as well: they would go out as they are, in
//! an anonymous request. No other byte of the URL changes.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::credential::Secrets;
use super::error::FailureKind;

/// The longest value that is looked at: a placeholder with each character encoded.
const MAX_VALUE_BYTES: usize = 3 * 512;

/// What is percent-encoded in a value of the query: all but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The URL with the credentials in it; `None` when it has no placeholder.
pub(super) fn filled(
    uri: &Uri,
    secrets: &Secrets,
    allowed: impl Fn(&str) -> bool,
) -> Result<Option<Uri>, FailureKind> {
    let Some(query) = uri.query() else {
        return Ok(None);
    };
    let mut path = format!("{}?", uri.path());
    let mut last = None;
    for (number, parameter) in query.split('&').enumerate() {
        if number > 0 {
            path.push('&');
        }
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let Some(name) = placeholder(value).filter(|_| !key.contains("{{")) else {
            if parameter.contains("{{") {
                return Err(FailureKind::Denied(
                    "the URL's query holds a placeholder that is no whole value",
                ));
            }
            path.push_str(parameter);
            continue;
        };
        if !allowed(&name) {
            return Err(FailureKind::CredentialNotAllowed { name });
        }
        path.push_str(key);
        path.push('=');
        let secret = secrets.value(&name)?;
        path.extend(utf8_percent_encode(secret.expose(), ENCODED));
        // No URL is longer; a short one may hold many placeholders.
        if path.len() > usize::from(u16::MAX) {
            return Err(FailureKind::CredentialUnusable { name });
        }
        last = Some(name);
    }
    let Some(name) = last else {
        return Ok(None);
    };
    // What is too long for a URL.
    let unusable = |_| FailureKind::CredentialUnusable { name: name.clone() };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(unusable)?);
    let unusable = |_| FailureKind::CredentialUnusable { name: name.clone() };
    Uri::from_parts(parts).map(Some).map_err(unusable)
}

/// The name within a value that is a placeholder and nothing else.
fn placeholder(value: &str) -> Option<String> {
    if value.len() > MAX_VALUE_BYTES {
        return None;
    }
    let decoded: Vec<u8> = percent_decode_str(value).collect();
    let name = decoded.strip_prefix(b"{{")?.strip_suffix(b"}}")?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (!name.is_empty() && name.iter().all(is_name))
        .then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let secrets = Secrets::default();
        secrets.set_all("token", ["a b&c=%+é~", "old"]);
        secrets
    }

    fn fill(query: &str) -> Result<Option<String>, FailureKind> {
        let uri: Uri = format!("https://example.com/p?{query}").parse().unwrap();
        let filled = filled(&uri, &secrets(), |name| name != "other")?;
        Ok(filled.map(|uri| {
            let uri = uri.to_string();
            let query = uri.strip_prefix("https://example.com/p?");
            query.unwrap().to_owned()
        }))
    }

    #[test]
    fn a_value_that_is_a_placeholder_is_replaced_by_the_encoded_credential() {
        const VALUE: &str = "a%20b%26c%3D%25%2B%C3%A9~";
        for (query, expected) in [
            ("t={{token}}", "t=V"),
            ("t=%7B%7Btoken%7D%7D", "t=V"),
            ("t=%7b{tok%65n%7D}", "t=V"),
            ("a=1&t={{token}}&b=%20&c", "a=1&t=V&b=%20&c"),
            ("t={{token}}&t={{token}}", "t=V&t=V"),
            ("={{token}}", "=V"),
        ] {
            let expected = expected.replace('V', VALUE);
            assert_eq!(fill(query).unwrap().as_deref(), Some(&*expected), "{query}");
        }
    }

    #[test]
    fn what_only_holds_a_placeholder_is_no_placeholder() {
        for query in [
            "",
            "a=b",
            "t=x%7B%7Btoken%7D%7D",
            "t=%7B%7Btoken%7D%7Dx",
            "%7B%7Btoken%7D%7D",
            "%7B%7Btoken%7D%7D=x",
            "t=%7B%7B%7D%7D",
            "t=%257B%257Btoken%257D%257D",
            "t=%7B%7Bto%20ken%7D%7D",
            "t=%7B%7Btok%",
        ] {
            assert_eq!(fill(query).unwrap(), None, "{query}");
        }
        let long = format!("t=%7B%7B{}%7D%7D", "x".repeat(MAX_VALUE_BYTES));
        assert_eq!(fill(&long).unwrap(), None);
    }

    #[test]
    fn what_would_go_out_as_it_is_fails() {
        for query in ["t=x{{token}}", "{{token}}", "{{token}}=x", "{{a=b}}&c"] {
            assert!(
                matches!(fill(query), Err(FailureKind::Denied(_))),
                "{query}"
            );
        }
        for query in ["t={{other}}", "t=%7B%7Bother%7D%7D"] {
            assert!(
                matches!(fill(query), Err(FailureKind::CredentialNotAllowed { name }) if name == "other"),
                "{query}"
            );
        }
        assert!(matches!(
            fill("t={{absent}}"),
            Err(FailureKind::CredentialMissing { name }) if name == "absent"
        ));
        let long = Secrets::default();
        long.set("token", &"x".repeat(70_000));
        let uri: Uri = "https://example.com/p?t={{token}}".parse().unwrap();
        assert!(matches!(
            filled(&uri, &long, |_| true),
            Err(FailureKind::CredentialUnusable { .. })
        ));
    }

    proptest::proptest! {
        #[test]
        fn any_credential_arrives_whole(value in ".{1,40}") {
            let secrets = Secrets::default();
            secrets.set("t", &value);
            let uri: Uri = "http://h/?a=1&t={{t}}".parse().unwrap();
            let filled = filled(&uri, &secrets, |_| true).unwrap().unwrap();
            let sent = filled.query().unwrap().strip_prefix("a=1&t=").unwrap();
            let decoded: Vec<u8> = percent_decode_str(sent).collect();
            proptest::prop_assert_eq!(decoded, value.as_bytes());
        }
    }
}
