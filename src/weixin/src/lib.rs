//! The WeChat channel: Tencent's iLink Bot API as a platform of the SDK.
//!
//! Each endpoint is a pair of functions, a request and the reading of its answer. The wire's spelling
//! is in [`wire`] alone. Facts are those of the official client 2.4.9 (npm
//! `@tencent-weixin/openclaw-weixin`).

pub mod api;
pub mod bot_agent;
pub mod cipher;
mod config;
mod descriptor;
pub mod inbound;
pub mod login;
pub mod markdown;
pub mod media;
pub mod media_key;
mod platform;
pub mod quote;
mod transfer;
pub mod typing;
pub mod url_policy;
pub mod wire;

pub use config::WeixinConfig;
pub use platform::Weixin;

gateway_channel_sdk::export!(Weixin: media, login);

/// The version of the official client that this one speaks like.
pub const CLIENT_VERSION: &str = "2.4.9";
/// Base URL of the API, unless the operator or a login names another.
pub const DEFAULT_BASE_URL: &str = "https://ilinkai.weixin.qq.com";
/// Configuration key of the base URL that a login named. The operator's own setting wins.
pub const LOGIN_BASE_URL: &str = "login-base-url";
/// Base URL of media, unless the operator names another.
pub const DEFAULT_CDN_BASE_URL: &str = "https://novac2c.cdn.weixin.qq.com/c2c";
/// Longest text of one message in bytes; the server refuses more than 16,384.
pub const MAX_TEXT_BYTES: usize = 16_000;
/// What the host replaces by the bot's token.
pub const TOKEN_PLACEHOLDER: &str = "{{bot-token}}";
/// Name of that credential.
pub const TOKEN_CREDENTIAL: &str = "bot-token";
