//! The media type of content: by its first bytes, else by its name, else plain bytes.
//!
//! Only signatures count that no text begins with by chance. The sender's own word for the type does not
//! count, because an image named `.png` is often a JPEG.

use super::file_name;
use super::message::MediaKind;

/// First bytes that are enough for [`mime`]; fewer are looked at as far as they go.
pub const START_BYTES: usize = 64;
/// The media type of what is unknown.
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type of content that begins with `start` and has the file name `name` (or none: empty).
pub fn mime(start: &[u8], name: &str) -> &'static str {
    let named = by_extension(name).map(|format| format.mime);
    match by_start(start) {
        // Office documents, books and apps are archives inside: there the name says more.
        Some(ZIP) => named.filter(|mime| IN_ZIP.contains(mime)).unwrap_or(ZIP),
        Some(mime) => mime,
        None => named.unwrap_or(UNKNOWN),
    }
}

/// How the platform is to show an outbound file: as an image or a film only in formats that phones
/// show, else as a file, audio too. A media type that is known counts before the name's extension.
pub fn kind(mime: &str, name: &str) -> MediaKind {
    let mime = mime.split(';').next().unwrap_or_default().trim();
    FORMATS
        .iter()
        .find(|format| format.mime.eq_ignore_ascii_case(mime))
        .or_else(|| by_extension(name))
        .map_or(MediaKind::File, |format| format.kind)
}

struct Format {
    extension: &'static str,
    mime: &'static str,
    kind: MediaKind,
}

const fn image(extension: &'static str, mime: &'static str) -> Format {
    Format {
        extension,
        mime,
        kind: MediaKind::Image,
    }
}

const fn video(extension: &'static str, mime: &'static str) -> Format {
    Format {
        extension,
        mime,
        kind: MediaKind::Video,
    }
}

const fn file(extension: &'static str, mime: &'static str) -> Format {
    Format {
        extension,
        mime,
        kind: MediaKind::File,
    }
}

const ZIP: &str = "application/zip";
const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const PPTX: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const APK: &str = "application/vnd.android.package-archive";
const EPUB: &str = "application/epub+zip";
const IN_ZIP: [&str; 5] = [DOCX, XLSX, PPTX, APK, EPUB];

/// Images and films are the formats that phones show. The others are known by their type alone, and
/// are sent as files.
const FORMATS: &[Format] = &[
    image("png", "image/png"),
    image("jpg", "image/jpeg"),
    image("jpeg", "image/jpeg"),
    image("gif", "image/gif"),
    image("webp", "image/webp"),
    image("bmp", "image/bmp"),
    video("mp4", "video/mp4"),
    video("mov", "video/quicktime"),
    video("webm", "video/webm"),
    video("mkv", "video/x-matroska"),
    video("avi", "video/x-msvideo"),
    file("pdf", "application/pdf"),
    file("doc", "application/msword"),
    file("docx", DOCX),
    file("xls", "application/vnd.ms-excel"),
    file("xlsx", XLSX),
    file("ppt", "application/vnd.ms-powerpoint"),
    file("pptx", PPTX),
    file("txt", "text/plain"),
    file("csv", "text/csv"),
    file("zip", ZIP),
    file("tar", "application/x-tar"),
    file("gz", "application/gzip"),
    file("mp3", "audio/mpeg"),
    file("ogg", "audio/ogg"),
    file("wav", "audio/wav"),
    file("m4a", "audio/mp4"),
    file("aac", "audio/aac"),
    file("flac", "audio/flac"),
    file("amr", "audio/amr"),
    file("silk", "audio/silk"),
    file("heic", "image/heic"),
    file("heif", "image/heif"),
    file("avif", "image/avif"),
    file("svg", "image/svg+xml"),
    file("html", "text/html"),
    file("md", "text/markdown"),
    file("json", "application/json"),
    file("xml", "application/xml"),
    file("apk", APK),
    file("epub", EPUB),
    file("rar", "application/vnd.rar"),
    file("7z", "application/x-7z-compressed"),
];

fn by_extension(name: &str) -> Option<&'static Format> {
    let extension = file_name::extension(name)?;
    FORMATS
        .iter()
        .find(|format| format.extension.eq_ignore_ascii_case(extension))
}

fn by_start(start: &[u8]) -> Option<&'static str> {
    let (start, _) = start.split_at(start.len().min(START_BYTES));
    let at = |offset: usize, length: usize| start.get(offset..offset + length).unwrap_or_default();
    Some(match start {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
        [b'B', b'M', ..] if is_bitmap(at(6, 4), at(14, 4)) => "image/bmp",
        [b'R', b'I', b'F', b'F', ..] => match at(8, 4) {
            b"WEBP" => "image/webp",
            b"WAVE" => "audio/wav",
            b"AVI " => "video/x-msvideo",
            _ => return None,
        },
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => of_brand(at(8, 4)),
        [0x1a, b'E', 0xdf, 0xa3, ..] => match start.windows(4).any(|bytes| bytes == b"webm") {
            true => "video/webm",
            false => "video/x-matroska",
        },
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        // The second is an archive without an entry.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => ZIP,
        [0x1f, 0x8b, 8, ..] => "application/gzip",
        [b'O', b'g', b'g', b'S', 0, ..] => "audio/ogg",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [b'#', b'!', b'A', b'M', b'R', b'\n' | b'-', ..] => "audio/amr",
        _ if start.starts_with(b"#!SILK_V3") => "audio/silk",
        [b'I', b'D', b'3', 2..=4, 0..=15, ..] => "audio/mpeg",
        [0xff, second, third, ..] if is_mp3_frame(*second, *third) => "audio/mpeg",
        _ => return None,
    })
}

