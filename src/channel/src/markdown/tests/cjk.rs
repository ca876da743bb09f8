//! Emphasis, tags and scripts as writers mean them, by each of the three that write Markdown anew.

use super::*;
use wecom::markdown::native as wecom;
use weixin::markdown::native as weixin;

/// Emphasis beside Chinese, Japanese and Korean: in plain text all marks are gone. Bold in WeChat
/// stays to the byte, as its clients render it.
const EMPHASIS: [(&str, &str); 78] = [
    ("**结论：**可以", "结论：可以"),
    ("**《书》**已经", "《书》已经"),
    ("1. **打开设置：**点击", "1. 打开设置：点击"),
    ("是**“可以”**，但**注意：**成本", "是“可以”，但注意：成本"),
    ("已经**《书》**出版", "已经《书》出版"),
    ("**注意！**请勿", "注意！请勿"),
    ("**为什么？**因为", "为什么？因为"),
    ("**完成。**下一步", "完成。下一步"),
    ("**苹果、**香蕉", "苹果、香蕉"),
    ("**首先，**打开", "首先，打开"),
    ("含**「重点」**内容", "含「重点」内容"),
    ("含**『重点』**内容", "含『重点』内容"),
    ("含**【重点】**内容", "含【重点】内容"),
    ("含**（备注）**内容", "含（备注）内容"),
    ("**（备注）**内容", "（备注）内容"),
    ("内容**（备注）**", "内容（备注）"),
    ("**步骤（1）**打开", "步骤（1）打开"),
    ("**测试**（重要）", "测试（重要）"),
    ("（**重点**）内容", "（重点）内容"),
    ("，**重点**，**次要**。", "，重点，次要。"),
    ("**A：**甲 **B：**乙", "A：甲 B：乙"),
    ("**A：**甲，**B：**乙，**C：**丙", "A：甲，B：乙，C：丙"),
    ("**重要:**请看", "重要:请看"),
    ("约**100%**的人", "约100%的人"),
    ("花费**$100**左右", "花费$100左右"),
    ("第**#1**名", "第#1名"),
    ("联系**@张三**处理", "联系@张三处理"),
    ("上涨**+5%**以上", "上涨+5%以上"),
    ("编辑**/etc/hosts**文件", "编辑/etc/hosts文件"),
    ("修改**.env**文件", "修改.env文件"),
    ("我可以强调**这个`code`**吗", "我可以强调这个code吗"),
    ("见**[文档](https://a.b)**说明", "见文档 (https://a.b)说明"),
    ("**等等……**然后", "等等……然后"),
    ("**好吧——**他说", "好吧——他说"),
    ("他说**‘好’**了", "他说‘好’了"),
    ("用**“GPT”**GPU", "用“GPT”GPU"),
    ("**完成✅**下一步", "完成✅下一步"),
    ("注意**⚠️ 重要**事项", "注意⚠️ 重要事项"),
    ("*斜体：*文字", "斜体：文字"),
    ("这是*“引用”*内容", "这是“引用”内容"),
    ("***重要：***内容", "重要：内容"),
    ("# **标题：**内容", "标题：内容"),
    ("> **注：**内容", "│ 注：内容"),
    ("- **键：**值\n- **名：**值", "• 键：值\n• 名：值"),
    (
        "|**甲：**乙|b|\n|-|-|\n|**丙（1）**丁|d|",
        "甲：乙     b\n丙（1）丁  d",
    ),
    ("**葛󠄀城。**市", "葛󠄀城。市"),
    ("**𠮷野家：**丼", "𠮷野家：丼"),
    (
        "**結論：**可以。**「注意」**事項",
        "結論：可以。「注意」事項",
    ),
    ("**结论：**Yes", "结论：Yes"),
    ("Note**（重要）**here", "Note（重要）here"),
    ("__结论：__可以", "结论：可以"),
    ("__重点__内容。", "重点内容。"),
    ("已经__《书》__。", "已经《书》。"),
    ("**全角％**字", "全角％字"),
    ("价格**￥100**元", "价格￥100元"),
    ("**&ldquo;可以&rdquo;**但", "“可以”但"),
    // Japanese
    ("**結論：**できます", "結論：できます"),
    ("**「本」**はすでに", "「本」はすでに"),
    ("これは**「重要」**です", "これは「重要」です"),
    ("**注意！**してください", "注意！してください"),
    ("**わ〜い！**問題なし！", "わ〜い！問題なし！"),
    ("**設定（必須）**を開く", "設定（必須）を開く"),
    ("**終わり。**次へ", "終わり。次へ"),
    ("ここで**『書名』**を読む", "ここで『書名』を読む"),
    ("*強調、*です", "強調、です"),
    ("**ﾊﾝｶｸ｡**ﾃﾞｽ", "ﾊﾝｶｸ｡ﾃﾞｽ"),
    ("**が゙。**は", "が゙。は"),
    ("__重要：__これは", "重要：これは"),
    // Korean
    ("**결론:**가능합니다", "결론:가능합니다"),
    ("**이 용어(This term)**를 강조", "이 용어(This term)를 강조"),
    ("**\"책\"**은 이미", "\"책\"은 이미"),
    ("이것은**“중요”**합니다", "이것은“중요”합니다"),
    ("**주의!**하세요", "주의!하세요"),
    (
        "**설정(필수)**을 열고 **저장:**을",
        "설정(필수)을 열고 저장:을",
    ),
    ("**50%**까지", "50%까지"),
    ("*강조.*입니다", "강조.입니다"),
    ("__중요__합니다", "중요합니다"),
    ("**『책』**이", "『책』이"),
];

