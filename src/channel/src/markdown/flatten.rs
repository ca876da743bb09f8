//! The walk over the parser's events, which writes the text into one string.

use std::fmt::Write as _;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Tag, TagEnd};

use super::html;
use super::inline::{Inline, write_address};
use super::notes::Notes;
use super::page::{Gap, Page};
use super::strike::strike;
use super::table::Table;

const BULLET: &str = "• ";
const QUOTE: &str = "│ ";
const RULE: &str = "———";
/// What makes a block of code without fences.
const CODE_INDENT: &str = "    ";

/// Writes the text of `events`, which are those of `source`.
pub fn flatten<'a>(
    source: &'a str,
    events: impl Iterator<Item = (Event<'a>, Range<usize>)>,
) -> String {
    let mut writer = Writer {
        source,
        page: Page::with_capacity(source.len() + source.len() / 8),
        headers_left: source.len(),
        ..Writer::default()
    };
    for (event, range) in events {
        writer.event(event, range);
    }
    writer.notes.write(&mut writer.page);
    writer.page.into_text()
}

#[derive(Debug)]
enum Container {
    /// With the length of the prefix outside of it.
    Quote(usize),
    /// With the number of the next item, if it is an ordered one.
    List(Option<u64>),
    Item(Item),
}

#[derive(Debug)]
struct Item {
    /// Length of the prefix outside of it.
    outside: usize,
    /// Where its content begins.
    start: usize,
    /// An item with a paragraph is one of a loose list, whose blocks are apart.
    is_loose: bool,
}

