//! The environment of an agent's process: that of the gateway, without the gateway's secrets.
//!
//! Promises: the process gets no secret of a platform, of the operator's API, of the simulated server or
//! of the store, neither under its usual name nor under another one. If the operator names a variable,
//! the operator's word decides. The variables of proxies pass, because agents need the network, too.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use tokio::process::Command;

use crate::bindings::exports::gateway::channel::meta::Descriptor;
use crate::egress::credential::Secret;

/// The variables that hold secrets of ours, whatever components there are.
pub const SECRETS: [&str; 6] = [
    "HOST_ADMIN_TOKEN",
    "WECOM_ENCODING_AES_KEY",
    "WECOM_SECRET",
    "WECOM_TOKEN",
    "WEIXIN_SIM_TOKEN",
    "WEIXIN_TOKEN",
];
/// A shorter value would be found in unrelated variables.
const SHORTEST_VALUE: usize = 8;

/// Which variables are withheld from an agent's process. The default withholds [`SECRETS`].
#[derive(Debug, Clone)]
pub struct Environment {
    withheld: BTreeSet<String>,
    /// Variables that hold one of these are withheld, whatever they are called.
    values: Vec<Secret>,
    /// What the operator says; true: it passes.
    said: BTreeMap<OsString, bool>,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            withheld: SECRETS.map(str::to_owned).into(),
            values: Vec::new(),
            said: BTreeMap::new(),
        }
    }
}

impl Environment {
    /// Withholds a variable.
    pub fn withhold(&mut self, name: &str) {
        self.withheld.insert(name.to_owned());
    }

    /// Withholds every variable that holds this secret; one of less than eight bytes is none.
    pub fn withhold_value(&mut self, secret: &str) {
        if secret.len() >= SHORTEST_VALUE {
            self.values.push(Secret::new(secret));
        }
    }

    /// Withholds the secrets of a component's platform, by the names that variables of ours have: the
    /// settings that its schema calls `writeOnly`, and its credentials.
    pub fn withhold_secrets_of(&mut self, component: &Descriptor) {
        let used = component
            .egress
            .iter()
            .filter_map(|rule| rule.credential.as_ref());
        let captured = component.captures.iter().map(|capture| &capture.credential);
        let credentials = used.map(|used| &used.name).chain(captured).cloned();
        let names: Vec<String> = credentials
            .chain(write_only(&component.config_schema))
            .collect();
        for name in names {
            self.withhold(&variable(&component.platform, &name));
        }
    }

    /// Passes a variable, although it would be withheld, or withholds it: what is said last counts.
    pub fn say(&mut self, name: &OsStr, passes: bool) {
        self.said.insert(name.to_owned(), passes);
    }

    /// Removes the withheld variables from the environment of a command, which inherits ours.
    pub(super) fn apply(&self, command: &mut Command) {
        for (name, value) in std::env::vars_os() {
            if !self.passes(&name, &value) {
                command.env_remove(name);
            }
        }
    }

    fn passes(&self, name: &OsStr, value: &OsStr) -> bool {
        if let Some(passes) = self.said.get(name) {
            return *passes;
        }
        let is_withheld = name
            .to_str()
            .is_some_and(|name| self.withheld.contains(name));
        let value = value.as_bytes();
        let holds = |secret: &Secret| {
            let secret = secret.expose().as_bytes();
            value.windows(secret.len()).any(|part| part == secret)
        };
        !is_withheld && !self.values.iter().any(holds)
    }
}

/// The name that a variable of ours has for a setting of a platform.
fn variable(platform: &str, key: &str) -> String {
    format!("{platform}_{key}")
        .to_ascii_uppercase()
        .replace('-', "_")
}

