//! What a terminal shows of text that came from elsewhere: people, agents, components, servers, files.
//!
//! Promise: none of it moves the cursor, changes the terminal or its clipboard, or stands in another
//! order than it was written. What could do so is shown as a sign of its own: ESC as `␛`, U+202E as
//! `\u{202e}`. Everything else stays as it is, emoji and scripts from right to left included.
//!
//! All that this program prints goes through here, whether or not a terminal reads it at once: logs and
//! reports are read in one later. The one exception is [`answer`]: programs want the text itself.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

use gateway_host::text::is_obeyed;

/// Text that may have several lines.
pub fn shown(text: &str) -> Cow<'_, str> {
    clean(text, |char| char == '\n')
}

/// Text as one line: an end of a line in it is shown as `␊`, so that it can't begin another one.
pub fn line(text: &str) -> Cow<'_, str> {
    clean(text, |_| false)
}

/// Prints to standard output, as it is shown, and flushes.
///
/// # Errors
/// When nobody reads it any more.
pub fn print(text: &str) -> io::Result<()> {
    put(&shown(text))
}

/// The same with the end of a line behind it.
///
/// # Errors
/// The same.
pub fn say(text: &str) -> io::Result<()> {
    put(&format!("{}\n", shown(text)))
}

/// What was asked for, as a line of standard output: as it is where a program reads it, else as it is
/// shown.
///
/// # Errors
/// When nobody reads it any more.
pub fn answer(text: &str) -> io::Result<()> {
    match io::stdout().is_terminal() {
        true => say(text),
        false => put(&format!("{text}\n")),
    }
}

/// A line of standard error, if anybody reads it.
pub fn complain(what: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "{}", line(&what.to_string()));
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn clean(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_plain = |char: char| char == '\t' || stays(char) || !is_obeyed(char);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match u32::from(char) {
            _ if is_plain(char) => clean.push(char),
            // Of an end of a line in the way of networks and Windows.
            0x0d if chars.peek() == Some(&'\n') => {}
            // There is a picture of each.
            code @ ..0x20 => clean.push(char::from_u32(0x2400 + code).unwrap_or(' ')),
            0x7f => clean.push('\u{2421}'),
            code => {
                // Writing to a string can't fail.
                let _ = write!(clean, "\\u{{{code:x}}}");
            }
        }
    }
    Cow::Owned(clean)
}

/// The fields of a log line as text: the message as a line, the others behind their names.
#[derive(Debug, Clone, Copy)]
pub struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = FieldVisitor {
            writer,
            is_first: true,
            result: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct FieldVisitor<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Visit for FieldVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.is_first { "" } else { " " };
        self.is_first = false;
        let value = format!("{value:?}");
        let value = line(&value);
        let written = match field.name() {
            "message" => write!(self.writer, "{space}{value}"),
            name => write!(self.writer, "{space}{name}={value}"),
        };
        self.result = self.result.and(written);
    }
}

/// A writer of JSON in which what a terminal obeys is written as `\uXXXX`. It stands in strings alone,
/// where it means the same; JSON's own writer escapes but a part of it.
#[derive(Debug, Clone, Copy)]
pub struct EscapedJson<M>(pub M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for EscapedJson<M> {
    type Writer = EscapedJson<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedJson(self.0.make_writer())
    }
}

