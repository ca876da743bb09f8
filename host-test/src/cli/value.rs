//! Values of options, variables and settings: what they mean, and what no value may be.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Longest sentence for a person.
const MAX_SENTENCE_CHARS: usize = 500;
/// A day.
const MOST_SECONDS: u64 = 86_400;

/// Reads the value of an option as text, with a function that says what is wrong in words that follow
/// the option's name; and its values, where there are few. The error never has the value in it: that
/// may be a secret in the wrong place.
pub(super) struct Text<T>(
    pub fn(&str) -> Result<T, String>,
    pub &'static [&'static str],
);

impl<T> Clone for Text<T> {
    fn clone(&self) -> Text<T> {
        Text(self.0, self.1)
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Text<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        option: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let read = match value.to_str() {
            Some(text) => (self.0)(text),
            None => Err("has a value that is no UTF-8 text".to_owned()),
        };
        read.map_err(|why| {
            let mut error = clap::Error::new(ErrorKind::ValueValidation).with_cmd(command);
            if let Some(option) = option {
                let option = ContextValue::String(option.to_string());
                error.insert(ContextKind::InvalidArg, option);
            }
            error.insert(ContextKind::Custom, ContextValue::String(why));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match self.1 {
            [] => None,
            values => Some(Box::new(values.iter().map(PossibleValue::new))),
        }
    }
}

/// Any text.
pub(super) fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Something to be said to a person; may be empty.
pub(super) fn sentence(text: &str) -> Result<String, String> {
    let sentence = text.trim();
    if sentence.chars().count() > MAX_SENTENCE_CHARS {
        return Err(format!(
            "has more than {MAX_SENTENCE_CHARS} characters: write a sentence or two"
        ));
    }
    let is_hidden = |char: char| char.is_control() && char != '\n';
    if sentence.chars().any(is_hidden) {
        return Err("has control characters, which people would not see: remove them".to_owned());
    }
    Ok(sentence.to_owned())
}

/// A time in whole seconds, at most a day.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=MOST_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "is no number of seconds from 1 to {MOST_SECONDS}: write a number such as 120"
        )),
    }
}

/// Where to listen.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "is no address: write HOST:PORT, such as 127.0.0.1:8080".to_owned())
}

/// Pairs of quotation marks.
const QUOTES: [(char, char); 5] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{2018}', '\u{2019}'),
];

/// Checks what was set as `name`, without blanks around it.
///
/// # Errors
/// What is wrong and what would be right, without the value, which may be a secret.
pub(super) fn check(name: &str, value: &str) -> Result<(), &'static str> {
    let is_quoted = QUOTES
        .iter()
        .any(|(open, close)| value.starts_with(*open) || value.ends_with(*close));
    if is_quoted {
        return Err(
            "has quotation marks in it: leave them out (docker's --env-file and others do not take \
             them off)",
        );
    }
    let assigned = value.strip_prefix("export ").unwrap_or(value).trim_start();
    if assigned
        .strip_prefix(name)
        .is_some_and(|rest| rest.starts_with('='))
    {
        return Err("has its own name in it: set it to what is behind the `=`");
    }
    let is_placeholder = [
        ("${", "}"),
        ("$(", ")"),
        ("{{", "}}"),
        ("<", ">"),
        ("%", "%"),
    ]
    .iter()
    .any(|(open, close)| value.len() > 2 && value.starts_with(open) && value.ends_with(close))
        || matches!(value, "…" | "..." | "changeme" | "CHANGEME");
    if is_placeholder {
        return Err("is a placeholder that nobody has filled in: set it to the value");
    }
    if value.chars().any(char::is_control) {
        return Err("has a line break or another control character in it: leave it out");
    }
    Ok(())
}

/// Checks a token, which goes into headers and queries.
///
/// # Errors
/// The same.
pub(super) fn check_token(value: &str) -> Result<(), &'static str> {
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| {
        ["bearer", "basic", "token"].contains(&scheme.to_ascii_lowercase().as_str())
    }) {
        return Err("starts with the name of a scheme, such as Bearer: leave that out");
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a blank or a character in it that no token has: copy it again");
    }
    Ok(())
}

