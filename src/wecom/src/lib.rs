//! The WeCom channel: an app of a corp of 企业微信 as a platform of the SDK. Its messages come as
//! callbacks.
//!
//! In reading order: [`callback`] opens what the platform posts and [`inbound`] makes events of it;
//! [`api`] has the requests and the reading of their answers, each endpoint a pair of functions;
//! [`reply`] answers a callback at once, where [`passive`] says that it may. Values in, values out:
//! time, randomness and all I/O are the caller's. Facts are those of the platform's public documentation.

mod access;
pub mod api;
pub mod callback;
mod config;
pub mod crypto;
mod descriptor;
pub mod errcode;
mod exchange;
pub mod inbound;
pub mod markdown;
pub mod media;
pub mod media_cipher;
pub mod passive;
mod platform;
pub mod query;
pub mod reply;
mod token;
mod transfer;
mod webhook;
pub mod wire;
pub mod xml;

pub use config::WecomConfig;
pub use platform::Wecom;

gateway_channel_sdk::export_with_webhook!(Wecom: media, login);

/// Base URL of the API, unless the operator names another.
pub const DEFAULT_BASE_URL: &str = "https://qyapi.weixin.qq.com";
/// Longest text of one message in bytes; the platform cuts a longer one off.
pub const MAX_TEXT_BYTES: usize = 2048;
/// Name of the app's secret, which the host puts into the query of `gettoken`.
pub const SECRET_CREDENTIAL: &str = "corp-secret";
/// Name of the access token, which the host takes out of the answer of `gettoken` and puts into the
/// query of all other requests.
pub const TOKEN_CREDENTIAL: &str = "access-token";
