//! The WeChat channel as a WebAssembly component.
//!
//! Modules in reading order: [`channel`] is what every platform shares (values in, values out),
//! [`weixin`] is what only Tencent's iLink Bot API needs and [`wecom`] what only WeCom needs,
//! `component` (WebAssembly only) connects them to the world of `wit/`. None of the others has a
//! clock, randomness or I/O of its own.

#![warn(missing_docs)]
// A panic is a bug: no input may cause one.
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::allow_attributes_without_reason
)]

pub mod channel;
pub mod http;
pub mod json;
pub mod wecom;
pub mod weixin;

#[cfg(target_family = "wasm")]
mod component;
