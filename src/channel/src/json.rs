//! JSON as servers really send it, made the JSON that they meant.
//!
//! Read strictly first, and [`repair`] what that refuses. Promises: what `serde_json` reads means the
//! same afterwards; the result is always JSON; time and memory are linear in the text; nothing here is
//! recursive. A text that was cut off is never taken for a whole one.

/// Containers within each other; `serde_json` reads 127. What is deeper becomes `null`.
const MAX_DEPTH: usize = 100;
/// Longest name of a member that is looked for behind a missing comma.
const MAX_NAME: usize = 64;

/// What a text came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// An object or an array.
    pub json: String,
    /// Whether the text had an end. Otherwise this is what was complete before it broke off: members
    /// of the outermost object, and elements of arrays that are such members.
    pub is_whole: bool,
}

/// Makes JSON of what is nearly JSON; none for a text that begins with neither `{` nor `[`.
///
/// A byte order mark, NULs and the like around it, and whatever follows it, are left out. Control
/// characters in strings become escapes, escapes that JSON does not have become what they say, half of
/// a surrogate pair becomes U+FFFD, and a quote within a text stays a quote. `NaN`, `Infinity` and
/// `undefined` become `null`, other bare words and odd numbers strings. Missing values, commas and
/// brackets are put in where that is all that is missing.
pub fn repair(text: &str) -> Option<Repaired> {
    let text =
        text.trim_start_matches(|char| is_blank(char) || char == char::REPLACEMENT_CHARACTER);
    text.starts_with(['{', '[']).then(|| {
        Repair {
            text,
            at: 0,
            out: String::with_capacity(text.len() + text.len() / 16),
            open: Vec::new(),
            arrays: 0,
            muted: None,
            complete: (0, 0),
        }
        .run()
    })
}

/// Nothing that a value could begin with.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || char.is_control() || matches!(char, '\u{feff}' | '\u{200b}')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
}

/// A container that is not closed.
struct Open {
    kind: Kind,
    is_empty: bool,
    /// A name was written whose value is to come.
    has_name: bool,
}

struct Repair<'a> {
    text: &'a str,
    at: usize,
    out: String,
    open: Vec<Open>,
    /// How many of them are arrays.
    arrays: usize,
    /// While more containers than this are open, nothing is written.
    muted: Option<usize>,
    /// How much of `out` is complete, and how many containers are open there.
    complete: (usize, usize),
}

impl<'a> Repair<'a> {
    fn run(mut self) -> Repaired {
        loop {
            self.skip_blank();
            let Some(next) = self.rest().chars().next() else {
                return self.cut_off();
            };
            match next {
                '{' => self.open(Kind::Object),
                '[' => self.open(Kind::Array),
                '}' | ']' => {
                    self.at += 1;
                    let kind = if next == '}' {
                        Kind::Object
                    } else {
                        Kind::Array
                    };
                    self.close(kind);
                    if self.open.is_empty() {
                        return self.ended();
                    }
                }
                ',' => {
                    self.at += 1;
                    self.put_missing_value();
                    self.completed();
                }
                // The colon of a name is taken with it.
                ':' => self.at += 1,
                _ if self.wants_name() => self.name(next),
                '"' | '\'' => {
                    self.separate();
                    if self.string(next) {
                        self.valued();
                    }
                }
                _ => self.bare_value(),
            }
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_blank).len();
    }

    fn put(&mut self, text: &str) {
        if self.muted.is_none() {
            self.out.push_str(text);
        }
    }

    /// Writes the text from `start` to here as it is.
    fn put_from(&mut self, start: usize) {
        if self.muted.is_none() {
            self.out
                .push_str(self.text.get(start..self.at).unwrap_or_default());
        }
    }

    fn wants_name(&self) -> bool {
        self.open
            .last()
            .is_some_and(|top| top.kind == Kind::Object && !top.has_name)
    }

    /// Writes the comma before a name, or before an element.
    fn separate(&mut self) {
        let Some(top) = self.open.last_mut() else {
            return;
        };
        if top.has_name {
            return;
        }
        if !std::mem::replace(&mut top.is_empty, false) {
            self.put(",");
        }
    }

    /// A value was written.
    fn valued(&mut self) {
        if let Some(top) = self.open.last_mut() {
            top.has_name = false;
        }
        self.completed();
    }

    fn completed(&mut self) {
        if self.open.len() <= 2 && self.muted.is_none() && !self.open.is_empty() {
            self.complete = (self.out.len(), self.open.len());
        }
    }

