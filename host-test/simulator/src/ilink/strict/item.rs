//! Items of `sendmessage`: exactly the members that the official client writes. The real server
//! refuses or loses some items with others.

use serde_json::{Map, Value};

use super::Found;

/// Checks which members an item and what is in it have. Whether the values are right is checked by
/// what a phone shows.
pub(super) fn check(item: &Value, found: &mut Found) {
    let progress = ["type", "create_time_ms", "is_completed"];
    let (payload, beside): (&str, &[&str]) = match item["type"].as_u64() {
        Some(1) => ("text_item", &progress[..1]),
        Some(2) => ("image_item", &progress[..1]),
        Some(4) => ("file_item", &progress[..1]),
        Some(5) => ("video_item", &progress[..1]),
        Some(11) => ("tool_call_start_item", &progress),
        Some(12) => ("tool_call_result_item", &progress),
        _ => {
            found.add("the item is of a type that the official client never sends".to_owned());
            return;
        }
    };
    let required: Vec<&str> = beside.iter().copied().chain([payload]).collect();
    let wrapped = Value::Object(Map::from_iter([("the item".to_owned(), item.clone())]));
    found.members(&wrapped, "the item", &required, &[]);
    let members: &[&str] = match payload {
        "text_item" => &["text"],
        "image_item" => &["media", "mid_size"],
        "file_item" => &["media", "file_name", "len"],
        "video_item" => &["media", "video_size"],
        _ => return,
    };
    let Some(inner) = found.members(item, payload, members, &[]) else {
        return;
    };
    if payload == "text_item" {
        if inner["text"].as_str().is_none_or(str::is_empty) {
            found.add("text_item.text is no text".to_owned());
        }
        return;
    }
    let media = ["encrypt_query_param", "aes_key", "encrypt_type"];
    found.members(inner, "media", &media, &[]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(item: Value) -> Vec<String> {
        let mut found = Found::default();
        check(&item, &mut found);
        found.0
    }

    #[test]
    fn the_official_items_pass() {
        let media = json!({"encrypt_query_param": "e", "aes_key": "k", "encrypt_type": 1});
        for item in [
            json!({"type": 1, "text_item": {"text": "hi"}}),
            json!({"type": 2, "image_item": {"media": media, "mid_size": 16}}),
            json!({"type": 5, "video_item": {"media": media, "video_size": 16}}),
            json!({"type": 4, "file_item": {"media": media, "file_name": "a", "len": "3"}}),
            json!({"type": 11, "create_time_ms": 1, "is_completed": false,
                "tool_call_start_item": {"tool_name": "t"}}),
        ] {
            assert_eq!(found(item.clone()), Vec::<String>::new(), "{item}");
        }
    }

    #[test]
    fn members_that_the_official_client_does_not_write_are_named() {
        let media = json!({"encrypt_query_param": "e", "aes_key": "k", "encrypt_type": 1});
        let with_url = json!({"encrypt_query_param": "e", "aes_key": "k", "encrypt_type": 1,
            "full_url": "u"});
        for (item, named) in [
            (
                json!({"type": 2, "image_item": {"media": media}}),
                "mid_size",
            ),
            (
                json!({"type": 2, "image_item": {"media": with_url, "mid_size": 1}}),
                "full_url",
            ),
            (
                json!({"type": 2, "image_item": {"media": media, "mid_size": 1, "aeskey": "k"}}),
                "aeskey",
            ),
            (
                json!({"type": 5, "create_time_ms": 1,
                    "video_item": {"media": media, "video_size": 1}}),
                "create_time_ms",
            ),
            (
                json!({"type": 4, "file_item": {"file_name": "a", "len": "3"}}),
                "file_item lacks media",
            ),
            (
                json!({"type": 3, "voice_item": {"media": media}}),
                "never sends",
            ),
        ] {
            let found = found(item);
            assert!(
                found.iter().any(|sentence| sentence.contains(named)),
                "{named}: {found:?}"
            );
        }
    }
}
