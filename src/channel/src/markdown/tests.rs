use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::*;

mod cjk;
mod reference;

const SPECS: [&str; 2] = [
    include_str!("examples/commonmark.txt"),
    include_str!("examples/gfm.txt"),
];

/// Examples of which the other parser tells another text, with the reason.
const EXCLUDED: [(&str, &str); 2] = [
    (
        "![foo ![bar](/url)](/url2)\n",
        "the specification's description is `foo bar`, the other parser's `foo`",
    ),
    ("5*6*78\n", "we keep asterisks between digits"),
];

fn examples() -> impl Iterator<Item = &'static str> {
    SPECS.into_iter().flat_map(|file| {
        file.split("```````````````````````````````` example\n")
            .skip(1)
    })
}

fn check(markdown: &str, expect: &str) {
    assert_eq!(plain(markdown), expect, "of {markdown:?}");
}

#[test]
fn the_text_of_each_example_of_the_specifications_is_there_once_and_in_order() {
    assert_eq!(examples().count(), 652 + 14);
    for example in examples() {
        if EXCLUDED.iter().any(|(excluded, _)| *excluded == example) {
            continue;
        }
        let text = plain(example);
        let skeleton = reference::skeleton(&text);
        assert_eq!(
            skeleton,
            reference::text(&escaped(example)),
            "{example}\n{text}"
        );
    }
}

/// A text whose tags that are not used are escaped.
fn escaped(markdown: &str) -> String {
    let mut text = markdown.to_owned();
    for (offset, _) in tags::hints(markdown).into_iter().rev() {
        text.insert(offset, '\\');
    }
    text
}

#[test]
fn no_emphasis_of_an_example_of_the_specification_changes() {
    for example in SPECS[0]
        .split("```````````````````````````````` example\n")
        .skip(1)
    {
        if EXCLUDED.iter().any(|(excluded, _)| *excluded == example) {
            continue;
        }
        let source = Source::with(example, delimiters::hints(example));
        let told = source.restore(flatten::flatten(source.text(), source.events().unwrap()));
        let untold = flatten::flatten(example, events(example).unwrap());
        assert_eq!(told, untold, "{example}");
    }
}

#[test]
fn blocks_are_apart_and_lines_end_where_they_did() {
    check("# 标题\n正文\n第二行", "标题\n\n正文\n第二行");
    check("Title\n===\n\n\n\ntext", "Title\n\ntext");
    check("a  \nb\\\nc<br>d<br/>\ne", "a\nb\nc\nd\ne");
    check("a\n\n---\n\nb", "a\n\n———\n\nb");
    check("a\n\n&nbsp;\n\n&#10;\n\nb", "a\n\nb");
    check(
        "**粗** *it* `x_y` ~~old~~ \\* &lt;&copy;",
        "粗 it x_y o\u{336}l\u{336}d\u{336} * <©",
    );
}

#[test]
fn lists_keep_their_numbers_and_their_depth() {
    check(
        "- a\n- b\n  - c\n    * d\n- e",
        "• a\n• b\n  • c\n    • d\n• e",
    );
    check("3. c\n4. d\n   - x\n10. e", "3. c\n4. d\n   • x\n5. e");
    check("1) a\n2) b\n\n   more", "1) a\n\n2) b\n\n   more");
    check(
        "- a\n\n- b\n\n  ```\n  x\n  ```\n- c",
        "• a\n\n• b\n\n  x\n\n• c",
    );
    check(
        "- [ ] todo\n- [x] done\n  - [ ] sub\n1. [x] n",
        "☐ todo\n☑ done\n  ☐ sub\n\n1. ☑ n",
    );
    check("- a\n  > q\n\n  b\n-\n- c", "• a\n\n  │ q\n\n  b\n\n•\n• c");
    check("- - a\n- # h\n  t", "• • a\n• h\n  t");
}

#[test]
fn quotes_have_a_bar_before_each_line() {
    check("> a\n> b\n>\n> c\n\nd", "│ a\n│ b\n│\n│ c\n\nd");
    check("> > a\n> - b\n>   c", "│ │ a\n│\n│ • b\n│   c");
}

