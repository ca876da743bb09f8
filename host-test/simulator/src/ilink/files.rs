//! The files that people send: placed on the CDN, and referred to by items as the real server
//! writes them, in each form that clients have met.

mod file;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::cipher::{Key, padded};
use super::media_kind::MediaKind;
use super::rules::KeyForm;
use super::state::{Blob, Bot, ServerState};
pub use file::File;
pub(super) use file::LARGEST;

/// Puts a file on the CDN; returns the item that refers to it.
pub(super) fn store(server: &ServerState, bot: &Arc<Bot>, file: &File) -> Value {
    let (form, base) = {
        let mut state = bot.lock();
        (state.rules.file_form(), state.rules.cdn_base_url.clone())
    };
    let key = Key::random();
    let is_plain = form.key == KeyForm::None && file.kind == MediaKind::Image;
    let ticket = server.files.store(Blob {
        bot: bot.clone(),
        key: (!is_plain).then_some(key),
        kind: file.kind,
        name: Some(file.name.clone()),
        content: file.content.clone(),
        uploaded: None,
    });
    let mut media = Map::new();
    if form.reference.has_param() {
        media.insert("encrypt_query_param".to_owned(), ticket.as_str().into());
    }
    if let Some(key) = aes_key(form.key, file.kind, key) {
        media.insert("aes_key".to_owned(), key.into());
    }
    media.insert("encrypt_type".to_owned(), 1.into());
    if let Some(hostile) = form.full_url {
        media.insert("full_url".to_owned(), hostile.into());
    } else if form.reference.has_full_url() {
        let url = server.download_url(base.as_deref(), &ticket);
        media.insert("full_url".to_owned(), url.into());
    }
    let own_key = matches!(form.key, KeyForm::Usual | KeyForm::Hex).then(|| key.hex());
    item(file, media.into(), own_key)
}

/// The item of a file; `own_key` is what an image says beside its `media`.
fn item(file: &File, media: Value, own_key: Option<String>) -> Value {
    let size = file.content.size();
    let sealed = padded(size);
    match file.kind {
        MediaKind::Image => {
            let mut image = json!({
                "media": media, "mid_size": sealed, "hd_size": sealed,
                "thumb_size": 4096, "thumb_height": 210, "thumb_width": 118,
            });
            if let Some(key) = own_key {
                image["aeskey"] = key.into();
            }
            json!({"type": 2, "image_item": image})
        }
        MediaKind::Voice => {
            // As in a real sample: the numbers do not say what the bytes are, which was SILK.
            let mut voice = json!({
                "media": media, "encode_type": 4, "bits_per_sample": 16, "sample_rate": 16000,
                // SILK takes about two bytes for a millisecond.
                "playtime": (size / 2).clamp(1000, 60_000),
            });
            if let Some(transcript) = &file.transcript {
                voice["text"] = transcript.as_str().into();
            }
            json!({"type": 3, "voice_item": voice})
        }
        MediaKind::File => json!({"type": 4, "file_item": {
            "media": media, "file_name": file.name, "md5": file.content.md5(),
            "len": size.to_string(),
        }}),
        MediaKind::Video => json!({"type": 5, "video_item": {
            "media": media, "video_size": sealed, "play_length": 5000,
            "video_md5": file.content.md5(),
            "thumb_size": 4096, "thumb_height": 210, "thumb_width": 118,
        }}),
    }
}

/// What stands in `media.aes_key`.
fn aes_key(form: KeyForm, kind: MediaKind, key: Key) -> Option<String> {
    Some(match form {
        KeyForm::Usual | KeyForm::Base64Hex => STANDARD.encode(key.hex()),
        KeyForm::Base64HexUpper => STANDARD.encode(key.hex().to_uppercase()),
        KeyForm::Base64 => STANDARD.encode(key.0),
        KeyForm::Hex if kind != MediaKind::Image => key.hex(),
        KeyForm::Hex | KeyForm::None => return None,
    })
}
