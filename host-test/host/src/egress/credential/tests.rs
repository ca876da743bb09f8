//! Where placeholders are replaced, and where they stay.

use super::*;

fn secrets() -> Secrets {
    let secrets = Secrets::default();
    secrets.set("bot-token", "s3cret\"");
    secrets
}

fn header(value: &str) -> Result<Option<String>, FailureKind> {
    let allowed = |name: &str| name != "other";
    let filled = filled_header(value.as_bytes(), &secrets(), allowed)?;
    Ok(filled.map(|value| value.to_str().unwrap().to_owned()))
}

#[test]
fn placeholders_in_headers_are_replaced_wherever_they_stand() {
    for (value, expected) in [
        ("{{bot-token}}", "s3cret\""),
        ("Bearer {{bot-token}}", "Bearer s3cret\""),
        ("{{{bot-token}}}", "{s3cret\"}"),
        ("a{{bot-token}}b{{bot-token}}c", "as3cret\"bs3cret\"c"),
    ] {
        assert_eq!(header(value).unwrap().as_deref(), Some(expected));
    }
    for value in [
        "",
        "{{}}",
        "{{bot token}}",
        "{bot-token}",
        "{{bot-token}",
        "{{",
    ] {
        assert_eq!(header(value).unwrap(), None, "{value}");
    }
}

#[test]
fn filled_headers_are_not_shown() {
    let filled = filled_header(b"{{bot-token}}", &secrets(), |_| true)
        .unwrap()
        .unwrap();
    assert!(!format!("{filled:?} {:?}", secrets()).contains("s3cret"));
}

#[test]
fn placeholders_that_can_not_be_filled_are_errors() {
    assert!(matches!(
        header("x {{other}}"),
        Err(FailureKind::CredentialNotAllowed { name }) if name == "other"
    ));
    assert!(matches!(
        header("{{bot-token}} {{absent}}"),
        Err(FailureKind::CredentialMissing { name }) if name == "absent"
    ));
    secrets().set("bot-token", "x");
    let broken = Secrets::default();
    broken.set("bot-token", "a\r\nb");
    assert!(matches!(
        filled_header(b"{{bot-token}}", &broken, |_| true),
        Err(FailureKind::CredentialUnusable { .. })
    ));
}

fn json(body: &str) -> Option<String> {
    filled_json(body.as_bytes(), &secrets(), |name| name == "bot-token")
        .unwrap()
        .map(|body| String::from_utf8(body).unwrap())
}

