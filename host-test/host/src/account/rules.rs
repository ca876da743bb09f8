//! From what a component declares to what its account may reach.

use std::collections::BTreeMap;

use http::Uri;

use crate::bindings::exports::gateway::channel::meta::{self, Descriptor, Keeping, Placement};
use crate::egress::capture::Capture;
use crate::egress::rule::{self, Credential, Rule};

/// The configuration keys that a login may set: places within the component's reach. A login never sets
/// an origin that counts as the operator's, and no policy. A component that declares one of these keys
/// as an origin is refused.
pub(crate) const LOGIN_SETTINGS: [&str; 1] = ["login-base-url"];

/// The rules of an account. If the host of a rule is a configuration key in braces, the rule is for the
/// value of that key, and is left out if the key is not set. Without a credential such a rule covers the
/// whole origin, with one only its path. Each rule has the captures of its credential. If the value of
/// the key has a path, the captures apply below that path as well.
///
/// # Errors
/// One sentence that names the rule.
pub fn of(descriptor: &Descriptor, config: &BTreeMap<String, String>) -> Result<Vec<Rule>, String> {
    check_captures(descriptor)?;
    check_origins(descriptor)?;
    check_paths(descriptor)?;
    let mut rules = Vec::new();
    for egress in &descriptor.egress {
        let key = egress
            .host
            .strip_prefix('{')
            .and_then(|host| host.strip_suffix('}'));
        let mut rule = match key {
            Some(key) if !descriptor.origins.iter().any(|origin| origin == key) => {
                return Err(format!(
                    "the component declares no origin `{key}` for its egress rule"
                ));
            }
            Some(key) => match config.get(key) {
                Some(url) => {
                    let wrong = |error| format!("configuration key {key}: {error}");
                    let origin = Rule::configured(url).map_err(wrong)?;
                    rules.push(origin.clone());
                    // The credential goes no further than it must.
                    let path = path_of(url).unwrap_or_default() + &egress.path_prefix;
                    origin.below(&path).map_err(wrong)?
                }
                None => continue,
            },
            None => Rule::new(
                &egress.scheme,
                &egress.host,
                egress.port,
                egress.path_prefix.trim_end_matches('/'),
            )
            .map_err(|error| format!("egress rule of the component: {error}"))?,
        };
        rule.credential = egress.credential.as_ref().map(|used| Credential {
            name: used.name.clone(),
            placement: match used.placement {
                Placement::Header => rule::Placement::Header,
                Placement::JsonBody => rule::Placement::JsonBody,
                Placement::Query => rule::Placement::Query,
                Placement::PathSegment => rule::Placement::Path,
            },
        });
        let base = key.and_then(|key| config.get(key)).map(String::as_str);
        for capture in &descriptor.captures {
            if Some(&capture.credential) != egress.credential.as_ref().map(|used| &used.name) {
                continue;
            }
            let mut add = |prefix: &str| {
                let is_in_use = capture.keep == Keeping::InUse;
                let capture = Capture::new(prefix, &capture.json_pointer, &capture.credential)
                    .map_err(|error| format!("the component's {error}"))?;
                rule.captures.push(match is_in_use {
                    true => capture.in_use(),
                    false => capture,
                });
                Ok::<_, String>(())
            };
            add(&capture.path_prefix)?;
            if let Some(base) = base.and_then(path_of) {
                add(&format!("{base}{}", capture.path_prefix))?;
            }
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// A capture of a credential that no rule carries would never apply, and the component would see
/// what it asked the host to hide.
fn check_captures(descriptor: &Descriptor) -> Result<(), String> {
    let is_carried = |name: &str| {
        let mut carried = descriptor
            .egress
            .iter()
            .filter_map(|rule| rule.credential.as_ref());
        carried.any(|used| used.name == name)
    };
    let lost = |capture: &&meta::Capture| !is_carried(&capture.credential);
    match descriptor.captures.iter().find(lost) {
        Some(capture) => Err(format!(
            "the component captures the credential `{}`, which none of its egress rules carries",
            capture.credential
        )),
        None => Ok(()),
    }
}

/// A rule says where in the path its credential stands, and a path has no other placeholder.
fn check_paths(descriptor: &Descriptor) -> Result<(), String> {
    for rule in &descriptor.egress {
        let in_path = rule
            .credential
            .as_ref()
            .filter(|used| used.placement == Placement::PathSegment);
        let prefix = &rule.path_prefix;
        match in_path {
            Some(used) if !prefix.contains(&format!("{{{{{}}}}}", used.name)) => {
                return Err(format!(
                    "the component puts the credential `{}` into the path, and its egress rule's \
                     path prefix does not say where: write it there in double braces",
                    used.name
                ));
            }
            None if prefix.contains("{{") => {
                return Err(format!(
                    "the component's egress rule has a placeholder in its path prefix {prefix:?}, \
                     and no credential that goes into the path"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a login may set would otherwise count as the operator's own word.
fn check_origins(descriptor: &Descriptor) -> Result<(), String> {
    let mut origins = descriptor.origins.iter();
    match origins.find(|key| LOGIN_SETTINGS.contains(&key.as_str())) {
        Some(key) => Err(format!(
            "the component declares the origin `{key}`, which logins may set: an origin is the \
             operator's alone"
        )),
        None => Ok(()),
    }
}

/// The path of a URL, where there is one.
fn path_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let path = uri.path().trim_end_matches('/');
    (!path.is_empty()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::exports::gateway::channel::meta::{CredentialUse, Egress};

    fn descriptor(captures: &[(&str, &str, &str)]) -> Descriptor {
        let egress = |host: &str, credential: Option<&str>| Egress {
            scheme: "https".to_owned(),
            host: host.to_owned(),
            port: None,
            path_prefix: "/bot/".to_owned(),
            credential: credential.map(|name| CredentialUse {
                name: name.to_owned(),
                placement: Placement::Header,
            }),
        };
        Descriptor {
            platform: String::new(),
            version: String::new(),
            text_limit: 1,
            media: Vec::new(),
            typing_refresh: None,
            reply_window: None,
            egress: vec![
                egress("example.com", Some("bot-token")),
                egress("{base-url}", Some("bot-token")),
                egress("media.example.com", None),
            ],
            origins: vec!["base-url".to_owned()],
            captures: captures
                .iter()
                .map(|(path_prefix, json_pointer, credential)| meta::Capture {
                    path_prefix: (*path_prefix).to_owned(),
                    json_pointer: (*json_pointer).to_owned(),
                    credential: (*credential).to_owned(),
                    keep: Keeping::Aside,
                })
                .collect(),
            config_schema: String::new(),
            state_version: 1,
            state_reads_from: 1,
        }
    }

    #[test]
    fn captures_go_with_the_rules_that_carry_their_credential() {
        let descriptor = descriptor(&[("/bot/status", "/token", "bot-token")]);
        for (base_url, below) in [
            ("http://127.0.0.1:1", false),
            ("http://127.0.0.1:1/relay/", true),
        ] {
            let config = BTreeMap::from([("base-url".to_owned(), base_url.to_owned())]);
            let rules = of(&descriptor, &config).unwrap();
            let captured = |rule: &Rule, path: &str| {
                rule.captures.iter().any(|capture| capture.applies_to(path))
            };
            assert!(captured(&rules[0], "/bot/status"));
            assert!(!captured(&rules[0], "/relay/bot/status"));
            assert!(captured(&rules[2], "/bot/status"));
            assert_eq!(captured(&rules[2], "/relay/bot/status"), below);
            assert!(!captured(&rules[2], "/bot/other"));
            assert!(rules[1].captures.is_empty() && rules[3].captures.is_empty());
        }
    }

    #[test]
    fn a_credential_stands_where_its_rule_says() {
        let mut descriptor = descriptor(&[]);
        for (placement, expected) in [
            (Placement::Header, rule::Placement::Header),
            (Placement::JsonBody, rule::Placement::JsonBody),
            (Placement::Query, rule::Placement::Query),
        ] {
            let used = descriptor.egress[0].credential.as_mut().unwrap();
            used.placement = placement;
            let rules = of(&descriptor, &BTreeMap::new()).unwrap();
            let used = rules[0].credential.as_ref().unwrap();
            assert_eq!(used.placement, expected);
        }
    }

    #[test]
    fn a_rule_says_where_in_the_path_its_credential_stands() {
        let with = |placement, prefix: &str| {
            let mut descriptor = descriptor(&[]);
            for rule in &mut descriptor.egress[..2] {
                rule.credential.as_mut().unwrap().placement = placement;
                rule.path_prefix = prefix.to_owned();
            }
            let url = ("base-url".to_owned(), "http://127.0.0.1:1/relay".to_owned());
            of(&descriptor, &BTreeMap::from([url]))
        };
        let rules = with(Placement::PathSegment, "/bot{{bot-token}}/").unwrap();
        let used = rules[0].credential.as_ref().unwrap();
        assert_eq!(used.placement, rule::Placement::Path);
        let allows = |rule: &Rule, url: &str| {
            let uri: Uri = url.parse().unwrap();
            rule.allows(&crate::egress::rule::Target::of(&uri).unwrap())
        };
        assert!(allows(
            &rules[0],
            "https://example.com/bot{{bot-token}}/getMe"
        ));
        assert!(allows(
            &rules[2],
            "http://127.0.0.1:1/relay/bot{{bot-token}}/getMe"
        ));
        assert!(!allows(
            &rules[1],
            "http://127.0.0.1:1/relay/bot{{bot-token}}/getMe"
        ));
        for (placement, prefix, expected) in [
            (Placement::PathSegment, "/bot/", "does not say where"),
            (
                Placement::PathSegment,
                "/bot{{other}}/",
                "does not say where",
            ),
            (
                Placement::PathSegment,
                "/{{bot-token}}/{{bot-token}}",
                "more than one",
            ),
            (Placement::PathSegment, "/{{bot-token}}/..", "dot segments"),
            (
                Placement::Query,
                "/bot{{bot-token}}/",
                "no credential that goes into the path",
            ),
        ] {
            let error = with(placement, prefix).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_a_login_may_set_is_no_origin() {
        for key in LOGIN_SETTINGS {
            let mut descriptor = descriptor(&[]);
            descriptor.origins.push(key.to_owned());
            let error = of(&descriptor, &BTreeMap::new()).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_what_is_configured() {
        for url in [
            "http://h/s3cret/../x",
            "http://h/s3cret/%2e%2e/x",
            "http://h/s3cret/{{bot-token}}",
            "ftp://h/s3cret",
            "http://u:s3cret@h/",
            "s3cret",
        ] {
            let config = BTreeMap::from([("base-url".to_owned(), url.to_owned())]);
            let error = of(&descriptor(&[]), &config).unwrap_err();
            assert!(error.contains("base-url"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn captures_that_could_not_apply_are_refused() {
        for (capture, expected) in [
            (("/bot/status", "/token", "other"), "`other`"),
            (("/bot/status", "token", "bot-token"), "JSON pointer"),
            (("bot", "/token", "bot-token"), "path prefix"),
        ] {
            let error = of(&descriptor(&[capture]), &BTreeMap::new()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
