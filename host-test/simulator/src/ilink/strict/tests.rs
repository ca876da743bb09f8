//! What passes as the official client's, and what does not.

use serde_json::json;

use super::*;

#[test]
fn the_uin_is_decimal_text_in_base64() {
    for right in [
        "MA==",
        "MQ==",
        "MTIzNDU=",
        "MzA1NDE5ODk2",
        "NDI5NDk2NzI5NQ==",
    ] {
        assert!(is_uin(right), "{right}");
    }
    // Raw bytes, 2^32, "+1", "01", nothing, no padding, no base64.
    for wrong in [
        "EjRWeA==",
        "NDI5NDk2NzI5Ng==",
        "KzE=",
        "MDE=",
        "",
        "MQ",
        "!",
    ] {
        assert!(!is_uin(wrong), "{wrong}");
    }
}

#[test]
fn the_client_version_is_packed_in_three_bytes() {
    for (version, number) in [
        ("0.0.0", 0),
        ("1.0.11", 65547),
        ("2.2.0", 131584),
        ("2.4.9", 132105),
        ("2.4.9-beta.0", 132105),
        ("10.300.5", 666629),
    ] {
        assert_eq!(client_version(version), Some(number), "{version}");
    }
}

#[test]
fn the_agent_follows_the_grammar() {
    for right in [
        "OpenClaw",
        "MyBot/1.2.0",
        "A/1 (multi word c) B/2",
        "A_.-/1+b (c) C/3",
    ] {
        assert!(is_bot_agent(right), "{right}");
    }
    let long = "A/1 ".repeat(65) + "A/1";
    for wrong in [
        "",
        "A",
        "My Bot/1",
        "A/1 ",
        " A/1",
        "A/1  B/2",
        "A/1 ()",
        "A/1 (c",
        "A/1(c)",
        "A/1 (c) (d)",
        "Ä/1",
        &long,
    ] {
        assert!(!is_bot_agent(wrong), "{wrong}");
    }
}

#[test]
fn the_official_bodies_pass() {
    let base_info = json!({"channel_version": "2.4.9", "bot_agent": "OpenClaw"});
    let text = json!({"msg": {
        "from_user_id": "", "to_user_id": "u@im.wechat", "client_id": "c", "message_type": 2,
        "message_state": 2, "item_list": [{"type": 1, "text_item": {"text": "hi"}}],
        "context_token": "t", "run_id": "r",
    }, "base_info": base_info});
    assert_eq!(body(Endpoint::SendMessage, &text), Vec::<String>::new());
    let poll = json!({"get_updates_buf": "", "base_info": base_info});
    assert_eq!(body(Endpoint::GetUpdates, &poll), Vec::<String>::new());
    assert_eq!(
        body(Endpoint::NotifyStop, &json!({"base_info": base_info})),
        Vec::<String>::new()
    );
}

#[test]
fn each_deviation_is_named() {
    let right = json!({"msg": {
        "from_user_id": "", "to_user_id": "u", "client_id": "c", "message_type": 2,
        "message_state": 2, "item_list": [{"type": 1, "text_item": {"text": "hi"}}],
    }, "base_info": {}});
    for (pointer, value, named) in [
        ("/msg/from_user_id", json!("me"), "from_user_id"),
        ("/msg/to_user_id", json!(""), "to_user_id"),
        ("/msg/client_id", json!(7), "client_id"),
        ("/msg/message_type", json!(1), "message_type"),
        ("/msg/message_state", json!("2"), "message_state"),
        ("/msg/item_list", json!([]), "exactly one"),
        ("/msg/item_list/0/type", json!(3), "never sends"),
        (
            "/msg/item_list/0/text_item",
            json!({"text": "hi", "x": 1}),
            "x",
        ),
        (
            "/msg/item_list/0",
            json!({"type": 1, "text_item": {"text": "a"}, "msg_id": "1"}),
            "msg_id",
        ),
        ("/msg", json!([]), "msg is no JSON object"),
    ] {
        let mut changed = right.clone();
        *changed
            .pointer_mut(pointer)
            .expect("the pointer is into the body") = value;
        let found = body(Endpoint::SendMessage, &changed);
        assert!(
            found.len() == 1 && found[0].contains(named),
            "{pointer}: {found:?}"
        );
    }
    assert_eq!(body(Endpoint::GetUpdates, &json!(3)).len(), 1);
}
