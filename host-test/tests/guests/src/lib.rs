//! A component that attacks its host. Its configuration selects the attack.
//!
//! `attack` is a word of `attacks::perform`. `at` is the call that performs it; the default is
//! `receive`. When a limit of the host refuses something, the component panics with the host's words,
//! so that tests read them where an operator would. All other exports do nothing.

#[cfg(target_family = "wasm")]
mod attacks;
#[cfg(target_family = "wasm")]
mod guest;
