//! Origins that the operator pins for a platform: its components reach no others, whatever their
//! descriptors ask for.
//!
//! An origin that the operator configured, such as `base-url`, stays allowed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::error::RuleError;
use super::rule::Rule;
use super::target::{Target, split_port};

/// The pinned origins by platform. Clones share them, and a change holds for every request that
/// begins after it.
#[derive(Clone, Default)]
pub struct Pins {
    shared: Arc<RwLock<BTreeMap<String, Vec<Rule>>>>,
}

debug_by_name!(Pins);

impl Pins {
    /// Pins these origins and forgets all earlier pins. An origin is `https://host[:port]`, and a host
    /// may begin with `*.`. A platform that is not named is not pinned. A platform with an empty list
    /// reaches only the origins that the operator configured.
    ///
    /// # Errors
    /// One sentence that names the string that is no origin. Nothing has changed then.
    pub fn set(&self, origins: &BTreeMap<String, Vec<String>>) -> Result<(), RuleError> {
        let mut pinned = BTreeMap::new();
        for (platform, origins) in origins {
            let rules: Result<Vec<Rule>, RuleError> =
                origins.iter().map(|origin| rule(origin)).collect();
            pinned.insert(platform.clone(), rules?);
        }
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = pinned;
        Ok(())
    }

    /// Whether the pins let a component of this platform reach this place.
    pub(super) fn allow(&self, platform: &str, target: &Target<'_>) -> bool {
        let pinned = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let rules = pinned.get(platform);
        rules.is_none_or(|rules| rules.iter().any(|rule| rule.allows(target)))
    }
}

/// The rule of a pinned origin.
///
/// # Errors
/// One sentence.
pub fn rule(origin: &str) -> Result<Rule, RuleError> {
    let wrong = |why: &str| {
        RuleError(format!(
            "origin {origin:?}: {why}: write https://host[:port] or https://*.host"
        ))
    };
    let authority = origin
        .strip_prefix("https://")
        .ok_or_else(|| wrong("it does not begin with https://"))?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(wrong("it has more than a host and a port"));
    }
    let (host, port) = split_port(authority).map_err(wrong)?;
    Rule::new("https", host, port, "").map_err(|error| wrong(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pins: &Pins, platform: &str, url: &str) -> bool {
        let uri = url.parse().unwrap();
        pins.allow(platform, &Target::of(&uri).unwrap())
    }

    #[test]
    fn a_pinned_platform_reaches_what_is_pinned_alone() {
        let pins = Pins::default();
        let shared = pins.clone();
        assert!(allowed(&pins, "weixin", "https://anywhere.example/"));
        let origins = ["https://a.example", "https://*.b.example:8443/"];
        let origins = origins.map(str::to_owned).to_vec();
        let of = |platform: &str, origins| BTreeMap::from([(platform.to_owned(), origins)]);
        shared.set(&of("weixin", origins)).unwrap();
        for (url, is_allowed) in [
            ("https://a.example/x", true),
            ("https://A.example:443/", true),
            ("https://x.y.b.example:8443/", true),
            ("https://b.example:8443/", false),
            ("https://x.b.example/", false),
            ("https://xa.example/", false),
            ("https://x.a.example/", false),
            ("https://a.example:444/", false),
            ("http://a.example/", false),
        ] {
            assert_eq!(allowed(&pins, "weixin", url), is_allowed, "{url}");
            assert!(
                allowed(&pins, "wecom", url),
                "another platform is not pinned"
            );
        }
        assert!(pins.set(&of("wecom", vec!["a".to_owned()])).is_err());
        assert!(!allowed(&pins, "weixin", "https://c.example/"));
        pins.set(&of("weixin", Vec::new())).unwrap();
        assert!(!allowed(&pins, "weixin", "https://a.example/"));
        pins.set(&BTreeMap::new()).unwrap();
        assert!(allowed(&pins, "weixin", "https://c.example/"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for origin in [
            "",
            "a.example",
            "http://a.example",
            "https://",
            "https://*",
            "https://*.com",
            "https://a.example/path",
            "https://u@a.example",
            "https://a.example?x",
            "https://a.example:0",
            "https://a.example:x",
            "https://127.1",
        ] {
            let error = rule(origin).unwrap_err().to_string();
            assert!(error.contains("https://host[:port]"), "{error}");
        }
    }
}
