use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

fn in_bytes(chars: usize, bytes: usize) -> Limits {
    Limits {
        chars,
        size: bytes,
        unit: Unit::Bytes,
    }
}

const PLAIN: SplitOptions = SplitOptions {
    fences: false,
    marks: false,
};
const MARKDOWN: SplitOptions = SplitOptions {
    fences: true,
    marks: false,
};
const MARKED: SplitOptions = SplitOptions {
    fences: true,
    marks: true,
};

fn check(text: &str, chars: usize, expect: &[&str]) {
    let limits = in_bytes(chars, 400);
    assert_eq!(split(text, limits, PLAIN), expect);
}

fn check_markdown(text: &str, chars: usize, options: SplitOptions, expect: &[&str]) {
    let limits = in_bytes(chars, 400);
    assert_eq!(split(text, limits, options), expect);
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
    check("abcde \u{301}fgh", 9, &["abcde \u{301}fg", "h"]);
}

#[test]
fn a_grapheme_over_the_limit_is_cut_between_characters() {
    let grapheme = format!("e{}", "\u{301}".repeat(9));
    check(
        &grapheme,
        4,
        &[
            "e\u{301}\u{301}\u{301}",
            &"\u{301}".repeat(4),
            &"\u{301}".repeat(2),
        ],
    );
}

#[test]
fn bytes_count_as_well() {
    let limits = in_bytes(100, 9);
    assert_eq!(split("你好吗你好吗", limits, PLAIN), ["你好吗", "你好吗"]);
}

#[test]
fn a_url_stays_whole_if_it_fits() {
    check(
        "请看https://a.example/b/c/d，谢谢",
        20,
        &["请看", "https://a.example/b/", "c/d，谢谢"],
    );
    check(
        "请看https://a.example/b，谢谢",
        20,
        &["请看", "https://a.example/b，", "谢谢"],
    );
    check(
        "一二三四五六七八https://a.b/c",
        13,
        &["一二三四五六七八", "https://a.b/c"],
    );
}

#[test]
fn a_row_of_a_table_stays_whole_if_it_fits() {
    let text = "| name | what it is for |\n|------|----------------|\n| a | one two three four five |\n| b | six |";
    check_markdown(
        text,
        60,
        MARKDOWN,
        &[
            "| name | what it is for |\n|------|----------------|\n",
            "| a | one two three four five |\n| b | six |",
        ],
    );
    let long = format!("text text\n| {}|", "word ".repeat(20));
    let parts = split(&long, in_bytes(60, 400), MARKDOWN);
    assert_eq!(parts.concat(), long);
    assert_eq!(parts.len(), 2);
}

#[test]
fn a_fence_that_is_cut_is_closed_and_opened_again() {
    let line = "let value = compute();\n";
    check_markdown(
        &format!("Text:\n\n~~~rust x\n{}~~~\n\nend", line.repeat(4)),
        80,
        MARKDOWN,
        &[
            &format!("Text:\n\n~~~rust x\n{}~~~", line.repeat(2)),
            &format!("~~~rust x\n{}~~~\n\nend", line.repeat(2)),
        ],
    );
    check_markdown(
        &format!("> ```\n{}> ```", format!("> {line}").repeat(4)),
        70,
        MARKDOWN,
        &[
            &format!("> ```\n{}> ```", format!("> {line}").repeat(2)),
            &format!("> ```\n{}> ```", format!("> {line}").repeat(2)),
        ],
    );
    check_markdown(
        &format!("- ```c\n{}  ```\n- b", format!("  {line}").repeat(3)),
        70,
        MARKDOWN,
        &[
            &format!("- ```c\n{}  ```", format!("  {line}").repeat(2)),
            &format!("  ```c\n  {line}  ```\n- b"),
        ],
    );
    // A block that fits stays whole, if that leaves no short part.
    check_markdown(
        &format!("{}\n\n```\n{line}{line}```", "word ".repeat(8)),
        70,
        MARKDOWN,
        &[
            &format!("{}\n\n", "word ".repeat(8)),
            &format!("```\n{line}{line}```"),
        ],
    );
    // Nobody closed it.
    check_markdown(
        &format!("```\n{}", line.repeat(3)),
        60,
        MARKDOWN,
        &[&format!("```\n{line}{line}```"), &format!("```\n{line}```")],
    );
    // Long lines.
    check_markdown(
        &format!("```\n{}\n```", "x".repeat(60)),
        40,
        MARKDOWN,
        &[
            &format!("```\n{}\n```", "x".repeat(32)),
            &format!("```\n{}\n```", "x".repeat(28)),
        ],
    );
    // No room for fences.
    check_markdown(
        "```\naaaaaaaaaaaa\nbbbbbbbb\n```",
        20,
        MARKDOWN,
        &["```\naaaaaaaaaaaa\n", "bbbbbbbb\n```"],
    );
}

