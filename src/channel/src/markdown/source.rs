//! Markdown as its writer means it, for a parser that knows CommonMark alone.
//!
//! CommonMark asks for a blank or a punctuation mark beside a mark of emphasis, as writers of Latin
//! scripts have it, and takes every tag for HTML. What a writer means otherwise is told to the parser
//! by characters that no text has: they are put in before it reads and taken out of what is written.
//! Within code, addresses and tags they change nothing, since they are taken out there as well.

use std::borrow::Cow;

use super::{Events, delimiters, tags};

/// What is inserted at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Beside a run of delimiters stands a letter, whatever stands there.
    Letter,
    /// Before a run of delimiters stands a blank.
    BlankBefore,
    /// Behind a run of delimiters stands a blank.
    BlankBehind,
    /// The next character is no markup.
    Text,
}

/// Reserved by Unicode and without a width: tables stay aligned.
const LETTER: char = '\u{fff0}';
const TEXT: char = '\u{fff1}';
const BLANK: char = '\u{fff2}';
/// A blank for the parser that no other text has; beside it is always [`BLANK`].
pub const OGHAM_SPACE: char = '\u{1680}';

impl Hint {
    fn text(self) -> &'static str {
        match self {
            Hint::Letter => "\u{fff0}",
            Hint::BlankBefore => "\u{fff2}\u{1680}",
            Hint::BlankBehind => "\u{1680}\u{fff2}",
            Hint::Text => "\u{fff1}\\",
        }
    }
}

/// A text that was made ready for the parser.
#[derive(Debug)]
pub struct Source<'a> {
    text: Cow<'a, str>,
}

impl<'a> Source<'a> {
    /// Makes a text ready.
    pub fn new(markdown: &'a str) -> Source<'a> {
        let mut hints = delimiters::hints(markdown);
        hints.extend(tags::hints(markdown));
        Source::with(markdown, hints)
    }

    pub(super) fn with(markdown: &'a str, mut hints: Vec<(usize, Hint)>) -> Source<'a> {
        if hints.is_empty() {
            return Source {
                text: Cow::Borrowed(markdown),
            };
        }
        hints.sort_by_key(|(offset, _)| *offset);
        let mut text = String::with_capacity(markdown.len() + 4 * hints.len());
        let mut done = 0;
        for (offset, hint) in hints {
            push_foreign(markdown.get(done..offset).unwrap_or_default(), &mut text);
            text.push_str(hint.text());
            done = offset;
        }
        push_foreign(markdown.get(done..).unwrap_or_default(), &mut text);
        Source {
            text: Cow::Owned(text),
        }
    }

    /// What the parser reads; the ranges of its events are ranges of this text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The events of the parser. There are none where quotes and lists are nested as no writer nests
    /// them: such a text is to be taken as one without Markdown.
    pub fn events(&self) -> Option<Events<'_>> {
        super::events(&self.text)
    }

    /// Whether the parser was told that what follows `before`, which is of this source, is text.
    pub fn is_told(before: &str) -> bool {
        before.ends_with(Hint::Text.text())
    }

    /// What was written of it, without what was put in.
    pub fn restore(&self, written: String) -> String {
        match self.text {
            Cow::Borrowed(_) => written,
            Cow::Owned(_) => without_hints(&written),
        }
    }
}

/// Appends a text as it came. What only we put in is not for others.
fn push_foreign(text: &str, out: &mut String) {
    if next_hint(text, 0).is_none() {
        return out.push_str(text);
    }
    out.extend(text.chars().filter(|char| !is_hint(*char)));
}

/// Whether a character is one that was put in.
pub fn is_hint(char: char) -> bool {
    matches!(char, LETTER | TEXT | BLANK)
}

/// The offset of the next of our characters. All of them begin with the same byte.
fn next_hint(text: &str, from: usize) -> Option<(usize, char)> {
    let rest = text.as_bytes().get(from..)?;
    memchr::memchr_iter(0xef, rest).find_map(|at| {
        let bytes = rest.get(at + 1..at + 3)?;
        let char = match bytes {
            [0xbf, 0xb0] => LETTER,
            [0xbf, 0xb1] => TEXT,
            [0xbf, 0xb2] => BLANK,
            _ => return None,
        };
        Some((from + at, char))
    })
}

fn without_hints(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some((at, char)) = next_hint(text, done) {
        out.push_str(text.get(done..at).unwrap_or_default());
        done = at + char.len_utf8();
        let behind = text.get(done..).unwrap_or_default();
        // The parser takes the backslash away but in code, and so does an editor of the source.
        if char == TEXT && behind.starts_with('\\') {
            done += 1;
        }
        if char == BLANK && behind.starts_with(OGHAM_SPACE) {
            done += OGHAM_SPACE.len_utf8();
        } else if char == BLANK && out.ends_with(OGHAM_SPACE) {
            out.pop();
        }
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}
