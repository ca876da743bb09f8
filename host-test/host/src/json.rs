//! JSON as agents, model servers and platforms really write it.
//!
//! What is valid is read as it is. What is not is made harmless and read once more: a byte order
//! mark, NUL and the escape sequences of terminals around it; raw control characters, halves of
//! surrogate pairs, escapes that do not exist and bytes that are no UTF-8 inside of strings; words
//! and numbers that JSON does not have. No text is guessed: what can't be known is U+FFFD or `null`.

use std::borrow::Cow;

use serde_json::Value;

/// Reads the first value; also gives what follows it.
///
/// # Errors
/// What is wrong, without any of the content.
#[cfg(feature = "agents")]
pub fn first(bytes: &[u8]) -> Result<(Value, &[u8]), &'static str> {
    let bytes = skip_noise(bytes);
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    if let Some(Ok(value)) = values.next() {
        let rest = bytes.get(values.byte_offset()..).unwrap_or_default();
        return Ok((value, rest));
    }
    let (mended, rest) = mended(bytes)?;
    let value = serde_json::from_str(&mended);
    value
        .map(|value| (value, rest))
        .map_err(|_| "it is no JSON")
}

/// The text of the first object or array without what is wrong in it, and what follows it. It need not
/// be valid still. The time is linear in the length.
///
/// # Errors
/// When there is none, and when it breaks off.
pub fn mended(bytes: &[u8]) -> Result<(String, &[u8]), &'static str> {
    let bytes = skip_noise(bytes);
    let mut extent = Extent::default();
    let Some(end) = extent.feed(bytes) else {
        return Err(match extent.is_open() {
            true => "it is JSON that breaks off",
            false => "it is no JSON",
        });
    };
    let (value, rest) = bytes.split_at(end);
    Ok((repaired(&String::from_utf8_lossy(value)), rest))
}

/// Whether an object or an array may begin here, after what is skipped.
#[cfg(feature = "agents")]
pub fn begins_object(bytes: &[u8]) -> bool {
    let mut bytes = skip_noise(bytes)
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace());
    bytes.next() == Some(&b'{') && matches!(bytes.next(), None | Some(b'"' | b'}'))
}

/// Leaves out what stands before a value and is none of it: white space, control characters, a byte
/// order mark, and what a terminal is told.
pub fn skip_noise(mut bytes: &[u8]) -> &[u8] {
    loop {
        bytes = match bytes {
            [0xef, 0xbb, 0xbf, rest @ ..] => rest,
            [0x1b, rest @ ..] => after_escape(rest),
            [byte, rest @ ..] if *byte <= b' ' || *byte == 0x7f => rest,
            _ => return bytes,
        }
    }
}

/// What follows an escape sequence of a terminal (ECMA-48), without its first byte.
fn after_escape(bytes: &[u8]) -> &[u8] {
    let after = |end: Option<usize>, length: usize| match end {
        Some(end) => bytes.get(end + length..).unwrap_or_default(),
        None => &[],
    };
    match bytes {
        // CSI: parameters, and a final byte.
        [b'[', rest @ ..] => {
            let last = rest.iter().position(|byte| (0x40..=0x7e).contains(byte));
            after(last.map(|last| last + 1), 1)
        }
        // OSC, DCS, SOS, PM and APC: up to BEL or ST.
        [b']' | b'P' | b'X' | b'^' | b'_', ..] => {
            // The first of both: a search for the second alone would look at all for each sequence.
            let mut places = (0..).zip(bytes);
            match places.find(|(_, byte)| matches!(byte, 0x07 | 0x1b)) {
                Some((end, 0x07)) => after(Some(end), 1),
                Some((end, _)) if bytes.get(end + 1) == Some(&b'\\') => after(Some(end), 2),
                // Another sequence ends it.
                Some((end, _)) => after(Some(end), 0),
                None => &[],
            }
        }
        [_, rest @ ..] => rest,
        [] => bytes,
    }
}

/// Finds the end of an object or an array that comes in pieces.
#[derive(Debug, Default)]
pub struct Extent {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The last byte was ESC: a bracket behind it is for a terminal.
    is_after_esc: bool,
}

impl Extent {
    /// Whether more is to come.
    pub fn is_open(&self) -> bool {
        self.depth > 0 || self.in_string
    }

    /// Takes the next piece; tells where in it the value ends.
    pub fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        for (place, byte) in piece.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            if std::mem::replace(&mut self.is_after_esc, *byte == 0x1b) {
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(place + 1);
                    }
                }
                _ if self.depth == 0 => return None,
                _ => {}
            }
        }
        None
    }
}

