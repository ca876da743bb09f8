use proptest::prelude::*;

use super::*;

mod cjk;

fn check(markdown: &str, expect: &str) {
    assert_eq!(native(markdown), expect, "of {markdown:?}");
    assert_eq!(native(expect), expect, "again, of {markdown:?}");
}

fn unchanged(markdown: &str) {
    check(markdown, markdown);
}

#[test]
fn what_clients_render_stays_to_the_byte() {
    unchanged("# H1\n## H2\n### H3\n#### H4");
    unchanged("**b** **粗** __x__ *it* _it_ *Ünï* *，* *😀* ***bi*** ___bi___ ~~旧~~");
    unchanged("[链接](https://a.b/c_d_e) [a]: x https://a.b/c_d_e snake_case_name");
    unchanged("[r]\n\n[r]: https://a.b \"标题\"");
    unchanged("- a\n  * b\n    1. c\n\n+ d\n\n> q\n> > r");
    unchanged("---\n\n* * *\n\n___\n\n***");
    unchanged("| a | b |\n|---|:-:|\n| 甲 |  x \\| y|\n");
    unchanged("text  \nhard\\\nbreaks\r\n\r\n\tand  blanks \t\n\n\n");
    unchanged("<b>bold</b><br/><!-- 注 --> <a href=\"x\">y</a>\n\n<div>\n*中*\n</div>\n");
    unchanged("a &lt; b &amp; c, x > y");
    unchanged("x[^1]\n\n[^1]: note\n");
}

#[test]
fn what_the_official_client_leaves_stays() {
    for text in [
        "~~unclosed",
        "keep ~~this~~ too",
        "rate ~5 or ~6",
        "see <div>ok</div> and <br> and <b>x</b>",
        "end</span> after",
        "**b***i* ***bi*** *123!* 3 * 4 = 12",
        "**结论：**可以 **《书》**已经 是**“可以”**，但**注意：**成本",
        "| A | B |\n|---|---|\n| ~~1~~ | **甲：**乙 |",
        "`<input>` `__init__` `10<sup>6</sup>`",
    ] {
        unchanged(text);
    }
}

#[test]
fn headings_5_and_6_lose_their_marks() {
    check("##### H5", "H5");
    check("###### H6", "H6");
    check("##### 标题 ##\n正文", "标题\n正文");
    check("##### a#b \\#", "a#b \\#");
    check("##### ", "");
    check("a\n##### #####\nb", "a\n\nb");
    unchanged("#####nospace");
    unchanged("####### x");
    unchanged("text ##### x");
    unchanged("    ##### x");
    unchanged("> ##### x");
}

#[test]
fn italics_of_chinese_lose_their_marks() {
    check("*斜体*", "斜体");
    check("*mix 中*", "mix 中");
    check("_斜_", "斜");
    check("*かな* _한글_", "かな 한글");
    check("***粗***", "粗");
    check("___粗___", "粗");
    check("**a *中* b**", "**a 中 b**");
    check("*a **中** b*", "a **中** b");
    check("> q *中*", "> q 中");
    check("- *中*\n  _文_", "- 中\n  文");
    check("| *中* | *a* |\n|---|---|", "| 中 | *a* |\n|---|---|");
    check("*a*中*b* *x\n中*", "*a*中*b* x\n中");
    unchanged("*x 中");
    unchanged("***中");
    unchanged("_中");
}

#[test]
fn names_keep_their_underscores() {
    unchanged("文件_名_中");
    unchanged("文件_名_中_文.txt, a_中_b, __init__.py, 2*3*4");
}

#[test]
fn code_stays_as_it_is() {
    unchanged("`*中*` `a_b_c` ``x ` <b ![a](b)`` `CPU<80%`");
    unchanged("```\n*中* ![a](b) <x\n##### H\n- [ ] t\n```");
    unchanged("  ```md\n  *中*\n  ```\n\n~~~\n*中*\n~~~\n");
    unchanged("- a\n  ```\n  *中* a<b\n  ```\n> ~~~\n> _中_ <b\n> ~~~\n\n    *中* <b");
    unchanged("```\n*中*\nopen to the end <b");
}