/// Checks a list of ids.
///
/// # Errors
/// What is wrong and what would be right.
pub(super) fn check_list(value: &str) -> Result<(), String> {
    let ids: Vec<&str> = value.split(',').map(str::trim).collect();
    if ids.iter().all(|id| id.is_empty()) {
        return Err("names nobody: list ids separated by commas, or unset it".to_owned());
    }
    for id in ids {
        if id.contains('*') {
            // Who may write is decided in one place, and not by an id that is none.
            return Err(
                "has a * in it, which is nobody's id: to admit everybody unset it and set the \
                 policy to open (DM_POLICY, dm_policy), else list ids separated by commas"
                    .to_owned(),
            );
        }
        let is_part = |char: char| {
            !char.is_whitespace()
                && !char.is_control()
                && !"\"'`;|[](){}<>，、；“”‘’".contains(char)
        };
        if !id.chars().all(is_part) {
            return Err(
                "has something in it that is no id: list ids separated by commas, without quotation \
                 marks and brackets"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_says_what_would_be_right() {
        for (value, expect) in [
            ("\"abc\"", "quotation marks"),
            ("'abc'", "quotation marks"),
            ("`abc`", "quotation marks"),
            ("\u{201c}abc\u{201d}", "quotation marks"),
            ("\"abc", "quotation marks"),
            ("abc'", "quotation marks"),
            ("NAME=abc", "its own name"),
            ("export NAME=abc", "its own name"),
            ("${NAME}", "placeholder"),
            ("$(cat token)", "placeholder"),
            ("{{ token }}", "placeholder"),
            ("<your-token>", "placeholder"),
            ("%TOKEN%", "placeholder"),
            ("…", "placeholder"),
            ("a\nb", "line break"),
            ("a\rb", "line break"),
            ("a\0b", "control character"),
        ] {
            let error = check("NAME", value).unwrap_err();
            assert!(error.contains(expect), "{value:?}: {error}");
            assert!(!error.contains("abc"), "{error}");
        }
        for value in [
            "abc", "it's", "a=b", "NAMES=1", "5 %", "a\"b", "<", "100%", "x<y>z",
        ] {
            assert_eq!(check("NAME", value), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn a_token_is_copied_alone() {
        for (value, expect) in [
            ("Bearer abc", "scheme"),
            ("bearer abc", "scheme"),
            ("Token abc", "scheme"),
            ("Basic abc", "scheme"),
            ("abc def", "a blank"),
            ("abc\u{200b}", "character"),
            ("\u{feff}abc", "character"),
            ("abcé", "character"),
        ] {
            let error = check_token(value).unwrap_err();
            assert!(error.contains(expect), "{value:?}: {error}");
        }
        for value in ["abc", "bot@im.bot:00ff", "a+/=~-_.", "Bearerabc"] {
            assert_eq!(check_token(value), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn a_list_has_ids() {
        for (value, expect) in [
            ("*", "policy to open"),
            ("alice,*", "policy to open"),
            ("wxid_*", "policy to open"),
            (",", "names nobody"),
            (" , ", "names nobody"),
            ("alice;bob", "no id"),
            ("alice bob", "no id"),
            ("alice，bob", "separated by commas"),
            ("alice、bob", "separated by commas"),
            ("[\"alice\"]", "brackets"),
            ("alice|bob", "separated by commas"),
            ("<alice>", "brackets"),
        ] {
            let error = check_list(value).unwrap_err();
            assert!(error.contains(expect), "{value:?}: {error}");
        }
        for value in [
            "alice",
            "wxid_alice@im.wechat,bob",
            " a , b,,",
            "张三,a-b_c.d@e",
        ] {
            assert_eq!(check_list(value), Ok(()), "{value:?}");
        }
    }
}
