//! WeCom (企业微信): what only an app of a corp needs, whose messages come as callbacks.

pub mod crypto;
pub mod media_cipher;