/// The secret settings of a schema; none where it can't be read, for a component may say anything.
fn write_only(schema: &str) -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    let settings = schema
        .get("properties")
        .and_then(serde_json::Value::as_object);
    let is_secret = |(_, about): &(&String, &serde_json::Value)| about["writeOnly"] == true;
    settings
        .into_iter()
        .flatten()
        .filter(is_secret)
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::exports::gateway::channel::meta;

    fn passes(environment: &Environment, name: &str, value: &str) -> bool {
        environment.passes(OsStr::new(name), OsStr::new(value))
    }

    #[test]
    fn our_secrets_are_withheld_and_what_agents_need_passes() {
        let mut environment = Environment::default();
        for name in SECRETS {
            assert!(!passes(&environment, name, "x"), "{name}");
        }
        for name in [
            "PATH",
            "HTTPS_PROXY",
            "http_proxy",
            "OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            "REDIS_URL",
            "WEIXIN_ACCOUNT_ID",
            "WECOM_CORP_ID",
            "RUST_LOG",
        ] {
            assert!(passes(&environment, name, "http://u:p@proxy:1"), "{name}");
        }
        environment.withhold("OPENAI_API_KEY");
        assert!(!passes(&environment, "OPENAI_API_KEY", "x"));
        environment.say(OsStr::new("OPENAI_API_KEY"), true);
        environment.say(OsStr::new("WEIXIN_TOKEN"), true);
        environment.say(OsStr::new("HTTPS_PROXY"), false);
        assert!(passes(&environment, "OPENAI_API_KEY", "x"));
        assert!(passes(&environment, "WEIXIN_TOKEN", "x"));
        assert!(!passes(&environment, "HTTPS_PROXY", "x"));
    }

    #[test]
    fn a_secret_is_withheld_under_every_name() {
        let mut environment = Environment::default();
        environment.withhold_value("s3cret-token");
        environment.withhold_value("short");
        for (value, expect) in [
            ("s3cret-token", false),
            ("redis://:s3cret-token@db/0", false),
            ("export WEIXIN_TOKEN=s3cret-token;", false),
            ("s3cret", true),
            ("short", true),
            ("", true),
        ] {
            assert_eq!(passes(&environment, "ANY", value), expect, "{value}");
        }
        assert!(!format!("{environment:?}").contains("s3cret"));
        environment.say(OsStr::new("ANY"), true);
        assert!(passes(&environment, "ANY", "s3cret-token"));
    }

    fn component(platform: &str, credential: &str, schema: &str) -> Descriptor {
        Descriptor {
            platform: platform.to_owned(),
            version: String::new(),
            text_limit: 1,
            media: Vec::new(),
            typing_refresh: None,
            reply_window: None,
            state_version: 1,
            state_reads_from: 1,
            egress: vec![meta::Egress {
                scheme: "https".to_owned(),
                host: "example.com".to_owned(),
                port: None,
                path_prefix: String::new(),
                credential: Some(meta::CredentialUse {
                    name: credential.to_owned(),
                    placement: meta::Placement::Header,
                }),
            }],
            captures: Vec::new(),
            origins: Vec::new(),
            config_schema: schema.to_owned(),
        }
    }

    #[test]
    fn a_component_s_secrets_are_withheld_by_what_it_says_of_them() {
        let mut environment = Environment::default();
        let schema = r#"{"properties": {
            "signing-secret": {"type": "string", "writeOnly": true},
            "base-url": {"type": "string", "writeOnly": false},
            "text-limit": {"type": "string"}
        }}"#;
        environment.withhold_secrets_of(&component("chat-app", "bot-token", schema));
        for schema in [
            "",
            "[]",
            "{\"properties\": 5}",
            "{\"properties\": {\"a\": 5}}",
        ] {
            environment.withhold_secrets_of(&component("other", "key", schema));
        }
        for (name, expect) in [
            ("CHAT_APP_SIGNING_SECRET", false),
            ("CHAT_APP_BOT_TOKEN", false),
            ("OTHER_KEY", false),
            ("CHAT_APP_BASE_URL", true),
            ("CHAT_APP_TEXT_LIMIT", true),
            ("OTHER_A", true),
        ] {
            assert_eq!(passes(&environment, name, "x"), expect, "{name}");
        }
    }

    #[test]
    fn what_our_components_call_secret_is_on_the_list() {
        for (platform, schema) in [
            (
                "weixin",
                include_str!("../../../../src/weixin/config.schema.json"),
            ),
            (
                "wecom",
                include_str!("../../../../src/wecom/config.schema.json"),
            ),
        ] {
            for name in write_only(schema) {
                let variable = variable(platform, &name);
                assert!(SECRETS.contains(&&*variable), "{variable}");
            }
        }
    }
}
