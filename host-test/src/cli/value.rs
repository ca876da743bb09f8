//! What no value may be, whatever it is for: quoted, a placeholder, a line of a file of variables.

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
