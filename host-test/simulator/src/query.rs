//! Queries of URLs: what stands in them, and how it is written.

/// The value of a parameter in a query; empty when it is not there.
pub(super) fn parameter(query: Option<&str>, name: &str) -> String {
    let mut pairs = query.unwrap_or_default().split('&');
    let value = pairs.find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    unescaped(value.map_or("", |(_, value)| value))
}

/// Undoes the percent-encoding; as in a form, `+` is a space.
fn unescaped(text: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |high, low| u8::try_from(digit(high)? * 16 + digit(low)?).ok();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, after @ ..] => pair(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let plain = if *first == b'+' { b' ' } else { *first };
        let (byte, after) = escape.unwrap_or((plain, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes all but what never needs it.
pub(super) fn escaped(text: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// The names of the parameters, as they are written.
pub(super) fn names(query: Option<&str>) -> impl Iterator<Item = &str> {
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
