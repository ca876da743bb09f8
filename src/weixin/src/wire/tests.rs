use super::*;

#[test]
fn ids_are_exact_as_numbers_and_as_strings() {
    for (json, expect) in [
        (
            r#"{"message_id":18446744073709551615}"#,
            Some("18446744073709551615"),
        ),
        (
            r#"{"message_id":"18446744073709551615"}"#,
            Some("18446744073709551615"),
        ),
        (
            r#"{"message_id":7497484083968569736}"#,
            Some("7497484083968569736"),
        ),
        (r#"{"message_id":-5}"#, Some("-5")),
        (r#"{"message_id":1.5}"#, None),
        (r#"{"message_id":null}"#, None),
        (r#"{"message_id":[1]}"#, None),
        (r#"{"text":"\"message_id\":1234567890123456789"}"#, None),
    ] {
        let (message, _) = message(json).unwrap();
        assert_eq!(message.message_id.as_deref(), expect, "{json}");
    }
    let (message, _) = message(r#"{"seq":9007199254740993}"#).unwrap();
    assert_eq!(message.seq, Some(9_007_199_254_740_993));
}

#[test]
fn a_message_that_cant_be_read_leaves_the_others() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let json = format!(
        r#"{{"ret":0,"msgs":[1,null,"x",{{"message_id":1,"x":{deep}}},{{"message_id":2}}],"msgs_more":{deep},"get_updates_buf":"c"}}"#
    );
    let updates = updates(&json).unwrap();
    let ids: Vec<Option<String>> = updates
        .messages
        .iter()
        .map(|json| message(json).and_then(|(message, _)| message.message_id))
        .collect();
    // What is too deep is not worth a message.
    let expect = [None, None, None, Some("1"), Some("2")];
    assert_eq!(ids, expect.map(|id| id.map(str::to_owned)));
    assert_eq!(updates.cursor.as_deref(), Some("c"));
}

#[test]
fn fields_of_another_type_are_read_where_that_is_clear() {
    let updates = updates(
        r#"{"ret":"-14","errcode":{},"errmsg":5,"msgs":{},"get_updates_buf":7,"longpolling_timeout_ms":"25000"}"#,
    )
    .unwrap();
    assert_eq!(updates.status.ret, -14);
    assert_eq!(updates.status.errcode, 0);
    assert_eq!(updates.cursor.as_deref(), Some("7"));
    assert_eq!(updates.hold_ms, Some(25_000));
    assert!(updates.messages.is_empty());
}

#[test]
fn half_an_emoji_does_not_lose_the_message() {
    for (json, expect) in [
        (r#"{"a":"x\ud83d"}"#, "x\u{fffd}"),
        (r#"{"a":"\ude00\\ud83d\n"}"#, "\u{fffd}\\ud83d\n"),
        (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
    ] {
        assert_eq!(Object::parse(json).unwrap().text("a"), Some(expect));
    }
    assert!(Object::parse(r#"{"a":"\ud8"#).is_none());
    assert!(Object::parse("\\u").is_none());
    assert!(Object::parse("\\好").is_none());
}

/// The texts of the messages, and the cursor.
fn read(json: &str) -> (Vec<Option<String>>, Option<String>, Condition) {
    let updates = updates(json).unwrap_or_else(|| panic!("{json}"));
    let text = |json: &String| {
        let (message, _) = message(json)?;
        match &message.items.first()?.content {
            Content::Text(text) => Some(text.clone()),
            other => panic!("{other:?}"),
        }
    };
    let texts = updates.messages.iter().map(text).collect();
    (texts, updates.cursor, updates.condition)
}

fn said(text: &str) -> String {
    format!(r#"{{"message_id":1,"item_list":[{{"type":1,"text_item":{{"text":"{text}"}}}}]}}"#)
}

#[test]
fn a_batch_is_read_whatever_is_wrong_in_one_message() {
    for (wrong, expect) in [
        (
            "\u{1b}[31mred\u{8}\n\tx\0".to_owned(),
            Some("\u{1b}[31mred\u{8}\n\tx\0"),
        ),
        (r"\x41\d \ud83d".to_owned(), Some("A\\d \u{fffd}")),
        (
            r#"say "yes", and "no""#.to_owned(),
            Some("say \"yes\", and \"no\""),
        ),
        (
            "\u{fffd}\u{feff}\u{2028}".to_owned(),
            Some("\u{fffd}\u{feff}\u{2028}"),
        ),
    ] {
        let json = format!(
            r#"{{"ret":0,"msgs":[{},{},{}],"get_updates_buf":"c"}}"#,
            said("one"),
            said(&wrong),
            said("three")
        );
        let (texts, cursor, _) = read(&json);
        assert_eq!(cursor.as_deref(), Some("c"), "{json}");
        let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
        assert_eq!(texts, [Some("one"), expect, Some("three")], "{json}");
    }
    for wrong in [
        "NaN",
        "junk",
        r#"{"message_id":NaN,"item_list":[}"#,
        r#"{"message_id":1,"item_list":"#,
        r#"{"message_id":1,"#,
        r#"{"message_id":1,"x":{"y":1}"#,
        "[[[[[",
    ] {
        let json = format!(
            r#"{{"ret":0,"msgs":[{},{wrong},{}],"get_updates_buf":"c"}}"#,
            said("one"),
            said("three")
        );
        let updates = updates(&json).or_else(|| salvage(&json)).unwrap();
        assert_eq!(updates.cursor.as_deref(), Some("c"), "{json}");
        assert!(
            updates.messages.contains(&said("one")),
            "{json}: {updates:?}"
        );
    }
}

#[test]
fn what_surrounds_an_answer_is_passed_over() {
    let json = format!(
        r#"{{"ret":0,"msgs":[{}],"get_updates_buf":"c"}}"#,
        said("one")
    );
    for (json, condition) in [
        (json.clone(), Condition::Sound),
        (format!("\u{feff}{json}"), Condition::Repaired),
        (format!("\0{json}\0\0"), Condition::Repaired),
        (format!("{json}trailing"), Condition::Repaired),
        (format!("{json}{json}"), Condition::Repaired),
        (format!("{json}\u{1a}"), Condition::Repaired),
        (
            json.replace(r#""ret":0"#, r#""ret":NaN"#),
            Condition::Repaired,
        ),
        (
            json.replace(r#""ret":0"#, r#""ret":0,"x":Infinity,"y":[1,]"#),
            Condition::Repaired,
        ),
    ] {
        let expect = (
            vec![Some("one".to_owned())],
            Some("c".to_owned()),
            condition,
        );
        assert_eq!(read(&json), expect, "{json}");
    }
}

#[test]
fn a_repeated_list_takes_no_message_with_it() {
    let json = format!(
        r#"{{"msgs":[{}],"get_updates_buf":"a","msgs":[{}],"get_updates_buf":"b","msgs":null}}"#,
        said("one"),
        said("two")
    );
    let (texts, cursor, _) = read(&json);
    assert_eq!(texts, [Some("one".to_owned()), Some("two".to_owned())]);
    assert_eq!(cursor.as_deref(), Some("b"));
    let one = format!(r#"{{"msgs":{},"get_updates_buf":"a"}}"#, said("one"));
    assert_eq!(read(&one).0, [Some("one".to_owned())]);
    assert_eq!(
        updates(r#"{"msgs":"words"}"#).unwrap().messages,
        ["\"words\""]
    );
}

#[test]
fn what_was_cut_off_is_no_answer_and_can_be_salvaged() {
    let json = format!(
        r#"{{"ret":0,"get_updates_buf":"c","msgs":[{},{}]}}"#,
        said("one"),
        said("two")
    );
    for end in 1..json.len() {
        let cut = json.get(..end).unwrap();
        assert!(updates(cut).is_none(), "{cut}");
    }
    let cut = salvage(json.get(..json.len() - 5).unwrap()).unwrap();
    assert_eq!(
        (cut.messages, cut.cursor.as_deref()),
        (vec![said("one")], Some("c"))
    );
    assert_eq!(cut.condition, Condition::Broken);
    assert!(salvage("<html>").is_none());
}

#[test]
fn a_cursor_may_be_a_number() {
    for (json, expect) in [
        (r#"{"ret":0,"get_updates_buf":12345}"#, Some("12345")),
        (r#"{"ret":0,"get_updates_buf":"0"}"#, Some("0")),
        (r#"{"ret":0,"get_updates_buf":""}"#, None),
        (r#"{"ret":0,"get_updates_buf":null}"#, None),
    ] {
        assert_eq!(updates(json).unwrap().cursor.as_deref(), expect, "{json}");
    }
}

#[test]
fn a_cursor_is_found_where_nothing_else_is_and_no_person_can_name_one() {
    let lost = |rest: &str| format!(r#"{{"ret":0,"msgs":[{{"a":"unclosed}},{rest}"#);
    for (rest, expect) in [
        (r#""get_updates_buf":"c"}"#, Some("c")),
        (r#""get_updates_buf" : "a\/b\u003d","n":1}"#, Some("a/b=")),
        (
            r#"{"t":"\"get_updates_buf\":\"evil\""}],"get_updates_buf":"c"}"#,
            Some("c"),
        ),
        (r#"{"t":"\"get_updates_buf\":\"evil\""}]}"#, None),
        (
            r#"{"t":""get_updates_buf":"evil""}],"get_updates_buf":"c"}"#,
            None,
        ),
        (r#""get_updates_buf":"c","get_updates_buf":"c"}"#, Some("c")),
        (r#""get_updates_buf":"c"#, None),
        (r#""get_updates_buf":"","x":"get_updates_buf"}"#, None),
        (r#""get_updates_buf":7}"#, None),
    ] {
        let json = lost(rest);
        assert_eq!(updates::find_cursor(&json).as_deref(), expect, "{json}");
    }
}