/// The same value in valid JSON, as far as that can be.
fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = match char {
            '"' => string(rest.get(1..).unwrap_or_default(), &mut repaired),
            '{' | '}' | '[' | ']' | ':' | ',' => {
                if matches!(char, '}' | ']') {
                    without_last_comma(&mut repaired);
                }
                repaired.push(char);
                rest.get(1..).unwrap_or_default()
            }
            '\u{1b}' => {
                let after = after_escape(rest.as_bytes().get(1..).unwrap_or_default());
                let from = rest.len() - after.len();
                // A sequence that is cut may end inside of a character.
                rest.get(from..).unwrap_or_default()
            }
            ' ' | '\n' | '\r' | '\t' => {
                repaired.push(char);
                rest.get(1..).unwrap_or_default()
            }
            char if is_of_word(char) => {
                let end = rest.find(|char| !is_of_word(char)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                repaired.push_str(&literal(word));
                after
            }
            other => rest.get(other.len_utf8()..).unwrap_or_default(),
        };
    }
    repaired
}

fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.' | '_')
}

/// A comma before a closing bracket.
fn without_last_comma(json: &mut String) {
    let kept = json.trim_end();
    if let Some(kept) = kept.strip_suffix(',') {
        json.truncate(kept.len());
    }
}

/// A number or one of JSON's three words; what JSON does not have (`NaN`, `1e999`) is `null`.
fn literal(word: &str) -> Cow<'_, str> {
    if serde_json::from_str::<Value>(word).is_ok() {
        return Cow::Borrowed(word);
    }
    Cow::Borrowed(match word {
        "True" => "true",
        "False" => "false",
        _ => "null",
    })
}

/// Adds the string whose opening quote was read, and returns what follows it.
fn string<'a>(mut rest: &'a str, json: &mut String) -> &'a str {
    json.push('"');
    loop {
        let end = rest.find(|char: char| matches!(char, '"' | '\\') || char < ' ');
        let Some(end) = end else {
            json.push_str(rest);
            return "";
        };
        let (plain, from) = rest.split_at(end);
        json.push_str(plain);
        let mut chars = from.chars();
        rest = match chars.next() {
            Some('"') => {
                json.push('"');
                return chars.as_str();
            }
            Some('\\') => escape(chars.as_str(), json),
            Some(control) => {
                json.push_str(&format!("\\u{:04x}", u32::from(control)));
                chars.as_str()
            }
            None => "",
        };
    }
}

/// Adds the escape whose backslash was read, and returns what follows it.
fn escape<'a>(rest: &'a str, json: &mut String) -> &'a str {
    let mut chars = rest.chars();
    let Some(kind) = chars.next() else {
        return "";
    };
    let after = chars.as_str();
    match kind {
        '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {
            json.push('\\');
            json.push(kind);
            after
        }
        'u' => unicode(after, json),
        'x' => match digits::<2>(after) {
            Some((code, after)) => {
                json.push_str(&format!("\\u{code:04x}"));
                after
            }
            None => literally(rest, json),
        },
        '\'' => {
            json.push('\'');
            after
        }
        _ => literally(rest, json),
    }
}

/// An escape that does not exist is a backslash that was meant.
fn literally<'a>(rest: &'a str, json: &mut String) -> &'a str {
    json.push_str("\\\\");
    rest
}

