//! Finds the strings of a JSON document, so that one can be replaced and no other byte changes.
//!
//! Reading a document and writing it again would change numbers, escapes and repeated names.

use std::ops::Range;

/// A string of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// Its bytes, quotes included.
    pub range: Range<usize>,
    pub role: StringRole,
}

/// What a string is in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringRole {
    /// A member's name.
    Name,
    /// An element of an array.
    Element,
    /// A member's value, or the whole document.
    Value,
}

/// The strings of `json`, which must be valid, in their order.
pub(super) fn strings(json: &[u8]) -> impl Iterator<Item = Text> {
    let mut at = 0;
    // For each open array or object: whether it is an array.
    let mut open = Vec::new();
    std::iter::from_fn(move || {
        loop {
            match json.get(at)? {
                b'[' => open.push(true),
                b'{' => open.push(false),
                b']' | b'}' => drop(open.pop()),
                b'"' => break,
                _ => {}
            }
            at += 1;
        }
        let start = at;
        at += 1;
        while *json.get(at)? != b'"' {
            at += if *json.get(at)? == b'\\' { 2 } else { 1 };
        }
        at += 1;
        let role = match open.last() {
            Some(true) => StringRole::Element,
            _ if next(json.get(at..)?) == Some(b':') => StringRole::Name,
            _ => StringRole::Value,
        };
        let range = start..at;
        Some(Text { range, role })
    })
}

/// The first byte that is no whitespace.
fn next(json: &[u8]) -> Option<u8> {
    let mut bytes = json.iter().copied();
    bytes.find(|byte| !byte.is_ascii_whitespace())
}

/// A copy of a document in which some strings are replaced.
pub(super) struct Rewriter<'a> {
    json: &'a [u8],
    written: Vec<u8>,
    copied: usize,
    /// How far the written bytes were searched for their last byte that is no whitespace, and where
    /// that byte is. So no byte is searched twice.
    seen: usize,
    end: usize,
}

impl<'a> Rewriter<'a> {
    /// Nothing is written yet.
    pub fn new(json: &'a [u8]) -> Rewriter<'a> {
        Rewriter {
            json,
            written: Vec::new(),
            copied: 0,
            seen: 0,
            end: 0,
        }
    }

    /// Replaces a string by `values`. Only an element of an array may become several strings, or none.
    pub fn replace<'v>(&mut self, range: Range<usize>, values: impl IntoIterator<Item = &'v str>) {
        self.copy_to(range.start);
        self.copied = range.end;
        let mut is_empty = true;
        for value in values {
            if !is_empty {
                self.written.push(b',');
            }
            is_empty = false;
            let text = serde_json::Value::from(value).to_string();
            self.written.extend_from_slice(text.as_bytes());
        }
        if is_empty {
            self.drop_comma();
        }
    }

    /// Bytes that were written so far.
    pub fn len(&self) -> usize {
        self.written.len()
    }

    /// The document; `None` when nothing was replaced.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        if self.copied == 0 {
            return None;
        }
        self.copy_to(self.json.len());
        Some(self.written)
    }

    fn copy_to(&mut self, end: usize) {
        let piece = self.json.get(self.copied..end).unwrap_or_default();
        self.written.extend_from_slice(piece);
    }

    /// An element that is removed takes the comma before it along; the first element takes the comma
    /// after it.
    fn drop_comma(&mut self) {
        let new = self.written.get(self.seen..).unwrap_or_default();
        if let Some(last) = new.iter().rposition(|byte| !byte.is_ascii_whitespace()) {
            self.end = self.seen + last + 1;
        }
        self.seen = self.written.len();
        let before = self.written.get(..self.end).unwrap_or_default();
        if let Some(kept) = before.strip_suffix(b",") {
            let kept = kept.len();
            self.written.truncate(kept);
            // Another comma or a bracket comes before this is asked for again.
            (self.seen, self.end) = (kept, kept);
            return;
        }
        let after = self.json.get(self.copied..).unwrap_or_default();
        let spaces = after.len() - after.trim_ascii_start().len();
        if next(after) == Some(b',') {
            self.copied += spaces + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_told_apart_by_their_place() {
        let json = r#"{"a" : "b", "c": ["d", {"e": "f\"]"}, ["g"], "h"], "\\": 1, "i": {}}"#;
        let found: Vec<(&str, StringRole)> = strings(json.as_bytes())
            .map(|text| (&json[text.range], text.role))
            .collect();
        let expected = [
            (r#""a""#, StringRole::Name),
            (r#""b""#, StringRole::Value),
            (r#""c""#, StringRole::Name),
            (r#""d""#, StringRole::Element),
            (r#""e""#, StringRole::Name),
            (r#""f\"]""#, StringRole::Value),
            (r#""g""#, StringRole::Element),
            (r#""h""#, StringRole::Element),
            (r#""\\""#, StringRole::Name),
            (r#""i""#, StringRole::Name),
        ];
        assert_eq!(found, expected);
        let whole: Vec<Text> = strings(br#" "x" "#).collect();
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].role, StringRole::Value);
        assert_eq!(strings(b"[1, {}, null]").count(), 0);
    }

    #[test]
    fn elements_that_go_take_one_comma_each_and_no_byte_is_looked_at_twice() {
        // Half a megabyte of blanks before as many elements: quadratic work would take minutes.
        let blanks = " ".repeat(500_000);
        let many = vec!["\"x\""; 100_000].join(" , ");
        for (json, expected) in [
            (format!("[{blanks}{many} ]"), "[]"),
            (format!("[1{blanks},{many}]"), "[1]"),
            (format!("[{many},{blanks}2]"), "[2]"),
            (format!("[{many},{blanks}2,{blanks}{many}]"), "[2]"),
        ] {
            let mut rewriter = Rewriter::new(json.as_bytes());
            for text in strings(json.as_bytes()) {
                rewriter.replace(text.range, []);
            }
            let mut written = rewriter.finish().unwrap();
            written.retain(|byte| !byte.is_ascii_whitespace());
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_valid_ends_the_search() {
        for json in [&br#"["a"#[..], br#"["\"#, b"]}]", b"", b"\""] {
            assert_eq!(strings(json).count(), 0);
        }
    }
}