    /// A name without a value has none.
    fn put_missing_value(&mut self) {
        if let Some(top) = self.open.last_mut()
            && std::mem::replace(&mut top.has_name, false)
        {
            self.put("null");
        }
    }

    fn open(&mut self, kind: Kind) {
        self.at += 1;
        let mut is_stray = false;
        if self.wants_name() {
            // An element of an array that was not closed before the next one; or it is nothing.
            let may_be_element = kind == Kind::Object && self.muted.is_none() && self.arrays > 0;
            let array = match may_be_element {
                true => self.open.iter().rposition(|open| open.kind == Kind::Array),
                false => None,
            };
            match array {
                Some(array) => self.close_down_to(array + 1),
                None => is_stray = true,
            }
        }
        if !is_stray {
            self.separate();
        }
        let is_too_deep = self.open.len() >= MAX_DEPTH;
        if (is_stray || is_too_deep) && self.muted.is_none() {
            if !is_stray {
                self.put("null");
            }
            self.muted = Some(self.open.len());
        }
        self.put(if kind == Kind::Object { "{" } else { "[" });
        self.arrays += usize::from(kind == Kind::Array);
        self.open.push(Open {
            kind,
            is_empty: true,
            has_name: false,
        });
    }

    fn close(&mut self, kind: Kind) {
        let is_missing_value = self.open.last().is_some_and(|top| top.has_name);
        if is_missing_value && kind == Kind::Array {
            // It closes nothing where a value has to be.
            return;
        }
        let is_open = match kind {
            Kind::Object => self.arrays < self.open.len(),
            Kind::Array => self.arrays > 0,
        };
        // Looked for only where it is, so that each container is passed once.
        if is_open && let Some(place) = self.open.iter().rposition(|open| open.kind == kind) {
            self.close_down_to(place);
        }
    }

