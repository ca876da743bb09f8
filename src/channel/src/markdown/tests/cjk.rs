//! Emphasis, tags and scripts as writers mean them.

use super::*;
use examples::{EMPHASIS, HOSTILE, IDENTIFIERS, LITERAL, SCRIPTS, TAGS, TILDES};

#[path = "../examples/cjk.rs"]
mod examples;

#[test]
fn emphasis_beside_cjk_is_what_the_writer_means() {
    for (markdown, expect) in EMPHASIS {
        check(markdown, expect);
    }
}

#[test]
fn a_bold_address_at_the_end_of_a_sentence_has_no_marks() {
    check("See **https://example.com/**.", "See https://example.com/.");
    check("Look into **src/**.", "Look into src/.");
    for text in ["a/*.rs", "src/**/*.rs", "src/*/*.toml"] {
        check(text, text);
    }
}

#[test]
fn strikes_beside_cjk() {
    let struck = |text: &str| strike::strike(text).into_owned();
    check("~~__注意：__请~~", &struck("注意：请"));
    for (markdown, old, new) in [
        ("~~¥100~~ ¥80", "¥100", " ¥80"),
        ("~~旧：~~新", "旧：", "新"),
        ("~~（旧）~~新", "（旧）", "新"),
        ("~~old price~~ new", "old price", " new"),
        ("~~`f()`~~ g", "f()", " g"),
        ("<del>¥100</del> ¥80", "¥100", " ¥80"),
        ("<s>旧。</s>新", "旧。", "新"),
        ("~~**粗**~~新", "粗", "新"),
        ("~~👨‍👩‍👧é~~", "👨‍👩‍👧é", ""),
    ] {
        check(markdown, &format!("{}{new}", struck(old)));
    }
    check(
        "~~[旧](https://a.b)~~",
        &format!("{} (https://a.b)", struck("旧")),
    );
    check("~~<https://a.b>~~ x", "https://a.b x");
    check("~~a  \nb~~", &format!("{}\n{}", struck("a"), struck("b")));
    check("~~~\n~~x~~\n~~~", "~~x~~");
    for text in TILDES {
        check(text, text);
    }
}

#[test]
fn what_is_no_emphasis_keeps_its_marks() {
    for text in LITERAL {
        let expect = text.replace('`', "");
        check(text, &expect);
    }
    check("\\**结论：**可以", "**结论：**可以");
    check("\\*\\*结论：\\*\\*可以", "**结论：**可以");
    check(
        "```\n**结论：**可以 __init__ <input>\n```",
        "**结论：**可以 __init__ <input>",
    );
    check("[a](https://a.b/（**c）**d)", "a (https://a.b/（**c）**d)");
    check("<https://a.b/（**c>", "https://a.b/（**c");
}

#[test]
fn identifiers_keep_their_underscores() {
    for text in IDENTIFIERS {
        check(text, text);
    }
    check("__bold text__ __bold__ _it_", "bold text bold it");
    check("**__init__.py**：说明", "__init__.py：说明");
    check(
        "[__init__.py](src/__init__.py)",
        "__init__.py (src/__init__.py)",
    );
    check("[src/__init__.py](src/__init__.py)", "src/__init__.py");
}

#[test]
fn a_tag_is_html_when_it_is_used_as_html() {
    for text in TAGS {
        let expect = text.replace("- ", "• ");
        check(text, &expect);
    }
    check(
        "<b>a</b> <i>b <u>c</u></i> <span style='x'>d</span>",
        "a b c d",
    );
    check("a<br>b<hr>c<br/>d", "a\nb\nc\nd");
    check(
        "<input type=\"text\">x <img src=\"u\" alt=\"图\">",
        "x 图 (u)",
    );
    check("<ul><li>a<li>b</ul>", "a\nb");
    check(
        "<details>\n<summary>More</summary>\n\n*x*\n\n</details>",
        "More\n\nx",
    );
    check(
        "Set <title> as in `<title>x</title>`",
        "Set <title> as in <title>x</title>",
    );
    check(
        "<title>\n\n```html\n<title>x</title>\n```",
        "<title>\n\n<title>x</title>",
    );
    check("<b><i>x</b></i> <p>", "x <p>");
}

#[test]
fn links_of_html_keep_their_address() {
    check(
        "<a href=\"https://a.b/?x=1&amp;y=2\">t</a>",
        "t (https://a.b/?x=1&y=2)",
    );
    check("看<a href='U'>t</a>。", "看t (U)。");
    check("<A class=x HREF=U>t</A>", "t (U)");
    check("<a href=\"U\"></a> <a name=\"x\">y</a>", "U y");
    check("<a href=\"https://a.b\">https://a.b</a>", "https://a.b");
    check("<p>see <a href=\"U\"><b>t</b></a></p>", "see t (U)");
    check(
        "<a href=\"U\"><img src=\"i.png\" alt=\"logo\"></a>",
        "logo (i.png) (U)",
    );
    check("- <a href=\"U\">a\n- b</a>", "• a\n• b (U)");
    check("|<a href=\"U\">a</a>|\n|-|", "a (U)");
}

#[test]
fn scripts_read_as_they_are_meant() {
    for (markdown, expect) in SCRIPTS {
        check(markdown, expect);
    }
    check("x<sup>2", "x<sup>2");
    check("`x<sup>2</sup>`", "x<sup>2</sup>");
    check("|x<sup>2</sup>|y|\n|-|-|\n|1|2|", "x²  y\n1   2");
}

#[test]
fn each_character_has_one_form() {
    for (plain, small) in [script::SUPER, script::SUB] {
        assert_eq!(plain.chars().count(), small.chars().count());
    }
}

#[test]
fn characters_of_ours_in_a_text_do_no_harm() {
    let text = "\u{fff0}**结论：\u{fff1}\\**可\u{fff2}\u{1680}以";
    check(text, &plain(text));
    assert!(!plain("**结论：**可\u{fff1}以\u{fff0}").contains(source::is_hint));
    check("ᚑᚌ\u{1680}ᚐᚋ **x：**y", "ᚑᚌ\u{1680}ᚐᚋ x：y");
}

#[test]
fn hostile_emphasis_is_told_within_bounds() {
    for pattern in HOSTILE {
        let source = pattern.repeat(15_000 / pattern.len());
        assert!(delimiters::hints(&source).len() <= source.len());
        super::assert_is_bounded(&source);
    }
    let nested = format!("x{}{}", "<sup>a".repeat(9_000), "</sup>".repeat(9_000));
    super::assert_is_bounded(&nested);
}

proptest! {
    #[test]
    fn what_is_put_in_is_taken_out(
        source in "([*_~]{1,3}|[a-c1 ：，。《》“”（）\\.\\\\/`]|[中が한]|__init__|<b>|</b>|<sup>|</sup>|<input>|<a href='u'>|</a>|\n){0,60}",
    ) {
        let told = Source::new(&source);
        prop_assert_eq!(told.restore(told.text().to_owned()), source.clone());
        let text = plain(&source);
        prop_assert!(!text.contains(source::is_hint) && !text.contains('\u{1680}'), "{:?}", text);
    }

    #[test]
    fn text_without_marks_is_told_nothing(source in "[^*_~<]{0,200}") {
        let told = Source::new(&source);
        prop_assert_eq!(told.text(), source.as_str());
    }
}
