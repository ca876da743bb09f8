//! Removes the thoughts of a model, which some servers leave in the text of an answer.
//!
//! A thought stands at the very start of the text: a block that is opened there, or everything before a
//! closing tag that was never opened. A tag inside of code belongs to the answer.

/// Tags around thoughts: of DeepSeek and Qwen, Claude's prompts, Gemma, Seed, Mistral, Kimi.
const TAGS: [(&str, &str); 9] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[think]", "[/think]"),
    ("◁think▷", "◁/think▷"),
    // The channels of gpt-oss.
    (
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>",
    ),
];

/// The text without the thoughts at its start. Empty where nothing else is there.
pub fn without(text: &str) -> &str {
    let mut rest = text;
    let mut is_first = true;
    loop {
        let start = rest.trim_start();
        if let Some((open, close)) = TAGS.iter().find(|(open, _)| starts_with(start, open)) {
            let inner = start.get(open.len()..).unwrap_or_default();
            rest = match end_of_thought(inner, close) {
                Some(end) => inner.get(end..).unwrap_or_default(),
                None => "",
            };
        } else if is_first && let Some(end) = end_without_start(rest) {
            rest = rest.get(end..).unwrap_or_default();
        } else if is_first {
            return text;
        } else {
            return start;
        }
        is_first = false;
    }
}

fn starts_with(text: &str, tag: &str) -> bool {
    let start = text.as_bytes().get(..tag.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
}

/// The position behind the closing tag of a thought. A thought may mention tags, so a tag outside of code
/// has precedence. Code in a thought may have no end.
fn end_of_thought(text: &str, tag: &str) -> Option<usize> {
    let place =
        find_outside_code(text, |rest| starts_with(rest, tag)).or_else(|| find(text, tag))?;
    Some(place + tag.len())
}

/// Behind a closing tag without an opening one before it, outside of code.
fn end_without_start(text: &str) -> Option<usize> {
    let found = TAGS.iter().filter_map(|(open, close)| {
        let place = find_outside_code(text, |rest| starts_with(rest, close))?;
        let is_opened = find(text, open).is_some_and(|opened| opened < place);
        (!is_opened).then_some(place + close.len())
    });
    found.min()
}

fn find(text: &str, tag: &str) -> Option<usize> {
    let mut windows = text.as_bytes().windows(tag.len());
    windows.position(|window| window.eq_ignore_ascii_case(tag.as_bytes()))
}

/// The first place outside of Markdown's code where `is_here` holds.
fn find_outside_code(text: &str, is_here: impl Fn(&str) -> bool) -> Option<usize> {
    let mut fence: Option<&str> = None;
    let mut place = 0;
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) if closes_nothing(start, mark) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, _) => {
                if let Some(found) = find_in_line(line, &is_here) {
                    return Some(place + found);
                }
            }
        }
        place += line.len();
    }
    None
}

/// Whether a line that begins with a fence's mark opens a fence, and is no code in the line.
fn closes_nothing(line: &str, mark: &str) -> bool {
    let info = line.trim_start_matches(mark);
    mark == "~~~" || !info.contains('`')
}

/// The same in a line; what stands between runs of as many backticks is code.
fn find_in_line(line: &str, is_here: impl Fn(&str) -> bool) -> Option<usize> {
    let mut place = 0;
    while let Some(rest) = line.get(place..).filter(|rest| !rest.is_empty()) {
        let ticks = rest.len() - rest.trim_start_matches('`').len();
        if ticks > 0 {
            let inner = rest.get(ticks..).unwrap_or_default();
            place += ticks + length_of_code(inner, ticks).unwrap_or(0);
            continue;
        }
        if is_here(rest) {
            return Some(place);
        }
        place += rest.chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// Up to behind the closing run of backticks; none where the opening ones are only characters.
fn length_of_code(text: &str, ticks: usize) -> Option<usize> {
    let mut place = 0;
    while let Some(found) = text.get(place..)?.find('`') {
        place += found;
        let rest = text.get(place..)?;
        let run = rest.len() - rest.trim_start_matches('`').len();
        place += run;
        if run == ticks {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thoughts_at_the_start_are_left_out() {
        for (text, expected) in [
            ("<think>hm</think>Hello", "Hello"),
            ("<think>\nhm\n</think>\n\nHello", "Hello"),
            ("\n <think></think>\n\nHello\n", "Hello\n"),
            ("<THINK>hm</Think> Hello", "Hello"),
            ("<thinking>hm</thinking>Hello", "Hello"),
            ("<think>a</think><think>b</think>Hello", "Hello"),
            ("<think>a</think>\n<reasoning>b</reasoning>\nHello", "Hello"),
            ("[THINK]hm[/THINK]Hello", "Hello"),
            ("◁think▷hm◁/think▷Hello", "Hello"),
            ("<seed:think>hm</seed:think>你好", "你好"),
            (
                "<|channel|>analysis<|message|>hm<|channel|>final<|message|>Hello",
                "Hello",
            ),
            ("hm, let me see\n</think>\n\nHello", "Hello"),
            ("hm</think>Hello", "Hello"),
            ("</think>\n\nHello", "Hello"),
            // A thought about the tags, and one with code that has no end.
            (
                "<think>they ask about `</think>`, so</think>It closes.",
                "It closes.",
            ),
            ("<think>```python\nprint(</think>Hello", "Hello"),
            ("<think>a ` b</think>Hello", "Hello"),
            ("<think>only this", ""),
            ("<think>only this</think>", ""),
            ("only this</think> \n", ""),
            ("<think>", ""),
        ] {
            assert_eq!(without(text).trim_start(), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            "Hello",
            "",
            " \n",
            "  indented",
            "Models write <think> first, and </think> behind it.",
            "The tag `</think>` closes it.",
            "The tag ``a ` </think>`` closes it.",
            "```\n<think>hm</think>\n```",
            "```xml\nhm\n</think>\n```\nthat is all",
            "~~~\n</think>\n~~~",
            "Hello <think>hm</think>",
            "<thinker>a</thinker>",
            "< think>a",
            "think>a",
            "`<think>` opens, `</think>` closes.",
        ] {
            assert_eq!(without(text), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(<think>|</think>|`{1,3}|\n|~~~|字| |a){0,30}") {
            let left = without(&text);
            prop_assert!(text.ends_with(left));
        }
    }
}
