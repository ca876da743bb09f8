//! People's files in each form that clients have met.

use serde_json::json;

use super::*;
use crate::ilink::RuleChanges;
use crate::ilink::cipher::{Opening, hex};
use crate::ilink::client::{Client, strict_simulator};
use crate::ilink::rules::{FileForm, KeyForm};
use crate::{Content, Simulator};

const ALICE: &str = "wxid_alice@im.wechat";
const PLAIN: &[u8] = b"what is in the file";

/// The file of an item, decrypted with the key that the item names in this form.
async fn opened(simulator: &Simulator, payload: &Value, form: &str) -> Vec<u8> {
    let media = &payload["media"];
    let url = match media["full_url"].as_str() {
        Some(url) => url.to_owned(),
        None => {
            let ticket = media["encrypt_query_param"]
                .as_str()
                .expect("it has a reference");
            simulator.first().server.download_url(None, ticket)
        }
    };
    let client = Client::new(simulator);
    let bytes = client.download(&url).await.unwrap().into_body();
    let written = media["aes_key"].as_str().unwrap_or_default();
    let decoded = STANDARD.decode(written).unwrap_or_default();
    let key = match form {
        "base64" => hex(&decoded),
        "base64-hex" => String::from_utf8(decoded).unwrap(),
        "base64-hex-upper" => {
            let upper = String::from_utf8(decoded).unwrap();
            assert_eq!(upper, upper.to_uppercase());
            upper.to_lowercase()
        }
        "aeskey" => payload["aeskey"].as_str().unwrap().to_owned(),
        "bare" => written.to_owned(),
        _ => return bytes.to_vec(),
    };
    let mut opening = Opening::new(Key::of_hex(&key).expect("it is a key"), true);
    opening.update(&bytes);
    opening
        .finish()
        .and_then(|opened| opened.kept)
        .expect("it decrypts")
}

#[tokio::test]
async fn each_kind_opens_with_its_key_in_each_form() {
    let simulator = strict_simulator().await;
    let payloads = [
        (MediaKind::Image, "image_item"),
        (MediaKind::Voice, "voice_item"),
        (MediaKind::File, "file_item"),
        (MediaKind::Video, "video_item"),
    ];
    for (form, of_image, of_others) in [
        ("usual", "aeskey", "base64-hex"),
        ("usual", "base64-hex", "base64-hex"),
        ("hex", "aeskey", "bare"),
        ("base64", "base64", "base64"),
        ("base64-hex", "base64-hex", "base64-hex"),
        ("base64-hex-upper", "base64-hex-upper", "base64-hex-upper"),
    ] {
        simulator.faults(&json!({"files": {"key": form}})).unwrap();
        for (kind, payload) in payloads {
            let message = simulator.send_file(ALICE, kind, "a.bin", PLAIN);
            let payload = &message["item_list"][0][payload];
            let written = if kind == MediaKind::Image {
                of_image
            } else {
                of_others
            };
            assert_eq!(opened(&simulator, payload, written).await, PLAIN, "{form}");
            let has_own = payload["aeskey"].is_string();
            assert_eq!(
                has_own,
                kind == MediaKind::Image && ["usual", "hex"].contains(&form)
            );
        }
    }
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_image_without_key_is_served_as_it_is() {
    let simulator = strict_simulator().await;
    simulator
        .change(&RuleChanges::new().files(Some(FileForm::new().key(KeyForm::None))))
        .unwrap();
    let message = simulator.send_file(ALICE, MediaKind::Image, "a.png", PLAIN);
    let image = &message["item_list"][0]["image_item"];
    assert!(image.get("aeskey").is_none() && image["media"].get("aes_key").is_none());
    assert_eq!(opened(&simulator, image, "none").await, PLAIN);
    let message = simulator.send_file(ALICE, MediaKind::File, "a", PLAIN);
    let file = &message["item_list"][0]["file_item"];
    assert!(file["media"].get("aes_key").is_none());
    assert_eq!(opened(&simulator, file, "none").await.len(), 32);
}

#[tokio::test]
async fn references_are_given_as_they_are_wanted() {
    let simulator = strict_simulator().await;
    let hostile = "file:///etc/passwd\0";
    for (rule, param, full_url) in [
        (json!(null), true, true),
        (json!({"reference": "param", "times": 1}), true, false),
        (json!({"reference": "full-url"}), false, true),
        (json!({"reference": "neither"}), false, false),
        (
            json!({"reference": "param", "full_url": hostile}),
            true,
            true,
        ),
        (json!({"skip": 1, "reference": "neither"}), true, true),
    ] {
        simulator.faults(&json!({"files": rule})).unwrap();
        let message = simulator.send_file(ALICE, MediaKind::File, "a", PLAIN);
        let media = &message["item_list"][0]["file_item"]["media"];
        assert_eq!(media["encrypt_query_param"].is_string(), param, "{rule}");
        assert_eq!(media["full_url"].is_string(), full_url, "{rule}");
        if rule["full_url"].is_string() {
            assert_eq!(media["full_url"], hostile);
        } else if full_url {
            let base = simulator.cdn_base_url();
            assert!(media["full_url"].as_str().unwrap().starts_with(&base));
        }
    }
    simulator
        .faults(&json!({"files": null, "cdn_base_url": "https://cdn.test/c2c"}))
        .unwrap();
    let message = simulator.send_file(ALICE, MediaKind::File, "a", PLAIN);
    let url = &message["item_list"][0]["file_item"]["media"]["full_url"];
    assert!(
        url.as_str()
            .unwrap()
            .starts_with("https://cdn.test/c2c/download?encrypted_query_param=")
    );
}

#[tokio::test]
async fn items_tell_what_the_real_ones_tell() {
    let simulator = strict_simulator().await;
    let voice = File {
        transcript: Some("hello".to_owned()),
        ..File::new(MediaKind::Voice, "v", Content::bytes(vec![0; 6000]))
    };
    let item = simulator.first().store_file(&voice);
    assert_eq!(item["voice_item"]["text"], "hello");
    assert_eq!(item["voice_item"]["playtime"], 3000);
    let message = simulator.first().push(ALICE, vec![item]);
    assert_eq!(message["item_list"][0]["msg_id"], message["message_id"]);
    let message = simulator.send_file(ALICE, MediaKind::File, "名字.txt", PLAIN);
    let file = &message["item_list"][0]["file_item"];
    assert_eq!(
        (&file["len"], &file["file_name"]),
        (&json!("19"), &json!("名字.txt"))
    );
    let message = simulator.send_file(ALICE, MediaKind::Image, "a.png", PLAIN);
    assert_eq!(message["item_list"][0]["image_item"]["mid_size"], 32);
    let message = simulator.push_generated(ALICE, MediaKind::Video, 70_000, 1);
    assert_eq!(message["item_list"][0]["video_item"]["video_size"], 70_016);
    let phone = simulator.phone();
    let kinds: Vec<&Value> = phone.iter().map(|entry| &entry["item"]["kind"]).collect();
    assert_eq!(kinds, ["voice", "file", "image", "video"]);
    assert!(!format!("{phone:?}").contains("aes_key"));
}
