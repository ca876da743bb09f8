//! Text as people may read it, without what a terminal would take for itself.
//!
//! Agents pass on what programs print: colours, cursor movements, window titles, progress bars. A phone
//! shows such characters as boxes, or stops there. So they are removed from all that goes out, with
//! these exceptions:
//!
//! - Tabs and line ends stay; every line end is `\n`.
//! - A backspace is followed, as a terminal does it: `N\x08N` and `_\x08N`, by which manuals print bold
//!   and underlined letters, are `N`; a counter that overwrites itself shows its last state.
//! - A hyperlink of a terminal (OSC 8) keeps its text.
//!
//! What people need stays, though it can't be seen: joiners of emoji and scripts, variation selectors,
//! the tags of flags, soft hyphens, and the marks that Arabic and Hebrew need beside Latin.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';
const BACKSPACE: char = '\u{8}';
/// Begins a control sequence as `ESC [` does.
const CSI: char = '\u{9b}';
/// Ends a control string as `ESC \` does.
const STRING_END: char = '\u{9c}';

/// A text without control characters and sequences.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = Line {
        text: String::with_capacity(text.len()),
        overwritten: Vec::new(),
    };
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {
                while chars.next_if_eq(&'\r').is_some() {}
                if chars.peek() != Some(&'\n') {
                    line.end('\n');
                }
            }
            '\n' | '\t' => line.end(char),
            BACKSPACE => line.back(),
            ESCAPE => skip_sequence(&mut chars),
            CSI => {
                let mut ahead = chars.clone();
                if skip_control(&mut ahead) {
                    chars = ahead;
                }
            }
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            char if is_control(char) => {}
            char => line.put(char),
        }
    }
    line.flush();
    Cow::Owned(line.text)
}

/// Whether a character is none of a text: controls, byte order marks, and what Unicode reserves for
/// the inside of programs. Tabs and line feeds are no such ones, carriage returns are.
fn is_control(char: char) -> bool {
    match char {
        '\t' | '\n' => false,
        '\u{feff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{fff8}' => true,
        char => char.is_control() || u32::from(char) & 0xfffe == 0xfffe,
    }
}

/// The line that is being written.
struct Line {
    text: String,
    /// What is behind the cursor after backspaces, its next character last.
    overwritten: Vec<char>,
}

impl Line {
    fn put(&mut self, char: char) {
        match self.overwritten.pop() {
            // Underlined, in either order.
            Some(under) if char == '_' && under != ' ' => self.text.push(under),
            _ => self.text.push(char),
        }
    }

    fn back(&mut self) {
        if !self.text.ends_with(['\n', '\t']) {
            self.overwritten.extend(self.text.pop());
        }
    }

    fn end(&mut self, end: char) {
        self.flush();
        self.text.push(end);
    }

    fn flush(&mut self) {
        self.text.extend(self.overwritten.drain(..).rev());
    }
}

/// Skips what follows an escape character and belongs to it.
fn skip_sequence(chars: &mut Peekable<Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        // A character set, or the like.
        Some('(' | ')' | '*' | '+' | '-' | '.' | '/' | '#' | '%' | ' ') => {
            let mut ahead = chars.clone();
            ahead.next();
            if ahead.next_if(char::is_ascii_alphanumeric).is_some() {
                *chars = ahead;
            }
        }
        Some('7' | '8' | '=' | '>' | 'c' | 'D' | 'E' | 'M' | 'Z' | '\\') => {
            chars.next();
        }
        _ => {}
    }
}

/// Skips the parameters of a control sequence and what ends it. False if it has neither parameters
/// nor an end.
fn skip_control(chars: &mut Peekable<Chars<'_>>) -> bool {
    let mut has_parameters = false;
    while chars.next_if(|char| matches!(char, '0'..='?')).is_some() {
        has_parameters = true;
    }
    while chars.next_if(|char| matches!(char, ' '..='/')).is_some() {}
    chars.next_if(|char| matches!(char, '@'..='~')).is_some() && has_parameters
}