#[test]
fn code_is_as_it_was_but_for_fences() {
    check(
        "text\n```rust\nfn main() {\n\n\n    a*b*c <b>; \n}\n```\ntext",
        "text\n\nfn main() {\n\n\n    a*b*c <b>;\n}\n\ntext",
    );
    check("~~~\n\n  # x\n\n~~~", "  # x");
    check("a\n\n    x\n      y\n\nb", "a\n\n    x\n      y\n\nb");
    check(
        "1. a\n   ```\n   x\n     y\n   ```\n2. b",
        "1. a\n   x\n     y\n2. b",
    );
    check("> ```\n> a\n>\n> b\n> ```", "│ a\n│\n│ b");
    check("```\n```\n\na", "a");
}

#[test]
fn narrow_tables_have_columns_and_wide_ones_records() {
    check(
        "| 名称 | 值 |\n|:--|--:|\n| 中央处理器 | 80 |\n| GPU | 9 |\n| | |",
        "名称        值\n中央处理器  80\nGPU          9",
    );
    for line in plain("|a|b|\n|-|-|\n|中文|x|\n|abcd|y|\n|é👍|z|").lines() {
        assert_eq!(line.width(), 7, "{line}");
    }
    check(
        "| 名称 | 说明 |\n|--|--|\n| 甲 | 一段写在表格里面的很长的文字 |\n| **乙** | |\n|丙|x<br>y|",
        "名称: 甲\n说明: 一段写在表格里面的很长的文字\n\n名称: 乙\n说明:\n\n名称: 丙\n说明: x\ny",
    );
    check(
        "- |a very long header indeed|another one|\n  |-|-|\n  |x|[y](u)|\n\nz",
        "• a very long header indeed: x\n  another one: y (u)\n\nz",
    );
    check("|a|b|\n|-|-|", "a  b");
    check("||b|\n|-|-|\n|x\\|y|`c`|", "     b\nx|y  c");
}

#[test]
fn links_and_images_have_their_address_once() {
    check("[文档](https://a.b/c_d)", "文档 (https://a.b/c_d)");
    check(
        "<https://a.b> [https://a.b](https://a.b) <me@a.b>",
        "https://a.b https://a.b me@a.b",
    );
    check("[a][r] [](x) [b]()\n\n[r]: /u 'title'", "a (/u) x b");
    check("![图](u.png) ![](v.png)", "图 (u.png) v.png");
    check(
        "[![badge](i.svg)](https://a.b)",
        "badge (i.svg) (https://a.b)",
    );
    check("![a [b](c) ![d](e)](f)", "a b d (f)");
}

#[test]
fn footnotes_come_at_the_end_in_the_order_of_their_numbers() {
    check(
        "[^b]: Second.\n\nText[^A] and[^b].[^A]\n\n[^a]: First,\n    **two** lines.\n[^c]: Unused.\n\nEnd.",
        "Text[1] and[2].[1]\n\nEnd.\n\n[1] First,\ntwo lines.\n[2] Second.\n[3] Unused.",
    );
    check("no[^x]", "no[^x]");
}

#[test]
fn html_leaves_its_text() {
    check("a <b>b</b><!-- c --> <br>d", "a b\nd");
    check(
        "<div class=\"a>b\">\n  <p>one &amp; two</p><!-- no\n --><ul><li>x</li><li>y</li></ul>\n</div>",
        "one & two\nx\ny",
    );
    check(
        "<details><summary>More</summary>\n\n*text*\n\n</details>\n\nend",
        "More\n\ntext\n\nend",
    );
    check("<pre>\n  a\n    b</pre>", "  a\n    b");
    check("<script>\nlet a = 1;\n</script>", "let a = 1;");
    check(
        "Vec<String>, <your-key>, <80%, 1 < 2",
        "Vec<String>, <your-key>, <80%, 1 < 2",
    );
    check(
        "<div>\nif a<b and <c then\n<p",
        "<div>\nif a<b and <c then\n\n<p",
    );
    check("<div>\na<b and <c\n</div>", "a<b and <c");
}

#[test]
fn text_without_markdown_stays_as_it_is() {
    for text in [
        "第一行\n第二行\n\n第三段。约3~5天，~6~天",
        "Result:\n  a = 1\n  b = 2\n\n  snake_case, 2 * 3 * 4, C:\\dir, #tag, 50%",
        "• a\n  • b\n\n│ q\n\n———\n\n☐ c",
        "    indented\n      more",
        "　　段落\n　　第二行 1️⃣ #️⃣ +86 2*3*4 a_b_c",
        "名称: 甲\n说明: 乙",
    ] {
        check(text, text);
    }
    check("\n\na \t\n\n\n\nb\n\n", "a\n\nb");
    check("a\r\nb\r\n\r\nc", "a\nb\n\nc");
    check("", "");
}

