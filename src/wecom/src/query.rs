//! Queries of URLs: the parameters of a callback, and text that goes into a URL.

use std::borrow::Cow;

/// The value of the one parameter with this name, percent-decoded. None when it is missing, there
/// twice, or no UTF-8. `+` stays: the values of callbacks have no spaces, and a base64 whose `+` was
/// not encoded is read all the same.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(key, value)| (key == name).then_some(value));
    let value = values.next()?;
    match values.next() {
        None => decoded(value),
        Some(_) => None,
    }
}

/// Undoes the percent-encoding; what is no encoding stays.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, after @ ..] => digit(*high)
                .zip(digit(*low))
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
                .map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_parameter_is_found_and_decoded() {
        for (query, expect) in [
            ("a=1&p=P9nA%2B%2f%3d%3D&b=2", Some("P9nA+/==")),
            ("p=a+b=c", Some("a+b=c")),
            ("p=%", Some("%")),
            ("p=%4", Some("%4")),
            ("p=%zz", Some("%zz")),
            ("p=", Some("")),
            ("p=%ff", None),
            ("p", None),
            ("pp=1&P=2", None),
            ("p=1&p=1", None),
            ("", None),
        ] {
            assert_eq!(parameter(query, "p").as_deref(), expect, "{query}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(text: String) {
            let query = format!("a=b&p={}", encoded(&text));
            let read = parameter(&query, "p");
            prop_assert_eq!(read.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn any_query_is_read(query: String) {
            let _ = parameter(&query, "p");
        }
    }
}
