//! Markdown as WeCom's clients show it in a message of the type `markdown`.
//!
//! They know headings, bold, links, inline code, quotes and three colours of text (`info`, `comment`,
//! `warning`), and show every other mark as it is. So what they know stays to the byte, and the rest is
//! written with it or as text.
//!
//! | Markdown | becomes |
//! |---|---|
//! | heading by underline | heading by `#` |
//! | `__bold__`; italics | `**bold**`; the words alone |
//! | struck out; superscripts and subscripts | as in plain text |
//! | link by reference, `<address>` | `[text](address)`, the address |
//! | image, `<a>`, `<img>` | a link |
//! | block of code | its lines, without fences |
//! | table | as in plain text |
//! | task, rule | `☐` or `☑`, `———` |
//! | other HTML but the three colours | as in plain text |

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Tag, TagEnd};

use gateway_channel_sdk::markdown as commonmark;
use gateway_channel_sdk::markdown::Source;
use gateway_channel_sdk::markdown::html;
use gateway_channel_sdk::markdown::script::Scripts;
use gateway_channel_sdk::markdown::strike::{self, strike};

/// The tags that clients know.
const COLOURS: [&str; 4] = [
    "<font color=\"info\">",
    "<font color=\"comment\">",
    "<font color=\"warning\">",
    "</font>",
];

/// The text of a `markdown` message.
pub fn native(markdown: &str) -> String {
    let source = Source::new(markdown);
    let Some(events) = source.events() else {
        return markdown.trim_end().to_owned();
    };
    let mut editor = Editor {
        source: source.text(),
        ..Editor::default()
    };
    for (event, place) in events {
        editor.event(&event, place);
    }
    let text = source.restore(editor.apply());
    // Better an address than nothing.
    if text.trim().is_empty() && !markdown.trim().is_empty() {
        return commonmark::plain(markdown);
    }
    text
}

/// Collects what is to be replaced in the source.
#[derive(Default)]
struct Editor<'a> {
    source: &'a str,
    edits: Vec<(Range<usize>, String)>,
    /// How many quotes, lists and notes are open: their lines begin with what is theirs.
    containers: usize,
    /// How many strikes are open.
    strikes: usize,
    is_code: bool,
    /// The addresses of the `<a>` that are open.
    links: Vec<Option<String>>,
    scripts: Scripts,
}