#[derive(Debug, Default)]
struct Writer<'a> {
    source: &'a str,
    page: Page,
    containers: Vec<Container>,
    /// The links and images that are open: where their text begins, and their addresses.
    links: Vec<(usize, CowStr<'a>)>,
    /// How many of them are images.
    images: usize,
    /// How many strikes are open.
    strikes: usize,
    /// The elements of HTML that are open in this block.
    inline: Inline,
    /// The content of the block of code or HTML that is open.
    raw: String,
    is_code: bool,
    is_indented_code: bool,
    table: Table,
    /// How many bytes of headers may still be repeated for the rows of tables.
    headers_left: usize,
    notes: Notes,
    /// What surrounds the footnotes that are open.
    outer: Vec<(CowStr<'a>, Page, Vec<Container>)>,
}

impl<'a> Writer<'a> {
    fn event(&mut self, event: Event<'a>, range: Range<usize>) {
        match event {
            Event::Text(text) if self.is_code => self.raw.push_str(&text),
            // An entity may be a line's end.
            Event::Text(text) if text.starts_with('\n') => self.page.line_break(),
            Event::Text(text) | Event::Code(text) => self.text(&text),
            Event::Start(tag) => self.start(tag, &range),
            Event::End(tag) => self.end(tag),
            Event::SoftBreak | Event::HardBreak => {
                self.page.line_break();
                self.indent(range.end);
            }
            Event::Html(html) => self.raw.push_str(&html),
            Event::InlineHtml(html) => match html::tag_as_text(&html) {
                Some("\n") => self.page.line_break(),
                Some(_) => self.inline.tag(&html, &mut self.page),
                None => self.page.lines(&html),
            },
            Event::FootnoteReference(label) => {
                let number = self.notes.number(&label);
                self.page.text(&format!("[{number}]"));
            }
            Event::Rule => {
                self.begin_block();
                self.page.text(RULE);
                self.end_block();
            }
            Event::TaskListMarker(is_done) => {
                let task = if is_done { "☑ " } else { "☐ " };
                self.page.replace_or_append(BULLET, task);
            }
            Event::InlineMath(text) | Event::DisplayMath(text) => self.page.text(&text),
        }
    }

    fn text(&mut self, text: &str) {
        match self.strikes {
            0 => self.page.text(&self.inline.text(text)),
            _ => self.page.text(&strike(text)),
        }
    }

    fn start(&mut self, tag: Tag<'a>, range: &Range<usize>) {
        match tag {
            Tag::Paragraph => {
                if let Some(Container::Item(item)) = self.containers.last_mut() {
                    item.is_loose = true;
                }
                self.page.flush();
                let blanks = self.source.get(..range.start).unwrap_or_default();
                let line = blanks.trim_end_matches([' ', '\t']).len();
                self.indent(line);
            }
            Tag::BlockQuote(_) => {
                self.begin_block();
                let outside = self.page.open(QUOTE, QUOTE);
                self.containers.push(Container::Quote(outside));
            }
            Tag::List(first) => {
                self.begin_block();
                self.containers.push(Container::List(first));
            }
            Tag::Heading { .. } => self.begin_block(),
            Tag::Item => self.start_item(range.start),
            Tag::CodeBlock(kind) => {
                self.raw.clear();
                self.is_code = true;
                self.is_indented_code = matches!(kind, CodeBlockKind::Indented);
            }
            Tag::HtmlBlock => self.raw.clear(),
            Tag::FootnoteDefinition(label) => {
                let page = std::mem::take(&mut self.page);
                let containers = std::mem::take(&mut self.containers);
                self.inline = Inline::default();
                self.outer.push((label, page, containers));
            }
            Tag::Table(alignments) => {
                self.begin_block();
                self.table.open(alignments, self.page.begin_table());
            }
            Tag::TableCell => self.page.begin_cell(),
            Tag::Link { dest_url, .. } => self.start_link(dest_url),
            Tag::Image { dest_url, .. } => {
                self.start_link(dest_url);
                self.images += 1;
            }
            Tag::Strikethrough => self.strikes += 1,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Heading(_) => self.end_block(),
            TagEnd::BlockQuote(_) => {
                if let Some(Container::Quote(outside)) = self.containers.pop() {
                    self.page.close(outside);
                }
                self.end_block();
            }
            TagEnd::List(_) => {
                self.containers.pop();
                self.end_block();
            }
            TagEnd::Item => {
                if let Some(Container::Item(item)) = self.containers.pop() {
                    self.page.close(item.outside);
                    self.page
                        .gap(if item.is_loose { Gap::Blank } else { Gap::Line });
                }
            }
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::HtmlBlock => self.end_html(),
            TagEnd::FootnoteDefinition => {
                if let Some((label, page, containers)) = self.outer.pop() {
                    let note = std::mem::replace(&mut self.page, page);
                    self.inline = Inline::default();
                    self.containers = containers;
                    self.notes.define(&label, &note.into_text());
                }
            }
            TagEnd::TableCell => {
                self.inline = Inline::default();
                self.table.end_cell(self.page.end_cell());
            }
            TagEnd::Table => {
                let cells = self.page.end_table(self.table.start());
                let text = self.table.layout(&cells, &mut self.headers_left);
                self.page.lines(&text);
                self.end_block();
            }
            TagEnd::Link => self.end_link(),
            TagEnd::Image => {
                self.images = self.images.saturating_sub(1);
                self.end_link();
            }
            TagEnd::Strikethrough => self.strikes = self.strikes.saturating_sub(1),
            _ => {}
        }
    }

    fn start_item(&mut self, offset: usize) {
        let outside = match self.containers.last_mut() {
            Some(Container::List(Some(number))) => {
                let delimiter = self
                    .source
                    .get(offset..)
                    .and_then(|item| item.chars().find(|char| !char.is_ascii_digit()))
                    .unwrap_or('.');
                let mut marker = String::new();
                let _ = write!(marker, "{number}{delimiter} ");
                *number = number.saturating_add(1);
                let indent = " ".repeat(marker.len());
                self.page.open(&marker, &indent)
            }
            _ => self.page.open(BULLET, "  "),
        };
        self.containers.push(Container::Item(Item {
            outside,
            start: self.page.len(),
            is_loose: false,
        }));
    }

    fn end_code(&mut self) {
        self.is_code = false;
        let indent = if self.is_indented_code {
            CODE_INDENT
        } else {
            ""
        };
        let lines = self.raw.trim_end().lines();
        let mut lines = lines.skip_while(|line| line.trim().is_empty());
        if let Some(first) = lines.next() {
            begin_block(&mut self.page, &self.containers);
            self.page.text(indent);
            self.page.text(first);
            for line in lines {
                self.page.line();
                self.page.text(indent);
                self.page.text(line);
            }
            self.end_block();
        }
    }

    fn end_html(&mut self) {
        let text = html::text(&self.raw);
        if !text.is_empty() {
            self.begin_block();
            self.page.lines(&text);
            self.end_block();
        }
    }

    fn start_link(&mut self, address: CowStr<'a>) {
        self.page.flush();
        self.links.push((self.page.len(), address));
    }

    /// Within an image all is its description.
    fn end_link(&mut self) {
        if let Some((start, address)) = self.links.pop()
            && self.images == 0
        {
            write_address(&mut self.page, start, &address);
        }
    }

    fn begin_block(&mut self) {
        begin_block(&mut self.page, &self.containers);
    }

    fn end_block(&mut self) {
        self.inline = Inline::default();
        self.page.gap(match self.containers.last() {
            Some(Container::Item(item)) if !item.is_loose => Gap::Line,
            _ => Gap::Blank,
        });
    }

    /// Keeps the indentation that begins at an offset of the source, of plain text alone, since within
    /// a list it is the list's.
    fn indent(&mut self, offset: usize) {
        if self.containers.is_empty() && self.outer.is_empty() {
            let line = self.source.get(offset..).unwrap_or_default();
            let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
            self.page.text(line.get(..blanks).unwrap_or_default());
        }
    }
}

/// In an item of a tight list the text before a block has no end of its own.
fn begin_block(page: &mut Page, containers: &[Container]) {
    if let Some(Container::Item(item)) = containers.last()
        && page.len() > item.start
    {
        page.at_least(Gap::Line);
    }
}