#[test]
fn a_depth_that_nobody_writes_is_text() {
    let quotes = format!("{}x\n", ">".repeat(100_000));
    check(&quotes, quotes.trim_end());
    let deep = format!("{}x", "> ".repeat(90));
    check(&deep, &format!("{}x", "│ ".repeat(6)));
    let list = format!("{}x\n\n{}y", "- ".repeat(90), "  ".repeat(90));
    check(
        &list,
        &format!("{}x\n\n{}y", "• ".repeat(90), " ".repeat(24)),
    );
}

/// Where a naive reader takes time or room that grows with the square.
const HOSTILE: [&str; 40] = [
    "*",
    "**",
    "_",
    "*a_ ",
    "a**b",
    "[",
    "]",
    "![](",
    "![",
    "[](",
    "[a](<b",
    "[[]",
    "`",
    "``a` ",
    "<",
    "<a ",
    "<a b='",
    "</",
    "<!--",
    "<?",
    "<![CDATA[",
    "<div>\n",
    "<div \"\n",
    "&",
    "\\",
    "~",
    "|",
    "|a",
    ">",
    "> ",
    "- ",
    "- > ",
    "1. ",
    "[^a]: ",
    "[^a]",
    "[a]: b\n",
    "a\n",
    "\n",
    "```\n",
    "|a|\n|-|\n",
];

/// Of the shortest lines are most bytes indentation.
fn assert_is_bounded(source: &str) {
    let text = plain(source);
    assert!(
        text.len() <= 30 * source.len() + 100,
        "{} of {}",
        text.len(),
        source.len()
    );
    assert!(text.lines().all(|line| line.trim_end() == line));
}

#[test]
fn hostile_documents_are_flattened_within_bounds() {
    for pattern in HOSTILE {
        assert_is_bounded(&pattern.repeat(100_000 / pattern.len()));
    }
    let columns = format!("{}|\n{}|\n", "|a".repeat(50_000), "|-".repeat(50_000));
    assert_is_bounded(&(columns + &"|b\n".repeat(100)));
    let aligned = format!("{}|{}|\n", "> ".repeat(9), "h".repeat(32));
    let rows = format!("{}|-:|\n{}", "> ".repeat(9), ">>>>>>>>>b\n".repeat(9_000));
    assert_is_bounded(&(aligned + &rows));
    let header = format!("|{}|\n|-|\n", "h".repeat(50_000));
    assert_is_bounded(&(header + &"a\n".repeat(25_000)));
    assert_is_bounded(&format!("{}a\n{}", "> ".repeat(99), "b\n".repeat(50_000)));
    assert_is_bounded(&format!("{}a\n{}", "- ".repeat(99), "b\n".repeat(50_000)));
    assert_is_bounded(&format!(
        "[a]: {}\n\n{}",
        "u".repeat(50_000),
        "[a] ".repeat(10_000)
    ));
    let nested: String = (0..300)
        .map(|depth| format!("{}- a\n", "  ".repeat(depth)))
        .collect();
    assert_is_bounded(&nested);
}

proptest! {
    #[test]
    fn any_text_is_flattened(
        source in "([*_`~<>\\[\\]()!#|:.&;\\-+\\\\ \n\t0-9a-c]|[中。]|<br>|\\[\\^a\\]|- |> |\n\n|```\n|\\|-\\|\n|    |https://a|\\PC){0,120}",
    ) {
        assert_is_bounded(&source);
    }

    // Tables and footnotes are in another order than their source.
    #[test]
    fn no_text_is_lost(
        source in "([*_`~<>\\[\\]()!#:.&;\\-+\\\\ \n\t0-9a-c]|[中。]|<br>|- |> |\n\n|```\n|    |https://a|!\\[a\\]\\(b\\)){0,120}",
    ) {
        let text = reference::skeleton(&plain(&source));
        let mut rest = text.as_str();
        for (event, _) in events(&source).into_iter().flatten() {
            if let Event::Text(text) | Event::Code(text) = event {
                let after = rest.split_once(&reference::skeleton(&text));
                prop_assert!(after.is_some(), "{:?} is not in {:?}", text, rest);
                rest = after.unwrap().1;
            }
        }
    }
}
