//! Media: references in and out, how a file may be shown, and the body that uploads one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::message::MediaKind;
use gateway_channel_sdk::{file_name, sniff, store};

const MIB: u64 = 1024 * 1024;
/// Largest file that is uploaded.
pub const MAX_UPLOAD_BYTES: u64 = 20 * MIB;
/// Smallest file that the platform takes.
pub const MIN_UPLOAD_BYTES: u64 = 5;
const MAX_IMAGE_BYTES: u64 = 10 * MIB;
const MAX_VIDEO_BYTES: u64 = 10 * MIB;
const MAX_VOICE_BYTES: u64 = 2 * MIB;

/// What a handle stands for. It is opaque outside; who has it still needs the access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handle {
    /// It came with a message.
    Received(Received),
    /// It was uploaded, and can be sent.
    Uploaded(Uploaded),
}

/// Content that came with a message; the platform keeps it for three days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The platform's id.
    pub media_id: String,
    /// File name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Content that was uploaded; the platform keeps it for three days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// The platform's id.
    pub media_id: String,
    /// How it is shown.
    pub kind: MediaKind,
    /// Whom it was uploaded for.
    pub to: String,
    /// File name.
    pub name: String,
}

impl Handle {
    /// The handle of what came with a message.
    pub fn received(media_id: &str, name: Option<&str>) -> String {
        let received = Received {
            media_id: media_id.to_owned(),
            name: name.map(str::to_owned),
        };
        Handle::Received(received).encode()
    }

    /// The handle as text.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(store::to_json(self))
    }

    /// Reads a handle.
    ///
    /// # Errors
    /// `not-found` for what is none.
    pub fn decode(text: &str) -> Result<Handle, Error> {
        let json = URL_SAFE_NO_PAD.decode(text).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "this is no media handle"))
    }

    /// What can be sent.
    ///
    /// # Errors
    /// `not-found` for what is no handle, `invalid` for what came with a message.
    pub fn uploaded(text: &str) -> Result<Uploaded, Error> {
        match Handle::decode(text)? {
            Handle::Uploaded(uploaded) => Ok(uploaded),
            Handle::Received(_) => Err(Error::new(
                ErrorKind::Invalid,
                "only media that were `put` can be sent",
            )),
        }
    }
}

/// How a file of `size` bytes goes. `wanted` is what the caller asks for; none is by its name and media
/// type. What the platform takes only as a file goes as one.
///
/// # Errors
/// `too-large` and `invalid`, with the limit.
pub fn kind(
    wanted: Option<MediaKind>,
    name: &str,
    mime: &str,
    size: u64,
) -> Result<MediaKind, Error> {
    if size > MAX_UPLOAD_BYTES {
        let why = format!("the file has {size} bytes: WeCom takes at most {MAX_UPLOAD_BYTES}");
        return Err(Error::new(ErrorKind::TooLarge, why));
    }
    if size < MIN_UPLOAD_BYTES {
        let why = format!("the file has {size} bytes: WeCom takes at least {MIN_UPLOAD_BYTES}");
        return Err(Error::new(ErrorKind::Invalid, why));
    }
    let extension = file_name::extension(name).map(str::to_ascii_lowercase);
    let is = |mimes: &[&str], extensions: &[&str]| match mime {
        "" | sniff::UNKNOWN => extension
            .as_deref()
            .is_some_and(|extension| extensions.contains(&extension)),
        mime => mimes.contains(&mime),
    };
    let fits = match wanted.unwrap_or_else(|| sniff::kind(mime, name)) {
        MediaKind::Image
            if size <= MAX_IMAGE_BYTES
                && is(&["image/jpeg", "image/png"], &["jpg", "jpeg", "png"]) =>
        {
            MediaKind::Image
        }
        MediaKind::Video if size <= MAX_VIDEO_BYTES && is(&["video/mp4"], &["mp4"]) => {
            MediaKind::Video
        }
        MediaKind::Voice if size <= MAX_VOICE_BYTES && is(&["audio/amr"], &["amr"]) => {
            MediaKind::Voice
        }
        MediaKind::Image | MediaKind::Video | MediaKind::Voice | MediaKind::File => MediaKind::File,
    };
    Ok(fits)
}

