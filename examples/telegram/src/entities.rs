//! Markdown as a text with Telegram's entities, which need no escapes.
//!
//! Emphasis, code, links and headings become entities. Everything else stays as it was written: lists,
//! quotes, tables and rules read well as text.

use gateway_channel_sdk::markdown;
use pulldown_cmark::{CodeBlockKind, Event, Tag};
use serde_json::{Value, json};

/// The text of Markdown, and its entities. Markdown without any text, such as an empty code block, stays
/// as it was written: Telegram refuses a blank message.
pub fn render(source: &str) -> (String, Vec<Value>) {
    let mut writer = Writer {
        source,
        ..Writer::default()
    };
    for (event, range) in markdown::events(source).into_iter().flatten() {
        match event {
            Event::Start(tag) => {
                writer.copy_to(range.start, false);
                let entity = entity(&tag, source.get(range.clone()).unwrap_or_default());
                writer.is_mark = entity.is_some();
                writer.open.push((entity, writer.length));
            }
            Event::End(_) => writer.end(range.end),
            Event::Text(text) => {
                writer.copy_to(range.start, true);
                writer.push(&text);
                writer.at = range.end;
            }
            Event::Code(code) => {
                writer.copy_to(range.start, false);
                let start = writer.length;
                writer.push(&code);
                writer.format(json!({"type": "code"}), start);
                writer.at = range.end;
            }
            _ => {
                writer.copy_to(range.start, false);
                writer.copy_to(range.end, false);
            }
        }
    }
    writer.copy_to(source.len(), false);
    if writer.text.trim().is_empty() {
        return (source.to_owned(), Vec::new());
    }
    (writer.text, writer.entities)
}

/// The entity of an element, without its place. None for what stays as it was written.
fn entity(tag: &Tag<'_>, source: &str) -> Option<Value> {
    match tag {
        Tag::Strong | Tag::Heading { .. } => Some(json!({"type": "bold"})),
        Tag::Emphasis => Some(json!({"type": "italic"})),
        Tag::Strikethrough if source.starts_with("~~") => Some(json!({"type": "strikethrough"})),
        Tag::CodeBlock(CodeBlockKind::Fenced(language)) => Some(match &**language {
            "" => json!({"type": "pre"}),
            language => json!({"type": "pre", "language": language}),
        }),
        Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }
            if dest_url.starts_with("http://") || dest_url.starts_with("https://") =>
        {
            Some(json!({"type": "text_link", "url": &**dest_url}))
        }
        _ => None,
    }
}

/// Writes the text, and notes its entities.
#[derive(Default)]
struct Writer<'a> {
    source: &'a str,
    /// How much of the source is done with.
    at: usize,
    /// What follows in the source is the opening mark of an element.
    is_mark: bool,
    text: String,
    /// Its length in code units of UTF-16, which entities count in.
    length: usize,
    /// The open elements, and where their content begins.
    open: Vec<(Option<Value>, usize)>,
    entities: Vec<Value>,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.length += text.encode_utf16().count();
    }

    /// Copies the source up to an offset, without an opening mark, and without the backslash that escapes
    /// what follows.
    fn copy_to(&mut self, end: usize, is_text: bool) {
        let between = self.source.get(self.at..end).unwrap_or_default();
        let is_mark = std::mem::take(&mut self.is_mark);
        if !is_mark && !between.is_empty() {
            let kept = between.strip_suffix('\\').filter(|_| is_text);
            self.push(kept.unwrap_or(between));
        }
        self.at = self.at.max(end);
    }

    /// An element ends: its closing mark goes, and its line ends stay.
    fn end(&mut self, end: usize) {
        let Some((Some(entity), start)) = self.open.pop() else {
            self.copy_to(end, false);
            return;
        };
        let mark = self.source.get(self.at..end).unwrap_or_default();
        let line_ends = mark.len() - mark.trim_end_matches('\n').len();
        let is_code = entity.get("type").is_some_and(|kind| kind == "pre");
        if is_code && self.text.ends_with('\n') {
            self.text.pop();
            self.length -= 1;
        }
        self.format(entity, start);
        self.is_mark = false;
        self.at = self.at.max(end - line_ends);
    }

    /// Notes an entity that ends here.
    fn format(&mut self, mut entity: Value, start: usize) {
        let Some(members) = entity.as_object_mut().filter(|_| self.length > start) else {
            return;
        };
        members.insert("offset".to_owned(), start.into());
        members.insert("length".to_owned(), (self.length - start).into());
        self.entities.push(entity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, and each entity with what it covers.
    fn rendered(markdown: &str) -> (String, Vec<(String, String)>) {
        let (text, entities) = render(markdown);
        let units: Vec<u16> = text.encode_utf16().collect();
        let covered = |entity: &Value| {
            let number = |name: &str| usize::try_from(entity[name].as_u64().unwrap()).unwrap();
            let covered = &units[number("offset")..number("offset") + number("length")];
            let kind = entity["type"].as_str().unwrap().to_owned();
            (kind, String::from_utf16(covered).unwrap())
        };
        let entities = entities.iter().map(covered).collect();
        (text, entities)
    }

    #[test]
    fn marks_become_entities() {
        for (markdown, text, entities) in [
            ("plain & simple", "plain & simple", &[][..]),
            ("a **b** *c*", "a b c", &[("bold", "b"), ("italic", "c")]),
            (
                "😀 **粗**~~x~~",
                "😀 粗x",
                &[("bold", "粗"), ("strikethrough", "x")],
            ),
            (
                "***both***",
                "both",
                &[("bold", "both"), ("italic", "both")],
            ),
            ("use `a*b*`.", "use a*b*.", &[("code", "a*b*")]),
            ("# Title\n\ntext", "Title\n\ntext", &[("bold", "Title")]),
            (
                "x\n\n```rust\nlet a = 1;\n```\n\ny",
                "x\n\nlet a = 1;\n\ny",
                &[("pre", "let a = 1;")],
            ),
            (
                "see [the page](https://example.com/a_b).",
                "see the page.",
                &[("text_link", "the page")],
            ),
            ("[x](javascript:alert(1))", "[x](javascript:alert(1))", &[]),
            (r"2 \* 3 \* 4, &lt;b>", "2 * 3 * 4, <b>", &[]),
            (
                "- one\n- **two**\n  1. x",
                "- one\n- two\n  1. x",
                &[("bold", "two")],
            ),
            ("> a\n> b", "> a\n> b", &[]),
            ("~5 or 6~", "~5 or 6~", &[]),
            (
                "| a | b |\n|---|---|\n| 1 | 2 |",
                "| a | b |\n|---|---|\n| 1 | 2 |",
                &[],
            ),
            ("```\n```", "```\n```", &[]),
            ("` `", "` `", &[]),
        ] {
            let (rendered, found) = rendered(markdown);
            assert_eq!(rendered, text, "{markdown}");
            let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
            let mut found = found;
            let mut entities = entities.to_vec();
            found.sort_unstable();
            entities.sort_unstable();
            assert_eq!(found, entities, "{markdown}");
        }
    }
}
