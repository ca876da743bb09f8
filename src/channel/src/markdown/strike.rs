//! Text that is struck out, without markup: a stroke through each character (U+0336).
//!
//! It is the one form that says the same in every language and can't be read as something else: `~~`
//! is a long vowel in Chinese chats, and "was" would be one language, and no word for a line that was
//! deleted. People write such text in chats, and the fonts of phones show it. Its price: a search for the
//! characters alone does not find it, it is twice as long, and some screen readers name the strokes.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;

use super::{html, source};

/// Combining long stroke overlay.
pub const STROKE: char = '\u{336}';

/// A text, struck out. An address stays as it is, so that one can tap on it.
pub fn strike(text: &str) -> Cow<'_, str> {
    if html::is_address(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(3 * text.len());
    for grapheme in text.graphemes(true) {
        out.push_str(grapheme);
        let last = grapheme.chars().next_back();
        // A blank of the hints is taken out together with its hint.
        let is_bare =
            |last| matches!(last, '\n' | source::OGHAM_SPACE | STROKE) || source::is_hint(last);
        if !last.is_some_and(is_bare) {
            out.push(STROKE);
        }
    }
    Cow::Owned(out)
}

/// Whether a tag begins or ends text that is struck out.
pub fn is_tag(tag: &str) -> bool {
    html::is_one_of(html::name(tag), "del s strike")
}
