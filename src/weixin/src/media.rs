//! References to media, in and out, and which URLs they may lead to.
//!
//! A handle is opaque outside, holds the key (so it is a secret), and works in any later instance.
//! URLs that the server names are held to [`UrlPolicy`]; the host checks again.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::WeixinConfig;
use super::media_key::Key;
use super::url_policy::{UrlPolicy, percent_encoded};
use super::wire::{Content, Reference, UploadPlace, UploadedItem};
use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::message::{Media, MediaKind};
use gateway_channel_sdk::{file_name, sniff};

/// Largest file that is uploaded.
pub const MAX_UPLOAD_BYTES: u64 = 100 * 1024 * 1024;

/// Whether content without a key is plain or unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyIs {
    /// Without a key the content is plain.
    Optional,
    /// Without a key the content can't be read.
    Needed,
}

/// What a handle stands for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handle {
    /// It came with a message.
    Received(Received),
    /// It was uploaded, and can be sent.
    Uploaded(Uploaded),
}

/// Content that came with a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    /// In hex; none for plain content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// File name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Plain bytes that the sender announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Content that was uploaded.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// How it is shown.
    pub kind: MediaKind,
    /// Whom it was uploaded for.
    pub to: String,
    /// The CDN's ticket for downloads.
    pub ticket: String,
    /// Base64 of the key's hex digits.
    pub key: String,
    /// Plain bytes.
    pub size: u64,
    /// Encrypted bytes.
    pub padded_size: u64,
    /// File name.
    pub name: String,
}

impl Handle {
    /// The handle of a reference; none when there is nothing to fetch or no readable key.
    pub fn of_received(
        reference: &Reference,
        name: Option<&str>,
        size: Option<u64>,
        key_is: KeyIs,
    ) -> Option<String> {
        if reference.full_url.is_none() && reference.ticket.is_none() {
            return None;
        }
        let keys: Vec<&str> = reference.keys.iter().map(String::as_str).collect();
        let key = Key::first_of(&keys).ok()?;
        if key.is_none() && key_is == KeyIs::Needed {
            return None;
        }
        let received = Received {
            url: reference.full_url.clone(),
            ticket: reference.ticket.clone(),
            key: key.map(Key::to_hex),
            name: name.map(str::to_owned),
            size: size.filter(|size| *size > 0),
        };
        Some(Handle::Received(received).encode())
    }

    /// The handle as text.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(gateway_channel_sdk::store::to_json(self))
    }

    /// Reads a handle.
    ///
    /// # Errors
    /// `not-found` for what is none.
    pub fn decode(text: &str) -> Result<Handle, Error> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|json| String::from_utf8(json).ok())
            // From a text, as all of the wire is read: the parser is not compiled twice.
            .and_then(|json| serde_json::from_str(&json).ok())
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "this is no media handle"))
    }
}

impl Handle {
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

impl Received {
    /// The key; none for plain content.
    ///
    /// # Errors
    /// `not-found` when the handle was made up.
    pub fn key(&self) -> Result<Option<Key>, Error> {
        self.key
            .as_deref()
            .map(Key::parse)
            .transpose()
            .map_err(|error| Error::new(ErrorKind::NotFound, error.to_string()))
    }

    /// Where the content is.
    ///
    /// # Errors
    /// `forbidden` when the server named a place that is not the platform's.
    pub fn url(&self, config: &WeixinConfig) -> Result<String, Error> {
        match (&self.url, &self.ticket) {
            (Some(url), _) => UrlPolicy(config).check(url),
            (None, ticket) => Ok(format!(
                "{}download?encrypted_query_param={}",
                config.cdn_base_url,
                percent_encoded(ticket.as_deref().unwrap_or_default())
            )),
        }
    }
}

impl Uploaded {
    /// What the platform's item of it tells.
    pub fn item(&self) -> UploadedItem<'_> {
        UploadedItem {
            kind: self.kind,
            ticket: &self.ticket,
            key: &self.key,
            size: self.size,
            padded_size: self.padded_size,
            name: &self.name,
        }
    }
}

