//! Text as WeChat's clients show it: either without markup, or with the markup that they render.
//!
//! Clients render headings 1 to 4, bold, lists, quotes, code, tables and links. They take `<` for the
//! start of a tag and swallow the rest of the line, show `&lt;` as it is, and have no other escape
//! than the full-width `＜`.

use std::borrow::Cow;
use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, LinkType, Tag, TagEnd};

use gateway_channel_sdk::markdown as commonmark;
use gateway_channel_sdk::markdown::Source;
use gateway_channel_sdk::markdown::html::{self, Piece};
use gateway_channel_sdk::markdown::script::Scripts;

#[cfg(test)]
mod tests;

const FULL_WIDTH: &str = "＜";

/// Without markup, for clients that render none.
pub fn plain(markdown: &str) -> String {
    without_tags(commonmark::plain(markdown))
}

/// With the markup that clients render. What they do not render is taken away as the official client
/// does it: headings 5 and 6 and the italics of Chinese, Japanese and Korean lose their marks, images
/// are removed. Besides, superscripts and subscripts are characters (`10⁶`), tasks have `☐` or `☑` for their brackets, addresses no pointed brackets, and
/// `<` is full-width where it begins no tag of HTML. Everything else, and all code, stays as it is to
/// the byte.
pub fn native(markdown: &str) -> String {
    let source = Source::new(markdown);
    let Some(events) = source.events() else {
        return without_tags(markdown.to_owned());
    };
    let mut editor = Editor {
        source: source.text(),
        ..Editor::default()
    };
    for (event, range) in events {
        editor.event(&event, range);
    }
    let text = source.restore(editor.apply());
    // Better an address than nothing.
    if text.trim().is_empty() && !markdown.trim().is_empty() {
        plain(markdown)
    } else {
        text
    }
}

