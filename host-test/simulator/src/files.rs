//! The files that people send: placed on the CDN, and referred to by items as the real server
//! writes them, in each form that clients have met.

mod reading;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::account::Bot;
use super::cdn::Blob;
use super::cipher::{Key, padded};
use super::faults::one_of;
use super::{Content, ServerState};
pub(super) use reading::LARGEST;

/// A file that a person sends.
#[derive(Clone)]
pub struct File {
    /// What the phone takes it for.
    pub kind: MediaKind,
    /// Its name; only a [`MediaKind::File`] tells it to the bot.
    pub name: String,
    /// What is in it.
    pub content: Content,
    /// What the server understood of a [`MediaKind::Voice`].
    pub transcript: Option<String>,
}

impl File {
    /// A file without transcript.
    pub fn new(kind: MediaKind, name: &str, content: Content) -> File {
        File {
            kind,
            name: name.to_owned(),
            content,
            transcript: None,
        }
    }
}

/// What a phone takes a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A voice message.
    Voice,
    /// A file of any type.
    File,
    /// A video.
    Video,
}

impl MediaKind {
    const ALL: [(&str, MediaKind); 4] = [
        ("image", MediaKind::Image),
        ("voice", MediaKind::Voice),
        ("file", MediaKind::File),
        ("video", MediaKind::Video),
    ];

    /// What a phone takes a file of this name for, by its extension.
    pub fn of_name(name: &str) -> MediaKind {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension.to_ascii_lowercase().as_str() {
            "png" | "jpg" | "jpeg" | "gif" | "webp" | "bmp" => MediaKind::Image,
            "mp4" | "mov" | "webm" | "mkv" | "avi" => MediaKind::Video,
            "silk" => MediaKind::Voice,
            _ => MediaKind::File,
        }
    }

    /// As phones' entries and requests write it.
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Voice => "voice",
            MediaKind::File => "file",
            MediaKind::Video => "video",
        }
    }

    /// The kind of an item of this type.
    pub(super) fn of_item(item_type: u64) -> Option<MediaKind> {
        Some(match item_type {
            2 => MediaKind::Image,
            3 => MediaKind::Voice,
            4 => MediaKind::File,
            5 => MediaKind::Video,
            _ => return None,
        })
    }

    /// The kind that `getuploadurl` knows by this number, which is another than an item's type.
    pub(super) fn of_media_type(number: &Value) -> Option<MediaKind> {
        Some(match number.as_u64()? {
            1 => MediaKind::Image,
            2 => MediaKind::Video,
            3 => MediaKind::File,
            4 => MediaKind::Voice,
            _ => return None,
        })
    }
}

/// How an item refers to a person's file.
#[derive(Clone)]
pub(super) struct Form {
    pub(super) key: KeyForm,
    pub(super) reference: Reference,
    /// In the place of the true one.
    pub(super) full_url: Option<String>,
}

impl Default for Form {
    fn default() -> Form {
        Form {
            key: KeyForm::Usual,
            reference: Reference::Both,
            full_url: None,
        }
    }
}

/// Where a file's key stands, and how it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyForm {
    Usual,
    Hex,
    Base64,
    Base64Hex,
    Base64HexUpper,
    None,
}

impl KeyForm {
    pub(super) fn read(key: &str, value: &Value) -> Result<KeyForm, String> {
        let forms = [
            ("usual", KeyForm::Usual),
            ("hex", KeyForm::Hex),
            ("base64", KeyForm::Base64),
            ("base64-hex", KeyForm::Base64Hex),
            ("base64-hex-upper", KeyForm::Base64HexUpper),
            ("none", KeyForm::None),
        ];
        one_of(key, value, &forms)
    }
}

/// Which references are given: a parameter for the CDN, a whole URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    Param,
    FullUrl,
    Both,
    Neither,
}

impl Reference {
    pub(super) fn read(key: &str, value: &Value) -> Result<Reference, String> {
        let references = [
            ("param", Reference::Param),
            ("full-url", Reference::FullUrl),
            ("both", Reference::Both),
            ("neither", Reference::Neither),
        ];
        one_of(key, value, &references)
    }

    pub(super) fn has_param(self) -> bool {
        matches!(self, Reference::Param | Reference::Both)
    }

    pub(super) fn has_full_url(self) -> bool {
        matches!(self, Reference::FullUrl | Reference::Both)
    }
}

/// Puts a file on the CDN; returns the item that refers to it.
pub(super) fn place(server: &ServerState, bot: &Arc<Bot>, file: &File) -> Value {
    let (form, base) = {
        let mut state = bot.lock();
        (state.rules.form(), state.rules.cdn_base_url.clone())
    };
    let key = Key::random();
    let is_plain = form.key == KeyForm::None && file.kind == MediaKind::Image;
    let ticket = server.cdn.store(Blob {
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