    /// Closes containers until so many are open.
    fn close_down_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            self.put_missing_value();
            let Some(top) = self.open.pop() else {
                return;
            };
            self.arrays -= usize::from(top.kind == Kind::Array);
            self.put(if top.kind == Kind::Object { "}" } else { "]" });
            if self.muted == Some(self.open.len()) {
                self.muted = None;
            }
            self.valued();
        }
    }

    /// The name of a member with its colon; what has none is nothing.
    fn name(&mut self, next: char) {
        let before = self.out.len();
        let was_empty = self.open.last().is_none_or(|top| top.is_empty);
        self.separate();
        let is_closed = match next {
            '"' | '\'' => self.string(next),
            _ => {
                let word = quoted(self.word());
                self.put(&word);
                true
            }
        };
        self.skip_blank();
        if is_closed && self.rest().starts_with(':') {
            self.at += 1;
            self.put(":");
            if let Some(top) = self.open.last_mut() {
                top.has_name = true;
            }
            return;
        }
        if self.muted.is_none() {
            self.out.truncate(before);
        }
        if let Some(top) = self.open.last_mut() {
            top.is_empty = was_empty;
        }
    }

    /// A value without quotes. At the end of the text it may have been cut off.
    fn bare_value(&mut self) {
        let word = self.word();
        let value = match word {
            "true" | "True" | "TRUE" => "true".to_owned(),
            "false" | "False" | "FALSE" => "false".to_owned(),
            "null" | "None" | "nil" | "NULL" | "undefined" => "null".to_owned(),
            _ if is_no_number(word) => "null".to_owned(),
            _ if serde_json::from_str::<serde_json::Number>(word).is_ok() => word.to_owned(),
            _ => quoted(word),
        };
        if self.rest().is_empty() {
            return;
        }
        self.separate();
        self.put(&value);
        self.valued();
    }

    /// Takes the characters up to the next one that has a meaning of its own.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let is_end = |char: char| is_blank(char) || ",:{}[]\"".contains(char);
        // One at least, so that everything comes to its end.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let more = rest.get(first..).unwrap_or_default();
        let length = first + more.find(is_end).unwrap_or(more.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// A text in quotes of this kind; false when it has no end.
    fn string(&mut self, quote: char) -> bool {
        let is_name = self.wants_name();
        self.at += 1;
        self.put("\"");
        loop {
            let start = self.at;
            let rest = self.rest();
            let is_special =
                |char: char| char < ' ' || char == quote || char == '"' || char == '\\';
            let Some(length) = rest.find(is_special) else {
                self.at = self.text.len();
                return false;
            };
            self.at += length;
            self.put_from(start);
            match self.rest().chars().next() {
                Some('\\') => self.escape(),
                Some(end) if end == quote && (is_name || self.is_end_of_value()) => {
                    self.at += 1;
                    self.put("\"");
                    return true;
                }
                Some(char) => {
                    self.at += 1;
                    self.put(&escaped(char));
                }
                None => return false,
            }
        }
    }

    /// Whether the quote here ends a value, by what follows it. Otherwise it belongs to the text, whose
    /// writer forgot to escape it.
    fn is_end_of_value(&self) -> bool {
        let behind = |text: &'a str| {
            text.get(1..)
                .unwrap_or_default()
                .trim_start_matches(is_blank)
        };
        let rest = behind(self.rest());
        let in_object = self.open.last().is_some_and(|top| top.kind == Kind::Object);
        match rest.chars().next() {
            None | Some('}' | ']') => true,
            Some(',') if in_object && self.rest().starts_with('"') => {
                let next = behind(rest).chars().next();
                matches!(next, None | Some('"' | '\'' | '}' | ','))
            }
            Some(',') => true,
            // A comma may be missing before the next name.
            Some('"') => in_object && is_name_with_colon(rest.get(1..).unwrap_or_default()),
            Some(_) => false,
        }
    }

    fn escape(&mut self) {
        let start = self.at;
        let rest = self.rest();
        let unit = |rest: &str| {
            let digits = rest.strip_prefix("\\u")?.get(..4)?;
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
        };
        let is_low = |unit: &u16| matches!(unit, 0xdc00..=0xdfff);
        match rest.chars().nth(1) {
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                self.at += 2;
                self.put_from(start);
            }
            Some('\'') => {
                self.at += 2;
                self.put("'");
            }
            Some('x') if hex_byte(rest).is_some() => self.hex_escapes(),
            Some('u') => match unit(rest) {
                Some(0xd800..=0xdbff)
                    if rest.get(6..).and_then(unit).is_some_and(|low| is_low(&low)) =>
                {
                    self.at += 12;
                    self.put_from(start);
                }
                Some(0xd800..=0xdfff) => {
                    self.at += 6;
                    self.put("\\ufffd");
                }
                Some(_) => {
                    self.at += 6;
                    self.put_from(start);
                }
                None => self.backslash(),
            },
            _ => self.backslash(),
        }
    }

    /// A backslash that escapes nothing is one.
    fn backslash(&mut self) {
        self.at += 1;
        self.put("\\\\");
    }

    /// `\x41` and its like in a row: the bytes of a text.
    fn hex_escapes(&mut self) {
        let mut bytes = Vec::new();
        while let Some(byte) = hex_byte(self.rest()) {
            bytes.push(byte);
            self.at += 4;
        }
        for char in String::from_utf8_lossy(&bytes).chars() {
            self.put(&escaped(char));
        }
    }

    /// The text ended in its middle.
    fn cut_off(mut self) -> Repaired {
        let (length, depth) = self.complete;
        self.out.truncate(length);
        if depth == 0 {
            // Nothing but the beginning.
            let kind = self.open.first().map(|open| open.kind);
            self.out = if kind == Some(Kind::Array) { "[" } else { "{" }.to_owned();
        }
        let open = self.open.iter().take(depth.max(1)).rev();
        let ends: String = open
            .map(|open| if open.kind == Kind::Object { '}' } else { ']' })
            .collect();
        self.out.push_str(&ends);
        Repaired {
            json: self.out,
            is_whole: false,
        }
    }

    /// The outermost container is closed. Where more members follow, a bracket too many closed it.
    fn ended(self) -> Repaired {
        let rest = self.rest().trim_start_matches(is_blank);
        let goes_on = rest.starts_with([',', ']', '}', ':']) && rest.contains('"');
        Repaired {
            json: self.out,
            is_whole: !goes_on,
        }
    }
}

fn is_no_number(word: &str) -> bool {
    let word = word.trim_start_matches(['-', '+']).to_ascii_lowercase();
    matches!(word.as_str(), "nan" | "infinity" | "inf")
}

/// A JSON string of a text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A character as it stands within a JSON string.
fn escaped(char: char) -> String {
    match char {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\0'..='\x1f' => format!("\\u{:04x}", u32::from(char)),
        char => char.to_string(),
    }
}

