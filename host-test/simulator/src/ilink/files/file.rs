//! A file that a person sends, and how requests describe it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::ilink::content::Content;
use crate::ilink::media_kind::MediaKind;
use crate::query::parameter;

/// Bytes of a file; the MD5 has to be waited for.
pub(in crate::ilink) const LARGEST: u64 = 1024 * 1024 * 1024;

/// The name of a file that was given none.
const UNNAMED: &str = "file.bin";

/// A file that a person sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Members")]
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

    /// What the query of `POST /sim/files` says of a file: `name`, `kind`, `mime` and
    /// `transcript`, all of which may be missing. The content is still to come.
    pub(in crate::ilink) fn of_query(query: Option<&str>) -> Result<File, String> {
        let given = |name: &str| Some(parameter(query, name)).filter(|value| !value.is_empty());
        let name = given("name").unwrap_or_else(|| UNNAMED.to_owned());
        let kind = match (given("kind"), given("mime")) {
            (Some(kind), _) => MediaKind::named(&kind)
                .ok_or("`kind` must be one of \"image\", \"voice\", \"file\" and \"video\".")?,
            (None, Some(mime)) => MediaKind::of_mime(&mime),
            (None, None) => MediaKind::of_name(&name),
        };
        Ok(File {
            transcript: given("transcript"),
            ..File::new(kind, &name, Content::bytes(Vec::new()))
        })
    }
}

/// A file in `POST /sim/messages`: its content is `data` (base64), or `size` with `seed` (made up).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
struct Members {
    kind: Option<MediaKind>,
    name: Option<String>,
    mime: Option<String>,
    transcript: Option<String>,
    data: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    seed: u64,
}

impl TryFrom<Members> for File {
    type Error = &'static str;

    fn try_from(members: Members) -> Result<File, &'static str> {
        let content = match (members.data, members.size) {
            (Some(data), None) => {
                let bytes = STANDARD.decode(data);
                Content::bytes(bytes.map_err(|_| "`data` of a file must be base64")?)
            }
            (None, Some(size)) if size > LARGEST => {
                return Err("`size` of a file must be 1 GiB at most");
            }
            (None, Some(size)) => Content::generated(size, members.seed),
            (Some(_), Some(_)) | (None, None) => {
                return Err("a file must have exactly one of `data` (base64) and `size`");
            }
        };
        let name = members.name.as_deref().unwrap_or(UNNAMED);
        let kind = match (members.kind, members.mime) {
            (Some(kind), _) => kind,
            (None, Some(mime)) => MediaKind::of_mime(&mime),
            (None, None) => MediaKind::of_name(name),
        };
        Ok(File {
            transcript: members.transcript,
            ..File::new(kind, name, content)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::read;

    #[test]
    fn files_are_read_from_base64_and_numbers() {
        for (value, kind, name, size) in [
            (
                json!({"data": "YWJj", "name": "a.txt"}),
                MediaKind::File,
                "a.txt",
                3,
            ),
            (
                json!({"data": "", "mime": "video/mp4"}),
                MediaKind::Video,
                "file.bin",
                0,
            ),
            (
                json!({"data": "YWJj", "name": "photo.JPG"}),
                MediaKind::Image,
                "photo.JPG",
                3,
            ),
            (
                json!({"data": "YWJj", "kind": "file", "name": "b.png"}),
                MediaKind::File,
                "b.png",
                3,
            ),
            (
                json!({"size": 70_000, "seed": 7, "kind": "voice"}),
                MediaKind::Voice,
                "file.bin",
                70_000,
            ),
            (
                json!({"size": 1, "mime": "audio/silk"}),
                MediaKind::Voice,
                "file.bin",
                1,
            ),
            (
                json!({"size": 1, "name": "a.silk"}),
                MediaKind::Voice,
                "a.silk",
                1,
            ),
        ] {
            let file = read::<File>(&value).expect("it is right");
            assert_eq!(
                (file.kind, file.name.as_str(), file.content.size()),
                (kind, name, size),
                "{value}"
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (value, named) in [
            (json!("a"), "a JSON object"),
            (json!({}), "exactly one"),
            (json!({"data": "YWJj", "size": 1}), "exactly one"),
            (json!({"path": "/etc/passwd"}), "path"),
            (json!({"data": "YWJj", "path": "/etc/passwd"}), "path"),
            (json!({"data": "?"}), "base64"),
            (json!({"size": -1}), "size"),
            (json!({"size": u64::MAX}), "1 GiB"),
            (json!({"size": 1, "kind": "picture"}), "kind"),
            (json!({"size": 1, "nam": "x"}), "nam"),
        ] {
            let error = read::<File>(&value).expect_err("it is wrong");
            assert!(error.contains(named) && error.ends_with('.'), "{error}");
        }
    }
}