/// Skips a control string. Of one that does not end only its beginning is skipped, since what follows
/// may be text.
fn skip_string(chars: &mut Peekable<Chars<'_>>) {
    let mut ahead = chars.clone();
    while let Some(char) = ahead.next() {
        let is_end = match char {
            BELL | STRING_END => true,
            ESCAPE => ahead.next_if_eq(&'\\').is_some(),
            _ => false,
        };
        if is_end {
            *chars = ahead;
            return;
        }
        if char.is_control() {
            break;
        }
    }
    while chars
        .next_if(|char| char.is_ascii_digit() || *char == ';')
        .is_some()
    {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(cases: &[(&str, &str)]) {
        for (text, expect) in cases {
            assert_eq!(clean(text), *expect, "of {text:?}");
        }
    }

    #[test]
    fn text_stays_as_it_is() {
        for text in [
            "",
            "a\tb\n\n\tc",
            "👩‍👩‍👧 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 葛󠄀 1️⃣",
            "می‌خواهم",
            "abc \u{200f}שלום\u{200e} \u{2067}عربي\u{2069} \u{61c}",
            "soft\u{ad}hyphen, no\u{a0}break, zero\u{200b}width, ok \u{fffd}",
            "cafe\u{301} ＜全角＞ ￥ 。",
            "[31m and ]8; are text",
        ] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn colours_and_movements_are_removed() {
        check(&[
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[1;38;2;255;0;0mx\u{1b}[mb", "xb"),
            ("\u{1b}[38:5:1mx", "x"),
            ("\u{1b}[2J\u{1b}[H\u{1b}[?25lx\u{1b}[?25h", "x"),
            ("\u{9b}31mx\u{9b}0m", "x"),
            ("\u{1b}[4 qx\u{1b}[!p", "x"),
            ("\u{1b}(Bx\u{1b}[m\u{1b}7\u{1b}8\u{1b}=\u{1b}>\u{1b}c", "x"),
            ("中\u{1b}[32m文\u{1b}[", "中文"),
            ("a\u{1b}[31", "a"),
            ("a\u{1b}[中", "a中"),
            ("a\u{1b}b \u{1b}\u{1b}[1mc\u{1b}", "ab c"),
            ("\u{9b}abc", "abc"),
        ]);
    }

    #[test]
    fn titles_are_removed_and_links_keep_their_text() {
        check(&[
            ("\u{1b}]0;title\u{7}x", "x"),
            (
                "\u{1b}]8;;https://a.b\u{1b}\\text\u{1b}]8;;\u{1b}\\.",
                "text.",
            ),
            ("\u{1b}]8;id=1;https://a.b\u{7}文\u{1b}]8;;\u{7}", "文"),
            ("\u{1b}]52;c;aGk=\u{7}x", "x"),
            ("\u{9d}0;title\u{9c}x", "x"),
            ("\u{1b}P1$r0m\u{1b}\\x\u{1b}_apc\u{1b}\\", "x"),
            ("\u{1b}]0;never ended\nnext", "never ended\nnext"),
            ("\u{1b}]8;;\u{1b}[1mx", "x"),
        ]);
    }

    #[test]
    fn controls_are_removed_and_lines_stay() {
        check(&[
            ("a\0b\u{7}c\u{c}d\u{b}e\u{7f}f\u{85}g", "abcdefg"),
            ("a\r\nb\r\r\nc\rd\r", "a\nb\nc\nd\n"),
            ("\u{feff}# a\u{feff}", "# a"),
            ("a\u{fdd0}b\u{ffff}c\u{1fffe}d\u{fff0}", "abcd"),
            ("\u{80}\u{99}x\u{9f}", "x"),
        ]);
    }

    #[test]
    fn backspaces_overwrite() {
        check(&[
            ("x\u{8}x", "x"),
            ("N\u{8}NA\u{8}AM\u{8}ME\u{8}E", "NAME"),
            ("_\u{8}f_\u{8}i", "fi"),
            ("f\u{8}_", "f"),
            ("10%\u{8}\u{8}\u{8}20%", "20%"),
            ("|\u{8}/\u{8}-\u{8}done", "done"),
            ("abc\u{8}\u{8}X", "aXc"),
            ("abc\u{8}\u{8}", "abc"),
            ("a\n\u{8}b", "a\nb"),
            ("\u{8}\u{8}a", "a"),
            ("中\u{8}中文\u{8}文", "中文"),
            ("ab\u{8}\nc", "ab\nc"),
        ]);
    }

    proptest! {
        #[test]
        fn nothing_is_left_and_nothing_is_lost(
            text in "([a-c中\n\t\r\u{8}\u{7}\u{1b}\u{9b}\u{9c}\u{9d}\\[\\]\\\\;0-9mP]|\\PC|\u{1b}\\[31m){0,80}",
        ) {
            let cleaned = clean(&text).into_owned();
            prop_assert!(!cleaned.contains(is_control) && cleaned.len() <= text.len());
            let again = clean(&cleaned);
            prop_assert_eq!(again.as_ref(), cleaned.as_str());
        }

        #[test]
        fn single_controls_take_nothing_with_them(text in "([a-z中 \n]|[\0\u{7}\u{c}\u{7f}\u{85}]){0,80}") {
            let expect: String = text.chars().filter(|char| !is_control(*char)).collect();
            let cleaned = clean(&text);
            prop_assert_eq!(cleaned.as_ref(), expect.as_str());
        }
    }
}