#[test]
fn parts_are_numbered() {
    let text = "one two three four five six seven. ".repeat(3);
    let mark = |part: &str, n| format!("{part}\n({n}/3)");
    let sentence = "one two three four five six seven. ";
    check_markdown(
        &text,
        44,
        MARKED,
        &[&mark(sentence, 1), &mark(sentence, 2), &mark(sentence, 3)],
    );
    check_markdown("one part", 44, MARKED, &["one part"]);
    let many = split(&"a b ".repeat(2000), in_bytes(50, 400), MARKED);
    assert!(many.len() > 100);
    assert!(many[41].ends_with(&format!("\n(42/{})", many.len())));
    let code = format!("```\n{}```\n", "abcdefghi\n".repeat(6));
    check_markdown(
        &code,
        60,
        MARKED,
        &[
            &format!("```\n{}```\n(1/2)", "abcdefghi\n".repeat(4)),
            &format!("```\n{}```\n(2/2)", "abcdefghi\n".repeat(2)),
        ],
    );
}

/// Checks what holds for every text, and returns the parts.
fn check_any(text: &str, limits: Limits, options: SplitOptions) -> Vec<String> {
    let parts = split(text, limits, options);
    for part in &parts {
        assert!(!part.is_empty());
        assert!(
            part.chars().count() <= limits.chars,
            "{} chars: {part}",
            part.chars().count()
        );
        assert!(part.len() <= limits.size, "{} bytes: {part}", part.len());
    }
    let additions = if options.fences {
        fence::fences(text)
    } else {
        Vec::new()
    };
    let pieces = cut(text, limits, &additions, options.fences);
    assert_eq!(
        pieces.iter().map(|piece| piece.text).collect::<String>(),
        text
    );
    if options == PLAIN && !text.trim().is_empty() {
        assert_eq!(parts.concat(), text);
    }
    parts
}

/// Whether a fence is open at the end of a text, by its lines alone.
fn is_open_at_end(text: &str) -> bool {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let line = line.trim_start_matches(['>', ' ', '-']);
        let Some(char) = line.chars().next().filter(|char| matches!(char, '`' | '~')) else {
            continue;
        };
        let rest = line.trim_start_matches(char);
        let length = line.len() - rest.len();
        match open {
            None if length >= 3 => open = Some((char, length)),
            Some((opener, least))
                if opener == char && length >= least && rest.trim().is_empty() =>
            {
                open = None;
            }
            _ => {}
        }
    }
    open.is_some()
}

const HOSTILE: [&str; 22] = [
    "a",
    "\n",
    " ",
    "a b",
    "中",
    "。",
    "e\u{301}",
    "\u{301}",
    "🇨🇳",
    "👨\u{200d}",
    "https://",
    "http://a.b/",
    "|",
    "| a\n",
    "```\n",
    "```a\n",
    "~~~\n",
    "> ```\n",
    "- ```\n",
    "> ",
    "- ",
    "```\n```\n",
];

#[test]
fn hostile_text_is_cut_within_bounds() {
    for pattern in HOSTILE {
        let text = pattern.repeat(20_000 / pattern.len());
        for (chars, bytes) in [(1, 4), (40, 60), (2000, 16_000)] {
            for options in [PLAIN, MARKDOWN, MARKED] {
                let limits = in_bytes(chars, bytes);
                let parts = check_any(&text, limits, options);
                let least = text.len() / bytes.min(chars * 4);
                assert!(
                    parts.len() <= 8 * least.max(text.chars().count() / chars) + 2,
                    "{pattern:?} {limits:?}"
                );
            }
        }
    }
}