impl<W: Write> Write for EscapedJson<W> {
    /// A whole object at once.
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(json);
        let mut escaped = String::with_capacity(text.len());
        for char in text.chars() {
            match is_obeyed(char) && char != '\n' {
                // All of them are in the plane of four digits.
                true => write!(escaped, "\\u{:04x}", u32::from(char)).map_err(io::Error::other)?,
                false => escaped.push(char),
            }
        }
        self.0.write_all(escaped.as_bytes())?;
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_as_a_sign() {
        for (text, expect) in [
            ("hello, 你好 👋🏽\tb\nc", "hello, 你好 👋🏽\tb\nc"),
            ("שלום عليكم", "שלום عليكم"),
            ("👩‍👩‍👧", "👩‍👩‍👧"),
            // The title of the window, the clipboard, colours, a cursor that goes back.
            ("\u{1b}]0;owned\u{7}", "␛]0;owned␇"),
            ("\u{1b}]52;c;cm0gLXJm\u{1b}\\", "␛]52;c;cm0gLXJm␛\\"),
            ("\u{1b}[2J\u{1b}[31mred", "␛[2J␛[31mred"),
            ("safe\rgone", "safe␍gone"),
            ("abc\u{8}\u{8}x\u{7f}\0", "abc␈␈x␡␀"),
            // The same with one character of C1.
            (
                "\u{9d}0;owned\u{9c}\u{9b}2J",
                "\\u{9d}0;owned\\u{9c}\\u{9b}2J",
            ),
            // A file that is called otherwise than it looks.
            ("photo\u{202e}gnp.exe", "photo\\u{202e}gnp.exe"),
            (
                "\u{2066}a\u{2069}\u{200f}\u{61c}",
                "\\u{2066}a\\u{2069}\\u{200f}\\u{61c}",
            ),
            ("one\u{2028}two\u{2029}", "one\\u{2028}two\\u{2029}"),
            ("\u{85}", "\\u{85}"),
            ("network\r\nlines\r\n", "network\nlines\n"),
        ] {
            assert_eq!(shown(text), expect);
        }
        assert_eq!(
            line("one\ntwo\r\n2026 ERROR forged"),
            "one␊two␊2026 ERROR forged"
        );
        assert!(matches!(shown("plain\n"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_that_is_obeyed_is_left(text in any::<String>()) {
            prop_assert!(!line(&text).chars().any(|char| is_obeyed(char) && char != '\t'));
            let (once, twice) = (shown(&text), shown(&text).into_owned());
            prop_assert_eq!(shown(&twice), once.as_ref());
            let plain: String = text.chars().filter(|char| !is_obeyed(*char)).collect();
            prop_assert_eq!(shown(&plain), plain.as_str());
        }
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(json: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let builder = tracing_subscriber::fmt().with_target(false);
        let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = match json {
            true => {
                let writer = EscapedJson(move || writer.clone());
                Box::new(
                    builder
                        .with_writer(writer)
                        .json()
                        .flatten_event(true)
                        .finish(),
                )
            }
            false => {
                let writer = move || writer.clone();
                let builder = builder.with_writer(writer).with_ansi(true);
                Box::new(builder.fmt_fields(Fields).finish())
            }
        };
        let hostile = "a\u{1b}]0;x\u{7}\u{9b}\u{202e}\u{2028}\u{7f}\n2026 ERROR forged";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(account = hostile, shown = %hostile, "{hostile}");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_log_line_is_one_line_that_does_nothing() {
        let text = log(false);
        assert_eq!(text.lines().count(), 1, "{text}");
        // The log's own colours, and nothing of the value's.
        let without = text.replace("\u{1b}[0m", "").replace("\u{1b}[2m", "");
        let without = without.replace("\u{1b}[33m", "");
        assert_eq!(line(without.trim_end()), without.trim_end(), "{text:?}");
        assert!(
            text.contains("a␛]0;x␇\\u{9b}\\u{202e}\\u{2028}␡␊2026 ERROR forged"),
            "{text}"
        );
        assert!(text.contains(" account=\"a\\u{1b}]0;x"), "{text}");
        assert!(text.contains(" shown=a␛]0;x"), "{text}");
    }

    #[test]
    fn a_log_object_means_the_same_and_does_nothing() {
        let text = log(true);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(line(text.trim_end()), text.trim_end());
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let hostile = "a\u{1b}]0;x\u{7}\u{9b}\u{202e}\u{2028}\u{7f}\n2026 ERROR forged";
        for name in ["message", "account", "shown"] {
            assert_eq!(object[name], hostile, "{name}");
        }
    }
}
