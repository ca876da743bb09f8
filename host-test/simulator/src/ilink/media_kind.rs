//! What a phone takes a file for.

use serde::Deserialize;
use serde_json::Value;

/// What a phone takes a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    pub(crate) fn of_item(item_type: u64) -> Option<MediaKind> {
        Some(match item_type {
            2 => MediaKind::Image,
            3 => MediaKind::Voice,
            4 => MediaKind::File,
            5 => MediaKind::Video,
            _ => return None,
        })
    }

    /// The kind that `getuploadurl` knows by this number, which is another than an item's type.
    pub(crate) fn of_media_type(number: &Value) -> Option<MediaKind> {
        Some(match number.as_u64()? {
            1 => MediaKind::Image,
            2 => MediaKind::Video,
            3 => MediaKind::File,
            4 => MediaKind::Voice,
            _ => return None,
        })
    }

    /// The member of an item that holds this kind.
    pub(crate) fn item_key(self) -> &'static str {
        match self {
            MediaKind::Image => "image_item",
            MediaKind::Voice => "voice_item",
            MediaKind::File => "file_item",
            MediaKind::Video => "video_item",
        }
    }

    /// What a phone takes a file of this media type for.
    pub(crate) fn of_mime(mime: &str) -> MediaKind {
        match mime.split('/').next() {
            Some("image") => MediaKind::Image,
            Some("video") => MediaKind::Video,
            _ if mime == "audio/silk" => MediaKind::Voice,
            _ => MediaKind::File,
        }
    }

    /// The kind with this [`MediaKind::name`].
    pub(crate) fn named(name: &str) -> Option<MediaKind> {
        let kinds = [
            MediaKind::Image,
            MediaKind::Voice,
            MediaKind::File,
            MediaKind::Video,
        ];
        kinds.into_iter().find(|kind| kind.name() == name)
    }
}
