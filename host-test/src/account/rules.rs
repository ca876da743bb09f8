//! From what a component declares to what its account may reach.

use std::collections::BTreeMap;

use crate::bindings::exports::gateway::channel::meta::{Descriptor, Placement};
use crate::egress::rule::{Credential, Rule};

/// The rules of an account; a rule whose host is a configuration key in braces holds for that key's
/// value, and is left out where the key is not set.
///
/// # Errors
/// One sentence that names the rule.
pub fn of(descriptor: &Descriptor, config: &BTreeMap<String, String>) -> Result<Vec<Rule>, String> {
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
                Some(url) => Rule::configured(url)
                    .map_err(|error| format!("configuration key {key}: {error}"))?,
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
            in_headers: used.placement == Placement::Header,
            in_json_body: used.placement == Placement::JsonBody,
        });
        rules.push(rule);
    }
    Ok(rules)
}
