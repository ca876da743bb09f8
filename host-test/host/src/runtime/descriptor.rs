//! Bounds a component's description, which the host keeps and searches at each request, and prints its
//! rules for people.

use crate::bindings::exports::gateway::channel::meta::{
    Capture, Descriptor, Egress, Keeping, Placement,
};
use crate::text::{is_unsafe, not_an_id};

/// Rules of egress.
const MAX_EGRESS: usize = 64;
/// Captures, and origins.
const MAX_FEW: usize = 16;
/// Of a name: of a platform, a credential, a configuration key.
const MAX_NAME_BYTES: usize = 64;
/// Of a host, a path or a pointer.
const MAX_TEXT_BYTES: usize = 1024;
/// Of the schema of the configuration.
const MAX_SCHEMA_BYTES: usize = 256 * 1024;

/// Checks a description.
///
/// # Errors
/// What is too much, or no name.
pub(super) fn check(about: &Descriptor) -> Result<(), String> {
    name("platform", &about.platform)?;
    text("version", &about.version, MAX_NAME_BYTES)?;
    schema(&about.config_schema)?;
    few("egress", about.egress.len(), MAX_EGRESS)?;
    few("captures", about.captures.len(), MAX_FEW)?;
    few("origins", about.origins.len(), MAX_FEW)?;
    few("media", about.media.len(), MAX_FEW)?;
    about.egress.iter().try_for_each(egress)?;
    about.captures.iter().try_for_each(capture)?;
    let mut origins = about.origins.iter();
    origins.try_for_each(|key| name("origins", key))
}

fn egress(rule: &Egress) -> Result<(), String> {
    text("egress.scheme", &rule.scheme, MAX_NAME_BYTES)?;
    text("egress.host", &rule.host, MAX_TEXT_BYTES)?;
    text("egress.path-prefix", &rule.path_prefix, MAX_TEXT_BYTES)?;
    match &rule.credential {
        Some(used) => name("egress.credential", &used.name),
        None => Ok(()),
    }
}

fn capture(capture: &Capture) -> Result<(), String> {
    text("captures.path-prefix", &capture.path_prefix, MAX_TEXT_BYTES)?;
    let pointer = &capture.json_pointer;
    text("captures.json-pointer", pointer, MAX_TEXT_BYTES)?;
    name("captures.credential", &capture.credential)
}

fn few(what: &str, count: usize, most: usize) -> Result<(), String> {
    match count <= most {
        true => Ok(()),
        false => Err(format!(
            "`{what}` has {count} entries, and {most} are taken"
        )),
    }
}

/// One line that is shown as it is.
fn text(what: &str, text: &str, most: usize) -> Result<(), String> {
    match not_an_id(text, most) {
        None => Ok(()),
        Some(why) => Err(format!("`{what}` is refused: {why}")),
    }
}

fn schema(schema: &str) -> Result<(), String> {
    let is_space = |char: char| matches!(char, '\n' | '\r' | '\t');
    let bytes = schema.len();
    if bytes > MAX_SCHEMA_BYTES {
        return Err(format!(
            "`config-schema` is refused: it has {bytes} bytes, at most {MAX_SCHEMA_BYTES} are allowed"
        ));
    }
    match schema.contains(|char: char| is_unsafe(char) && !is_space(char)) {
        true => Err("`config-schema` is refused: it has control characters".to_owned()),
        false => Ok(()),
    }
}

/// What stands in logs, placeholders and keys: letters, digits, `-`, `_` and `.`.
fn name(what: &str, text: &str) -> Result<(), String> {
    self::text(what, text, MAX_NAME_BYTES)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(format!(
            "`{what}` has a name that is not 1 to {MAX_NAME_BYTES} letters, digits, - and _"
        )),
    }
}

/// What a capture hides, and where.
pub fn capture_line(capture: &Capture) -> String {
    let (name, path) = (&capture.credential, &capture.path_prefix);
    let kept = match capture.keep {
        Keeping::Aside => "",
        Keeping::InUse => ", and uses it at once",
    };
    format!(
        "{name} in answers of {path}*, at {}{kept}",
        capture.json_pointer
    )
}

