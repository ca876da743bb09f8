//! WeCom (企业微信): what only an app of a corp needs, whose messages come as callbacks.
//!
//! In reading order: [`callback`] opens what the platform posts and [`inbound`] makes events of it;
//! [`api`] has the requests and the reading of their answers, each endpoint a pair of functions;
//! [`reply`] answers a callback at once, where [`passive`] says that it may. Values in, values out:
//! time, randomness and all I/O are the caller's. Facts are those of the platform's public documentation.

pub mod access;
pub mod api;
pub mod callback;
pub mod crypto;
pub mod errcode;
pub mod inbound;
pub mod markdown;
pub mod media;
pub mod media_cipher;
pub mod options;
pub mod passive;
pub mod query;
pub mod reply;
pub mod wire;
pub mod xml;

#[cfg(target_family = "wasm")]
#[rustfmt::skip]
#[path = "../../weixin/src/cipher.rs"]
mod cipher;
#[cfg(target_family = "wasm")]
#[path = "../../channel/src/component/mod.rs"]
mod component;

use gateway_channel_sdk::settings::Dialect;

/// Where the API is unless the operator says otherwise.
pub const DEFAULT_BASE_URL: &str = "https://qyapi.weixin.qq.com";
/// Longest text of one message in bytes; the platform cuts a longer one off.
pub const MAX_TEXT_BYTES: usize = 2048;
/// What its messages may hold. Plain text goes as `text`, and native text as `markdown`, which the
/// clients of WeCom show and those of WeChat do not.
pub const DIALECT: Dialect = Dialect {
    max_text_bytes: MAX_TEXT_BYTES,
    plain: gateway_channel_sdk::markdown::plain,
    native: markdown::native,
};
/// Name of the app's secret, which the host puts into the query of `gettoken`.
pub const SECRET_CREDENTIAL: &str = "corp-secret";
/// Name of the access token, which the host takes out of the answer of `gettoken` and puts into the
/// query of all other requests.
pub const TOKEN_CREDENTIAL: &str = "access-token";
