//! Tencent's iLink Bot API: what only WeChat needs.
//!
//! Each endpoint is a pair of functions, a request and the reading of its answer. The wire's spelling
//! is in [`wire`] alone. Facts are those of the official client 2.4.9 (npm
//! `@tencent-weixin/openclaw-weixin`).

pub mod api;
pub mod bot_agent;
pub mod cipher;
pub mod inbound;
pub mod login;
pub mod markdown;
pub mod media;
pub mod media_key;
pub mod place;
pub mod quote;
pub mod typing;
pub mod wire;

#[cfg(target_family = "wasm")]
#[path = "../../channel/src/component/mod.rs"]
mod component;

use gateway_channel_sdk::error::Error;
use gateway_channel_sdk::settings::{Dialect, Lookup, invalid};

/// The version of the official client that this one speaks like.
pub const CLIENT_VERSION: &str = "2.4.9";
/// Where the API is unless the operator or a login says otherwise.
pub const DEFAULT_BASE_URL: &str = "https://ilinkai.weixin.qq.com";
/// The configuration key for where the API is by what a login said; the operator's word wins.
pub const LOGIN_BASE_URL: &str = "login-base-url";
/// Where media are unless the operator says otherwise.
pub const DEFAULT_CDN_BASE_URL: &str = "https://novac2c.cdn.weixin.qq.com/c2c";
/// Longest text of one message in bytes; the server refuses more than 16,384.
pub const MAX_TEXT_BYTES: usize = 16_000;
/// What its messages may hold.
pub const DIALECT: Dialect = Dialect {
    max_text_bytes: MAX_TEXT_BYTES,
    plain: markdown::plain,
    native: markdown::native,
};
/// What the host replaces by the bot's token.
pub const TOKEN_PLACEHOLDER: &str = "{{bot-token}}";
/// Name of that credential.
pub const TOKEN_CREDENTIAL: &str = "bot-token";

/// What an operator may set for WeChat alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Origin of the API, and a path if it has one; ends with `/`.
    pub base_url: String,
    /// The same for logins: what the operator says, or the platform's own.
    pub qr_base_url: String,
    /// Where media are: an origin and a path; ends with `/`.
    pub cdn_base_url: String,
    /// Self-declared user agent, in the grammar of [`bot_agent`].
    pub bot_agent: String,
}

impl Options {
    /// Reads the options.
    ///
    /// # Errors
    /// `invalid`, with the key, what was wrong and what would be right.
    pub fn read(lookup: Lookup<'_>) -> Result<Options, Error> {
        Ok(Options {
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