/// The body of an upload: `head`, the file's bytes as they are, `tail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipart {
    /// Of the whole body.
    pub content_type: String,
    /// Before the file.
    pub head: Vec<u8>,
    /// Behind it.
    pub tail: Vec<u8>,
    /// Of all three, in bytes.
    pub length: u64,
}

/// The body that uploads a file of `size` bytes. `random` makes a boundary that no file has by chance.
pub fn multipart(random: [u8; 16], name: &str, mime: &str, size: u64) -> Multipart {
    let random = u128::from_le_bytes(random);
    let boundary = format!("----wecom{random:032x}");
    // A quote would end the name, and whether the platform reads it escaped is not documented.
    let name: String = file_name::sanitize(name, "file")
        .chars()
        .filter(|char| !char.is_control())
        .map(|char| if char == '"' { '\'' } else { char })
        .collect();
    let is_mime = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let mime = match !mime.is_empty() && mime.bytes().all(is_mime) {
        true => mime,
        false => sniff::mime(&[], &name),
    };
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"media\"; filename=\"{name}\"; \
         filelength={size}\r\nContent-Type: {mime}\r\n\r\n"
    )
    .into_bytes();
    let tail = format!("\r\n--{boundary}--\r\n").into_bytes();
    Multipart {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        length: (head.len() as u64 + tail.len() as u64).saturating_add(size),
        head,
        tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_as_what_the_platform_takes() {
        use MediaKind::{File, Image, Video, Voice};
        for (wanted, name, mime, size, expect) in [
            (None, "a.png", "", 10 * MIB, Image),
            (None, "a.JPG", "application/octet-stream", 5, Image),
            (None, "a.png", "", 10 * MIB + 1, File),
            (None, "a.gif", "", 100, File),
            (Some(Image), "a.webp", "image/webp", 100, File),
            (Some(Image), "noname", "image/png", 100, Image),
            (None, "a.mp4", "", 10 * MIB, Video),
            (None, "a.mov", "video/quicktime", 100, File),
            (None, "a.amr", "audio/amr", 100, File),
            (Some(Voice), "a.amr", "audio/amr", 2 * MIB, Voice),
            (Some(Voice), "a.amr", "", 2 * MIB + 1, File),
            (Some(Voice), "a.mp3", "audio/mpeg", 100, File),
            (Some(File), "a.png", "image/png", 100, File),
            (None, "a.bin", "", 20 * MIB, File),
        ] {
            assert_eq!(
                kind(wanted, name, mime, size),
                Ok(expect),
                "{name} {mime} {size}"
            );
        }
        let error = |size| kind(None, "a", "", size).unwrap_err().kind;
        assert_eq!(error(20 * MIB + 1), ErrorKind::TooLarge);
        assert_eq!(error(4), ErrorKind::Invalid);
    }

    #[test]
    fn a_body_is_what_the_platform_documents() {
        let body = multipart(
            [0xab; 16],
            "报告 \"1\".txt\r\nX: y",
            "text/plain\r\nX: y",
            6,
        );
        let whole = [&body.head[..], b"mytext", &body.tail].concat();
        assert_eq!(whole.len() as u64, body.length);
        let boundary = format!("----wecom{}", "ab".repeat(16));
        assert_eq!(
            body.content_type,
            format!("multipart/form-data; boundary={boundary}")
        );
        let whole = String::from_utf8(whole).unwrap();
        assert!(
            whole.starts_with(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"media\"; filename=\"报告"
            )),
            "{whole}"
        );
        assert_eq!(whole.matches("\r\n").count(), 6, "{whole}");
        assert!(whole.ends_with(&format!("\r\n\r\nmytext\r\n--{boundary}--\r\n")));
    }

    #[test]
    fn only_what_was_put_can_be_sent() {
        let received = Handle::received("m", Some("a.txt"));
        assert_eq!(
            Handle::uploaded(&received).unwrap_err().kind,
            ErrorKind::Invalid
        );
        let uploaded = Uploaded {
            media_id: "m".into(),
            kind: MediaKind::File,
            to: "alice".into(),
            name: "a.txt".into(),
        };
        let text = Handle::Uploaded(uploaded.clone()).encode();
        assert_eq!(Handle::uploaded(&text), Ok(uploaded));
        for text in ["", "x", "e30", "!!"] {
            assert_eq!(Handle::decode(text).unwrap_err().kind, ErrorKind::NotFound);
        }
    }
}
