//! Reads the files of `POST /sim/messages`, and says in a sentence what is wrong with them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{File, MediaKind};
use crate::Content;
use crate::faults::one_of;
use crate::query::parameter;

/// Bytes of a file; the MD5 has to be waited for.
pub(crate) const LARGEST: u64 = 1024 * 1024 * 1024;

/// The name of a file that was given none.
const UNNAMED: &str = "file.bin";

impl File {
    /// Reads `{"kind"?, "name"?, "mime"?, "transcript"?}` with one of `{"data"}` (base64) and
    /// `{"size", "seed"?}` (made up).
    pub(crate) fn read(value: &Value) -> Result<File, String> {
        let Some(members) = value.as_object() else {
            return Err("A file must be a JSON object.".to_owned());
        };
        let known = ["kind", "name", "mime", "transcript", "data", "size", "seed"];
        if let Some(unknown) = members.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("`{unknown}` is no member of a file."));
        }
        let text = |key: &str| match members.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("`{key}` of a file must be a string.")),
        };
        let number = |key: &str| match members.get(key) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(format!("`{key}` of a file must be a whole number from 0.")),
            },
        };
        let content = match (text("data")?, number("size")?) {
            (Some(data), None) => {
                let bytes = STANDARD.decode(data);
                Content::bytes(bytes.map_err(|_| "`data` of a file must be base64.".to_owned())?)
            }
            (None, Some(size)) if size > LARGEST => {
                return Err("`size` of a file must be 1 GiB at most.".to_owned());
            }
            (None, Some(size)) => Content::generated(size, number("seed")?.unwrap_or(0)),
            (Some(_), Some(_)) | (None, None) => {
                return Err(
                    "A file must have exactly one of `data` (base64) and `size`.".to_owned(),
                );
            }
        };
        let name = text("name")?.unwrap_or(UNNAMED);
        let kind = match (members.get("kind"), text("mime")?) {
            (Some(kind), _) => one_of("kind", kind, &MediaKind::ALL)?,
            (None, Some(mime)) => of_mime(mime),
            (None, None) => MediaKind::of_name(name),
        };
        Ok(File {
            transcript: text("transcript")?.map(str::to_owned),
            ..File::new(kind, name, content)
        })
    }

    /// What the query of `POST /sim/files` says of a file: `name`, `kind`, `mime` and `transcript`, all of
    /// which may be missing. The content is still to come.
    pub(crate) fn of_query(query: Option<&str>) -> Result<File, String> {
        let given = |name: &str| Some(parameter(query, name)).filter(|value| !value.is_empty());
        let name = given("name").unwrap_or_else(|| UNNAMED.to_owned());
        let kind = match (given("kind"), given("mime")) {
            (Some(kind), _) => one_of("kind", &kind.into(), &MediaKind::ALL)?,
            (None, Some(mime)) => of_mime(&mime),
            (None, None) => MediaKind::of_name(&name),
        };
        Ok(File {
            transcript: given("transcript"),
            ..File::new(kind, &name, Content::bytes(Vec::new()))
        })
    }
}

fn of_mime(mime: &str) -> MediaKind {
    match mime.split('/').next() {
        Some("image") => MediaKind::Image,
        Some("video") => MediaKind::Video,
        _ if mime == "audio/silk" => MediaKind::Voice,
        _ => MediaKind::File,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            let file = File::read(&value).expect("it is right");
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
            (json!("a"), "object"),
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
            let error = File::read(&value).err().expect("it is wrong");
            assert!(error.contains(named) && error.ends_with('.'), "{error}");
        }
    }
}