/// Where an upload goes.
///
/// # Errors
/// `forbidden` when the server named no place, or one that is not the platform's.
pub fn upload_url(
    config: &WeixinConfig,
    place: &UploadPlace,
    file_key: &str,
) -> Result<String, Error> {
    match (&place.full_url, &place.ticket) {
        (Some(url), _) => UrlPolicy(config).check(url),
        (None, Some(ticket)) => Ok(format!(
            "{}upload?encrypted_query_param={}&filekey={}",
            config.cdn_base_url,
            percent_encoded(ticket),
            percent_encoded(file_key)
        )),
        (None, None) => Err(Error::new(
            ErrorKind::Forbidden,
            "WeChat gives no place for the upload: it refuses this file or this person",
        )),
    }
}

/// The media that content is, if it is one.
pub fn of(content: &Content) -> Option<Media> {
    let plain = |kind, handle| Media {
        handle,
        kind,
        name: None,
        mime: None,
        size: None,
        length: None,
        transcript: None,
    };
    match content {
        Content::Image { reference } => {
            let handle = Handle::of_received(reference, None, None, KeyIs::Optional);
            Some(plain(MediaKind::Image, handle))
        }
        Content::Voice {
            reference,
            playtime_ms,
            text,
        } => Some(Media {
            length: playtime_ms.map(Duration::from_millis),
            transcript: text.clone(),
            ..plain(
                MediaKind::Voice,
                Handle::of_received(reference, None, None, KeyIs::Needed),
            )
        }),
        Content::File {
            reference,
            name,
            size,
        } => {
            let name = name
                .as_deref()
                .map(|name| file_name::sanitize(name, "file"));
            let handle = Handle::of_received(reference, name.as_deref(), *size, KeyIs::Needed);
            Some(Media {
                mime: name
                    .as_deref()
                    .map(|name| sniff::mime(&[], name).to_owned()),
                name,
                size: *size,
                ..plain(MediaKind::File, handle)
            })
        }
        Content::Video {
            reference,
            play_length_ms,
        } => Some(Media {
            length: play_length_ms.map(Duration::from_millis),
            mime: Some("video/mp4".to_owned()),
            ..plain(
                MediaKind::Video,
                Handle::of_received(reference, None, None, KeyIs::Needed),
            )
        }),
        Content::Text(_) | Content::Hollow | Content::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(base_url: &str, cdn_base_url: &str) -> WeixinConfig {
        WeixinConfig {
            base_url: base_url.into(),
            qr_base_url: base_url.into(),
            cdn_base_url: cdn_base_url.into(),
            bot_agent: String::new(),
        }
    }

    fn platform() -> WeixinConfig {
        config(
            "https://ilinkai.weixin.qq.com/",
            "https://novac2c.cdn.weixin.qq.com/c2c/",
        )
    }

    #[test]
    fn cdn_urls_are_those_of_the_official_client() {
        let place = UploadPlace {
            full_url: None,
            ticket: Some("A b+/=&é".into()),
        };
        assert_eq!(
            upload_url(&platform(), &place, "00ff").unwrap(),
            "https://novac2c.cdn.weixin.qq.com/c2c/upload?encrypted_query_param=\
             A%20b%2B%2F%3D%26%C3%A9&filekey=00ff"
        );
        assert_eq!(percent_encoded("~!*'()"), "~!*'()");
    }

    #[test]
    fn a_handle_needs_a_reference_and_where_there_must_be_one_a_key() {
        let reference = |url: Option<&str>, keys: &[&str]| Reference {
            full_url: url.map(str::to_owned),
            ticket: None,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let key = "00112233445566778899aabbccddeeff";
        let handle =
            |reference: &Reference, key_is| Handle::of_received(reference, None, None, key_is);
        assert!(handle(&reference(None, &[key]), KeyIs::Optional).is_none());
        assert!(handle(&reference(Some("u"), &[]), KeyIs::Optional).is_some());
        assert!(handle(&reference(Some("u"), &[]), KeyIs::Needed).is_none());
        assert!(handle(&reference(Some("u"), &["odd"]), KeyIs::Optional).is_none());
        let text = handle(&reference(Some("u"), &[key]), KeyIs::Needed).unwrap();
        let Handle::Received(received) = Handle::decode(&text).unwrap() else {
            panic!("not received");
        };
        assert_eq!(
            received.key().unwrap().map(Key::to_hex).as_deref(),
            Some(key)
        );
        for text in ["", "x", "e30", "!!"] {
            assert!(Handle::decode(text).is_err());
        }
    }
}
