use proptest::prelude::*;

use super::*;

mod cjk;

#[test]
fn what_clients_know_stays_and_the_rest_is_written_with_it() {
    for (markdown, expect) in [
        (
            "# T\n\n**b** `c` [t](u)\n> q\n",
            "# T\n\n**b** `c` [t](u)\n> q\n",
        ),
        (
            "<font color=\"info\">x</font>",
            "<font color=\"info\">x</font>",
        ),
        ("Title\n=====\ntext", "# Title\ntext"),
        ("Title\n---\n", "## Title\n"),
        (
            "*a* _b_ **c** __d__ ~~e~~ ~5~",
            "a b **c** **d** e\u{336} ~5~",
        ),
        ("***a***", "**a**"),
        ("2*3*4", "2*3*4"),
        ("![p](u) <https://e.com>", "[p](u) https://e.com"),
        ("[t][r] [r]\n\n[r]: u", "[t](u) [r](u)\n\n[r]: u"),
        ("a\n\n```sh\nls *x*\n```\nb", "a\n\nls *x*\nb"),
        ("```\nopen", "open"),
        ("```\n```\nb", "\nb"),
        ("- [x] a\n- [ ] b\n", "- ☑ a\n- ☐ b\n"),
        ("a\n\n***\n\nb", "a\n\n———\n\nb"),
        ("a<br>b <b>c</b> Vec<String>", "a\nb c Vec<String>"),
        ("a\\\nb", "a\nb"),
        ("<div>x</div>\n\ny", "x\n\ny"),
        ("| a | b |\n|---|---|\n| 1 | *2* |\n\nx", "a  b\n1  2\n\nx"),
        ("", ""),
    ] {
        assert_eq!(native(markdown), expect, "{markdown}");
    }
}

#[test]
fn code_in_a_list_has_no_fences() {
    let text = native("1. Do\n   ```sh\n   ls\n   ```\n2. Go\n");
    assert!(
        !text.contains('`') && text.contains("   ls\n2. Go"),
        "{text}"
    );
    let text = native("> ```\n> ls\n> ```\n");
    assert!(!text.contains('`') && text.contains("> ls"), "{text}");
}

proptest! {
    #[test]
    fn any_text_is_written(text in "([-*_`~#>|!\\[\\]()<>\\\\ \n1ax]|```|font|你|<b>|---\n){0,60}") {
        let _ = native(&text);
    }

    #[test]
    fn words_stay(words in prop::collection::vec("[a-z你好]{1,9}", 0..30)) {
        let text = words.join(" ");
        prop_assert_eq!(native(&text), text);
    }
}
