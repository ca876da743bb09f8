//! Compares two components: does the new one send data or credentials elsewhere, or see more of them?

use crate::bindings::exports::gateway::channel::meta::{Capture, Descriptor, Egress, Keeping};
use crate::runtime::{capture_line, egress_line};

/// What the new description changes, in sentences. Empty if the new component reaches, gets and hides
/// the same as the old one.
pub(crate) fn of(new: &Descriptor, old: &Descriptor) -> Vec<String> {
    let mut changes = Vec::new();
    for rule in &new.egress {
        if !old.egress.iter().any(|before| covers(before, rule)) {
            changes.push(format!("it reaches {}", egress_line(rule)));
        }
    }
    for key in &new.origins {
        if !old.origins.contains(key) {
            changes.push(format!(
                "it takes the configuration key {key} for an origin"
            ));
        }
    }
    // A capture applies if a rule carries its credential: a rule without it would show the value.
    for before in &old.egress {
        let Some(credential) = &before.credential else {
            continue;
        };
        let carries = |after: &&Egress| {
            let carried = after.credential.as_ref();
            carried.is_some_and(|carried| carried.name == credential.name) && is_host(after, before)
        };
        let reaches = |after: &&Egress| is_host(after, before) || is_host(before, after);
        if new.egress.iter().any(|after| reaches(&after))
            && !new.egress.iter().any(|after| carries(&after))
        {
            changes.push(format!(
                "it reaches without its credential {}",
                egress_line(before)
            ));
        }
    }
    for capture in &new.captures {
        if !old.captures.iter().any(|before| is_same(before, capture)) {
            changes.push(format!("it has the host take {}", capture_line(capture)));
        }
    }
    for capture in &old.captures {
        if !new.captures.iter().any(|after| is_same(capture, after)) {
            changes.push(format!("it gets to see {}", capture_line(capture)));
        }
    }
    changes
}

/// Whether an old rule allows all that a new one does, and sends it the same credential.
fn covers(old: &Egress, new: &Egress) -> bool {
    let is_used = match (&old.credential, &new.credential) {
        (_, None) => true,
        (Some(old), Some(new)) => old.name == new.name && old.placement == new.placement,
        (None, Some(_)) => false,
    };
    let prefix = old.path_prefix.trim_end_matches('/');
    let is_path = new
        .path_prefix
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_host(old, new) && is_path && is_used
}

/// Whether the hosts of a rule are among those of an old one.
fn is_host(old: &Egress, new: &Egress) -> bool {
    let old_host = old.host.to_ascii_lowercase();
    let new_host = new.host.to_ascii_lowercase();
    let is_name = old_host == new_host
        || old_host.strip_prefix('*').is_some_and(|suffix| {
            let name = new_host.strip_prefix("*.").unwrap_or(&new_host);
            name.ends_with(suffix)
        });
    old.scheme == new.scheme && old.port == new.port && is_name
}

fn is_same(one: &Capture, other: &Capture) -> bool {
    let is_aside = |capture: &Capture| capture.keep == Keeping::Aside;
    one.path_prefix == other.path_prefix
        && one.json_pointer == other.json_pointer
        && one.credential == other.credential
        && is_aside(one) == is_aside(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::exports::gateway::channel::meta::{CredentialUse, Placement};

    fn rule(host: &str, path: &str, credential: Option<(&str, Placement)>) -> Egress {
        Egress {
            scheme: "https".to_owned(),
            host: host.to_owned(),
            port: None,
            path_prefix: path.to_owned(),
            credential: credential.map(|(name, placement)| CredentialUse {
                name: name.to_owned(),
                placement,
            }),
        }
    }

    fn descriptor() -> Descriptor {
        Descriptor {
            platform: "weixin".to_owned(),
            version: "1".to_owned(),
            text_limit: 1,
            media: Vec::new(),
            typing_refresh: None,
            reply_window: None,
            egress: vec![
                rule("*.example.com", "/bot/", Some(("token", Placement::Header))),
                rule("{base-url}", "/bot/", Some(("token", Placement::Header))),
                rule("media.example.com", "/", None),
            ],
            origins: vec!["base-url".to_owned()],
            captures: vec![Capture {
                path_prefix: "/bot/login".to_owned(),
                json_pointer: "/token".to_owned(),
                credential: "token".to_owned(),
                keep: Keeping::Aside,
            }],
            config_schema: String::new(),
            state_version: 1,
            state_reads_from: 1,
        }
    }

    type Change = fn(&mut Descriptor);

    #[test]
    fn what_is_no_wider_is_no_change() {
        let narrower: [Change; 6] = [
            |_| {},
            |about| about.version = "2".to_owned(),
            |about| about.egress.reverse(),
            |about| about.egress.truncate(1),
            |about| {
                let header = Some(("token", Placement::Header));
                about.egress.push(rule("api.example.com", "/bot/x", header));
                about.egress.push(rule("*.api.example.com", "/bot", None));
            },
            |about| about.origins.clear(),
        ];
        for change in narrower {
            let mut new = descriptor();
            change(&mut new);
            assert_eq!(of(&new, &descriptor()), Vec::<String>::new());
        }
    }

    #[test]
    fn a_place_that_is_reached_without_its_credential_shows_what_was_hidden_there() {
        let mut new = descriptor();
        new.egress[0].credential = None;
        let told = of(&new, &descriptor());
        assert!(
            told[0].contains("it reaches without its credential"),
            "{told:?}"
        );
        // Also where another rule reaches a part of it alone.
        new.egress[0].host = "api.example.com".to_owned();
        assert_eq!(of(&new, &descriptor()).len(), 1);
    }

    #[test]
    fn what_is_wider_or_other_is_told() {
        let cases: [(Change, &str); 13] = [
            (
                |about| about.egress.push(rule("evil.example", "/", None)),
                "it reaches https://evil.example/*",
            ),
            (
                |about| about.egress.push(rule("example.com", "/bot/", None)),
                "it reaches https://example.com/bot/*",
            ),
            (
                |about| about.egress.push(rule("xexample.com", "/bot/", None)),
                "it reaches",
            ),
            (
                |about| about.egress.push(rule("*.com", "/bot/", None)),
                "it reaches",
            ),
            (
                |about| about.egress[0].path_prefix = "/".to_owned(),
                "it reaches https://*.example.com/* with token in a header",
            ),
            (
                |about| about.egress[0].path_prefix = "/bots".to_owned(),
                "it reaches",
            ),
            (|about| about.egress[0].port = Some(8443), "it reaches"),
            (
                |about| about.egress[2].credential = about.egress[0].credential.clone(),
                "it reaches https://media.example.com/* with token in a header",
            ),
            (
                |about| {
                    about.egress[0].credential.as_mut().unwrap().placement = Placement::Query;
                },
                "with token in the query",
            ),
            (
                |about| about.origins.push("cdn-base-url".to_owned()),
                "takes the configuration key cdn-base-url for an origin",
            ),
            (|about| about.captures.clear(), "it gets to see token"),
            (
                |about| about.captures[0].keep = Keeping::InUse,
                "it has the host take token",
            ),
            (
                |about| about.captures[0].json_pointer = "/other".to_owned(),
                "it gets to see token",
            ),
        ];
        for (change, expected) in cases {
            let mut new = descriptor();
            change(&mut new);
            let changes = of(&new, &descriptor());
            assert!(
                changes.iter().any(|change| change.contains(expected)),
                "{expected}: {changes:?}"
            );
        }
    }
}
