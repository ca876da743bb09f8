//! What is taken out of JSON, and what is left alone.

use super::*;

const TOKEN: &str = "bot@im.bot:0a1b\"2c";

fn capture(pointer: &str) -> Capture {
    Capture::new("/ilink/bot/get_qrcode_status", pointer, "bot-token").unwrap()
}

/// The body that is handed on and the value that is kept.
fn taken(pointer: &str, body: &str) -> Result<Option<(String, String)>, &'static str> {
    let taken = take_out(&mut HeaderMap::new(), body.as_bytes(), &[&capture(pointer)])?;
    Ok(taken.map(|taken| {
        let body = String::from_utf8(taken.body).unwrap();
        let (name, value) = taken.aside.last().unwrap();
        assert_eq!(name, "bot-token");
        assert!(value.expose().len() < SHORTEST_PART || !body.contains(value.expose()));
        (body, value.expose().to_owned())
    }))
}

#[test]
fn the_string_at_the_pointer_is_taken_out_and_the_rest_stays() {
    for (pointer, body, expected) in [
        (
            "/bot_token",
            r#"{ "ret" : 0.0e1, "bot_token":"bot@im.bot:0a1b\"2c" ,"id":12345678901234567890}"#,
            r#"{ "ret" : 0.0e1, "bot_token":"{{bot-token}}" ,"id":12345678901234567890}"#,
        ),
        (
            "/bot_token",
            r#"{"bot_token":"\u0062ot@im.bot\u003a0a1b\u00222c","x":"\u0062ot\/"}"#,
            r#"{"bot_token":"{{bot-token}}","x":"\u0062ot\/"}"#,
        ),
        ("", r#" "bot@im.bot:0a1b\"2c" "#, r#" "{{bot-token}}" "#),
        (
            "/data/1/a~1b/~0",
            r#"{"data":[{"a/b":{"~":"x"}},{"a/b":{"~":"bot@im.bot:0a1b\"2c"}}]}"#,
            r#"{"data":[{"a/b":{"~":"x"}},{"a/b":{"~":"{{bot-token}}"}}]}"#,
        ),
        // Copies, in values, in longer strings and in names.
        (
            "/t",
            r#"{"t":"bot@im.bot:0a1b\"2c","u":["bot@im.bot:0a1b\u00222c","Bearer bot@im.bot:0a1b\"2c!"],"bot@im.bot:0a1b\"2c":1}"#,
            r#"{"t":"{{bot-token}}","u":["{{bot-token}}","Bearer {{bot-token}}!"],"{{bot-token}}":1}"#,
        ),
    ] {
        let (clean, value) = taken(pointer, body).unwrap().unwrap();
        assert_eq!(clean, expected);
        assert_eq!(value, TOKEN);
    }
}

#[test]
fn repeated_members_are_all_taken_out_and_the_last_is_kept() {
    for (body, expected) in [
        (
            r#"{"t":"first-token","t":"second-token","u":"first-token"}"#,
            r#"{"t":"{{bot-token}}","t":"{{bot-token}}","u":"{{bot-token}}"}"#,
        ),
        (
            r#"{"t":"token-1","t":"token-1-second-token","t":1}"#,
            r#"{"t":"{{bot-token}}","t":"{{bot-token}}","t":1}"#,
        ),
    ] {
        let (clean, value) = taken("/t", body).unwrap().unwrap();
        assert_eq!(clean, expected);
        assert!(value.ends_with("second-token"));
    }
    let (clean, _) = taken(
        "/a/t",
        r#"{"a":{"t":"first-token"},"a":{"t":"second-token"}}"#,
    )
    .unwrap()
    .unwrap();
    assert_eq!(
        clean,
        r#"{"a":{"t":"{{bot-token}}"},"a":{"t":"{{bot-token}}"}}"#
    );
}

#[test]
fn a_short_value_is_replaced_as_a_whole_string() {
    let (clean, value) = taken("/t", r#"{"t":"t","status":"t","u":"status"}"#)
        .unwrap()
        .unwrap();
    assert_eq!(
        clean,
        r#"{"t":"{{bot-token}}","status":"{{bot-token}}","u":"status"}"#
    );
    assert_eq!(value, "t");
}

#[test]
fn json_without_the_credential_is_left_alone() {
    for body in [
        r#"{"status":"wait"}"#,
        r#"{"t":""}"#,
        r#"{"t":null}"#,
        r#"{"t":17}"#,
        r#"{"t":{"t":"x"}}"#,
        r#"{"t":["x"]}"#,
        r#"{"a":{"t":"x"}}"#,
        r#"[{"t":"x"}]"#,
        r#""t""#,
        "null",
        // Text that no program can read hides nothing that is looked for.
        r#"{"nick":"\ud800"}"#,
    ] {
        assert_eq!(taken("/t", body), Ok(None), "{body}");
    }
    assert_eq!(taken("/00", r#"["x","y"]"#), Ok(None));
    assert_eq!(taken("/-", r#"["x","y"]"#), Ok(None));
}

#[test]
fn what_can_not_be_searched_is_an_error() {
    for body in [
        r#"{"t":"x""#,
        r#"{"t":"x"} {"t":"x"}"#,
        "<html>x</html>",
        "\u{feff}{\"t\":\"x\"}",
        "{'t':'x'}",
        r#"{"t":"\x"}"#,
        r#"{"t":"\ud800"}"#,
        r#"{"t":"token-of-8","nick":"token-of-8 \ud800"}"#,
    ] {
        assert!(taken("/t", body).is_err(), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert!(taken("/0/0", &deep).is_err());
    let mut headers = HeaderMap::new();
    assert!(
        take_out(
            &mut headers,
            b"{\"t\":\"x\",\"u\":\"\xff\"}",
            &[&capture("/t")]
        )
        .is_err()
    );
}

#[test]
fn headers_with_the_value_go() {
    let mut headers = HeaderMap::new();
    headers.insert("set-cookie", "t=token-of-8; path=/".parse().unwrap());
    headers.insert("x-other", "token".parse().unwrap());
    let taken = take_out(&mut headers, br#"{"t":"token-of-8"}"#, &[&capture("/t")]);
    assert!(taken.unwrap().is_some());
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-other"]);
}

#[test]
fn paths_are_matched_in_every_spelling_that_a_server_may_take() {
    let capture = capture("/t");
    for path in [
        "/ilink/bot/get_qrcode_status",
        "/ilink/bot/get_qrcode_status/",
        "/ilink/bot/get_qrcode_status2",
        "/ilink/bot/GET_qrcode_status",
        "//ilink/bot//get_qrcode_status",
        "/ilink;x=1/bot/get_qrcode_status;y",
        "/ilink/bot/get%5Fqrcode%5fstatus",
        "/ilink/bot/get%255fqrcode_status",
        "/ilink/bot/get%25255%66qrcode_status",
        "/ilink/bot%2Fget_qrcode_status",
    ] {
        assert!(capture.applies_to(path), "{path}");
    }
    for path in [
        "/",
        "",
        "/ilink/bot/get_bot_qrcode",
        "/ilink/bot/%zzget_qrcode_status",
        "/%",
    ] {
        assert!(!capture.applies_to(path), "{path}");
    }
    let encoded = format!("/{}", "%25".repeat(20_000));
    assert!(!capture.applies_to(&encoded));
}

#[test]
fn captures_that_make_no_sense_are_refused() {
    for (path, pointer) in [
        ("ilink", "/a"),
        ("", "/a"),
        ("/a", "a"),
        ("/a", "/~"),
        ("/a", "/~2"),
    ] {
        let error = Capture::new(path, pointer, "bot-token")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("capture of \"bot-token\": "), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_in_the_answer_panics_or_shows_the_value(
        around in proptest::collection::vec("[a-z\\\\\"{}\\[\\]:, \\u{1F600}]{0,6}", 0..6),
        value in "[a-z\\\\\"\\u{e9}]{8,12}",
    ) {
        let mut json = serde_json::Map::new();
        for text in &around {
            json.insert(text.clone(), format!("{text}{value}{text}").into());
        }
        json.insert("t".to_owned(), value.clone().into());
        let body = serde_json::to_vec(&json).unwrap();
        let capture = capture("/t");
        let taken = take_out(&mut HeaderMap::new(), &body, &[&capture]).unwrap().unwrap();
        let clean: serde_json::Value = serde_json::from_slice(&taken.body).unwrap();
        for text in clean.as_object().unwrap().values() {
            proptest::prop_assert!(!text.as_str().unwrap().contains(&value));
        }
        let bytes: Vec<u8> = around.concat().into_bytes();
        let _ = take_out(&mut HeaderMap::new(), &bytes, &[&capture]);
    }
}
