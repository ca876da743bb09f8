//! Emphasis, tags and scripts as writers mean them, in what WeCom's clients render.

use proptest::prelude::*;

use super::*;

#[path = "../../../../channel/src/markdown/examples/cjk.rs"]
mod examples;

use examples::{EMPHASIS, HOSTILE, IDENTIFIERS, LITERAL, SCRIPTS, TAGS, TILDES};

/// Whether a character is one that the reading of Markdown puts in for itself.
fn is_put_in(char: char) -> bool {
    matches!(char, '\u{fff0}'..='\u{fff2}' | '\u{1680}')
}

#[test]
fn native_text_has_no_character_that_was_put_in() {
    for (markdown, _) in EMPHASIS {
        let text = native(markdown);
        assert!(
            !text.contains(is_put_in) && !text.contains("__"),
            "{text:?}"
        );
    }
    assert_eq!(native("__结论：__可以"), "**结论：**可以");
    assert_eq!(native("*斜体：*文字 **粗：**字"), "斜体：文字 **粗：**字");
}

#[test]
fn strikes_beside_cjk() {
    let struck = |text: &str| strike(text).into_owned();
    assert_eq!(native("~~¥100~~ ¥80"), format!("{} ¥80", struck("¥100")));
    assert_eq!(
        native("~~**旧：**~~新"),
        format!("**{}**新", struck("旧："))
    );
    assert_eq!(native("<del>`a`</del> b"), format!("`{}` b", struck("a")));
}

#[test]
fn what_is_no_markup_stays() {
    let texts = TILDES.iter().chain(LITERAL).chain(IDENTIFIERS);
    for text in texts.chain(TAGS) {
        assert_eq!(native(text), *text);
    }
    assert_eq!(native("__bold text__ *a*"), "**bold text** a");
}

#[test]
fn links_of_html_keep_their_address() {
    assert_eq!(
        native("<a href=\"U\">t</a> <img src=\"i\" alt=\"p\">"),
        "[t](U) [p](i)"
    );
    assert_eq!(
        native("<font color=\"info\">x</font>"),
        "<font color=\"info\">x</font>"
    );
}

#[test]
fn scripts_read_as_they_are_meant() {
    for (markdown, expect) in SCRIPTS {
        if !markdown.starts_with("<p>") {
            assert_eq!(native(markdown), *expect);
        }
    }
    assert_eq!(native("文献<sup>[1](u)</sup>"), "文献[1](u)");
}

#[test]
fn hostile_emphasis_is_told_within_bounds() {
    for pattern in HOSTILE {
        let source = pattern.repeat(15_000 / pattern.len());
        assert!(native(&source).len() <= 30 * source.len());
    }
    let nested = format!("x{}{}", "<sup>a".repeat(9_000), "</sup>".repeat(9_000));
    assert!(native(&nested).len() <= nested.len());
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
