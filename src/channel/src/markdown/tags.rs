//! Which tags are HTML: those that are used as HTML. The others are what a text speaks of, as in
//! `ffmpeg -i <input> <output>`.

use std::collections::HashMap;

use pulldown_cmark::{Event, Tag as Markdown};

use super::html::{self, Piece};
use super::source::Hint;

/// A tag of an element of HTML.
#[derive(Debug)]
struct Tag {
    offset: usize,
    role: Role,
    /// Its end tag may be left out where another element ends.
    is_optional: bool,
    is_used: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Opening,
    Closing,
    /// It has no content.
    Alone,
}

/// Tells the tags that are text: of an element that is never closed, without content and without
/// attributes, and closing tags that close nothing.
pub fn hints(markdown: &str) -> Vec<(usize, Hint)> {
    if !has_tags(markdown) {
        return Vec::new();
    }
    let mut tags = Tags::default();
    for (event, range) in super::events(markdown).into_iter().flatten() {
        if !matches!(
            event,
            Event::InlineHtml(_) | Event::Start(Markdown::HtmlBlock)
        ) {
            continue;
        }
        let mut start = range.start;
        for piece in html::pieces(markdown.get(range).unwrap_or_default()) {
            let text = match piece {
                Piece::Tag(tag) => {
                    tags.take(start, tag);
                    tag
                }
                Piece::Text(text) => text,
            };
            start += text.len();
        }
    }
    tags.hints()
}

/// Whether there may be a tag to be told of. Those that stand for themselves are never text.
fn has_tags(markdown: &str) -> bool {
    memchr::memchr_iter(b'<', markdown.as_bytes()).any(|at| {
        let name = html::name(markdown.get(at..).unwrap_or_default());
        html::is_element(name) && !html::is_one_of(name, SELF_EVIDENT)
    })
}

#[derive(Debug, Default)]
struct Tags {
    tags: Vec<Tag>,
    /// The elements that are open, by name: indices of their tags.
    open: HashMap<String, Vec<usize>>,
}

impl Tags {
    fn take(&mut self, offset: usize, tag: &str) {
        let name = html::name(tag).to_ascii_lowercase();
        if name.is_empty() {
            return;
        }
        let is_closing = tag.starts_with("</");
        let attributes = tag.get(1 + name.len()..).unwrap_or_default();
        let attributes = attributes.trim_end_matches('>').trim();
        let is_evident = html::is_one_of(&name, SELF_EVIDENT);
        let role = match html::is_one_of(&name, VOID) || attributes.ends_with('/') {
            _ if is_evident => Role::Alone,
            true if !is_closing => Role::Alone,
            _ if is_closing => Role::Closing,
            _ => Role::Opening,
        };
        let index = self.tags.len();
        let mut is_used = role == Role::Alone && (is_evident || !attributes.is_empty());
        match role {
            Role::Opening => self.open.entry(name.clone()).or_default().push(index),
            Role::Closing => {
                let opening = self.open.get_mut(&name).and_then(Vec::pop);
                if let Some(tag) = opening.and_then(|opening| self.tags.get_mut(opening)) {
                    tag.is_used = true;
                    is_used = true;
                }
            }
            Role::Alone => {}
        }
        self.tags.push(Tag {
            offset,
            role,
            is_optional: html::is_one_of(&name, OPTIONAL),
            is_used,
        });
    }

    fn hints(self) -> Vec<(usize, Hint)> {
        let mut depth = 0_usize;
        let mut hints = Vec::new();
        for tag in self.tags {
            match tag.role {
                Role::Opening if tag.is_used => depth += 1,
                Role::Closing if tag.is_used => depth = depth.saturating_sub(1),
                _ => {}
            }
            let is_inside = tag.is_optional && depth > 0;
            if !tag.is_used && !is_inside {
                hints.push((tag.offset, Hint::Text));
            }
        }
        hints
    }
}

/// Elements without content that are used without attributes.
const SELF_EVIDENT: &str = "br hr wbr";

/// Elements without content.
const VOID: &str =
    "area base basefont br col embed frame hr img input link meta param source track wbr";

/// Elements whose end tag may be left out.
const OPTIONAL: &str = "colgroup dd dt li optgroup option p rp rt tbody td tfoot th thead tr";
