//! The objects in an agent's lines: mostly one a line, also several in one line, and one over
//! several lines (pretty-printed, or with raw line breaks in its strings).

use serde_json::{Map, Value};

use crate::json::{self, Extent};

/// What a line brought.
#[derive(Debug, PartialEq)]
pub enum Item<'a> {
    /// An object that is whole.
    Object(Map<String, Value>),
    /// What is no object, such as a line of the agent's log.
    Noise(&'a [u8]),
    /// What began as an object and can't be read, and why.
    Broken(&'a [u8], &'static str),
}

/// Takes lines, gives objects.
pub struct Objects {
    /// An object whose end has not come.
    open: Vec<u8>,
    extent: Extent,
    most_bytes: usize,
}

impl Objects {
    /// Objects of at most so many bytes.
    pub fn new(most_bytes: usize) -> Objects {
        Objects {
            open: Vec::new(),
            extent: Extent::default(),
            most_bytes,
        }
    }

    /// Takes a line without its line break.
    pub fn line(&mut self, mut line: &[u8], take: &mut impl FnMut(Item<'_>)) {
        if !self.open.is_empty() {
            if is_answer(line) {
                // What is open was cut, and has no end.
                self.end(take);
            } else {
                line = self.go_on(line, take);
            }
        }
        loop {
            line = json::skip_noise(line);
            if line.is_empty() {
                return;
            }
            if !json::begins_object(line) {
                take(Item::Noise(line));
                return;
            }
            line = match json::first(line) {
                Ok((Value::Object(object), rest)) => {
                    take(Item::Object(object));
                    rest
                }
                // It begins with a brace, so it is nothing else.
                Ok(_) => return,
                Err(why) => self.open(line, why, take),
            };
        }
    }

    /// Whether an object has begun and not ended.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Nothing follows any more.
    pub fn end(&mut self, take: &mut impl FnMut(Item<'_>)) {
        let open = std::mem::take(&mut self.open);
        self.extent = Extent::default();
        if !open.is_empty() {
            take(Item::Broken(&open, "it is JSON that breaks off"));
        }
    }

    /// Begins an object that goes on in the next line; what is wrong in itself is broken.
    fn open<'a>(
        &mut self,
        line: &'a [u8],
        why: &'static str,
        take: &mut impl FnMut(Item<'_>),
    ) -> &'a [u8] {
        self.extent = Extent::default();
        match self.extent.feed(line) {
            Some(end) => {
                let (broken, rest) = line.split_at(end);
                take(Item::Broken(broken, why));
                rest
            }
            None => {
                self.open.extend_from_slice(line);
                &[]
            }
        }
    }

    /// Adds a line to the object that is open; what follows its end is left.
    fn go_on<'a>(&mut self, line: &'a [u8], take: &mut impl FnMut(Item<'_>)) -> &'a [u8] {
        if self.open.len() + line.len() >= self.most_bytes {
            let open = std::mem::take(&mut self.open);
            take(Item::Broken(&open, "it is too long"));
            return line;
        }
        self.open.push(b'\n');
        let Some(end) = self.extent.feed(line) else {
            self.open.extend_from_slice(line);
            return &[];
        };
        let (last, rest) = line.split_at(end);
        self.open.extend_from_slice(last);
        let open = std::mem::take(&mut self.open);
        match json::first(&open) {
            Ok((Value::Object(object), _)) => take(Item::Object(object)),
            Ok(_) => {}
            Err(why) => take(Item::Broken(&open, why)),
        }
        rest
    }
}

/// Whether the line is a whole answer. No object inside of an answer has these members.
fn is_answer(line: &[u8]) -> bool {
    if !json::begins_object(line) {
        return false;
    }
    let Ok((Value::Object(object), _)) = json::first(line) else {
        return false;
    };
    object.contains_key("in_reply_to") || object.contains_key("text")
}

/// The message that an object names which can't be read.
pub fn named(broken: &[u8]) -> Option<String> {
    const MEMBER: &[u8] = b"\"in_reply_to\"";
    let place = broken
        .windows(MEMBER.len())
        .position(|window| window == MEMBER)?;
    let after = broken.get(place + MEMBER.len()..)?.trim_ascii_start();
    let value = after.strip_prefix(b":")?.trim_ascii_start();
    let mut values = serde_json::Deserializer::from_slice(value).into_iter::<Value>();
    match values.next()?.ok()? {
        Value::String(id) => Some(id),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the lines bring: texts of objects, `-` before noise, `!` before what is broken.
    fn read(lines: &str) -> Vec<String> {
        let mut objects = Objects::new(200);
        let mut found = Vec::new();
        let mut take = |item: Item<'_>| {
            let line = |bytes| String::from_utf8_lossy(bytes).into_owned();
            found.push(match item {
                Item::Object(object) => match object.get("text") {
                    Some(text) => text.as_str().unwrap_or_default().to_owned(),
                    None => format!("{} members", object.len()),
                },
                Item::Noise(noise) => format!("-{}", line(noise)),
                Item::Broken(broken, _) => format!("!{}", line(broken)),
            });
        };
        for line in lines.lines() {
            objects.line(line.as_bytes(), &mut take);
        }
        objects.end(&mut take);
        found
    }

    #[test]
    fn objects_are_found_however_they_are_written() {
        for (lines, expected) in [
            (r#"{"text": "a"}"#, &["a"] as &[&str]),
            ("\n  \r\n\n", &[]),
            (
                "{\n  \"text\": \"a\",\n  \"media\": [\n    {\n      \"path\": \"/a\"\n    }\n  ]\n}",
                &["a"],
            ),
            // Python's indent=0.
            (
                "{\n\"text\": \"a\",\n\"media\": [\n{\"path\": \"/a\"}\n]\n}",
                &["a"],
            ),
            (
                r#"{"text": "a"}{"text": "b"} {"text": "c"}"#,
                &["a", "b", "c"],
            ),
            ("{\"text\": \"a\nb { c\"}", &["a\nb { c"]),
            ("\u{feff}{\"text\": \"a\"}", &["a"]),
            (
                "\u{1b}]0;agent\u{7}\u{1b}[32m{\"text\": \"a\"}\u{1b}[0m",
                &["a"],
            ),
            ("{\"text\": \"a \\ud83d\"}", &["a \u{fffd}"]),
            ("{\"text\": \"a\",\n\"b\": NaN}", &["a"]),
            (
                "starting up\n{\"text\": \"a\"}\ndone",
                &["-starting up", "a", "-done"],
            ),
            ("{starting up}\n{\"text\": \"a\"}", &["-{starting up}", "a"]),
            ("{\"text\": \"a\"} data: [DONE]", &["a", "-data: [DONE]"]),
            (
                "{\"level\": \"info\"}\n{\"text\": \"a\"}",
                &["1 members", "a"],
            ),
        ] {
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_cut_costs_no_other_object() {
        for (lines, expected) in [
            ("{\"text\": \"a", &["!{\"text\": \"a"] as &[&str]),
            (
                "{\"text\": \"a\n{\"text\": \"b\"}",
                &["!{\"text\": \"a", "b"],
            ),
            (
                "{\"in_reply_to\": \"1\",\n{\"in_reply_to\": \"2\"}\n",
                &["!{\"in_reply_to\": \"1\",", "1 members"],
            ),
            (
                "{\"text\" \"a\"}\n{\"text\": \"b\"}",
                &["!{\"text\" \"a\"}", "b"],
            ),
        ] {
            assert_eq!(read(lines), expected, "{lines:?}");
        }
        let long = format!("{{\"text\":\n\"{}\"\n}}", "x".repeat(300));
        assert_eq!(read(&long)[0], "!{\"text\":");
    }

    #[test]
    fn what_is_broken_still_names_its_message() {
        for (broken, expected) in [
            (r#"{"in_reply_to": "7", "text": "#, Some("7")),
            (
                r#"{"text": "a" "in_reply_to":7592891996103569736}"#,
                Some("7592891996103569736"),
            ),
            ("{\"in_reply_to\"\n:\n\"7\"", Some("7")),
            (r#"{"in_reply_to": "7"#, None),
            (r#"{"in_reply_to": null}"#, None),
            (r#"{"text": "a"#, None),
        ] {
            assert_eq!(named(broken.as_bytes()).as_deref(), expected, "{broken}");
        }
    }
}