#[test]
fn whole_strings_in_json_are_replaced_and_the_rest_stays() {
    assert_eq!(
        json(
            r#"{"z": 1.0e3, "list": ["{{bot-token}}" , "x"], "a": "{{bot-token}}", "a": 9007199254740995}"#
        ),
        Some(
            r#"{"z": 1.0e3, "list": ["s3cret\"" , "x"], "a": "s3cret\"", "a": 9007199254740995}"#
                .to_owned()
        )
    );
    assert_eq!(json(r#""{{bot-token}}""#), Some(r#""s3cret\"""#.to_owned()));
    assert_eq!(
        json(r#"{"\"": "\\", "a": "\u007b{bot\u002dtoken}}"}"#),
        Some(r#"{"\"": "\\", "a": "s3cret\""}"#.to_owned())
    );
}

#[test]
fn text_around_a_placeholder_names_and_other_placeholders_stay() {
    for body in [
        r#"{"text": "say {{bot-token}}"}"#,
        r#"{"text": "{{bot-token}} "}"#,
        r#"{"text": "\"{{bot-token}}\""}"#,
        r#"{"{{bot-token}}" : 1}"#,
        r#"{"text": "{{other}}"}"#,
        r#"{"text": "{{bot-token}}""#,
        "{{bot-token}}",
        "",
    ] {
        assert_eq!(json(body), None, "{body}");
    }
}

#[test]
fn a_short_request_does_not_become_a_huge_one() {
    let secrets = Secrets::default();
    secrets.set("t", &"x".repeat(8 * 1024));
    let body = format!("[{}1]", "\"{{t}}\",".repeat(100_000));
    let filled = filled_json(body.as_bytes(), &secrets, |_| true);
    assert!(
        matches!(filled, Err(FailureKind::RequestTooLarge { .. })),
        "{filled:?}"
    );
    let header = "{{t}}".repeat(10_000);
    let filled = filled_header(header.as_bytes(), &secrets, |_| true);
    assert!(matches!(
        filled,
        Err(FailureKind::CredentialUnusable { .. })
    ));
    let query = "a={{t}}&".repeat(5_000);
    let uri = format!("https://example.com/?{query}").parse().unwrap();
    let filled = crate::egress::query::filled(&uri, &secrets, |_| true);
    assert!(matches!(
        filled,
        Err(FailureKind::CredentialUnusable { .. })
    ));
}

#[test]
fn a_missing_credential_in_json_is_an_error() {
    for body in [r#"{"a":"{{bot-token}}"}"#, r#""{{bot-token}}""#] {
        let result = filled_json(body.as_bytes(), &Secrets::default(), |_| true);
        assert!(matches!(result, Err(FailureKind::CredentialMissing { .. })));
    }
}

#[test]
fn an_element_of_an_array_stands_for_all_values() {
    for (body, two, none) in [
        (
            r#"{"a": ["{{t}}"], "b": 1.0}"#,
            r#"{"a": ["new","old\""], "b": 1.0}"#,
            r#"{"a": [], "b": 1.0}"#,
        ),
        ("[ \"{{t}}\" ]", "[ \"new\",\"old\\\"\" ]", "[  ]"),
        (
            r#"["x", "{{t}}", "y"]"#,
            r#"["x", "new","old\"", "y"]"#,
            r#"["x", "y"]"#,
        ),
        (
            r#"["{{t}}" , "y"]"#,
            r#"["new","old\"" , "y"]"#,
            r#"[ "y"]"#,
        ),
        (
            r#"["x" , "{{t}}"]"#,
            r#"["x" , "new","old\""]"#,
            r#"["x" ]"#,
        ),
        (
            r#"["{{t}}","{{t}}",["{{t}}"]]"#,
            r#"["new","old\"","new","old\"",["new","old\""]]"#,
            r#"[[]]"#,
        ),
        (
            r#"[0,"\u007b{t}}",{"{{t}}":[]}]"#,
            r#"[0,"new","old\"",{"{{t}}":[]}]"#,
            r#"[0,{"{{t}}":[]}]"#,
        ),
    ] {
        let secrets = Secrets::default();
        let filled = || {
            let filled = filled_json(body.as_bytes(), &secrets, |name| name == "t");
            String::from_utf8(filled.unwrap().unwrap()).unwrap()
        };
        assert_eq!(filled(), none, "{body}");
        secrets.set_all("t", ["new", "old\""]);
        assert_eq!(filled(), two, "{body}");
        secrets.set_all("t", [""; 0]);
        assert_eq!(filled(), none, "{body}");
    }
}

#[test]
fn everywhere_else_the_newest_value_is_meant() {
    let secrets = Secrets::default();
    secrets.set_all("t", ["new", "old"]);
    let body = br#"{"a": "{{t}}", "b": [{"c": "{{t}}"}]}"#;
    let filled = filled_json(body, &secrets, |_| true).unwrap().unwrap();
    assert_eq!(filled, br#"{"a": "new", "b": [{"c": "new"}]}"#);
    let header = filled_header(b"{{t}}", &secrets, |_| true).unwrap();
    assert_eq!(header.unwrap(), "new");
    assert_eq!(secrets.values("t")[1].expose(), "old");
    assert!(secrets.values("other").is_empty());
    secrets.set_all("t", [""; 0]);
    assert!(!secrets.contains("t"));
    assert!(filled_json(body, &secrets, |_| true).is_err());
    assert_eq!(format!("{:?}", Secret::new("new")), "Secret(…)");
}

proptest::proptest! {
    #[test]
    fn what_is_filled_reads_like_the_original(
        keys in proptest::collection::vec(("[a-z\"{\\\\]{0,4}", 0..5_u8), 0..8),
    ) {
        // Objects and arrays with a placeholder here and there.
        let item = |key: &str, kind: u8| match kind {
            0 => serde_json::json!({key: "{{t}}"}),
            1 => serde_json::json!("{{t}}"),
            2 => serde_json::json!([key, "{{t}}", "{{t}}", {}]),
            3 => serde_json::json!({"{{t}}": key}),
            _ => serde_json::json!([["{{t}}"], key, 1]),
        };
        let items: Vec<_> = keys.iter().map(|(key, kind)| item(key, *kind)).collect();
        let body = serde_json::to_vec(&items).unwrap();
        for values in [&["new"; 0][..], &["new"], &["new", "old"]] {
            let secrets = Secrets::default();
            secrets.set_all("t", values);
            let filled = match filled_json(&body, &secrets, |name| name == "t") {
                Ok(filled) => filled.unwrap_or_else(|| body.clone()),
                Err(_) => {
                    assert!(values.is_empty() && keys.iter().any(|(_, kind)| *kind == 0));
                    continue;
                }
            };
            let expected = expanded(items.clone().into(), values);
            let filled: serde_json::Value = serde_json::from_slice(&filled).unwrap();
            proptest::prop_assert_eq!(filled, expected);
        }
    }
}

/// The same on the document's tree.
fn expanded(json: serde_json::Value, values: &[&str]) -> serde_json::Value {
    use serde_json::Value;
    match json {
        Value::Array(items) => items
            .into_iter()
            .flat_map(|item| match item.as_str() {
                Some("{{t}}") => values.iter().map(|value| Value::from(*value)).collect(),
                _ => vec![expanded(item, values)],
            })
            .collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| match value.as_str() {
                Some("{{t}}") => (name, values.first().copied().into()),
                _ => (name, expanded(value, values)),
            })
            .collect(),
        other => other,
    }
}
