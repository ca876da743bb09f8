//! The command line and the environment: read once, checked at once.
//!
//! A mistake is one line that names the option or variable, what was wrong and what would be right.

mod account;
mod accounts;
mod arguments;
mod environment;
mod error;
mod lookup;
mod mistake;
mod options;
mod parse;
mod pin;
mod setting;
mod unknown;
mod value;
mod variables;
mod wecom;
mod weixin;

pub use account::{ConfiguredAccount, Defaults};
pub use accounts::{AccountsFile, read as read_accounts};
pub use error::UsageError;
pub use options::{AllowEgress, Command, LogFormat, LoginOptions, RunOptions};
pub use parse::parse;
pub use unknown::variables as unknown_variables;
pub use wecom::PLATFORM as WECOM;
pub use weixin::{PLATFORM as WEIXIN, Selection, account as weixin_account};

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
