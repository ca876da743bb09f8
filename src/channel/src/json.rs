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
        if is_open && let Some(index) = self.open.iter().rposition(|open| open.kind == kind) {
            self.close_down_to(index);
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
mod tests;
