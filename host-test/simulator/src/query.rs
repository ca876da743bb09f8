//! Queries of URLs: what stands in them, and how it is written.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The value of a parameter in a query; empty when it is not there.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> String {
    let mut pairs = query.unwrap_or_default().split('&');
    let value = pairs.find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    unescaped(value.map_or("", |(_, value)| value))
}

/// Undoes the percent-encoding; as in a form, `+` is a space.
fn unescaped(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Percent-encodes all but what never needs it.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The names of the parameters, as they are written.
pub(crate) fn names(query: Option<&str>) -> impl Iterator<Item = &str> {
    let pairs = query.unwrap_or_default().split('&');
    let names = pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_and_unescaped() {
        for (query, value) in [
            ("a=1&p=A%20b%2B%2F%3D%26%C3%A9&filekey=00", "A b+/=&é"),
            ("p=a+b", "a b"),
            ("p=%", "%"),
            ("p=%4", "%4"),
            ("p=%zz%é", "%zz%é"),
            ("p=", ""),
            ("p", ""),
            ("pp=1", ""),
            ("", ""),
        ] {
            assert_eq!(parameter(Some(query), "p"), value, "{query}");
        }
        assert_eq!(unescaped(&escaped("A b+/=&é~")), "A b+/=&é~");
    }

    #[test]
    fn names_are_listed_in_order() {
        let listed = |query| names(query).collect::<Vec<_>>();
        assert_eq!(listed(Some("a=1&b&&c==&a=%3D")), ["a", "b", "c", "a"]);
        assert_eq!(listed(None), Vec::<&str>::new());
    }
}