/// The byte of `\x41`.
fn hex_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("\\x")?.get(..2)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// Whether a text begins with the rest of a short name, its quote and a colon.
fn is_name_with_colon(text: &str) -> bool {
    let mut name = text.char_indices().take(MAX_NAME);
    let end = name.find(|(_, char)| !char.is_alphanumeric() && !"_-.$".contains(*char));
    let Some((end, '"')) = end else {
        return false;
    };
    let behind = text.get(end + 1..).unwrap_or_default();
    behind.trim_start_matches(is_blank).starts_with(':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn whole(text: &str) -> Value {
        let repaired = repair(text).unwrap_or_else(|| panic!("{text}"));
        assert!(repaired.is_whole, "{text}: {}", repaired.json);
        parsed(&repaired)
    }

    fn parsed(repaired: &Repaired) -> Value {
        serde_json::from_str(&repaired.json).unwrap_or_else(|why| panic!("{why}: {repaired:?}"))
    }

    #[test]
    fn what_servers_send_is_read_as_what_they_meant() {
        for (text, expect) in [
            ("{\"a\":\"x\u{8}y\"}", json!({"a": "x\u{8}y"})),
            (
                "{\"a\":\"\u{1b}[31mred\u{1b}[0m\"}",
                json!({"a": "\u{1b}[31mred\u{1b}[0m"}),
            ),
            (
                "{\"a\":\"one\ntwo\r\n\tthree\"}",
                json!({"a": "one\ntwo\r\n\tthree"}),
            ),
            (
                "{\"a\":\"\0\u{1}\u{1f}\u{7f}\"}",
                json!({"a": "\0\u{1}\u{1f}\u{7f}"}),
            ),
            ("\u{feff}{\"a\":1}", json!({"a": 1})),
            ("\0\0{\"a\":1}\0\0", json!({"a": 1})),
            ("\u{fffd}\u{fffd}{\"a\":1}", json!({"a": 1})),
            ("{\0\"a\"\0:\u{b}1\0}", json!({"a": 1})),
            (r#"{"a":"\x41\x62"}"#, json!({"a": "Ab"})),
            (r#"{"a":"\xe4\xbd\xa0\x22\x0a"}"#, json!({"a": "你\"\n"})),
            (r#"{"a":"\xff\xg1\x4"}"#, json!({"a": "\u{fffd}\\xg1\\x4"})),
            (
                r#"{"a":"C:\dir\users \0 \' \e"}"#,
                json!({"a": "C:\\dir\\users \\0 ' \\e"}),
            ),
            (
                r#"{"a":"\ud83d","b":"\ude00x","c":"\ud83d\ude00"}"#,
                json!({"a": "\u{fffd}", "b": "\u{fffd}x", "c": "😀"}),
            ),
            (
                r#"{"a":"\ud83","b":"\ud83d\ud83d\ude00","c":"\u+123"}"#,
                json!({"a": "\\ud83", "b": "\u{fffd}😀", "c": "\\u+123"}),
            ),
            (
                "{\"a\":NaN,\"b\":-Infinity,\"c\":undefined,\"d\":None,\"e\":True}",
                json!({"a": null, "b": null, "c": null, "d": null, "e": true}),
            ),
            (
                "{\"a\":01,\"b\":+1,\"c\":1.,\"d\":.5,\"e\":0x1F,\"f\":1e999}",
                json!({"a": "01", "b": "+1", "c": "1.", "d": ".5", "e": "0x1F", "f": "1e999"}),
            ),
            ("{\"a\":[1,2,],}", json!({"a": [1, 2]})),
            ("{\"a\":[,1 2],,\"b\":}", json!({"a": [1, 2], "b": null})),
            (
                "{\"a\":1 \"b\":\"x\" \"c\":2}",
                json!({"a": 1, "b": "x", "c": 2}),
            ),
            (
                "{a:'it\\'s \"x\"',b_1:2}",
                json!({"a": "it's \"x\"", "b_1": 2}),
            ),
            (
                r#"{"a":"he said "yes", and "no" to it","b":1}"#,
                json!({"a": "he said \"yes\", and \"no\" to it", "b": 1}),
            ),
            ("{\"a\":1}garbage", json!({"a": 1})),
            ("{\"a\":1}{\"a\":2}", json!({"a": 1})),
            ("{\"a\":1}}]", json!({"a": 1})),
            ("{\"a\":1},", json!({"a": 1})),
            ("{\"a\":[1,{\"b\":2}}", json!({"a": [1, {"b": 2}]})),
            (
                "{\"a\":[{\"b\":]},{\"b\":2}]}",
                json!({"a": [{"b": null}, {"b": 2}]}),
            ),
            (
                "{\"a\":[{\"b\":1,{\"b\":2}],\"c\":3}",
                json!({"a": [{"b": 1}, {"b": 2}], "c": 3}),
            ),
            (
                "{\"a\":[{\"b\":{\"x\":1},{\"b\":2}],\"c\":3}",
                json!({"a": [{"b": {"x": 1}}, {"b": 2}], "c": 3}),
            ),
            ("{\"a\" 5 ,\"b\":1}", json!({"b": 1})),
            ("{\"a\":1,[1,{\"x\":2}],\"b\":2}", json!({"a": 1, "b": 2})),
            ("{\"a\":1,{\"x\":\"}\"},\"b\":2}", json!({"a": 1, "b": 2})),
            ("[1,{\"a\":\"\n\"}]", json!([1, {"a": "\n"}])),
            ("{}", json!({})),
        ] {
            assert_eq!(whole(text), expect, "{text}");
        }
        for text in [
            "",
            " ",
            "\u{feff}",
            "<html>{}</html>",
            "x",
            "\"{}\"",
            "1",
            "null",
        ] {
            assert_eq!(repair(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_was_cut_off_is_not_whole_wherever_that_was() {
        let text = r#"{"ret":0,"msgs":[{"id":12,"t":"a\\\"b"},{"id":13,"l":[1,{"x":"y"}]}],"buf":"cursor","n":3}"#;
        assert!(repair(text).unwrap().is_whole);
        for end in 1..text.len() {
            let cut = text.get(..end).unwrap();
            let repaired = repair(cut).unwrap();
            assert!(!repaired.is_whole, "{cut}");
            let value = parsed(&repaired);
            for message in value["msgs"].as_array().into_iter().flatten() {
                let whole = [
                    json!({"id": 12, "t": "a\\\"b"}),
                    json!({"id": 13, "l": [1, {"x": "y"}]}),
                ];
                assert!(whole.contains(message), "{message}");
            }
            assert!(
                value["buf"].is_null() || value["buf"] == "cursor",
                "{value}"
            );
            assert!(value["n"].is_null(), "{value}");
        }
    }

    #[test]
    fn a_bracket_too_many_in_the_middle_is_no_end() {
        let repaired = repair(r#"{"a":[{"b":1]},{"b":2}],"c":3}"#).unwrap();
        assert!(!repaired.is_whole, "{repaired:?}");
        assert_eq!(parsed(&repaired)["a"], json!([{"b": 1}]));
    }

    #[test]
    fn what_is_too_deep_is_null_and_costs_no_stack() {
        let deep =
            |open: &str, close: &str, depth| [open.repeat(depth), close.repeat(depth)].concat();
        let text = format!("{{\"a\":{},\"b\":2}}", deep("[", "]", 1_000_000));
        assert_eq!(whole(&text)["b"], 2);
        let text = format!(
            "{{\"a\":{}1{},\"b\":2}}",
            "{\"x\":".repeat(5000),
            "}".repeat(5000)
        );
        assert_eq!(whole(&text)["b"], 2);
        assert!(!repair(&"[{\"a\":".repeat(500_000)).unwrap().is_whole);
    }

    #[test]
    fn hostile_texts_take_linear_time() {
        for piece in [
            "\"", "\" ", "\",", "\":", "{\"", "\\", "\\x4", "'", ",", "{", "}", "]", "[\"a\" ",
            "\" \"a",
        ] {
            let text = format!("{{\"a\":{}", piece.repeat(300_000 / piece.len()));
            let _ = repair(&text);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\",:{}\\[\\] a\\\\]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[\",:{} a\\\\]{0,6}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_json_stays_what_it_is(value in any_json()) {
            let value = json!({"v": value});
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let read: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(whole(&text), read);
            }
        }

        #[test]
        fn anything_becomes_json(text in "\\PC*|[\\[\\]{}\",:'\\\\ux0-9a\\x00-\\x1f ]*") {
            for text in [format!("{{{text}"), format!("[{text}"), format!("{{\"a\":\"{text}"), text] {
                if let Some(repaired) = repair(&text) {
                    let _ = parsed(&repaired);
                }
            }
        }

        #[test]
        fn raw_characters_in_a_string_arrive(text in "[^\"\\\\]{0,40}") {
            prop_assert_eq!(&whole(&format!("{{\"a\":\"{text}\",\"b\":1}}")), &json!({"a": text, "b": 1}));
        }
    }
}
