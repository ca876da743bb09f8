//! What an operator may set for WeCom, read once and checked at once.
//!
//! The secret of the app is none of it: the host holds it, as [`super::SECRET_CREDENTIAL`]. The token
//! and the key of the callbacks have to be inside, because callbacks are opened inside.

use super::DEFAULT_BASE_URL;
use super::crypto::{Key, Seal};
use gateway_channel_sdk::error::Error;
use gateway_channel_sdk::settings::{Lookup, flag, invalid};

/// What an operator may set for WeCom alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WecomConfig {
    /// Origin of the API, and a path if a proxy has one; ends with `/`.
    pub base_url: String,
    /// The corp's id, such as `ww1234567890abcdef`.
    pub corp_id: String,
    /// The app's id within the corp, such as 1000002.
    pub agent_id: u64,
    /// Opens callbacks.
    pub seal: Seal,
    /// Whether an answer may go out in its callback's own exchange.
    pub passive_reply: bool,
}

impl WecomConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `invalid`, with the key, what was wrong and what would be right; never with a secret value.
    pub fn read(lookup: Lookup<'_>) -> Result<WecomConfig, Error> {
        let corp_id = text(
            lookup,
            "corp-id",
            "the id of the corp, such as ww1234567890abcdef",
        )?;
        let agent_id = text(lookup, "agent-id", "the id of the app, such as 1000002")?;
        let agent_id = agent_id
            .parse()
            .map_err(|_| invalid("agent-id", "is no number"))?;
        let where_from = "from the app's callback settings";
        let token = text(lookup, "token", &format!("the Token {where_from}"))?;
        let key = text(
            lookup,
            "encoding-aes-key",
            &format!("the EncodingAESKey {where_from}"),
        )?;
        let key = Key::parse(&key).ok_or_else(|| {
            let why =
                format!("is not the 43 letters and digits of the EncodingAESKey {where_from}");
            invalid("encoding-aes-key", &why)
        })?;
        Ok(WecomConfig {
            base_url: base_url(lookup)?,
            agent_id,
            seal: Seal {
                token,
                key,
                receive_id: corp_id.clone(),
            },
            passive_reply: flag(lookup, "passive-reply")?,
            corp_id,
        })
    }
}

fn text(lookup: Lookup<'_>, key: &str, what: &str) -> Result<String, Error> {
    lookup(key)
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .ok_or_else(|| invalid(key, &format!("is missing: set it to {what}")))
}

fn base_url(lookup: Lookup<'_>) -> Result<String, Error> {
    let key = "api-base-url";
    let url = lookup(key).unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
    let url = url.trim().trim_end_matches('/');
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .filter(|rest| !rest.is_empty())
        .ok_or_else(|| invalid(key, "is no http or https URL"))?;
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || rest.contains(['?', '#', '\\', '@']) {
        let why = "has more than scheme, host, port and path: leave the rest out";
        return Err(invalid(key, why));
    }
    if rest.ends_with("/cgi-bin") {
        return Err(invalid(key, "ends with `/cgi-bin`: leave that out"));
    }
    Ok(format!("{url}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const GOOD: [(&str, &str); 5] = [
        ("account-id", "ww1234567890abcdef/1000002"),
        ("corp-id", "ww1234567890abcdef"),
        ("agent-id", "1000002"),
        ("token", "testToken123"),
        ("encoding-aes-key", KEY),
    ];

    fn lookup(changed: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let entries: Vec<(String, String)> = changed
            .iter()
            .chain(&GOOD)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        move |key| {
            let entry = entries.iter().find(|(name, _)| name == key);
            entry.map(|(_, value)| value.clone())
        }
    }

    #[test]
    fn the_platform_is_the_default() {
        let config = WecomConfig::read(&lookup(&[])).unwrap();
        assert_eq!(config.base_url, "https://qyapi.weixin.qq.com/");
        assert_eq!(config.agent_id, 1_000_002);
        assert_eq!(config.seal.receive_id, "ww1234567890abcdef");
        assert!(!config.passive_reply);
        let chosen = WecomConfig::read(&lookup(&[("passive-reply", "on")])).unwrap();
        assert!(chosen.passive_reply);
        for (url, expect) in [
            ("http://proxy:8080", "http://proxy:8080/"),
            ("http://proxy:8080/", "http://proxy:8080/"),
            ("https://proxy/wecom", "https://proxy/wecom/"),
        ] {
            let proxied = WecomConfig::read(&lookup(&[("api-base-url", url)])).unwrap();
            assert_eq!(proxied.base_url, expect);
        }
    }

    #[test]
    fn a_wrong_value_is_named_without_its_secret() {
        for (key, value, expect) in [
            ("corp-id", " ", "corp-id is missing"),
            ("agent-id", "app", "agent-id is no number"),
            ("token", "", "token is missing"),
            ("encoding-aes-key", "SECRET", "is not the 43 letters"),
            ("api-base-url", "qyapi", "is no http or https URL"),
            ("api-base-url", "https://", "is no http or https URL"),
            ("api-base-url", "https://q/cgi-bin/", "leave that out"),
            ("api-base-url", "https://q?x", "leave the rest out"),
            ("api-base-url", "https://SECRET@q", "leave the rest out"),
            ("passive-reply", "yes", "neither `on` nor `off`"),
        ] {
            let error = WecomConfig::read(&lookup(&[(key, value)])).unwrap_err();
            assert!(error.message.contains(expect), "{error}");
            assert!(!error.message.contains("SECRET"));
        }
    }

    #[test]
    fn no_secret_is_shown_in_debug() {
        let shown = format!("{:?}", WecomConfig::read(&lookup(&[])).unwrap());
        assert!(
            !shown.contains("testToken123") && !shown.contains("AAEC"),
            "{shown}"
        );
        assert!(!shown.contains("31"), "{shown}");
    }
}
