//! Text from outside, where it enters the host: for a log, for a reason, as a name.
//!
//! A text for people is cut and made one line. An identifier is never altered: it is valid, or it is
//! refused.

use std::borrow::Cow;

/// The longest identifier of a message, a conversation, a person or a post, in bytes.
pub const ID_BYTES: usize = 1024;
/// The longest reason that is shown, in bytes.
pub const REASON_BYTES: usize = 500;
/// The longest name of a file, in bytes.
pub const NAME_BYTES: usize = 255;

/// Whether a terminal obeys a character: controls of both kinds, and what changes the direction of text
/// or ends a line of it. All of them have four hexadecimal digits at most.
pub fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            // Of languages that are written from right to left: marks, embeddings, overrides,
            // isolates. Then the separators of lines and paragraphs.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}'
        )
}

/// Whether a character could break a line, move a cursor, reverse the text around it, or be invisible.
pub fn is_unsafe(char: char) -> bool {
    is_obeyed(char)
        || matches!(
            char,
            // A mark of byte order, and characters for annotations and tags that nobody sees.
            '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The beginning of a text, at most `longest` bytes of it, as one line: each character that is not
/// safe there becomes a space.
pub fn one_line(text: &str, longest: usize) -> String {
    let cut = text
        .get(..text.floor_char_boundary(longest))
        .unwrap_or_default();
    let safe = |char: char| if is_unsafe(char) { ' ' } else { char };
    cut.chars().map(safe).collect()
}

/// The same, without an allocation if nothing has to change.
pub fn into_one_line(text: String, longest: usize) -> String {
    let is_fine = text.len() <= longest && !text.contains(is_unsafe);
    match is_fine {
        true => text,
        false => one_line(&text, longest),
    }
}

/// Why a text can't be an identifier. `None` if it can.
pub fn not_an_id(text: &str, longest: usize) -> Option<Cow<'static, str>> {
    if text.len() > longest {
        let bytes = text.len();
        return Some(format!("it has {bytes} bytes, at most {longest} are allowed").into());
    }
    let control = text.chars().find(|char| is_unsafe(*char))?;
    let code = u32::from(control);
    Some(format!("it has the character U+{code:04X}, which is not allowed").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        for (text, longest, line) in [
            ("a\nb\x1b[2Jc\r", 100, "a b [2Jc "),
            ("你好", 4, "你"),
            ("a\u{2028}b\u{2029}c\u{85}d", 100, "a b c d"),
            ("\u{202e}gpj.exe\u{2066}", 100, " gpj.exe "),
            ("\x1b]52;c;aGk=\x07", 100, " ]52;c;aGk= "),
            ("\u{9b}31m\u{e0041}", 100, " 31m "),
            ("👩‍👩‍👧 é", 100, "👩‍👩‍👧 é"),
            ("", 0, ""),
        ] {
            assert_eq!(one_line(text, longest), line);
            assert_eq!(into_one_line(text.to_owned(), longest), line);
        }
    }

    #[test]
    fn an_identifier_is_taken_as_it_is_or_not_at_all() {
        for id in ["7497484083968569736", "wxid_alice@im.wechat", "", "你 好"] {
            assert_eq!(not_an_id(id, 100), None, "{id}");
        }
        for (id, why) in [
            ("a\nb", "U+000A"),
            ("a\0", "U+0000"),
            ("\x7f", "U+007F"),
            ("\u{2028}", "U+2028"),
            ("\u{202e}x", "U+202E"),
            ("12345678901", "11 bytes"),
        ] {
            let reason = not_an_id(id, 10).unwrap();
            assert!(reason.contains(why), "{reason}");
        }
    }
}
