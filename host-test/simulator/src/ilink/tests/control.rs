//! The control paths.

use http::Method;
use serde_json::{Value, json};

use crate::ilink::client::{Client, strict_simulator, texts};
use crate::{Content, DEFAULT_USER};

#[tokio::test]
async fn a_person_speaks_over_http() {
    let simulator = strict_simulator().await;
    simulator.add_account("0123456789ab@im.bot");
    let client = Client::new(&simulator);
    let post = |body| client.control(Method::POST, "/sim/messages", body);
    let (status, message) = post(json!({"text": "hello"})).await;
    assert_eq!(
        (status, &message["from_user_id"]),
        (200, &json!(DEFAULT_USER))
    );
    assert!(message["message_id"].is_u64());
    let items = json!([{"type": 1, "text_item": {"text": "from bob"}}]);
    assert_eq!(
        post(json!({"user": "bob@im.wechat", "items": items}))
            .await
            .0,
        200
    );
    assert_eq!(post(json!({"raw": null})).await, (200, json!(null)));
    let elsewhere = json!({"account": "0123456789ab@im.bot", "text": "elsewhere"});
    assert_eq!(post(elsewhere).await.0, 200);
    assert_eq!(texts(&client.poll("").await), ["hello", "from bob"]);
    let (_, phone) = client
        .control(Method::GET, "/sim/messages", json!(null))
        .await;
    assert_eq!(phone, Value::from(simulator.phone()));
    assert_eq!(phone.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_person_sends_files_over_http() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    let files = json!([
        {"data": "YWJj", "name": "a.png"},
        {"data": "YWJj", "name": "note.txt"},
        {"size": 100_000, "seed": 3, "kind": "voice", "transcript": "hello"},
    ]);
    let body = json!({"text": "look", "files": files});
    let (status, message) = client.control(Method::POST, "/sim/messages", body).await;
    let items = &message["item_list"];
    assert_eq!((status, items.as_array().map(Vec::len)), (200, Some(4)));
    assert_eq!(items[0]["text_item"]["text"], "look");
    assert!(items[1]["image_item"]["aeskey"].is_string());
    assert_eq!(items[2]["file_item"]["file_name"], "note.txt");
    assert_eq!(items[2]["file_item"]["len"], "3");
    assert_eq!(items[3]["voice_item"]["text"], "hello");
    let phone = simulator.phone();
    assert_eq!(phone[1]["item"]["name"], "a.png");
    assert_eq!(phone[3]["item"]["size"], 100_000);
    let body = json!({"files": [{"data": "YWJj"}, {"data": "?"}]});
    let (status, answer) = client.control(Method::POST, "/sim/messages", body).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(simulator.phone().len(), 4);
}

#[tokio::test]
async fn a_file_is_the_body_and_never_a_path() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    // Larger than a body of JSON may be.
    let content: Vec<u8> = (0..5_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    let post = async |query: &str, content: Vec<u8>| {
        let url = format!("{}/sim/files{query}", client.base_url);
        let headers = client.control_headers();
        let answer = client.fetch(Method::POST, &url, headers, content).await;
        let (head, body) = answer.unwrap().into_parts();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (head.status.as_u16(), body)
    };
    let query = "?user=bob&name=re%20port.pdf&text=look+here";
    let (status, message) = post(query, content.clone()).await;
    assert_eq!((status, &message["from_user_id"]), (200, &json!("bob")));
    let items = &message["item_list"];
    assert_eq!(items[0]["text_item"]["text"], "look here");
    let file = &items[1]["file_item"];
    assert_eq!(
        (&file["file_name"], &file["len"]),
        (&json!("re port.pdf"), &json!("5000000"))
    );
    let url = file["media"]["full_url"].as_str().unwrap();
    let sealed = client.download(url).await.unwrap();
    assert_eq!(sealed.body().len(), 5_000_016);
    assert_eq!(file["md5"], Content::bytes(content).md5());
    let (status, message) = post("?kind=image", b"abc".to_vec()).await;
    assert_eq!(status, 200);
    assert!(message["item_list"][0]["image_item"].is_object());
    for (query, named) in [
        ("?path=/etc/passwd", "path"),
        ("?kind=picture", "kind"),
        ("?account=nobody", "nobody"),
        ("?nam=x", "nam"),
    ] {
        let (status, answer) = post(query, b"abc".to_vec()).await;
        assert_eq!(status, 400, "{query}");
        assert!(
            answer["error"].as_str().unwrap().contains(named),
            "{answer}"
        );
    }
    // What was the way to read a file of this machine.
    let path = json!({"files": [{"path": "/etc/passwd"}]});
    let (status, answer) = client.control(Method::POST, "/sim/messages", path).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(simulator.phone().len(), 3);
}

#[tokio::test]
async fn faults_clock_log_and_violations_are_at_hand() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    let fault = json!({"getconfig": {"ret": -1, "times": 1}});
    assert_eq!(
        client.control(Method::POST, "/sim/faults", fault).await,
        (200, json!({}))
    );
    assert_eq!(
        client
            .call("getconfig", json!({"ilink_user_id": "a"}))
            .await["ret"],
        -1
    );
    let before = simulator.first().server.clock.unix_ms();
    let advance = json!({"advance_ms": 86_400_000});
    let (_, now) = client.control(Method::POST, "/sim/clock", advance).await;
    assert!(now["now_ms"].as_u64() >= Some(before + 86_400_000));
    let (_, log) = client.control(Method::GET, "/sim/log", json!(null)).await;
    assert_eq!(log[0]["endpoint"], "getconfig");
    assert_eq!(log[0]["response"], json!({"ret": -1}));
    let violations = client
        .control(Method::GET, "/sim/violations", json!(null))
        .await;
    assert_eq!(violations, (200, json!([])));
}

#[tokio::test]
async fn mistakes_are_answered_with_a_sentence() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    for (method, path, body, status) in [
        (Method::POST, "/sim/messages", json!({}), 400),
        (Method::POST, "/sim/messages", json!({"text": 3}), 400),
        (
            Method::POST,
            "/sim/messages",
            json!({"text": "a", "items": []}),
            400,
        ),
        (
            Method::POST,
            "/sim/messages",
            json!({"text": "a", "user": ""}),
            400,
        ),
        (
            Method::POST,
            "/sim/messages",
            json!({"text": "a", "account": "x"}),
            400,
        ),
        (
            Method::POST,
            "/sim/messages",
            json!({"text": "a", "usr": "x"}),
            400,
        ),
        (Method::POST, "/sim/messages", json!(null), 400),
        (Method::POST, "/sim/faults", json!({"nothing": 1}), 400),
        (
            Method::POST,
            "/sim/faults",
            json!({"account": "x", "batch": 1}),
            400,
        ),
        (Method::POST, "/sim/faults", json!([]), 400),
        (Method::POST, "/sim/clock", json!({"advance_ms": -1}), 400),
        (
            Method::POST,
            "/sim/clock",
            json!({"advance_ms": u64::MAX}),
            400,
        ),
        (Method::GET, "/sim/faults", json!(null), 405),
        (Method::GET, "/sim/files", json!(null), 405),
        (Method::GET, "/sim/", json!(null), 404),
        (Method::GET, "/sim/other", json!(null), 404),
        (Method::GET, "/", json!(null), 404),
        (Method::GET, "/ilink/bot/getupdates", json!(null), 405),
    ] {
        let (got, answer) = client.control(method, path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {answer}");
        assert!(
            answer["error"]
                .as_str()
                .is_some_and(|text| text.ends_with('.')),
            "{answer}"
        );
    }
    assert!(simulator.phone().is_empty());
}
