//! File names that people and servers send, made fit to be shown and stored.
//!
//! A name is data, never a path: what comes out has no separator, no drive, no control character or
//! sequence, no text-direction character, no leading dot, no name that Windows keeps for devices, and at most
//! [`MAX_BYTES`]. Everything else of Unicode stays as it was sent, unnormalized. A name that came out
//! comes out again as it is.

use super::control;

/// Longest name, the limit of common file systems.
pub const MAX_BYTES: usize = 255;
/// Longest extension that survives the cutting of a long name.
const MAX_EXTENSION_BYTES: usize = 32;

/// The name that `sent` may stand for; `default` when nothing of it is left.
pub fn sanitize(sent: &str, default: &str) -> String {
    let sent = control::clean(sent);
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|char| !is_hidden(*char))
        // On Windows a colon ends a drive or begins another stream of the file.
        .map(|char| if char == ':' { '_' } else { char })
        .collect();
    let mut name = shorten(kept.trim_start_matches(is_edge).trim_end_matches(is_edge));
    if is_device(&name) {
        name = shorten(&format!("_{name}"));
    }
    if name.is_empty() {
        name.push_str(default);
    }
    name
}

/// What follows the last dot, unless that is the whole name or nothing.
pub fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// Controls (C0, C1), line and paragraph separators, and what turns the direction of text, so that
/// `exe.gpj` can't be shown as `jpg.exe`. Joiners stay: emoji and scripts need them.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// A leading dot hides a file; Windows drops dots and spaces at the end.
fn is_edge(char: char) -> bool {
    char == '.' || char.is_whitespace()
}

/// Cuts a long name between two characters, before its extension.
fn shorten(name: &str) -> String {
    if name.len() <= MAX_BYTES {
        return name.to_owned();
    }
    let extension = extension(name).filter(|extension| extension.len() <= MAX_EXTENSION_BYTES);
    let tail = extension
        .map(|extension| format!(".{extension}"))
        .unwrap_or_default();
    let (stem, _) = name.split_at(name.floor_char_boundary(MAX_BYTES - tail.len()));
    format!("{}{tail}", stem.trim_end_matches(is_edge))
}

