//! What an operator may set for WeChat alone.

use gateway_channel_sdk::error::Error;
use gateway_channel_sdk::settings::{Lookup, invalid};

use crate::{DEFAULT_BASE_URL, DEFAULT_CDN_BASE_URL, LOGIN_BASE_URL, bot_agent};

/// What an operator may set for WeChat alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeixinConfig {
    /// Origin of the API, and a path if it has one; ends with `/`.
    pub base_url: String,
    /// The same for logins: what the operator says, or the platform's own.
    pub qr_base_url: String,
    /// Where media are: an origin and a path; ends with `/`.
    pub cdn_base_url: String,
    /// Self-declared user agent, in the grammar of [`bot_agent`].
    pub bot_agent: String,
}

impl WeixinConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `invalid`, with the key, what was wrong and what would be right.
    pub fn read(lookup: Lookup<'_>) -> Result<WeixinConfig, Error> {
        Ok(WeixinConfig {
            base_url: match lookup("base-url") {
                Some(_) => base(lookup, "base-url", DEFAULT_BASE_URL)?,
                // What the last login named.
                None => base(lookup, LOGIN_BASE_URL, DEFAULT_BASE_URL)?,
            },
            qr_base_url: base(lookup, "base-url", DEFAULT_BASE_URL)?,
            cdn_base_url: base(lookup, "cdn-base-url", DEFAULT_CDN_BASE_URL)?,
            bot_agent: bot_agent::sanitize(&lookup("bot-agent").unwrap_or_default()),
        })
    }
}

fn base(lookup: Lookup<'_>, key: &str, default: &str) -> Result<String, Error> {
    let mut url = lookup(key).unwrap_or_else(|| default.to_owned());
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(invalid(key, "is no http or https URL"));
    }
    if !url.ends_with('/') {
        url.push('/');
    }
    Ok(url)
}