/// Nothing in it begins a tag for WeChat. A `<` before a blank or at the end begins none.
fn without_tags(text: String) -> String {
    if !text.contains('<') {
        return text;
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let is_bare = after.is_empty() || after.starts_with(char::is_whitespace);
        out.push_str(if is_bare { "<" } else { FULL_WIDTH });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Collects what is to be replaced in the source.
#[derive(Debug, Default)]
struct Editor<'a> {
    source: &'a str,
    edits: Vec<(Range<usize>, Cow<'static, str>)>,
    /// How many quotes, lists and notes are open: a heading in one stays.
    containers: usize,
    /// How many links are open.
    links: usize,
    /// How many images are open: they go as a whole.
    images: usize,
    /// The description of the image.
    description: String,
    is_code: bool,
    /// Where the text ended that was seen last: a backslash behind it is an escape.
    text_end: usize,
    /// Where the text begins that has the last character which is not shown in italics.
    last_cjk: Option<usize>,
    /// The bold text that ended last.
    last_strong: Range<usize>,
    scripts: Scripts,
}

impl Editor<'_> {
    fn event(&mut self, event: &Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(*tag, range),
            Event::Text(text) | Event::Code(text) if self.images > 0 => {
                self.description.push_str(text);
            }
            Event::Text(_) if !self.is_code => {
                self.find_cjk(&range);
                self.text(range);
            }
            Event::Code(_) => self.find_cjk(&range),
            Event::InlineHtml(_) => self.html(range),
            Event::TaskListMarker(is_done) => self.edit(range, if *is_done { "☑" } else { "☐" }),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::BlockQuote(_) | Tag::List(_) | Tag::FootnoteDefinition(_) => self.containers += 1,
            Tag::CodeBlock(_) => self.is_code = true,
            Tag::HtmlBlock => self.html(range),
            Tag::Heading { level, .. }
                if matches!(level, HeadingLevel::H5 | HeadingLevel::H6) && self.containers == 0 =>
            {
                self.heading(range);
            }
            Tag::Link { link_type, .. } => {
                self.links += 1;
                if matches!(link_type, LinkType::Autolink | LinkType::Email) {
                    self.unwrap(range, 1);
                }
            }
            Tag::Image { .. } => self.images += 1,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::FootnoteDefinition => {
                self.containers -= 1;
            }
            TagEnd::CodeBlock => self.is_code = false,
            TagEnd::Emphasis if self.last_cjk >= Some(range.start) => self.emphasis(range),
            TagEnd::Strong => self.last_strong = range,
            TagEnd::Link => self.links -= 1,
            TagEnd::Image => {
                self.images -= 1;
                let description = std::mem::take(&mut self.description);
                if self.images > 0 {
                    self.description = description;
                } else if self.links > 0 {
                    // A link with nothing to tap on is none.
                    self.edit(range, without_tags(description));
                } else {
                    self.edit(range, "");
                }
            }
            _ => {}
        }
    }

    fn find_cjk(&mut self, range: &Range<usize>) {
        let text = self.source.get(range.clone()).unwrap_or_default();
        if !text.is_ascii() && text.contains(is_cjk) {
            self.last_cjk = Some(range.start);
        }
    }

    fn text(&mut self, range: Range<usize>) {
        let text = self.source.get(range.clone()).unwrap_or_default();
        let before = self.source.get(self.text_end..range.start);
        let is_escaped = before.is_some_and(|before| before.ends_with('\\'));
        for (at, _) in text.match_indices('<') {
            let start = range.start + at;
            // The official client leaves a closing tag alone, whatever it closes.
            if is_escaped && at == 0 && text.starts_with("</") && is_closing_tag(self.source, start)
            {
                continue;
            }
            let escape = usize::from(is_escaped && at == 0);
            self.edit(start - escape..start + 1, FULL_WIDTH);
        }
        self.text_end = range.end;
    }

    fn html(&mut self, range: Range<usize>) {
        let mut start = range.start;
        for piece in html::pieces(self.source.get(range).unwrap_or_default()) {
            match piece {
                Piece::Tag(tag) => {
                    let edits = self.scripts.tag(self.source, &(start..start + tag.len()));
                    for (range, text) in edits.into_iter().flatten() {
                        self.edit(range, text);
                    }
                    start += tag.len();
                }
                Piece::Text(text) => {
                    for (at, _) in text.match_indices('<') {
                        self.edit(start + at..start + at + 1, FULL_WIDTH);
                    }
                    start += text.len();
                }
            }
        }
    }

    /// Takes away the marks of a heading, those at its end too.
    fn heading(&mut self, range: Range<usize>) {
        const BLANKS: [char; 2] = [' ', '\t'];
        let heading = self.source.get(range.clone()).unwrap_or_default();
        let text = heading.trim_start_matches('#').trim_start_matches(BLANKS);
        let start = range.start + heading.len() - text.len();
        self.edit(range.start..start, "");
        let text = text.trim_end();
        let title = text.trim_end_matches('#');
        if title.len() < text.len() && (title.is_empty() || title.ends_with(BLANKS)) {
            self.edit(start + title.trim_end().len()..start + text.len(), "");
        }
    }

    fn emphasis(&mut self, range: Range<usize>) {
        // `***` is one mark.
        let bold = range.start + 1..range.end - 1;
        let marks = self.source.get(range.start..range.start + 2);
        if self.last_strong == bold && matches!(marks, Some("**" | "__")) {
            self.unwrap(bold, 2);
        }
        self.unwrap(range, 1);
    }

    /// Takes away what a text is wrapped in.
    fn unwrap(&mut self, range: Range<usize>, marks: usize) {
        self.edit(range.start..range.start + marks, "");
        self.edit(range.end - marks..range.end, "");
    }

    fn edit(&mut self, range: Range<usize>, text: impl Into<Cow<'static, str>>) {
        if self.images == 0 {
            self.edits.push((range, text.into()));
        }
    }

    fn apply(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(self.source.len() + self.edits.len() * 2);
        let mut done = 0;
        for (range, text) in self.edits {
            // Within what is replaced as a whole.
            if range.start < done {
                continue;
            }
            out.push_str(self.source.get(done..range.start).unwrap_or_default());
            out.push_str(&text);
            done = range.end;
        }
        out.push_str(self.source.get(done..).unwrap_or_default());
        out
    }
}

/// Whether a tag of HTML that closes nothing is at an index, not escaped by the writer.
fn is_closing_tag(source: &str, index: usize) -> bool {
    let (before, tag) = source.split_at_checked(index).unwrap_or_default();
    Source::is_told(before) && html::is_element(html::name(tag))
}

/// What the official client takes for Chinese, Japanese or Korean.
fn is_cjk(char: char) -> bool {
    matches!(char, '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}')
}