#[test]
fn emphasis_beside_cjk_is_what_the_writer_means() {
    for (markdown, expect) in EMPHASIS {
        check(markdown, expect);
    }
}

#[test]
fn native_text_has_no_character_that_was_put_in() {
    for (markdown, expect) in EMPHASIS {
        let text = weixin(markdown);
        let is_italic = markdown.contains('*') && !markdown.contains("**");
        if is_italic || markdown.contains("***") {
            assert_eq!(text, expect, "of {markdown}");
        } else if !markdown.contains('<') {
            assert_eq!(text, markdown);
        }
        let text = wecom(markdown);
        assert!(!text.contains(source::is_hint), "{text:?}");
        assert!(
            !text.contains("__") && !text.contains('\u{1680}'),
            "{text:?}"
        );
    }
    assert_eq!(wecom("__结论：__可以"), "**结论：**可以");
    assert_eq!(wecom("*斜体：*文字 **粗：**字"), "斜体：文字 **粗：**字");
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
    for text in [
        "~5 or 6~",
        "约3~5天，~6~天",
        "cd ~/a ~/b",
        "好的~ 再见~",
        "a~b~c",
    ] {
        check(text, text);
        assert_eq!(weixin(text), text);
        assert_eq!(wecom(text), text);
    }
    assert_eq!(weixin("~~¥100~~ ¥80 ~~旧：~~新"), "~~¥100~~ ¥80 ~~旧：~~新");
    assert_eq!(wecom("~~¥100~~ ¥80"), format!("{} ¥80", struck("¥100")));
    assert_eq!(wecom("~~**旧：**~~新"), format!("**{}**新", struck("旧：")));
    assert_eq!(wecom("<del>`a`</del> b"), format!("`{}` b", struck("a")));
}

