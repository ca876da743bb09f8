//! Long text in parts that a platform takes.
//!
//! Put together, the parts give the text back. No part is over either limit, and no cut is inside a
//! grapheme unless that grapheme alone is over a limit.

use unicode_segmentation::UnicodeSegmentation;

/// Longest text of one platform message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In Unicode scalar values.
    pub chars: usize,
    /// In bytes of UTF-8.
    pub bytes: usize,
}

/// How parts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Fences.
    pub fences: bool,
    /// Marks.
    pub marks: bool,
}

/// Splits.
pub fn split(text: &str, limits: Limits, _options: Options) -> Vec<String> {
    split_old(text, limits)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Splits `text`; blank text has no parts.
fn split_old(text: &str, limits: Limits) -> Vec<&str> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let longest = longest_prefix(rest, limits);
        let end = if longest == rest.len() {
            longest
        } else {
            best_cut(rest.split_at(longest).0)
        };
        let (part, tail) = rest.split_at(end);
        parts.push(part);
        rest = tail;
    }
    parts
}

/// Length of the longest prefix within the limits that ends between two graphemes; of whole
/// characters where the first grapheme alone is too long. At least one character.
fn longest_prefix(text: &str, limits: Limits) -> usize {
    if text.len() <= limits.bytes && text.len() <= limits.chars {
        return text.len();
    }
    let mut chars = 0;
    let mut end = 0;
    for grapheme in text.graphemes(true) {
        chars += grapheme.chars().count();
        if chars > limits.chars || end + grapheme.len() > limits.bytes {
            break;
        }
        end += grapheme.len();
    }
    if end > 0 {
        return end;
    }
    text.char_indices()
        .map(|(start, char)| start + char.len_utf8())
        .enumerate()
        .take_while(|(index, end)| *index < limits.chars && *end <= limits.bytes)
        .last()
        .map_or_else(
            || text.chars().next().map_or(0, char::len_utf8),
            |(_, end)| end,
        )
}

/// Where to cut a prefix: after its last blank line, line, sentence or word, whichever comes first
/// in this order in its second half; else at its end.
fn best_cut(prefix: &str) -> usize {
    let half = prefix.len() / 2;
    [after_blank_line, after_line, after_sentence, after_space]
        .iter()
        .filter_map(|cut| cut(prefix))
        .find(|end| *end > half)
        .unwrap_or(prefix.len())
}

fn after_blank_line(text: &str) -> Option<usize> {
    text.rfind("\n\n").map(|start| start + 2)
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
        .split_at(end)
        .1
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, chars: usize, expect: &[&str]) {
        let limits = Limits { chars, bytes: 400 };
        assert_eq!(split_old(text, limits), expect);
    }

    #[test]
    fn cuts_are_where_a_reader_pauses() {
        check("", 10, &[]);
        check(" \n ", 10, &[]);
        check("short", 10, &["short"]);
        check("one\n\ntwo\nthree", 10, &["one\n\ntwo\n", "three"]);
        check("para one\n\npara two", 14, &["para one\n\n", "para two"]);
        check(
            "First one. Second one.",
            14,
            &["First one. ", "Second one."],
        );
        check("第一句话。第二句话。", 8, &["第一句话。", "第二句话。"]);
        check("他说：“好的。”然后走了", 8, &["他说：“好的。”", "然后走了"]);
        check("some words here", 12, &["some words ", "here"]);
        check("abcdefghij", 4, &["abcd", "efgh", "ij"]);
    }

    #[test]
    fn a_family_emoji_stays_whole() {
        check("aaa👨‍👩‍👧‍👦", 8, &["aaa", "👨‍👩‍👧‍👦"]);
    }

    #[test]
    fn a_grapheme_over_the_limit_is_cut_between_characters() {
        let grapheme = format!("e{}", "\u{301}".repeat(9));
        let limits = Limits {
            chars: 4,
            bytes: 400,
        };
        assert_eq!(split_old(&grapheme, limits).concat(), grapheme);
    }

    #[test]
    fn bytes_count_as_well() {
        let limits = Limits {
            chars: 100,
            bytes: 9,
        };
        assert_eq!(split_old("你好吗你好吗", limits), ["你好吗", "你好吗"]);
    }

    proptest! {
        #[test]
        fn parts_are_within_the_limits_and_give_the_text_back(
            text in "([a-z .,\n]|[一-龥。！？\n]|👨‍👩‍👧|🇨🇳|e\u{301}|\\PC){0,300}",
            chars in 1usize..60,
            bytes in 4usize..120,
        ) {
            let limits = Limits { chars, bytes };
            let parts = split_old(&text, limits);
            if !text.trim().is_empty() {
                prop_assert_eq!(parts.concat(), text.as_str());
            }
            for part in parts {
                prop_assert!(part.chars().count() <= chars && part.len() <= bytes && !part.is_empty());
            }
        }

        #[test]
        fn no_cut_is_inside_a_grapheme(
            text in "(👨‍👩‍👧‍👦|🇨🇳|e\u{301}|你|a| ){1,200}",
        ) {
            let parts = split_old(&text, Limits { chars: 20, bytes: 100 });
            let whole: Vec<&str> = text.graphemes(true).collect();
            let again: Vec<&str> = parts.iter().flat_map(|part| part.graphemes(true)).collect();
            if !parts.is_empty() {
                prop_assert_eq!(again, whole);
            }
        }
    }
}
