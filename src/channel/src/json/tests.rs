use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn whole(text: &str) -> Value {
    let repaired = repair(text).unwrap_or_else(|| panic!("{text}"));
    assert!(repaired.is_whole, "{text}: {}", repaired.json);
    parsed(&repaired)
}

fn parsed(repaired: &Repaired) -> Value {
    serde_json::from_str(&repaired.json).unwrap_or_else(|why| panic!("{why}: {repaired:?}"))
}

#[test]
fn what_servers_send_is_read_as_what_they_meant() {
    for (text, expect) in [
        ("{\"a\":\"x\u{8}y\"}", json!({"a": "x\u{8}y"})),
        (
            "{\"a\":\"\u{1b}[31mred\u{1b}[0m\"}",
            json!({"a": "\u{1b}[31mred\u{1b}[0m"}),
        ),
        (
            "{\"a\":\"one\ntwo\r\n\tthree\"}",
            json!({"a": "one\ntwo\r\n\tthree"}),
        ),
        (
            "{\"a\":\"\0\u{1}\u{1f}\u{7f}\"}",
            json!({"a": "\0\u{1}\u{1f}\u{7f}"}),
        ),
        ("\u{feff}{\"a\":1}", json!({"a": 1})),
        ("\0\0{\"a\":1}\0\0", json!({"a": 1})),
        ("\u{fffd}\u{fffd}{\"a\":1}", json!({"a": 1})),
        ("{\0\"a\"\0:\u{b}1\0}", json!({"a": 1})),
        (r#"{"a":"\x41\x62"}"#, json!({"a": "Ab"})),
        (r#"{"a":"\xe4\xbd\xa0\x22\x0a"}"#, json!({"a": "你\"\n"})),
        (r#"{"a":"\xff\xg1\x4"}"#, json!({"a": "\u{fffd}\\xg1\\x4"})),
        (
            r#"{"a":"C:\dir\users \0 \' \e"}"#,
            json!({"a": "C:\\dir\\users \\0 ' \\e"}),
        ),
        (
            r#"{"a":"\ud83d","b":"\ude00x","c":"\ud83d\ude00"}"#,
            json!({"a": "\u{fffd}", "b": "\u{fffd}x", "c": "😀"}),
        ),
        (
            r#"{"a":"\ud83","b":"\ud83d\ud83d\ude00","c":"\u+123"}"#,
            json!({"a": "\\ud83", "b": "\u{fffd}😀", "c": "\\u+123"}),
        ),
        (
            "{\"a\":NaN,\"b\":-Infinity,\"c\":undefined,\"d\":None,\"e\":True}",
            json!({"a": null, "b": null, "c": null, "d": null, "e": true}),
        ),
        (
            "{\"a\":01,\"b\":+1,\"c\":1.,\"d\":.5,\"e\":0x1F,\"f\":1e999}",
            json!({"a": "01", "b": "+1", "c": "1.", "d": ".5", "e": "0x1F", "f": "1e999"}),
        ),
        ("{\"a\":[1,2,],}", json!({"a": [1, 2]})),
        ("{\"a\":[,1 2],,\"b\":}", json!({"a": [1, 2], "b": null})),
        (
            "{\"a\":1 \"b\":\"x\" \"c\":2}",
            json!({"a": 1, "b": "x", "c": 2}),
        ),
        (
            "{a:'it\\'s \"x\"',b_1:2}",
            json!({"a": "it's \"x\"", "b_1": 2}),
        ),
        (
            r#"{"a":"he said "yes", and "no" to it","b":1}"#,
            json!({"a": "he said \"yes\", and \"no\" to it", "b": 1}),
        ),
        ("{\"a\":1}garbage", json!({"a": 1})),
        ("{\"a\":1}{\"a\":2}", json!({"a": 1})),
        ("{\"a\":1}}]", json!({"a": 1})),
        ("{\"a\":1},", json!({"a": 1})),
        ("{\"a\":[1,{\"b\":2}}", json!({"a": [1, {"b": 2}]})),
        (
            "{\"a\":[{\"b\":]},{\"b\":2}]}",
            json!({"a": [{"b": null}, {"b": 2}]}),
        ),
        (
            "{\"a\":[{\"b\":1,{\"b\":2}],\"c\":3}",
            json!({"a": [{"b": 1}, {"b": 2}], "c": 3}),
        ),
        (
            "{\"a\":[{\"b\":{\"x\":1},{\"b\":2}],\"c\":3}",
            json!({"a": [{"b": {"x": 1}}, {"b": 2}], "c": 3}),
        ),
        ("{\"a\" 5 ,\"b\":1}", json!({"b": 1})),
        ("{\"a\":1,[1,{\"x\":2}],\"b\":2}", json!({"a": 1, "b": 2})),
        ("{\"a\":1,{\"x\":\"}\"},\"b\":2}", json!({"a": 1, "b": 2})),
        ("[1,{\"a\":\"\n\"}]", json!([1, {"a": "\n"}])),
        ("{}", json!({})),
    ] {
        assert_eq!(whole(text), expect, "{text}");
    }
    for text in [
        "",
        " ",
        "\u{feff}",
        "<html>{}</html>",
        "x",
        "\"{}\"",
        "1",
        "null",
    ] {
        assert_eq!(repair(text), None, "{text}");
    }
}

#[test]
fn a_text_that_was_cut_off_is_not_whole_wherever_that_was() {
    let text = r#"{"ret":0,"msgs":[{"id":12,"t":"a\\\"b"},{"id":13,"l":[1,{"x":"y"}]}],"buf":"cursor","n":3}"#;
    assert!(repair(text).unwrap().is_whole);
    for end in 1..text.len() {
        let cut = text.get(..end).unwrap();
        let repaired = repair(cut).unwrap();
        assert!(!repaired.is_whole, "{cut}");
        let value = parsed(&repaired);
        for message in value["msgs"].as_array().into_iter().flatten() {
            let whole = [
                json!({"id": 12, "t": "a\\\"b"}),
                json!({"id": 13, "l": [1, {"x": "y"}]}),
            ];
            assert!(whole.contains(message), "{message}");
        }
        assert!(
            value["buf"].is_null() || value["buf"] == "cursor",
            "{value}"
        );
        assert!(value["n"].is_null(), "{value}");
    }
}

#[test]
fn a_bracket_too_many_in_the_middle_is_no_end() {
    let repaired = repair(r#"{"a":[{"b":1]},{"b":2}],"c":3}"#).unwrap();
    assert!(!repaired.is_whole, "{repaired:?}");
    assert_eq!(parsed(&repaired)["a"], json!([{"b": 1}]));
}

#[test]
fn what_is_too_deep_is_null_and_costs_no_stack() {
    let deep = |open: &str, close: &str, depth| [open.repeat(depth), close.repeat(depth)].concat();
    let text = format!("{{\"a\":{},\"b\":2}}", deep("[", "]", 1_000_000));
    assert_eq!(whole(&text)["b"], 2);
    let text = format!(
        "{{\"a\":{}1{},\"b\":2}}",
        "{\"x\":".repeat(5000),
        "}".repeat(5000)
    );
    assert_eq!(whole(&text)["b"], 2);
    assert!(!repair(&"[{\"a\":".repeat(500_000)).unwrap().is_whole);
}

#[test]
fn hostile_texts_take_linear_time() {
    for piece in [
        "\"", "\" ", "\",", "\":", "{\"", "\\", "\\x4", "'", ",", "{", "}", "]", "[\"a\" ",
        "\" \"a",
    ] {
        let text = format!("{{\"a\":{}", piece.repeat(300_000 / piece.len()));
        let _ = repair(&text);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\",:{}\\[\\] a\\\\]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[\",:{} a\\\\]{0,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_json_stays_what_it_is(value in any_json()) {
        let value = json!({"v": value});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(whole(&text), read);
        }
    }

    #[test]
    fn anything_becomes_json(text in "\\PC*|[\\[\\]{}\",:'\\\\ux0-9a\\x00-\\x1f ]*") {
        for text in [format!("{{{text}"), format!("[{text}"), format!("{{\"a\":\"{text}"), text] {
            if let Some(repaired) = repair(&text) {
                let _ = parsed(&repaired);
            }
        }
    }

    #[test]
    fn raw_characters_in_a_string_arrive(text in "[^\"\\\\]{0,40}") {
        prop_assert_eq!(&whole(&format!("{{\"a\":\"{text}\",\"b\":1}}")), &json!({"a": text, "b": 1}));
    }
}