impl Editor<'_> {
    fn event(&mut self, event: &Event<'_>, place: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, place),
            Event::End(TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::FootnoteDefinition) => {
                self.containers = self.containers.saturating_sub(1);
            }
            Event::End(TagEnd::Strikethrough) => self.strikes = self.strikes.saturating_sub(1),
            Event::End(TagEnd::CodeBlock) => self.is_code = false,
            Event::Text(text) if self.strikes > 0 && !self.is_code => {
                self.edit(place, strike(text));
            }
            Event::Code(code) if self.strikes > 0 => {
                let marks = self.text(&place);
                let marks = marks.len() - marks.trim_start_matches('`').len();
                self.edit(place.start + marks..place.end - marks, strike(code));
            }
            Event::InlineHtml(tag) if !COLOURS.contains(&tag.as_ref()) => self.tag(tag, place),
            // The line's end is its own, the mark before it is not.
            Event::HardBreak if self.text(&place).starts_with('\\') => {
                self.edit(place.start..place.start + 1, "");
            }
            Event::Rule => self.edit(place, "———\n"),
            Event::TaskListMarker(is_done) => self.edit(place, if *is_done { "☑" } else { "☐" }),
            _ => {}
        }
    }

    fn tag(&mut self, tag: &str, place: Range<usize>) {
        if let Some(edits) = self.scripts.tag(self.source, &place) {
            return self.edits.extend(edits);
        }
        let Some(text) = html::tag_as_text(tag) else {
            return;
        };
        let is_closing = tag.starts_with("</");
        if strike::is_tag(tag) {
            self.strikes = match is_closing {
                true => self.strikes.saturating_sub(1),
                false => self.strikes + 1,
            };
        }
        let text = match html::name(tag).to_ascii_lowercase().as_str() {
            "a" if is_closing => match self.links.pop().flatten() {
                Some(address) => format!("]({address})"),
                None => String::new(),
            },
            "a" => {
                self.links.push(html::attribute(tag, "href"));
                let has_address = self.links.last().is_some_and(Option::is_some);
                (if has_address { "[" } else { "" }).to_owned()
            }
            "img" => image(tag),
            _ => text.to_owned(),
        };
        self.edit(place, text);
    }

    fn start(&mut self, tag: &Tag<'_>, place: Range<usize>) {
        match tag {
            Tag::BlockQuote(_) | Tag::List(_) | Tag::FootnoteDefinition(_) => self.containers += 1,
            Tag::Heading { level, .. } => self.heading(*level as usize, place),
            Tag::Emphasis => self.marks(place, 1, ""),
            Tag::Strong if self.text(&place).starts_with("__") => self.marks(place, 2, "**"),
            Tag::Strikethrough => {
                self.strikes += 1;
                self.marks(place, 2, "");
            }
            Tag::CodeBlock(kind) => {
                self.is_code = true;
                if matches!(kind, CodeBlockKind::Fenced(_)) {
                    self.code(place);
                }
            }
            Tag::Table(_) if self.containers == 0 => {
                let table = commonmark::plain(self.text(&place));
                self.edit(place, format!("{table}\n"));
            }
            Tag::HtmlBlock => {
                let block = self.text(&place);
                if !COLOURS.iter().any(|colour| block.contains(colour)) {
                    let text = html::text(block);
                    let is_line = !text.is_empty() && block.ends_with('\n');
                    let end = if is_line { "\n" } else { "" };
                    self.edit(place, format!("{text}{end}"));
                }
            }
            Tag::Image { .. } if self.text(&place).starts_with('!') => {
                self.edit(place.start..place.start + 1, "");
            }
            Tag::Link {
                link_type,
                dest_url,
                ..
            } => self.link(*link_type, dest_url, place),
            _ => {}
        }
    }

    /// A heading that is underlined gets its marks in front.
    fn heading(&mut self, level: usize, place: Range<usize>) {
        let text = self.text(&place).trim_end();
        if text.starts_with('#') {
            return;
        }
        let Some(underline) = text.rfind('\n') else {
            return;
        };
        let (underline, end) = (place.start + underline, place.start + text.len());
        self.edit(place.start..place.start, format!("{} ", "#".repeat(level)));
        self.edit(underline..end, "");
    }

    /// Replaces the marks of some bytes around a text.
    fn marks(&mut self, place: Range<usize>, bytes: usize, mark: &str) {
        if place.len() >= 2 * bytes {
            self.edit(place.start..place.start + bytes, mark);
            self.edit(place.end - bytes..place.end, mark);
        }
    }

    /// Takes the fences away, and their lines where nothing else is in them.
    fn code(&mut self, place: Range<usize>) {
        let block = self.text(&place);
        let Some(first) = block.find('\n') else {
            self.edit(place, "");
            return;
        };
        let whole = block.trim_end();
        let last = whole.rfind('\n').unwrap_or(first);
        let closing = whole.get(last..).unwrap_or_default();
        let closing = closing.trim_start_matches(['\n', ' ', '\t', '>']);
        let is_closed = closing.starts_with("```") || closing.starts_with("~~~");
        // Behind what begins the line of a container nothing may be joined to it.
        let first_end = if self.containers == 0 {
            first + 1
        } else {
            first
        };
        let end = place.start + whole.len();
        let last = place.start + last.max(first_end);
        self.edit(place.start..place.start + first_end, "");
        if is_closed && last <= end {
            self.edit(last..end, "");
        }
    }

    fn link(&mut self, link_type: LinkType, address: &str, place: Range<usize>) {
        let text = self.text(&place);
        match link_type {
            LinkType::Autolink | LinkType::Email if text.starts_with('<') => {
                self.marks(place, 1, "")
            }
            LinkType::Reference | LinkType::Collapsed => {
                if let Some(label) = text.rfind("][") {
                    let label = place.start + label + 1;
                    self.edit(label..place.end, format!("({address})"));
                }
            }
            LinkType::Shortcut => self.edit(place.end..place.end, format!("({address})")),
            _ => {}
        }
    }

    fn text(&self, place: &Range<usize>) -> &str {
        self.source.get(place.clone()).unwrap_or_default()
    }

    fn edit(&mut self, place: Range<usize>, text: impl Into<String>) {
        self.edits.push((place, text.into()));
    }

    /// The source with all edits; one that lies within another is left out.
    fn apply(mut self) -> String {
        self.edits.sort_by_key(|(place, _)| place.start);
        let mut out = String::with_capacity(self.source.len() + self.edits.len() * 2);
        let mut done = 0;
        for (place, text) in self.edits {
            if place.start < done {
                continue;
            }
            out.push_str(self.source.get(done..place.start).unwrap_or_default());
            out.push_str(&text);
            done = place.end;
        }
        out.push_str(self.source.get(done..).unwrap_or_default());
        out
    }
}

/// An image of HTML as a link.
fn image(tag: &str) -> String {
    let alt = html::attribute(tag, "alt").unwrap_or_default();
    let address = html::attribute(tag, "src").unwrap_or_default();
    match (
        alt.is_empty(),
        address.is_empty() || address.starts_with("data:"),
    ) {
        (_, true) => alt,
        (true, false) => address,
        (false, false) => format!("[{alt}]({address})"),
    }
}

#[cfg(test)]
mod tests;
