//! What phones show of the images, videos and files that bots send.

use serde_json::json;

use super::*;
use crate::ilink::client::{Client, KEY, announcement, message, sealed, strict_simulator};
use crate::{Account, Simulator};

const ALICE: &str = "wxid_alice@im.wechat";
const BOB: &str = "wxid_bob@im.wechat";
const PLAIN: &[u8] = b"what is in the file";

/// An upload as the official client makes it; returns its `media`.
async fn uploaded(client: &Client, user: &str, media_type: u64, plain: &[u8]) -> Value {
    let body = announcement(user, media_type, plain);
    let answer = client.call("getuploadurl", body).await;
    let url = answer["upload_full_url"].as_str();
    let url = url.expect("the upload is allowed");
    let response = client.upload(url, sealed(plain)).await.unwrap();
    let ticket = response.headers()["x-encrypted-param"].to_str().unwrap();
    json!({"encrypt_query_param": ticket, "aes_key": STANDARD.encode(KEY), "encrypt_type": 1})
}

async fn send(client: &Client, user: &str, item: Value) -> Value {
    let mut body = message(user, "x", &rand::random::<u64>().to_string());
    body["msg"]["item_list"] = json!([item]);
    client.call("sendmessage", body).await
}

async fn simulator() -> (Simulator, Client) {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    simulator.say(ALICE, "hi");
    simulator.say(BOB, "hi");
    simulator.faults(&json!({"budget": null})).unwrap();
    (simulator, client)
}

#[tokio::test]
async fn the_official_items_show() {
    let (simulator, client) = simulator().await;
    let sealed = sealed(PLAIN).len();
    for (media_type, kind) in [(1, "image"), (2, "video"), (3, "file")] {
        let media = uploaded(&client, ALICE, media_type, PLAIN).await;
        let (item, name) = match kind {
            "image" => (
                json!({"type": 2, "image_item": {"media": media, "mid_size": sealed}}),
                json!(null),
            ),
            "video" => (
                json!({"type": 5, "video_item": {"media": media, "video_size": sealed}}),
                json!(null),
            ),
            _ => (
                json!({"type": 4, "file_item": {
                    "media": media, "file_name": "a.txt", "len": PLAIN.len().to_string(),
                }}),
                json!("a.txt"),
            ),
        };
        let answer = send(&client, ALICE, item).await;
        assert_eq!(answer["ret"], 0);
        let phone = simulator.phone();
        let entry = phone.last().unwrap();
        let md5 = crate::Content::bytes(PLAIN).md5().to_owned();
        let shown = json!({"kind": kind, "name": name, "size": PLAIN.len(), "md5": md5});
        assert_eq!((&entry["item"], entry.get("broken")), (&shown, None));
        let id = answer["message_id"].as_u64().unwrap();
        assert_eq!(simulator.phone_file(id).as_deref(), Some(PLAIN));
    }
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_phone_cannot_show_is_accepted_and_told() {
    let (simulator, client) = simulator().await;
    let media = uploaded(&client, ALICE, 1, PLAIN).await;
    let bobs = uploaded(&client, BOB, 1, PLAIN).await;
    let other: Account = simulator.add_account("0123456789ab@im.bot");
    other.say(ALICE, "hi");
    let others = uploaded(&Client::of(&simulator, &other), ALICE, 1, PLAIN).await;
    let by_alice = simulator.send_file(ALICE, MediaKind::Image, "a.png", PLAIN);
    let by_alice = &by_alice["item_list"][0]["image_item"]["media"]["encrypt_query_param"];
    let with = |key: &str, value: Value| {
        let mut media = media.clone();
        media[key] = value;
        json!({"media": media, "mid_size": 32})
    };
    for (image, reason) in [
        (
            with("aes_key", json!("ABEiM0RVZneImaq7zN3u/w==")),
            "raw key",
        ),
        (
            with("aes_key", json!(STANDARD.encode("0".repeat(32)))),
            "32 hex digits",
        ),
        (with("aes_key", json!(KEY)), "32 hex digits"),
        (with("aes_key", json!(null)), "32 hex digits"),
        (with("encrypt_query_param", json!("forged")), "no upload's"),
        (with("encrypt_query_param", by_alice.clone()), "no upload's"),
        (json!({"media": bobs, "mid_size": 32}), "somebody else"),
        (json!({"media": others, "mid_size": 32}), "somebody else"),
        (json!({"media": media}), "mid_size is missing"),
        (json!({}), "no upload's"),
    ] {
        let before = simulator.violations().len();
        let answer = send(&client, ALICE, json!({"type": 2, "image_item": image})).await;
        assert_eq!(answer["ret"], 0, "{image}");
        let phone = simulator.phone();
        let entry = phone.last().unwrap();
        let broken = entry["broken"].as_str().unwrap_or_default();
        assert!(broken.contains(reason), "{reason}: {entry}");
        assert_eq!(entry["item"], json!({"kind": "image", "name": null}));
        let violations = &simulator.violations()[before..];
        assert!(
            violations.iter().any(|one| one.contains(reason)),
            "{violations:?}"
        );
        let id = answer["message_id"].as_u64().unwrap();
        assert_eq!(simulator.phone_file(id), None);
    }
}

#[tokio::test]
async fn what_a_phone_may_forgive_shows_and_is_a_violation() {
    let (simulator, client) = simulator().await;
    let media = uploaded(&client, ALICE, 3, PLAIN).await;
    let mut untyped = media.clone();
    untyped["encrypt_type"] = json!(0);
    let extra = json!({"media": media, "file_name": "a", "len": "19", "md5": "x"});
    for (item, named) in [
        (
            json!({"type": 4, "file_item": {"media": media, "file_name": "a", "len": 19}}),
            "len",
        ),
        (
            json!({"type": 4, "file_item": {"media": media, "file_name": "a", "len": "32"}}),
            "len",
        ),
        (
            json!({"type": 4, "file_item": {"media": media, "file_name": "", "len": "19"}}),
            "file_name",
        ),
        (
            json!({"type": 4, "file_item": {"media": untyped, "file_name": "a", "len": "19"}}),
            "encrypt_type",
        ),
        (json!({"type": 4, "file_item": extra}), "md5"),
        (
            json!({"type": 2, "image_item": {"media": media, "mid_size": 32}}),
            "media_type",
        ),
    ] {
        let before = simulator.violations().len();
        assert_eq!(send(&client, ALICE, item.clone()).await["ret"], 0);
        let phone = simulator.phone();
        let entry = phone.last().unwrap();
        assert!(entry.get("broken").is_none(), "{item}: {entry}");
        let violations = &simulator.violations()[before..];
        assert!(
            violations.len() == 1 && violations[0].contains(named),
            "{item}: {violations:?}"
        );
    }
    let sizes = json!({"type": 5, "video_item": {"media": media, "video_size": 19}});
    send(&client, ALICE, sizes).await;
    assert!(
        simulator
            .violations()
            .iter()
            .any(|one| one.contains("video_size"))
    );
}

#[tokio::test]
async fn voice_is_accepted_and_never_shown() {
    let (simulator, client) = simulator().await;
    let media = uploaded(&client, ALICE, 4, PLAIN).await;
    let before = simulator.phone().len();
    let item = json!({"type": 3, "voice_item": {"media": media, "encode_type": 6}});
    assert!(send(&client, ALICE, item).await["message_id"].is_u64());
    assert_eq!(simulator.phone().len(), before);
    assert_eq!(simulator.counters().accepted, 1);
}