/// Adds a UTF-16 code unit, or two that are a pair; half of a pair is U+FFFD.
fn unicode<'a>(rest: &'a str, json: &mut String) -> &'a str {
    let Some((unit, after)) = digits::<4>(rest) else {
        // Cut inside of the digits.
        json.push('\u{fffd}');
        let digits = rest
            .bytes()
            .take(3)
            .take_while(u8::is_ascii_hexdigit)
            .count();
        return rest.get(digits..).unwrap_or_default();
    };
    let low = match unit {
        0xd800..=0xdbff => after.strip_prefix("\\u").and_then(digits::<4>),
        _ => None,
    };
    let units = match low {
        Some((low, _)) if (0xdc00..=0xdfff).contains(&low) => vec![unit, low],
        _ => vec![unit],
    };
    let after = match (units.len(), low) {
        (2, Some((_, after))) => after,
        _ => after,
    };
    for char in char::decode_utf16(units) {
        match char {
            Ok(char @ ('"' | '\\' | '\u{0}'..='\u{1f}')) => {
                json.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => json.push(char.unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
    after
}

/// `N` hexadecimal digits, and what follows them.
fn digits<const N: usize>(text: &str) -> Option<(u16, &str)> {
    let digits = text.get(..N)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u16::from_str_radix(digits, 16).ok()?, text.get(N..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(json: impl AsRef<[u8]>) -> String {
        let (value, _) = first(json.as_ref()).unwrap();
        value["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced_and_the_rest_is_kept() {
        for (json, expected) in [
            (r#"{"text": "ok \ud83d"}"#, "ok \u{fffd}"),
            (r#"{"text": "\ud83d ok"}"#, "\u{fffd} ok"),
            (r#"{"text": "\ude00 ok"}"#, "\u{fffd} ok"),
            (r#"{"text": "\ude00\ud83d"}"#, "\u{fffd}\u{fffd}"),
            (r#"{"text": "\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"text": "\ud83d\u0041"}"#, "\u{fffd}A"),
            (r#"{"text": "\ud83d\n\"\u0022\u005c"}"#, "\u{fffd}\n\"\"\\"),
            (r#"{"text": "\ud83d\ude00 \ud83"}"#, "😀 \u{fffd}"),
            (r#"{"text": "cut \u"}"#, "cut \u{fffd}"),
            (r#"{"text": "\uZZZZ \ud8 字"}"#, "\u{fffd}ZZZZ \u{fffd} 字"),
            (r#"{"text": "a", "other\udc00": 1}"#, "a"),
        ] {
            assert_eq!(text(json), expected, "{json}");
        }
    }

    #[test]
    fn control_characters_and_wrong_escapes_are_made_harmless() {
        for (json, expected) in [
            ("{\"text\": \"a\nb\"}", "a\nb"),
            ("{\"text\": \"a\r\n\tb\"}", "a\r\n\tb"),
            (
                "{\"text\": \"\u{1b}[31mred\u{1b}[0m\"}",
                "\u{1b}[31mred\u{1b}[0m",
            ),
            ("{\"text\": \"a\u{0}b\u{8}\"}", "a\u{0}b\u{8}"),
            (r#"{"text": "\x1b[1m"}"#, "\u{1b}[1m"),
            (r#"{"text": "C:\Users\x"}"#, "C:\\Users\\x"),
            (r#"{"text": "it\'s"}"#, "it's"),
            (r#"{"text": "\d+\.\w"}"#, "\\d+\\.\\w"),
        ] {
            assert_eq!(text(json), expected, "{json:?}");
        }
        assert_eq!(
            text(b"{\"text\": \"caf\xe9 \xe5\xad\"}"),
            "caf\u{fffd} \u{fffd}"
        );
        assert_eq!(text(b"{\"text\": \"gb \xc4\xe3\"}"), "gb \u{fffd}\u{fffd}");
    }

    #[test]
    fn what_stands_before_and_behind_is_left_out() {
        for json in [
            "\u{feff}{\"text\": \"a\"}",
            "\u{0}\u{0}{\"text\": \"a\"}\u{0}",
            "\u{1b}]0;title\u{7}{\"text\": \"a\"}",
            "\u{1b}]8;;http://x\u{1b}\\{\"text\": \"a\"}",
            "\u{1b}[?25l\u{1b}[2K\r{\"text\": \"a\"}\u{1b}[0m",
            "\u{1b}P+q\u{1b}\\ \u{1b}c\u{feff}{\"text\": \"a\"}",
            "{\"text\": \"a\"}\ndata: [DONE]",
            "{\"text\": \"a\",\u{0} \"b\": NaN}",
            "{\"text\": \"a\", \u{1b}[0m\"b\": -Infinity, \"c\": 1e999, \"d\": 007, \"e\": None}",
            "{\"text\": \"a\", \"b\": [1, 2,], \"c\": True,}",
        ] {
            assert_eq!(text(json), "a", "{json:?}");
        }
        let (value, rest) = first(b"{\"a\": NaN, \"b\": 1e999, \"c\": False,} tail").unwrap();
        assert_eq!(value, json!({"a": null, "b": null, "c": false}));
        assert_eq!(rest, b" tail");
    }

    #[test]
    fn what_is_no_json_is_none() {
        for json in [
            "",
            " ",
            "hello",
            "<html>",
            "{\"text\": \"a",
            "{\"text\" \"a\"}",
            "\u{1b}",
            "\u{1b}]0;",
            "{'text': 'a'}",
            "[",
            "data: {}",
            "\u{feff}",
        ] {
            assert!(first(json.as_bytes()).is_err(), "{json:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(first(deep.as_bytes()).is_err());
        assert!(first(format!("{deep}{}", "]".repeat(100_000)).as_bytes()).is_err());
    }

    #[test]
    fn objects_are_told_from_words_in_brackets() {
        for (line, expected) in [
            ("{\"a\": 1}", true),
            ("  {", true),
            ("\u{1b}[0m{ }", true),
            ("{starting up", false),
            ("{{template}}", false),
            ("[1]", false),
            ("", false),
        ] {
            assert_eq!(begins_object(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn the_end_of_what_comes_in_pieces_is_found() {
        let json = br#"{"a": "}\"]", "b": [{}, "\\"]} rest"#;
        for cut in 0..json.len() {
            let (head, tail) = json.split_at(cut);
            let mut extent = Extent::default();
            let end = match extent.feed(head) {
                Some(end) => end,
                None => cut + extent.feed(tail).unwrap(),
            };
            assert_eq!(end, json.len() - " rest".len());
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = first(&bytes);
            let _ = begins_object(&bytes);
        }

        #[test]
        fn odd_escapes_never_panic(text in "[\\\\u0-9a-fx\"{}:,\u{1b}\\]字]{0,40}") {
            let _ = first(format!("{{\"text\": \"{text}\"}}").as_bytes());
            let _ = first(format!("{{\"text\": {text}}}").as_bytes());
        }

        #[test]
        fn valid_json_is_read_as_it_is(text in ".{0,80}") {
            let value = json!({"text": text});
            let json = value.to_string();
            prop_assert_eq!(first(json.as_bytes()), Ok((value.clone(), &b""[..])));
            // The repair changes nothing that is right.
            let repaired: Value = serde_json::from_str(&repaired(&json)).unwrap();
            prop_assert_eq!(repaired, value);
        }
    }
}
