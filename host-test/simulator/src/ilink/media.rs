//! Images, videos and files that a bot sends: whether a phone could show them, and if not, why.
//!
//! The server accepts items that a phone then cannot show. The phone's entry says why (`broken`), and
//! so does a violation.

#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::cipher::{BLOCK, padded};
use super::media_kind::MediaKind;
use super::state::{Blob, Bot, ServerState};

/// What a phone shows of a sent item with media: `item`, and `broken` where it would show a grey
/// field.
pub(super) fn bubble(
    server: &ServerState,
    bot: &Bot,
    user: &str,
    kind: MediaKind,
    item: &Value,
    message_id: u64,
) -> Map<String, Value> {
    let payload = &item[kind.item_key()];
    let media = &payload["media"];
    let ticket = media["encrypt_query_param"].as_str().unwrap_or_default();
    let blob = server.files.find(ticket);
    let name = payload["file_name"].as_str();
    let mut entry = Map::new();
    let broken = match &blob {
        None => Some("encrypt_query_param is no upload's"),
        Some(blob) => {
            for sentence in deviations(blob, kind, payload) {
                server.violation(format!("sendmessage: {sentence}"));
            }
            broken(bot, user, blob, kind, payload)
        }
    };
    let mut shown = json!({"kind": kind.name(), "name": name});
    match (&blob, broken) {
        (Some(blob), None) => {
            shown["size"] = blob.content.size().into();
            shown["md5"] = blob.content.md5().into();
            server.files.shows(message_id, ticket);
        }
        (_, Some(reason)) => {
            server.violation(format!(
                "sendmessage: a phone cannot show this {}: {reason}",
                kind.name()
            ));
            entry.insert("broken".to_owned(), reason.into());
        }
        (None, None) => {}
    }
    entry.insert("item".to_owned(), shown);
    entry
}

/// Why a phone could not show it, if so.
fn broken(
    bot: &Bot,
    user: &str,
    blob: &Blob,
    kind: MediaKind,
    payload: &Value,
) -> Option<&'static str> {
    let Some(uploaded_for) = &blob.uploaded else {
        return Some("encrypt_query_param is no upload's");
    };
    if uploaded_for != user || blob.bot.account != bot.account {
        return Some("the file was uploaded for somebody else");
    }
    let written = payload["media"]["aes_key"].as_str().unwrap_or_default();
    let decoded = STANDARD.decode(written).unwrap_or_default();
    let hex = blob.key.map(|key| key.hex()).unwrap_or_default();
    if decoded != hex.as_bytes() {
        return Some(if decoded.len() == BLOCK {
            "aes_key is the base64 of the raw key, not of its 32 hex digits"
        } else {
            "aes_key is not the base64 of the 32 hex digits of the upload's key"
        });
    }
    if kind == MediaKind::Image && payload.get("mid_size").is_none() {
        return Some("mid_size is missing");
    }
    None
}

/// What the official client writes otherwise, and phones may forgive.
fn deviations(blob: &Blob, kind: MediaKind, payload: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let size = blob.content.size();
    if blob.kind != kind {
        found.push(format!(
            "a {} was uploaded with the media_type of a {}",
            kind.name(),
            blob.kind.name()
        ));
    }
    if payload["media"]["encrypt_type"] != 1 {
        found.push("media.encrypt_type is not 1".to_owned());
    }
    let sizes = match kind {
        MediaKind::Image => Some("mid_size"),
        MediaKind::Video => Some("video_size"),
        MediaKind::File | MediaKind::Voice => None,
    };
    if let Some(key) = sizes
        && payload[key].as_u64() != Some(padded(size))
    {
        found.push(format!("{key} is not the number of the ciphertext's bytes"));
    }
    if kind == MediaKind::File {
        if payload["len"].as_str() != Some(&size.to_string()) {
            found.push("len is not the number of the file's bytes, as a string".to_owned());
        }
        if payload["file_name"].as_str().is_none_or(str::is_empty) {
            found.push("file_name is missing".to_owned());
        }
    }
    found
}