/// Blocks of Markdown whose URLs and rows are no longer than 30 bytes.
fn blocks() -> impl Strategy<Value = String> {
    let block = prop_oneof![
        "([a-z]{1,9}[ .,\n]{1,2}|[一-龥]{1,6}[，。！]|👨‍👩‍👧|🇨🇳|e\u{301} | https://a\\.example/[a-z]{1,9}[ ，\n]){1,40}",
        "(\\| [a-z]{1,8} \\| [一-龥]{1,4} \\|\n){1,12}",
        "[a-z]{1,4}"
            .prop_map(|code| format!("- ```c\n{}  ```", format!("  {code} `b`\n").repeat(9))),
        "([a-z {}]{0,30}\n){0,15}".prop_map(|code| format!("```rust\n{code}```")),
        "([a-z]{0,30}\n){0,15}".prop_map(|code| format!("~~~~ x\n{code}~~~\n~~~~")),
        "[a-z ]{1,90}".prop_map(|code| format!("> ```\n{}> ```", format!("> {code}\n").repeat(4))),
    ];
    proptest::collection::vec(block, 1..8).prop_map(|blocks| blocks.join("\n\n"))
}

proptest! {
    #[test]
    fn parts_are_within_the_limits_and_give_the_text_back(
        text in "([a-z .,\n]|[一-龥。！？\n]|👨‍👩‍👧|🇨🇳|e\u{301}|```|~~~|> |- |\n|\\||https://|\\PC){0,300}",
        chars in 1usize..90,
        bytes in 4usize..240,
        fences: bool,
        marks: bool,
    ) {
        check_any(&text, in_bytes(chars, bytes), SplitOptions { fences, marks });
    }

    #[test]
    fn no_cut_is_inside_a_grapheme(
        text in "(👨‍👩‍👧‍👦|🇨🇳|e\u{301}|\u{301}|你|。|a| |\n|\r\n){1,200}",
    ) {
        let parts = split(&text, in_bytes(20, 100), PLAIN);
        let mut ends = text.grapheme_indices(true).map(|(start, _)| start).collect::<Vec<_>>();
        ends.push(text.len());
        let longest = text.graphemes(true).map(|grapheme| grapheme.chars().count()).max();
        let mut end = 0;
        for part in parts {
            end += part.len();
            prop_assert!(ends.contains(&end) || longest > Some(20));
        }
    }

    #[test]
    fn markdown_is_cut_between_its_parts(
        text in blocks(),
        chars in 60usize..300,
        bytes in 120usize..600,
        marks: bool,
    ) {
        let parts = check_any(&text, in_bytes(chars, bytes), SplitOptions { fences: true, marks });
        for part in &parts {
            prop_assert!(!is_open_at_end(part), "{}", part);
        }
        let shown = parts.join("\n");
        let urls = text.split([' ', '\n', '，']).filter(|word| word.starts_with("https://"));
        for url in urls {
            prop_assert!(shown.contains(url), "{}", url);
        }
        for row in text.lines().filter(|line| line.starts_with('|')) {
            prop_assert!(shown.lines().any(|line| line == row), "{}", row);
        }
    }
}

#[test]
fn a_platform_that_counts_utf_16_gets_no_more_of_it() {
    let limits = Limits {
        chars: 2000,
        size: 10,
        unit: Unit::Utf16,
    };
    let texts = ["\u{1f600}".repeat(12), "结".repeat(25), "a😀中".repeat(9)];
    for text in texts {
        let parts = split(&text, limits, SplitOptions::default());
        assert_eq!(parts.concat(), text);
        let units = |part: &String| part.encode_utf16().count();
        assert!(parts.iter().all(|part| units(part) <= 10), "{parts:?}");
        assert!(
            parts.iter().rev().skip(1).all(|part| units(part) > 6),
            "{parts:?}"
        );
    }
}
