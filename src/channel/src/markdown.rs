//! Markdown (CommonMark and GFM) as text that reads well without any markup.
//!
//! No text is lost but that of comments and of cells that have no header, no line ends with a blank, and between two blocks is one
//! empty line. Text without Markdown stays as it is, with its line breaks and its indentation; what
//! is left over in it is more than one empty line in a row, and blanks at the ends of lines.
//!
//! | Markdown | text |
//! |---|---|
//! | heading, emphasis, inline code | the words alone; a heading is a block of its own |
//! | list, task list | `•`, numbers counted from the first, `☐` and `☑`; nested ones are indented |
//! | quote | `│ ` before each line |
//! | code | as it is, without fences; an indented block stays indented |
//! | table | narrow: columns; wide: a block for each row, a line `Header: cell` for each cell |
//! | link, image | `text (address)`, the address alone where it is the text |
//! | struck out | a stroke through each character: `¥̶1̶0̶0̶` |
//! | footnote | `[1]`, and the notes at the end, in the order of their numbers |
//! | HTML | without comments and tags; `<br>` is a new line, `<a>`, `<img>` and `<del>` are as above |
//! | `<sup>`, `<sub>` | `10⁶`, `H₂O`; where there is no such character `x^(a/b)`, `x_(a,b)` |
//! | rule | `———` |
//!
//! Beside Chinese, Japanese and Korean letters and punctuation marks of emphasis are what the writer
//! means, not what CommonMark's rule makes of them (`**结论：**可以`). Not taken as markup, since an
//! answer means it as text:
//!
//! - single tildes (`~5 or 6~`, which GFM strikes) and asterisks between digits (`2*3*4`),
//! - the underscores and stars of identifiers (`__init__.py`, `**kwargs`),
//! - tags whose name is none of HTML's (`Vec<String>`, `<your-key>`), and tags of elements that are
//!   not used: never closed, without content and without attributes (`ffmpeg -i <input> <output>`).
//!
//! Time is linear in the text's length, and the result is at most some thirty times as long.

mod delimiters;
mod flatten;
pub mod html;
mod inline;
mod notes;
mod page;
pub mod script;
mod source;
pub mod strike;
mod table;
mod tags;

pub use source::Source;

use std::ops::Range;

use pulldown_cmark::{Event, OffsetIter, Options, Parser};

#[cfg(test)]
mod tests;

/// Column behind which no quote or list may begin: the parser takes time for each line and each of
/// the containers that it is in.
const MAX_CONTAINER_COLUMN: usize = 200;

/// The text of `markdown`.
pub fn plain(markdown: &str) -> String {
    let source = Source::new(markdown);
    match source.events() {
        Some(events) => source.restore(flatten::flatten(source.text(), events)),
        None => markdown.trim_end().to_owned(),
    }
}

/// The events of CommonMark, with their ranges in `markdown`. There are none where quotes and lists
/// are nested as no writer nests them: such a text is to be taken as one without Markdown.
pub fn events(markdown: &str) -> Option<Events<'_>> {
    if markdown.lines().any(is_too_deep) {
        return None;
    }
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    Some(Events(
        Parser::new_ext(markdown, options).into_offset_iter(),
    ))
}

/// Events with their places in the text. The parser is generic, and this makes one of it for the SDK and
/// the channels alike.
#[derive(Debug)]
pub struct Events<'a>(OffsetIter<'a>);

impl<'a> Iterator for Events<'a> {
    type Item = (Event<'a>, Range<usize>);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

fn is_too_deep(line: &str) -> bool {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        match after_container_marker(rest) {
            Some(after) => rest = after,
            None => return false,
        }
        if line.len() - rest.len() > MAX_CONTAINER_COLUMN {
            return true;
        }
    }
}

/// What is behind the marker of a quote, a list item or a footnote.
fn after_container_marker(line: &str) -> Option<&str> {
    if let Some(after) = line.strip_prefix('>') {
        return Some(after);
    }
    if let Some(after) = line.strip_prefix("[^") {
        return after.split_once(']')?.1.strip_prefix(':');
    }
    let number = line.trim_start_matches(|char: char| char.is_ascii_digit());
    let after = if number.len() < line.len() {
        number.strip_prefix(['.', ')'])
    } else {
        line.strip_prefix(['-', '+', '*'])
    }?;
    (after.is_empty() || after.starts_with([' ', '\t'])).then_some(after)
}
