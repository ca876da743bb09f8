//! Fences of Markdown: where they are, and what closes and opens them again.

use pulldown_cmark::{CodeBlockKind, Event, Tag};

use super::Limits;
use crate::markdown;

/// A block of code between fences.
#[derive(Debug)]
pub struct Fence<'a> {
    /// Where the line of the opening fence begins.
    pub start: usize,
    /// Where the code begins.
    pub body: usize,
    /// Where the code ends and the line of the closing fence begins.
    pub end: usize,
    /// Where the block ends; nowhere, if the text ends within it.
    pub after: usize,
    /// Indentation and quotes before the opening fence; a space for each character of a list's mark.
    prefix: String,
    /// The opening fence with its info string.
    line: &'a str,
    /// The fence without its info string.
    marker: &'a str,
}

/// The fenced blocks of a text, in their order.
pub fn fences(markdown: &str) -> Vec<Fence<'_>> {
    let events = markdown::events(markdown).into_iter().flatten();
    let text_end = markdown.trim_end().len();
    events
        .filter_map(|(event, range)| match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => {
                fence(markdown, range.start, range.end, text_end)
            }
            _ => None,
        })
        .collect()
}

fn fence(text: &str, start: usize, end: usize, text_end: usize) -> Option<Fence<'_>> {
    let (before, block) = (text.get(..start)?, text.get(start..end)?);
    let line_start = after_last_line_end(before);
    let prefix = before.get(line_start..)?.chars().map(|char| match char {
        '>' | '\t' => char,
        _ => ' ',
    });
    let (line, _) = block.split_once('\n').unwrap_or((block, ""));
    let name = line.trim_start_matches(['`', '~']);
    let marker = line.get(..line.len() - name.len())?;
    let body = (start + line.len() + 1).min(text.len());
    let last_line = start + after_last_line_end(block);
    let last = text
        .get(last_line..end)?
        .trim_start_matches(['>', ' ', '\t']);
    let is_closed = last_line >= body
        && last.starts_with(marker)
        && last.trim_end().trim_start_matches(['`', '~']).is_empty();
    let (end, after) = if is_closed {
        let line_end = text
            .get(end..)?
            .find('\n')
            .map_or(text.len(), |at| end + at + 1);
        (last_line, line_end)
    } else if end >= text_end {
        (text.len(), usize::MAX)
    } else {
        (end, end)
    };
    Some(Fence {
        start: line_start,
        body,
        end,
        after,
        prefix: prefix.collect(),
        line: line.trim_end(),
        marker,
    })
}

fn after_last_line_end(text: &str) -> usize {
    text.rfind('\n').map_or(0, |start| start + 1)
}

impl Fence<'_> {
    /// The text ends within it.
    pub fn is_unclosed(&self) -> bool {
        self.after == usize::MAX
    }

    /// A part that opens and closes it has two thirds of its room left.
    pub fn fits(&self, limits: Limits) -> bool {
        let room = self.room_before(self.room_behind(limits));
        room.chars >= limits.chars - limits.chars / 3 && room.size >= limits.size - limits.size / 3
    }

    /// What is left of a part that opens it again.
    pub fn room_behind(&self, limits: Limits) -> Limits {
        limits.without(
            2 * self.prefix.len() + self.line.chars().count() + 1,
            2 * self.prefix.len() + self.line.len() + 1,
        )
    }

    /// What is left of a part that closes it.
    pub fn room_before(&self, limits: Limits) -> Limits {
        let length = 1 + self.prefix.len() + self.marker.len();
        limits.without(length, length)
    }

    /// Opens it again, before the rest of a line or before a line.
    pub fn open(&self, is_within_line: bool, out: &mut String) {
        out.extend([&self.prefix, self.line, "\n"]);
        if is_within_line && self.prefix.contains('>') {
            out.push_str(&self.prefix);
        }
    }

    /// Closes it.
    pub fn close(&self, out: &mut String) {
        out.extend([&self.prefix, self.marker]);
    }
}
