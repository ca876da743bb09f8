//! The announcement of an upload.

use serde_json::json;

use crate::ilink::client::{Client, announcement, strict_simulator};

const ALICE: &str = "wxid_alice@im.wechat";

#[tokio::test]
async fn an_upload_is_allowed_in_each_form() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    simulator.say(ALICE, "hi");
    for (fault, full_url, param) in [
        (json!(null), true, false),
        (json!({"answer": "param"}), false, true),
        (json!({"answer": "both"}), true, true),
        (json!({"answer": "neither"}), false, false),
    ] {
        simulator.faults(&json!({"getuploadurl": fault})).unwrap();
        let answer = client
            .call("getuploadurl", announcement(ALICE, 3, b"abc"))
            .await;
        assert_eq!(answer["ret"], 0);
        assert_eq!(answer["upload_full_url"].is_string(), full_url, "{answer}");
        assert_eq!(answer["upload_param"].is_string(), param, "{answer}");
    }
    let hostile = "http://169.254.169.254/latest/meta-data";
    let fault = json!({"answer": "param", "upload_full_url": hostile, "times": 1});
    let base = "http://cdn.test:1/c2c/";
    simulator
        .faults(&json!({"getuploadurl": fault, "cdn_base_url": base}))
        .unwrap();
    let body = announcement(ALICE, 3, b"abc");
    let answer = client.call("getuploadurl", body.clone()).await;
    assert_eq!(answer["upload_full_url"], hostile);
    assert!(answer["upload_param"].is_string());
    let answer = client.call("getuploadurl", body).await;
    let url = answer["upload_full_url"].as_str().unwrap();
    assert!(url.starts_with("http://cdn.test:1/c2c/upload?"), "{url}");
    assert_eq!(simulator.violations(), Vec::<String>::new());
    assert_eq!(simulator.counters().upload_urls, 6);
}

#[tokio::test]
async fn each_wrong_field_is_refused_and_named() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    simulator.say(ALICE, "hi");
    for (field, value) in [
        ("filekey", json!("0123")),
        ("filekey", json!(null)),
        ("media_type", json!(0)),
        ("media_type", json!("1")),
        ("to_user_id", json!("")),
        ("rawsize", json!("3")),
        ("rawsize", json!(-3)),
        ("rawfilemd5", json!("x")),
        ("filesize", json!(3)),
        ("filesize", json!(32)),
        ("no_need_thumb", json!(false)),
        ("aeskey", json!("00112233445566778899AABBCCDDEEFF")),
        ("aeskey", json!("ABEiM0RVZneImaq7zN3u/w==")),
    ] {
        let before = simulator.violations().len();
        let mut body = announcement(ALICE, 3, b"abc");
        body[field] = value.clone();
        let answer = client.call("getuploadurl", body).await;
        let text = answer.to_string();
        assert!(
            !text.contains("http") && answer["upload_param"].as_str().is_none_or(str::is_empty),
            "{field} {value}: {answer}"
        );
        let violations = &simulator.violations()[before..];
        assert!(
            violations.iter().any(|sentence| sentence.contains(field)),
            "{field} {value}: {violations:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_person_is_refused_and_no_fault_of_the_client() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    let body = announcement("wxid_nobody@im.wechat", 3, b"abc");
    assert_eq!(client.call("getuploadurl", body).await["ret"], -1);
    assert_eq!(simulator.violations(), Vec::<String>::new());
    simulator.say(ALICE, "hi");
    let mut body = announcement(ALICE, 3, b"abc");
    body["thumb_rawsize"] = json!(1);
    assert_eq!(client.call("getuploadurl", body).await["ret"], 0);
    assert_eq!(simulator.violations().len(), 1);
}