/// `BM` alone begins many a text: the reserved bytes are zero, and the sizes of headers are few.
fn is_bitmap(reserved: &[u8], header: &[u8]) -> bool {
    reserved == [0; 4] && matches!(header, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
}

/// The header of a frame of layer III whose version, bit rate and sample rate exist.
fn is_mp3_frame(second: u8, third: u8) -> bool {
    let is_layer_three = second & 0b1110_0110 == 0b1110_0010;
    let has_version = second & 0b0001_1000 != 0b0000_1000;
    let has_rates = !matches!(third >> 4, 0 | 15) && third >> 2 & 3 != 3;
    is_layer_three && has_version && has_rates
}

/// The major brand of an ISO media file; the many that are not named are films.
fn of_brand(brand: &[u8]) -> &'static str {
    match brand {
        b"qt  " => "video/quicktime",
        b"M4A " | b"M4B " => "audio/mp4",
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => "image/heic",
        b"mif1" | b"msf1" => "image/heif",
        b"avif" | b"avis" => "image/avif",
        _ => "video/mp4",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        let bitmap = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0";
        let matroska = b"\x1aE\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\x04";
        let webm = b"\x1aE\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x84webm";
        for (start, expect) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "image/png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
            (bitmap, "image/bmp"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0", "video/mp4"),
            (b"\0\0\0\x18ftypmp42", "video/mp4"),
            (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
            (b"\0\0\0\x18ftypheic", "image/heic"),
            (b"\0\0\0\x18ftypmif1", "image/heif"),
            (b"\0\0\0\x1cftypavif", "image/avif"),
            (b"\0\0\0\x1cftypM4A ", "audio/mp4"),
            (webm, "video/webm"),
            (matroska, "video/x-matroska"),
            (b"RIFF\x24\0\0\0AVI LIST", "video/x-msvideo"),
            (b"%PDF-1.7\n", "application/pdf"),
            (b"PK\x03\x04\x14\0", "application/zip"),
            (b"\x1f\x8b\x08\0", "application/gzip"),
            (b"ID3\x03\0\0\0\0", "audio/mpeg"),
            (b"\xff\xfb\x90\x64\0", "audio/mpeg"),
            (b"OggS\0\x02", "audio/ogg"),
            (b"fLaC\0", "audio/flac"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
            (b"#!AMR\n\x3c", "audio/amr"),
            (b"#!AMR-WB\n", "audio/amr"),
            (b"#!SILK_V3\x0c\0", "audio/silk"),
        ] {
            // Whatever it is called.
            assert_eq!(mime(start, ""), expect, "{start:?}");
            assert_eq!(mime(start, "a.txt"), expect, "{start:?}");
        }
    }

    #[test]
    fn text_that_begins_like_a_signature_is_text() {
        for start in [
            &b"BMW sold 3 cars\n"[..],
            b"ID3 tags explained",
            b"PK,name\n",
            b"RIFFs and licks on the guitar",
            b"GIF or PNG?",
            b"#!/bin/sh\n",
            b"\xff\xfeh\0i\0",
            b"\xff",
            b"\x02",
            b"",
        ] {
            assert_eq!(mime(start, "a.txt"), "text/plain", "{start:?}");
            assert_eq!(mime(start, ""), UNKNOWN, "{start:?}");
        }
    }

    #[test]
    fn names_tell_what_bytes_do_not() {
        let zip = b"PK\x03\x04\x14\0";
        for (start, name, expect) in [
            (&zip[..], "报告.DOCX", DOCX),
            (zip, "a.xlsx", XLSX),
            (zip, "a.pptx", PPTX),
            (zip, "a.apk", APK),
            (zip, "a.zip", ZIP),
            (zip, "a.png", ZIP),
            (zip, "", ZIP),
            (b"\xd0\xcf\x11\xe0", "a.doc", "application/msword"),
            (b"a,b\n", "a.csv", "text/csv"),
            (b"<svg", "a.svg", "image/svg+xml"),
            (b"\0\x01\x02", "a.unheard-of", UNKNOWN),
            (b"\0\x01\x02", "png", UNKNOWN),
            (b"\0\x01\x02", ".png", UNKNOWN),
        ] {
            assert_eq!(mime(start, name), expect, "{name}");
        }
    }

    #[test]
    fn only_what_phones_show_is_an_image_or_a_film() {
        use MediaKind::{File, Image, Video};
        for (extensions, expect) in [
            ("png jpg jpeg gif webp bmp PNG", Image),
            ("mp4 mov webm mkv avi", Video),
            (
                "pdf doc docx xls xlsx ppt pptx txt csv zip tar gz mp3 ogg wav",
                File,
            ),
            ("svg heic amr m4a silk bin", File),
        ] {
            for extension in extensions.split(' ') {
                let name = format!("a.{extension}");
                assert_eq!(kind("", &name), expect, "{name}");
                assert_eq!(kind(UNKNOWN, &name), expect, "{name}");
                assert_eq!(kind(mime(b"", &name), &name), expect, "{name}");
            }
        }
        for (mime, name, expect) in [
            ("image/png", "", Image),
            ("Image/JPEG; q=1", "a.bin", Image),
            ("application/pdf", "a.png", File),
            ("image/heic", "a.jpg", File),
            ("image/x-unheard-of", "a.jpg", Image),
            ("image/x-unheard-of", "a", File),
            ("", "", File),
        ] {
            assert_eq!(kind(mime, name), expect, "{mime} {name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_name_panic(start: Vec<u8>, name: String) {
            let _ = kind(mime(&start, &name), &name);
        }
    }
}
