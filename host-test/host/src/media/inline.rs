//! Content in a reply itself: reads base64 as agents write it, and makes a name if they give none.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

/// Base64 with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What is in a reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Inline {
    /// The content.
    pub bytes: Vec<u8>,
    /// Its type, where a `data:` URI says it.
    pub mime: Option<String>,
}

/// Reads base64 in either alphabet, wrapped or not, or a `data:` URI (RFC 2397).
///
/// # Errors
/// Why it is neither.
pub fn read(data: &str) -> Result<Inline, String> {
    let data = data.trim();
    let is_uri = data
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("data:"));
    if !is_uri {
        return Ok(Inline {
            bytes: base64(data.as_bytes())?,
            mime: None,
        });
    }
    let (about, content) = data
        .get(5..)
        .and_then(|uri| uri.split_once(','))
        .ok_or("its data is a data: URI without a comma")?;
    let mut parts = about.split(';').map(str::trim);
    let mime = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_base64 = parts.any(|part| part.eq_ignore_ascii_case("base64"));
    let content: Vec<u8> = percent_decode_str(content).collect();
    Ok(Inline {
        bytes: match is_base64 {
            true => base64(&content)?,
            false => content,
        },
        mime: Some(mime).filter(|mime| !mime.is_empty()),
    })
}

fn base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let plain = text.iter().filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        byte if byte.is_ascii_whitespace() => None,
        byte => Some(*byte),
    });
    let plain: Vec<u8> = plain.collect();
    LENIENT
        .decode(plain)
        .map_err(|_| "its data is no base64".to_owned())
}

/// A file's name: as it was given, with the extension of its type where it has none.
pub fn name(given: &str, mime: Option<&str>) -> String {
    let stem = match given.trim() {
        "" => "file",
        given => given,
    };
    let has_extension = stem
        .rsplit_once('.')
        .is_some_and(|(before, after)| !before.is_empty() && is_extension(after));
    match mime.and_then(extension) {
        Some(extension) if !has_extension => format!("{stem}.{extension}"),
        _ => stem.to_owned(),
    }
}

fn is_extension(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The usual extension of a media type. `application/octet-stream` has none.
fn extension(mime: &str) -> Option<&'static str> {
    let mime = mime.split(';').next().unwrap_or_default().trim();
    let mime = mime.to_ascii_lowercase();
    Some(match mime.as_str() {
        "application/octet-stream" | "binary/octet-stream" => return None,
        // Types that are not registered and common all the same.
        "image/jpg" | "image/pjpeg" => "jpg",
        "audio/mp3" | "audio/mpeg" => "mp3",
        "audio/ogg" => "ogg",
        "video/quicktime" => "mov",
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/m4a" | "audio/x-m4a" => "m4a",
        "audio/amr" => "amr",
        "audio/silk" => "silk",
        "application/x-zip-compressed" => "zip",
        "text/x-markdown" => "md",
        "text/json" => "json",
        known => mime2ext::mime2ext(known)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_however_it_is_written() {
        let bytes = [0xfb, 0xff, 0xbe, 0x01];
        for data in [
            "+/++AQ==",
            "+/++AQ",
            "+/++AQ=",
            "-_--AQ==",
            "-_--AQ",
            " +/+\n+A\r\nQ==\n",
            "data:;base64,+/++AQ==",
            "data:image/png;base64,+/++AQ==",
            "DATA:image/png;name=a.png;BASE64, +/++\nAQ==",
            "data:image/png;base64,%2B%2F%2B%2BAQ%3D%3D",
            "data:,%FB%FF%BE%01",
        ] {
            assert_eq!(read(data).unwrap().bytes, bytes, "{data}");
        }
        assert_eq!(read("").unwrap().bytes, b"");
        for data in [
            "!",
            "a",
            "+/++A",
            "data:image/png;base64",
            "data:;base64,!",
            "字",
        ] {
            assert!(read(data).is_err(), "{data}");
        }
    }

    #[test]
    fn a_uri_says_its_type() {
        for (data, mime) in [
            ("data:image/png;base64,AA==", Some("image/png")),
            (
                "data:Text/Plain;charset=utf-8,hi%20there",
                Some("text/plain"),
            ),
            ("data:,hi", None),
            ("AA==", None),
        ] {
            assert_eq!(read(data).unwrap().mime.as_deref(), mime, "{data}");
        }
        let text = read("data:text/plain;charset=utf-8,hi%20there,%E5%AD%97").unwrap();
        assert_eq!(text.bytes, "hi there,字".as_bytes());
    }

    #[test]
    fn names_have_the_extension_of_the_type() {
        for (given, mime, expected) in [
            ("", Some("image/png"), "file.png"),
            ("", Some("image/jpeg"), "file.jpg"),
            ("", Some("image/jpg"), "file.jpg"),
            ("", Some("text/plain; charset=utf-8"), "file.txt"),
            ("", Some("application/pdf"), "file.pdf"),
            ("", Some("video/mp4"), "file.mp4"),
            ("", Some("audio/mpeg"), "file.mp3"),
            ("", Some("AUDIO/WAV"), "file.wav"),
            ("", Some("text/markdown"), "file.md"),
            (
                "",
                Some("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
                "file.docx",
            ),
            ("", Some("application/octet-stream"), "file"),
            ("", Some("nonsense"), "file"),
            ("", None, "file"),
            ("report", Some("application/pdf"), "report.pdf"),
            ("报告", Some("application/pdf"), "报告.pdf"),
            ("v1.2 notes", Some("text/plain"), "v1.2 notes.txt"),
            ("a.jpeg", Some("image/png"), "a.jpeg"),
            (".profile", Some("text/plain"), ".profile.txt"),
            ("200", Some("image/jpeg"), "200.jpg"),
        ] {
            assert_eq!(name(given, mime), expected, "{given} {mime:?}");
        }
    }
}