#[test]
fn what_is_no_emphasis_keeps_its_marks() {
    for text in [
        "支持*.rs和*.toml文件",
        "匹配**/*.rs和**/*.toml",
        "src/**/a.rs和src/*.rs",
        "文件_名_中",
        "变量__name__是",
        "文件__名__中",
        "2*3*4=24，3*4*5=60",
        "2**10和2**20",
        "传入*args和**kwargs参数，以及*args",
        "def f(*args, **kwargs)",
        "`**结论：**可以`",
        "$a**b",
    ] {
        let expect = text.replace('`', "");
        check(text, &expect);
        assert_eq!(weixin(text), text);
        assert_eq!(wecom(text), text);
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
    for text in [
        "__init__.py",
        "call __init__ first",
        "if __name__ == \"__main__\":",
        "在__init__.py中",
        "请看 src/__tests__/a.js 与 pkg/__init__.py",
        "__dirname 和 __filename",
        "obj.__dict__ 与 self.__class__.__name__",
        "__foo__() 和 __custom__.bar",
        "__FILE__:__LINE__",
        "snake_case__name__ a_b_c _private",
        "__getattr__/__setattr__",
        "#ifdef __cplusplus",
        "__init__、__del__和__str__",
        "std::__detail__::x",
    ] {
        check(text, text);
        assert_eq!(weixin(text), text);
        assert_eq!(wecom(text), text);
    }
    check("__bold text__ __bold__ _it_", "bold text bold it");
    check("**__init__.py**：说明", "__init__.py：说明");
    check(
        "[__init__.py](src/__init__.py)",
        "__init__.py (src/__init__.py)",
    );
    check("[src/__init__.py](src/__init__.py)", "src/__init__.py");
    assert_eq!(wecom("__bold text__ *a*"), "**bold text** a");
}

#[test]
fn a_tag_is_html_when_it_is_used_as_html() {
    for text in [
        "ffmpeg -i <input> <output>",
        "<your-key>",
        "git clone <url>",
        "网页的 <title> 要短",
        "<title> 要短",
        "cp <source> <object>",
        "在 </body> 前加入",
        "mount <data> <map>: <time>",
        "- 填写 <label>\n- 运行 <code>",
        "<input>\n<output>",
        "use <img> or <link>",
        "<B> or <Table>",
    ] {
        let expect = text.replace("- ", "• ");
        check(text, &expect);
        let told = wecom(text);
        assert_eq!(told, text);
        let full_width = text.replace('<', "＜").replace("＜/", "</");
        assert_eq!(weixin(text), full_width);
        assert_eq!(weixin(&full_width), full_width);
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
    // The official client passes a closing tag through.
    assert_eq!(weixin("end</span> after"), "end</span> after");
    assert_eq!(weixin("a \\</span>"), "a ＜/span>");
    for tag in ["<b>粗</b>", "<a href=\"U\">t</a>", "<div>x</div>", "a<br>b"] {
        assert_eq!(weixin(tag), tag);
    }
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
    assert_eq!(
        wecom("<a href=\"U\">t</a> <img src=\"i\" alt=\"p\">"),
        "[t](U) [p](i)"
    );
    assert_eq!(
        wecom("<font color=\"info\">x</font>"),
        "<font color=\"info\">x</font>"
    );
}

#[test]
fn scripts_read_as_they_are_meant() {
    for (markdown, expect) in [
        ("10<sup>6</sup>", "10⁶"),
        ("x<sup>2</sup>", "x²"),
        ("H<sub>2</sub>O", "H₂O"),
        ("10<sup>-3</sup>", "10⁻³"),
        ("x<sup>n+1</sup>", "xⁿ⁺¹"),
        ("x<sup>n + 1</sup>", "xⁿ⁺¹"),
        ("a<sub>ij</sub>", "aᵢⱼ"),
        ("x<sup>1/2</sup>", "x^(1/2)"),
        ("x<sup>π</sup>", "x^π"),
        ("a<sub>i,j</sub>", "a_(i,j)"),
        ("f<sup>(n,m)</sup>", "f^(n,m)"),
        ("e<sup>iπ</sup>", "e^(iπ)"),
        ("<sup>14</sup>C", "¹⁴C"),
        ("SO<sub>4</sub><sup>2-</sup>", "SO₄²⁻"),
        ("log<sub>10</sub>x", "log₁₀x"),
        ("1<sup>st</sup>", "1ˢᵗ"),
        ("Foo<sup>TM</sup>", "Foo™"),
        ("面积 5m<SUP>2</SUP>", "面积 5m²"),
        ("约10<sup>九</sup>", "约10^九"),
        ("文献<sup>[1]</sup>。", "文献[1]。"),
        ("<sub>small print</sub>", "small print"),
        ("见 <sub>照片：新华社</sub>", "见 照片：新华社"),
        ("<p>10<sup>6</sup> 和 H<sub>2</sub>O</p>", "10⁶ 和 H₂O"),
    ] {
        check(markdown, expect);
        if !markdown.starts_with("<p>") {
            assert_eq!(wecom(markdown), expect);
            assert_eq!(weixin(markdown), expect);
        }
    }
    assert_eq!(weixin("<p>10<sup>6</sup></p>"), "<p>10⁶</p>");
    assert_eq!(weixin("x<sup>**n**</sup>"), "x^(**n**)");
    assert_eq!(wecom("文献<sup>[1](u)</sup>"), "文献[1](u)");
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
    for pattern in [
        "：**",
        "**：",
        "**：**可",
        "《**",
        "__中",
        "__中：__可",
        "_（",
        "__init__",
        "*args",
        "2*",
        "~ ",
        "\\*",
        "**/",
        "**.a中",
        "<b>",
        "</b>",
        "<b><i>",
        "<sup>2",
        "<sup>",
        "<a href=\"u\">",
        "<a href=u>x</a>",
        "<del>",
        "~~中",
        "<p>",
        "<img src=u>",
        "<ul><li>",
        "*中：*",
        "\u{fff1}\\*：",
    ] {
        let source = pattern.repeat(15_000 / pattern.len());
        assert!(delimiters::hints(&source).len() <= source.len());
        super::assert_is_bounded(&source);
        let long = 30 * source.len();
        assert!(weixin(&source).len() <= long && wecom(&source).len() <= long);
    }
    let nested = format!("x{}{}", "<sup>a".repeat(9_000), "</sup>".repeat(9_000));
    super::assert_is_bounded(&nested);
    assert!(wecom(&nested).len() <= nested.len());
}

proptest! {
    #[test]
    fn what_is_put_in_is_taken_out(
        source in "([*_~]{1,3}|[a-c1 ：，。《》“”（）\\.\\\\/`]|[中が한]|__init__|<b>|</b>|<sup>|</sup>|<input>|<a href='u'>|</a>|\n){0,60}",
    ) {
        let told = Source::new(&source);
        prop_assert_eq!(told.restore(told.text().to_owned()), source.clone());
        for text in [plain(&source), weixin(&source), wecom(&source)] {
            prop_assert!(!text.contains(source::is_hint) && !text.contains('\u{1680}'), "{:?}", text);
        }
    }

    #[test]
    fn text_without_marks_is_told_nothing(source in "[^*_~<]{0,200}") {
        let told = Source::new(&source);
        prop_assert_eq!(told.text(), source.as_str());
    }
}
