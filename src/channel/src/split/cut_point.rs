//! Where plain text may be cut.

use unicode_segmentation::GraphemeCursor;

use super::Limits;

/// Longest name of a scheme, such as `https`.
const MAX_SCHEME: usize = 16;

/// Length of the longest prefix within the limits that ends between two graphemes; of whole
/// characters where the first grapheme alone is too long. At least one character.
pub fn longest_prefix(text: &str, limits: Limits) -> usize {
    if text.len() <= limits.size.min(limits.chars) {
        return text.len();
    }
    let mut size = 0;
    let end = text
        .char_indices()
        .take(limits.chars)
        .take_while(|(_, char)| {
            size += limits.unit.len(*char);
            size <= limits.size
        })
        .last()
        .map(|(start, char)| start + char.len_utf8())
        .unwrap_or_else(|| text.chars().next().map_or(0, char::len_utf8));
    if is_boundary(text, end) {
        return end;
    }
    GraphemeCursor::new(end, text.len(), true)
        .prev_boundary(text, 0)
        .ok()
        .flatten()
        .filter(|end| *end > 0)
        .unwrap_or(end)
}

/// Where to cut a text within its first `window` bytes: after the last blank line, line, sentence or
/// word in the second half of the window, tried in this order. Without any of them, the cut is at the end
/// of the window, or before the URL there.
pub fn best_cut(text: &str, window: usize) -> usize {
    let prefix = text.get(..window).unwrap_or_default();
    [after_blank_line, after_line, after_sentence, after_space]
        .iter()
        .filter_map(|cut| cut(prefix))
        .find(|end| *end > window / 2 && is_boundary(text, *end))
        .or_else(|| url_around(text, window))
        .unwrap_or(window)
}

fn is_boundary(text: &str, at: usize) -> bool {
    GraphemeCursor::new(at, text.len(), true)
        .is_boundary(text, 0)
        .unwrap_or(true)
}

fn after_blank_line(text: &str) -> Option<usize> {
    let after = |blank: &str| text.rfind(blank).map(|start| start + blank.len());
    after("\n\n").max(after("\n\r\n"))
}

fn after_line(text: &str) -> Option<usize> {
    text.rfind('\n').map(|start| start + 1)
}

/// Chinese sentences end with their mark, Western ones with a mark and a space.
fn after_sentence(text: &str) -> Option<usize> {
    let chinese = text
        .char_indices()
        .rfind(|(_, char)| matches!(char, '。' | '！' | '？' | '；' | '…'))
        .map(|(start, char)| start + char.len_utf8());
    let western = [". ", "! ", "? "]
        .iter()
        .filter_map(|end| text.rfind(end))
        .max()
        .map(|start| start + 2);
    // A closing quotation mark or bracket belongs to the sentence before it.
    let end = chinese.max(western)?;
    let closing: usize = text
        .get(end..)
        .unwrap_or_default()
        .chars()
        .take_while(|char| matches!(char, '”' | '’' | '」' | '』' | '）' | '》'))
        .map(char::len_utf8)
        .sum();
    Some(end + closing)
}

fn after_space(text: &str) -> Option<usize> {
    text.char_indices()
        .rfind(|(_, char)| char.is_whitespace())
        .map(|(start, char)| start + char.len_utf8())
}

/// The start of the URL that a cut at `cut` would split.
fn url_around(text: &str, cut: usize) -> Option<usize> {
    let (before, after) = text.split_at_checked(cut)?;
    if after.chars().next().is_none_or(ends_url) {
        return None;
    }
    let start = before
        .char_indices()
        .rfind(|(_, char)| ends_url(*char))
        .map_or(0, |(start, char)| start + char.len_utf8());
    // The cut may be inside the scheme.
    let ahead = after.floor_char_boundary(MAX_SCHEME + 3);
    let token = text.get(start..cut + ahead)?;
    let (scheme, _) = token.split_once("://")?;
    let other = scheme.trim_end_matches(|char: char| char.is_ascii_alphanumeric());
    let url = start + other.len();
    (other.len() < scheme.len() && url < cut && url > 0 && is_boundary(text, url)).then_some(url)
}

fn ends_url(char: char) -> bool {
    char.is_whitespace()
        || matches!(
            char,
            '<' | '>'
                | '"'
                | '`'
                | '|'
                | '，'
                | '。'
                | '、'
                | '；'
                | '：'
                | '！'
                | '？'
                | '…'
                | '（'
                | '）'
                | '【'
                | '】'
                | '「'
                | '」'
                | '『'
                | '』'
                | '《'
                | '》'
                | '“'
                | '”'
                | '‘'
                | '’'
        )
}