#[test]
fn images_are_removed_but_not_the_last_word() {
    check("text\n\n![alt](u)", "text\n\n");
    check("a ![x](u) b", "a  b");
    check("a ![a](b(c)d)", "a ");
    check("a ![*中* <b](u)![x][r]\n\n[r]: /u", "a \n\n[r]: /u");
    check(
        "see [![badge](i.svg)](https://a.b)",
        "see [badge](https://a.b)",
    );
    unchanged("![x] y");
    unchanged("![alt](u");
    check("![alt](u)", "alt (u)");
    check("![](u) ![b](v)\n", "u b (v)");
}

#[test]
fn tasks_have_boxes() {
    check(
        "- [ ] 待办\n- [x] 完成\n1. [X] *中*",
        "- ☐ 待办\n- ☑ 完成\n1. ☑ 中",
    );
    unchanged("[ ] no list\n- [] none");
}

#[test]
fn a_bare_pointed_bracket_is_full_width() {
    check("CPU<80% **ok**", "CPU＜80% **ok**");
    check("a<b, x <= y, <80%, 1 < 2", "a＜b, x ＜= y, ＜80%, 1 ＜ 2");
    check(
        "Vec<String> <your-key> <div>x</div>",
        "Vec＜String> ＜your-key> <div>x</div>",
    );
    check("<https://a.b/c_d> <me@a.b>", "https://a.b/c_d me@a.b");
    check("a \\<b \\\\<c", "a ＜b \\\\＜c");
    check(
        "<div\n class='x'>\na<5 </div>",
        "<div\n class='x'>\na＜5 </div>",
    );
    check("[a<b](u) # <1\n# t<1", "[a＜b](u) # ＜1\n# t＜1");
    check("|a<b|`c<d`|\n|-|-|\n", "|a＜b|`c<d`|\n|-|-|\n");
}

#[test]
fn plain_text_has_no_tag_at_all() {
    for (markdown, expect) in [
        ("CPU<80% **ok**", "CPU＜80% ok"),
        ("`Vec<T>` 1 < 2 <", "Vec＜T> 1 < 2 <"),
        ("```\nif a<b {\n```", "if a＜b {"),
        ("<b>x</b> &lt;div&gt; <https://a.b>", "x ＜div> https://a.b"),
        ("# *标题*\n- [ ] a", "标题\n\n☐ a"),
        ("![a](u)", "a (u)"),
    ] {
        assert_eq!(plain(markdown), expect, "of {markdown:?}");
        assert_eq!(plain(expect), expect, "again, of {markdown:?}");
    }
}

#[test]
fn edited_text_is_edited_no_more() {
    for file in [
        include_str!("../../../channel/src/markdown/examples/commonmark.txt"),
        include_str!("../../../channel/src/markdown/examples/gfm.txt"),
    ] {
        for example in file
            .split("```````````````````````````````` example\n")
            .skip(1)
        {
            let once = native(example);
            assert_eq!(native(&once), once, "of {example:?}");
        }
    }
}

#[test]
fn hostile_text_is_edited_within_bounds() {
    for pattern in [
        "*",
        "*中 ",
        "*中* ",
        "_中",
        "[",
        "![](",
        "![",
        "![a](b)",
        "[![a](b)](c)",
        "`",
        "<",
        "<a ",
        "<a>",
        "<div>\n",
        "<!--",
        "&",
        "\\<",
        "|",
        ">",
        "> ",
        "- ",
        "- [ ] a\n",
        "##### a\n",
        "```\n",
        "<https://a.b>",
        "***中***",
    ] {
        let source = pattern.repeat(100_000 / pattern.len());
        assert!(native(&source).len() <= 3 * source.len(), "{pattern}");
    }
    assert_eq!(native(&">".repeat(100_000)), ">".repeat(100_000));
}

proptest! {
    #[test]
    fn what_is_not_for_an_edit_is_unchanged(source in "([a-zé ,.。\n]|[#]{1,4} |~~|\\*\\*|`|- |> |    |```\n){0,80}") {
        prop_assert_eq!(native(&source), source);
    }

    #[test]
    fn any_text_is_edited(source in "([*_`<>\\[\\]()!#|\\\\ \n\ta-c]|[中。]|<br>|- \\[ \\] |#{5} |> |```\n|!\\[a\\]\\(b\\)|\\PC){0,80}") {
        native(&source);
        let text = plain(&source);
        let mut tags = text.split('<').skip(1);
        prop_assert!(tags.all(|after| after.is_empty() || after.starts_with(char::is_whitespace)));
    }
}
