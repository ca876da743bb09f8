//! A component that does its host harm: which, the configuration says.
//!
//! `attack` is a word of `attacks::perform`, `at` the call that does it (`receive` without it). What a
//! limit of the host refuses becomes a panic with the host's words, so that tests read them where an
//! operator would. Everything else of the world is there and does nothing.

#[cfg(target_family = "wasm")]
mod attacks;
#[cfg(target_family = "wasm")]
mod guest;
