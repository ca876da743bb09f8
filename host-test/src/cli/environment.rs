//! The environment's variables: how they are read, those that are of no platform, and names that are
//! nearly right.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{UsageError, value, wecom, weixin};
use gateway_host::admin::Token;
use gateway_host::agent::{self, AgentSpec, openai};

/// Two names that are at least as similar as this are one name and its misspelling.
const SIMILAR: f64 = 0.7;

/// Finds a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What exec agents get of the environment. `said` are the values of `--agent-env`.
///
/// # Errors
/// One line, when one of them names no variable.
pub fn of_agents(
    lookup: Lookup<'_>,
    agent: &AgentSpec,
    said: &[OsString],
) -> Result<agent::environment::Environment, UsageError> {
    let mut environment = agent::environment::Environment::default();
    // Others' own tools need the key; here it is the gateway's.
    let openai = matches!(agent, AgentSpec::OpenAi(_)).then_some("OPENAI_API_KEY");
    for name in agent::environment::SECRETS.into_iter().chain(openai) {
        environment.withhold(name);
        if let Some(value) = set(lookup, name)? {
            environment.withhold_value(&value);
        }
    }
    for name in said {
        let bytes = name.as_bytes();
        let (bytes, passes) = match bytes.strip_prefix(b"-") {
            Some(bytes) => (bytes, false),
            None => (bytes, true),
        };
        if bytes.is_empty() || bytes.iter().any(|byte| b"=\0".contains(byte)) {
            return Err(UsageError(
                "--agent-env names no variable: write --agent-env NAME to pass it, or \
                 --agent-env -NAME to withhold it"
                    .to_owned(),
            ));
        }
        environment.say(OsStr::from_bytes(bytes), passes);
    }
    Ok(environment)
}

/// The token of the operator's API.
///
/// # Errors
/// One line, when there is none.
pub fn admin_token(lookup: Lookup<'_>) -> Result<Token, UsageError> {
    let token = token(lookup, "HOST_ADMIN_TOKEN")?;
    token.as_deref().and_then(Token::new).ok_or_else(|| {
        UsageError(
            "HOST_ADMIN_TOKEN is missing: --admin serves nothing without it, so set it to a long \
             random text"
                .to_owned(),
        )
    })
}

/// The token of a simulator's control paths; none: one is drawn.
///
/// # Errors
/// One line, when no header can carry it.
pub fn simulator_token(lookup: Lookup<'_>) -> Result<Option<String>, UsageError> {
    let token = set(lookup, "WEIXIN_SIM_TOKEN")?;
    match token {
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => Err(UsageError(
            "WEIXIN_SIM_TOKEN holds characters that no header can carry: use letters and digits"
                .to_owned(),
        )),
        token => Ok(token),
    }
}

/// What an openai agent needs.
///
/// # Errors
/// One line that names the variable.
pub fn openai(
    lookup: Lookup<'_>,
    system_prompt: Option<String>,
) -> Result<openai::Settings, UsageError> {
    let model = set(lookup, "OPENAI_MODEL")?.ok_or_else(|| {
        UsageError(
            "OPENAI_MODEL is missing: set it to the name of a model that the server of --agent \
             openai: has"
                .to_owned(),
        )
    })?;
    let key = token(lookup, "OPENAI_API_KEY")?;
    let key = key.map(|key| {
        openai::Key::new(&key).ok_or_else(|| {
            UsageError(
                "OPENAI_API_KEY holds characters that no header can carry: set it to the key alone"
                    .to_owned(),
            )
        })
    });
    Ok(openai::Settings {
        model,
        key: key.transpose()?,
        system_prompt,
    })
}

pub(super) fn text(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let Some(text) = lookup(name) else {
        return Ok(None);
    };
    let text = text
        .into_string()
        .map_err(|_| UsageError(format!("{name} is no UTF-8 text")))?;
    value::check(name, text.trim()).map_err(|why| UsageError(format!("{name} {why}")))?;
    Ok(Some(text))
}

/// A variable's value without blanks around it; none when nothing is left.
pub(super) fn set(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let value = text(lookup, name)?.map(|value| value.trim().to_owned());
    Ok(value.filter(|value| !value.is_empty()))
}

/// The same for a token.
pub(super) fn token(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let token = set(lookup, name)?;
    if let Some(token) = &token {
        value::check_token(token).map_err(|why| UsageError(format!("{name} {why}")))?;
    }
    Ok(token)
}

/// The variables of platforms: those of accounts, and the simulator's.
pub(super) fn of_platforms() -> Vec<String> {
    let named = weixin::IDENTITY.into_iter().chain(["WEIXIN_SIM_TOKEN"]);
    let mut names: Vec<String> = named.map(str::to_owned).collect();
    names.extend(wecom::identity().map(|key| wecom::SETTINGS.variable(key)));
    for settings in [weixin::SETTINGS, wecom::SETTINGS] {
        names.extend(settings.keys.iter().map(|(key, _)| settings.variable(key)));
    }
    names
}

/// Of the names of variables that are set, a line for each that begins like ours and is none of them:
/// it has no effect, and its person thinks that it has.
pub fn unknown(set: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let known = of_platforms();
    let prefixes = [weixin::SETTINGS.prefix, wecom::SETTINGS.prefix];
    let set = set.into_iter().filter_map(|name| name.into_string().ok());
    let is_ours = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let unknown = set.filter(|name| is_ours(name) && !known.contains(name));
    unknown
        .map(|name| {
            let similarity = |other: &String| strsim::normalized_damerau_levenshtein(&name, other);
            let similar = known
                .iter()
                .map(|other| (similarity(other), other))
                .filter(|(similarity, _)| *similarity >= SIMILAR)
                .max_by(|(one, _), (other, _)| one.total_cmp(other));
            match similar {
                Some((_, meant)) => format!(
                    "the variable {name} is unknown and has no effect: {meant} may be meant"
                ),
                None => format!("the variable {name} is unknown and has no effect"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_variable_is_told_with_the_one_that_is_meant() {
        for (name, meant) in [
            ("WEIXIN_ALOWED_USERS", Some("WEIXIN_ALLOWED_USERS")),
            ("WEIXIN_DM_POLCIY", Some("WEIXIN_DM_POLICY")),
            ("WEIXIN_ACCOUNT", Some("WEIXIN_ACCOUNT_ID")),
            ("WECOM_CORPID", Some("WECOM_CORP_ID")),
            ("WEIXIN_CORP_ID", Some("WECOM_CORP_ID")),
            ("WECOM_AES_KEY", None),
            ("WEIXIN_SECRET_OF_A_TOOL", None),
        ] {
            let lines = unknown([name.into()]);
            let [line] = lines.as_slice() else {
                panic!("{name}: {lines:?}");
            };
            assert!(line.contains(&format!("variable {name} is")), "{line}");
            match meant {
                Some(meant) => assert!(line.ends_with(&format!("{meant} may be meant")), "{line}"),
                None => assert!(line.ends_with("has no effect"), "{line}"),
            }
        }
    }

    #[test]
    fn variables_that_are_ours_or_others_are_not_told() {
        let ours = of_platforms().into_iter().map(OsString::from);
        let others = ["HOST_ADMIN_TOKE", "WEIXI_TOKEN", "PATH"].map(OsString::from);
        assert_eq!(unknown(ours.chain(others)), [""; 0]);
    }
}