/// Where a rule leads, and with which credential.
pub fn egress_line(egress: &Egress) -> String {
    let credential = match &egress.credential {
        Some(used) => match used.placement {
            Placement::Header => format!(" with {} in a header", used.name),
            Placement::JsonBody => format!(" with {} in a JSON body", used.name),
            Placement::Query => format!(" with {} in the query", used.name),
            Placement::PathSegment => format!(" with {} in the path", used.name),
        },
        None => String::new(),
    };
    let Egress {
        scheme,
        host,
        path_prefix,
        ..
    } = egress;
    let key = host
        .strip_prefix('{')
        .and_then(|host| host.strip_suffix('}'));
    match (key, egress.port) {
        (Some(key), _) => {
            format!("what the operator sets as {key}, {path_prefix}*{credential}")
        }
        (None, Some(port)) => format!("{scheme}://{host}:{port}{path_prefix}*{credential}"),
        (None, None) => format!("{scheme}://{host}{path_prefix}*{credential}"),
    }
}

/// Names of the credentials that logins bring.
pub(crate) fn captured_by_logins(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    let aside = |capture: &&Capture| capture.keep == Keeping::Aside;
    let captures = descriptor.captures.iter().filter(aside);
    captures.map(|capture| capture.credential.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::exports::gateway::channel::meta::CredentialUse;

    fn plain() -> Descriptor {
        Descriptor {
            platform: "qq".to_owned(),
            version: "1.0.0".to_owned(),
            text_limit: 1,
            media: Vec::new(),
            typing_refresh: None,
            reply_window: None,
            egress: vec![Egress {
                scheme: "https".to_owned(),
                host: "example.com".to_owned(),
                port: None,
                path_prefix: "/".to_owned(),
                credential: Some(CredentialUse {
                    name: "bot-token".to_owned(),
                    placement: Placement::Header,
                }),
            }],
            origins: vec!["base-url".to_owned()],
            captures: vec![Capture {
                path_prefix: "/".to_owned(),
                json_pointer: "/token".to_owned(),
                credential: "bot-token".to_owned(),
                keep: Keeping::Aside,
            }],
            config_schema: "{}".to_owned(),
            state_version: 1,
            state_reads_from: 1,
        }
    }

    #[test]
    fn what_a_component_says_of_itself_is_bounded() {
        assert_eq!(check(&plain()), Ok(()));
        type Change = fn(&mut Descriptor);
        let long = || "x".repeat(MAX_SCHEMA_BYTES + 1);
        let changes: [(&str, Change); 13] = [
            ("egress", |about| {
                about.egress = vec![about.egress[0].clone(); 65]
            }),
            ("captures", |about| {
                about.captures = vec![about.captures[0].clone(); 17]
            }),
            ("origins", |about| about.origins = vec!["a".to_owned(); 17]),
            ("platform", |about| about.platform = "we\nixin".to_owned()),
            ("platform", |about| about.platform = String::new()),
            ("captures.credential", |about| {
                about.captures[0].credential = "x".repeat(65)
            }),
            ("egress.credential", |about| {
                about.egress[0].credential.as_mut().unwrap().name = "a}}b".to_owned();
            }),
            ("captures.json-pointer", |about| {
                about.captures[0].json_pointer = "/".repeat(1025)
            }),
            ("egress.path-prefix", |about| {
                about.egress[0].path_prefix = "/".repeat(1025)
            }),
            ("version", |about| about.version = "1\n2".to_owned()),
            ("egress.host", |about| {
                about.egress[0].host = "a\u{202e}b".to_owned()
            }),
            ("captures.json-pointer", |about| {
                about.captures[0].json_pointer = "/\u{1b}[2J".to_owned()
            }),
            ("config-schema", |about| {
                about.config_schema = "{\u{2028}}".to_owned()
            }),
        ];
        for (what, change) in changes {
            let mut about = plain();
            change(&mut about);
            let error = check(&about).unwrap_err();
            assert!(error.contains(&format!("`{what}`")), "{error}");
        }
        let mut about = plain();
        about.config_schema = "{\r\n\t}".to_owned();
        assert_eq!(check(&about), Ok(()));
        about.config_schema = long();
        assert!(check(&about).unwrap_err().contains("config-schema"));
    }
}
