//! What is taken out of JSON, and what is left alone.

use super::*;

const TOKEN: &str = "bot@im.bot:0a1b\"2c";

fn capture(pointer: &str) -> Capture {
    Capture::new("/ilink/bot/get_qrcode_status", pointer, "bot-token").unwrap()
}

/// The body that is handed on and the value that is kept.
fn taken(pointer: &str, body: &str) -> Result<Option<(String, String)>, &'static str> {
    let taken = take_out(&mut HeaderMap::new(), body.as_bytes(), &[capture(pointer)])?;
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
        r#"{"n":"\ud800","t":"x"#,
        "<html>x</html>",
        "{'t':'x'}",
        r#"{"t":"\x"}"#,
        r#"{"t":"\ud800"}"#,
        "{\"t\":\"x\u{8}\"}",
    ] {
        assert!(taken("/t", body).is_err(), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert!(taken("/0/0", &deep).is_err());
}

#[test]
fn json_that_is_not_quite_is_searched_and_handed_on_as_it_was_searched() {
    let place = r#""t":"{{bot-token}}""#;
    for (body, clean) in [
        (
            &b"\xef\xbb\xbf{\"t\":\"token-of-8\"}"[..],
            format!("{{{place}}}"),
        ),
        (b"\0{\"t\":\"token-of-8\"}\0\0", format!("{{{place}}}")),
        (
            b"{\"t\":\"token-of-8\"} {\"t\":\"token-of-8\"}",
            format!("{{{place}}}"),
        ),
        (
            b"{\"t\":\"token-of-8\",\"n\":\"a\x08\x1b\nb\"}",
            format!(r#"{{{place},"n":"a\u0008\u001b\u000ab"}}"#),
        ),
        (
            b"{\"t\":\"token-of-8\",\"n\":\"\\x41 \xff\"}",
            format!(r#"{{{place},"n":"\u0041 \u{{fffd}}"}}"#).replace("\\u{fffd}", "\u{fffd}"),
        ),
        (
            b"{\"t\":\"token-of-8\",\"n\":\"token-of-8 \\ud800\"}",
            format!("{{{place},\"n\":\"{{{{bot-token}}}} \u{fffd}\"}}"),
        ),
        (
            b"{\"t\":\"token-of-8\",\"n\":NaN,}",
            format!(r#"{{{place},"n":null}}"#),
        ),
    ] {
        let taken = take_out(&mut HeaderMap::new(), body, &[capture("/t")])
            .unwrap()
            .unwrap();
        assert_eq!(String::from_utf8(taken.body).unwrap(), clean);
        assert_eq!(taken.aside.len(), 1, "{clean}");
    }
    // Without a credential the mended text is handed on as well.
    let taken = take_out(&mut HeaderMap::new(), b"{\"n\":\"\x08\"}", &[capture("/t")]);
    assert_eq!(taken.unwrap().unwrap().body, br#"{"n":"\u0008"}"#);
}

thread_local! {
    /// Bytes that were searched for values.
    static SEARCHED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

pub(super) fn note_search(text: &str) {
    SEARCHED.with(|searched| searched.set(searched.get() + text.len()));
}

#[test]
fn each_string_is_searched_once_whatever_the_answer_repeats() {
    // Half a megabyte of repeated members, each of which would have been looked for in each string.
    let members: Vec<String> = (0..20_000)
        .map(|number| format!("\"t\":\"token-{number:09}\""))
        .collect();
    let body = format!("{{{}}}", members.join(","));
    assert!(body.len() > 440_000);
    SEARCHED.set(0);
    let refused = taken("/t", &body).unwrap_err();
    assert!(refused.contains("more than 8 values"), "{refused}");
    assert_eq!(SEARCHED.get(), 0);

    // As many as are taken, among as many strings.
    let (few, many) = members.split_at(MAX_VALUES);
    let many: Vec<String> = many
        .iter()
        .map(|member| member.replacen('t', "u", 1))
        .collect();
    let body = format!("{{{},{}}}", few.join(","), many.join(","));
    let (clean, value) = taken("/t", &body).unwrap().unwrap();
    assert_eq!(value, "token-000000007");
    assert_eq!(clean.matches("{{bot-token}}").count(), MAX_VALUES);
    let searched = SEARCHED.get();
    assert!(searched <= body.len(), "{searched} bytes");
}

#[test]
fn values_that_are_parts_of_one_another_are_hidden_together() {
    for (values, text, expected) in [
        (
            &["abcdefgh", "fghijklmno"][..],
            "xabcdefghijklmnoy",
            "x{{bot-token}}y",
        ),
        (&["abababab"], "abababababab", "{{bot-token}}"),
        (
            &["abcdefgh", "abcdefghij"],
            "abcdefghij abcdefgh",
            "{{bot-token}} {{bot-token}}",
        ),
        (
            &["abcdefgh"],
            "abcdefghabcdefgh",
            "{{bot-token}}{{bot-token}}",
        ),
        // A value within the placeholder is not put into it again.
        (
            &["bot-token", "{{bot-to"],
            "a bot-token b",
            "a {{bot-token}} b",
        ),
        (&["bcdefghi", "abcdefghij"], "abcdefghij", "{{bot-token}}"),
        (
            &["bcdefghi", "abcdefghij"],
            "zabcdefghijz",
            "z{{bot-token}}z",
        ),
        (
            &["é-token-é"],
            "é-token-éé-token-é",
            "{{bot-token}}{{bot-token}}",
        ),
    ] {
        let members: Vec<String> = values
            .iter()
            .map(|value| format!("\"t\":{}", serde_json::Value::from(*value)))
            .collect();
        let text = serde_json::Value::from(text);
        let body = format!("{{{},\"u\":[{text}]}}", members.join(","));
        let taken = take_out(&mut HeaderMap::new(), body.as_bytes(), &[capture("/t")]);
        let clean = taken.unwrap().unwrap().body;
        let clean: serde_json::Value = serde_json::from_slice(&clean).unwrap();
        assert_eq!(clean["u"][0], expected, "{values:?}");
    }
}

#[test]
fn what_is_no_credential_by_its_length_or_number_is_refused() {
    let long = "x".repeat(MAX_VALUE_BYTES + 1);
    let body = format!("{{\"t\":\"{long}\"}}");
    assert!(taken("/t", &body).unwrap_err().contains("too long"));
    let body = format!("{{\"t\":\"{}\"}}", &long[1..]);
    assert!(taken("/t", &body).unwrap().is_some());
    // Placeholders that are much longer than what they stand for.
    let name = "n".repeat(64);
    let capture = Capture::new("/", "/t", &name).unwrap();
    let body = format!("{{\"t\":\"x\",\"u\":[{}\"x\"]}}", "\"x\",".repeat(200_000));
    let taken = take_out(&mut HeaderMap::new(), body.as_bytes(), &[capture]);
    assert!(taken.err().unwrap().contains("too long with placeholders"));
}

#[test]
fn several_captures_are_found_in_one_reading() {
    let captures = [
        capture("/t"),
        Capture::new("/", "/a/0/t", "first").unwrap(),
        Capture::new("/", "/a/10", "tenth").unwrap().in_use(),
        Capture::new("/", "/a/010", "none").unwrap(),
        Capture::new("/", "/a/+1", "none").unwrap(),
    ];
    let body =
        br#"{"a":[{"t":"value-one"},1,2,3,4,5,6,7,8,9,"value-ten"],"t":"value-t","u":"value-ten"}"#;
    let taken = take_out(&mut HeaderMap::new(), body, &captures)
        .unwrap()
        .unwrap();
    let expected = r#"{"a":[{"t":"{{first}}"},1,2,3,4,5,6,7,8,9,"{{tenth}}"],"t":"{{bot-token}}","u":"{{tenth}}"}"#;
    assert_eq!(String::from_utf8(taken.body).unwrap(), expected);
    let names = |kept: &[(String, Secret)]| {
        let names = kept
            .iter()
            .map(|(name, value)| format!("{name}={}", value.expose()));
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names(&taken.aside),
        ["first=value-one", "bot-token=value-t"]
    );
    assert_eq!(names(&taken.in_use), ["tenth=value-ten"]);
}

#[test]
fn headers_with_the_value_go() {
    let mut headers = HeaderMap::new();
    headers.insert("set-cookie", "t=token-of-8; path=/".parse().unwrap());
    headers.insert("x-other", "token".parse().unwrap());
    let taken = take_out(&mut headers, br#"{"t":"token-of-8"}"#, &[capture("/t")]);
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
        let taken = take_out(&mut HeaderMap::new(), &body, std::slice::from_ref(&capture)).unwrap().unwrap();
        let clean: serde_json::Value = serde_json::from_slice(&taken.body).unwrap();
        for text in clean.as_object().unwrap().values() {
            proptest::prop_assert!(!text.as_str().unwrap().contains(&value));
        }
        let bytes: Vec<u8> = around.concat().into_bytes();
        let _ = take_out(&mut HeaderMap::new(), &bytes, std::slice::from_ref(&capture));
    }
}
