//! The environment's variables that are of no platform.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::error::UsageError;
use super::lookup::{Lookup, set, token};
use gateway_host::admin::Token;
use gateway_host::agent::{self, AgentSpec, openai};
use gateway_host::egress::credential::Secret;

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
pub fn simulator_token(lookup: Lookup<'_>) -> Result<Option<Secret>, UsageError> {
    let token = set(lookup, "WEIXIN_SIM_TOKEN")?;
    match token {
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => Err(UsageError(
            "WEIXIN_SIM_TOKEN holds characters that no header can carry: use letters and digits"
                .to_owned(),
        )),
        token => Ok(token.as_deref().map(Secret::new)),
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
