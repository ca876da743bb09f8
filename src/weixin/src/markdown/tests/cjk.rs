//! Emphasis, tags and scripts as writers mean them, in what WeChat's clients render.

use proptest::prelude::*;

use super::*;

#[path = "../../../../channel/src/markdown/examples/cjk.rs"]
mod examples;

use examples::{EMPHASIS, HOSTILE, IDENTIFIERS, LITERAL, SCRIPTS, TAGS, TILDES};

/// Whether a character is one that the reading of Markdown puts in for itself.
fn is_put_in(char: char) -> bool {
    matches!(char, '\u{fff0}'..='\u{fff2}' | '\u{1680}')
}

/// Bold stays to the byte, as clients render it.
#[test]
fn native_text_has_no_character_that_was_put_in() {
    for (markdown, expect) in EMPHASIS {
        let text = native(markdown);
        let is_italic = markdown.contains('*') && !markdown.contains("**");
        if is_italic || markdown.contains("***") {
            assert_eq!(text, *expect, "of {markdown}");
        } else if !markdown.contains('<') {
            assert_eq!(text, *markdown);
        }
    }
}

#[test]
fn what_is_no_markup_stays() {
    for text in TILDES.iter().chain(LITERAL).chain(IDENTIFIERS) {
        assert_eq!(native(text), *text);
    }
    assert_eq!(native("~~¥100~~ ¥80 ~~旧：~~新"), "~~¥100~~ ¥80 ~~旧：~~新");
}

#[test]
fn a_tag_is_html_when_it_is_used_as_html() {
    for text in TAGS {
        let full_width = text.replace('<', "＜").replace("＜/", "</");
        assert_eq!(native(text), full_width);
        assert_eq!(native(&full_width), full_width);
    }
    // The official client passes a closing tag through.
    assert_eq!(native("end</span> after"), "end</span> after");
    assert_eq!(native("a \\</span>"), "a ＜/span>");
    for tag in ["<b>粗</b>", "<a href=\"U\">t</a>", "<div>x</div>", "a<br>b"] {
        assert_eq!(native(tag), tag);
    }
}

#[test]
fn scripts_read_as_they_are_meant() {
    for (markdown, expect) in SCRIPTS {
        if !markdown.starts_with("<p>") {
            assert_eq!(native(markdown), *expect);
        }
    }
    assert_eq!(native("<p>10<sup>6</sup></p>"), "<p>10⁶</p>");
    assert_eq!(native("x<sup>**n**</sup>"), "x^(**n**)");
}

#[test]
fn hostile_emphasis_is_told_within_bounds() {
    for pattern in HOSTILE {
        let source = pattern.repeat(15_000 / pattern.len());
        assert!(native(&source).len() <= 30 * source.len());
    }
}

proptest! {
    #[test]
    fn what_is_put_in_is_taken_out(
        source in "([*_~]{1,3}|[a-c1 ：，。《》“”（）\\.\\\\/`]|[中が한]|__init__|<b>|</b>|<sup>|</sup>|<input>|<a href='u'>|</a>|\n){0,60}",
    ) {
        let text = native(&source);
        prop_assert!(!text.contains(is_put_in), "{:?}", text);
    }
}