/// Whether Windows opens a device by this name, whatever its extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_uppercase();
    let numbered = |stem: &str| {
        let number = stem
            .strip_prefix("COM")
            .or_else(|| stem.strip_prefix("LPT"));
        let mut chars = number.unwrap_or_default().chars();
        matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³')) && chars.next().is_none()
    };
    matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$"
    ) || numbered(&stem)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(cases: &[(&str, &str)]) {
        for (sent, expect) in cases {
            assert_eq!(sanitize(sent, "file"), *expect, "{sent:?}");
        }
    }

    #[test]
    fn only_what_follows_the_last_separator_counts() {
        check(&[
            ("../../init.json", "init.json"),
            ("..\\..\\init.json", "init.json"),
            ("/etc/passwd", "passwd"),
            ("\\\\server\\share\\a.txt", "a.txt"),
            ("C:\\Users\\x\\a.txt", "a.txt"),
            ("a/b\\c", "c"),
            ("a\\b/c", "c"),
            ("C:a.txt", "C_a.txt"),
            ("a.txt::$DATA", "a.txt__$DATA"),
            ("file:///tmp/a.txt", "a.txt"),
        ]);
    }

    #[test]
    fn unicode_stays_as_it_was_sent() {
        check(&[
            ("报告 第1版.pdf", "报告 第1版.pdf"),
            ("見積書（最終）.xlsx", "見積書（最終）.xlsx"),
            ("👩‍👩‍👧 family.jpg", "👩‍👩‍👧 family.jpg"),
            ("cafe\u{301}.txt", "cafe\u{301}.txt"),
            ("تقرير.pdf", "تقرير.pdf"),
            ("100%E4.txt", "100%E4.txt"),
            ("æŠ¥å‘Š.pdf", "æŠ¥å‘Š.pdf"),
        ]);
    }

    #[test]
    fn what_can_mislead_is_removed() {
        check(&[
            ("a\0b\r\n.txt", "ab.txt"),
            ("a\u{1b}[31mb\u{1b}[0m.txt", "ab.txt"),
            ("\u{1b}]8;;https://a.b/c\u{7}a.txt\u{1b}]8;;\u{7}", "a.txt"),
            ("\u{1b}]0;a/b\u{1b}\\c.txt", "c.txt"),
            ("a\u{8}ab\u{7}\u{c}.txt", "ab.txt"),
            ("报\u{9b}1m告\u{7f}.pdf", "报告.pdf"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("a\u{2066}b\u{2069}\u{200f}.txt", "ab.txt"),
            ("\u{feff}a\u{85}.txt", "a.txt"),
            (".bashrc", "bashrc"),
            (". .\u{0}./.hidden", "hidden"),
            ("a.txt. . ", "a.txt"),
            (" \u{3000}a.txt", "a.txt"),
        ]);
    }

    #[test]
    fn device_names_get_another_beginning() {
        check(&[
            ("CON", "_CON"),
            ("con.txt", "_con.txt"),
            ("Nul .tar.gz", "_Nul .tar.gz"),
            ("COM1", "_COM1"),
            ("lpt².doc", "_lpt².doc"),
            ("CONIN$", "_CONIN$"),
            ("COM10", "COM10"),
            ("COM", "COM"),
            ("console.log", "console.log"),
            ("_CON", "_CON"),
        ]);
    }

    #[test]
    fn nothing_becomes_the_default() {
        check(&[
            ("", "file"),
            ("..", "file"),
            ("a/", "file"),
            ("\u{202e} .\0", "file"),
        ]);
        assert_eq!(sanitize("", "image.jpg"), "image.jpg");
    }

    #[test]
    fn long_names_keep_their_extension() {
        let long = sanitize(&format!("{}.tar.gz", "长".repeat(200)), "file");
        assert_eq!(long, format!("{}.gz", "长".repeat(84)));
        let odd = sanitize(&format!("a.{}", "长".repeat(200)), "file");
        assert_eq!(odd.len(), 254);
        let exact = "x".repeat(MAX_BYTES);
        assert_eq!(sanitize(&exact, "file"), exact);
        // Cutting may bring a device name to light.
        let spaces = sanitize(&format!("CON{}x", " ".repeat(300)), "file");
        assert_eq!(spaces, "_CON");
        let device = sanitize(&format!("con.{}", "x".repeat(251)), "file");
        assert!(device.starts_with("_con.") && device.len() == MAX_BYTES);
    }

    #[test]
    fn extensions_are_what_follows_the_last_dot() {
        for (name, expect) in [
            ("a.tar.gz", Some("gz")),
            ("a", None),
            ("a.", None),
            (".a", None),
            ("报告.PDF", Some("PDF")),
        ] {
            assert_eq!(extension(name), expect);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_a_name_comes_out(
            sent in prop_oneof![
                any::<String>(),
                "[ -~]{0,40}",
                r"[./\\: \x00-\x1f\u202e\u0301CcOoNn1长👩]{0,600}",
                "(?i)(con|nul|com1|lpt9)[ .:]{0,300}[a-z.]{0,300}",
            ],
        ) {
            let name = sanitize(&sent, "file");
            prop_assert!(!name.is_empty() && name.len() <= MAX_BYTES);
            prop_assert!(!name.contains(['/', '\\', ':']) && !name.contains(is_hidden));
            prop_assert!(!name.starts_with(is_edge) && !name.ends_with(is_edge));
            prop_assert!(!is_device(&name));
            let path = std::path::Path::new(&name);
            prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(name.as_str()));
            prop_assert_eq!(sanitize(&name, "other"), name);
        }
    }
}
