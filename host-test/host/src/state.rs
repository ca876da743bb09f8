//! Where accounts keep what must outlive an instance: key-value stores with one bucket per account.
//!
//! - The operations are those of `wasi:keyvalue@0.2.0-draft` in Rust's types. They are behind two
//!   traits, so that a store across a network fits as well.
//! - A store in this process answers at once and has no task or thread of its own. The one exception
//!   is a write that must reach the disk. A store across a network answers within seconds, or fails.
//! - A bucket shows its own writes at once, never shows another account's keys, and does each
//!   operation as a whole or not at all.
//! - Keys and values are bounded ([`MAX_KEY_BYTES`], [`MAX_VALUE_BYTES`]). A larger one is refused
//!   before anything is written.
//!
//! Anybody can write a store. [`conformance`] tries whether it keeps these promises:
//!
//! ```
//! use gateway_host::state::State;
//! use gateway_host::state::conformance::conforms;
//! use gateway_host::state::memory::MemoryState;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let state = MemoryState::default();
//! conforms(&state).await;
//!
//! let bucket = state.bucket("an empty account")?;
//! bucket.set("key", b"value".to_vec()).await?;
//! assert_eq!(bucket.get("key").await?.as_deref(), Some(&b"value"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod conformance;
#[cfg(feature = "dir")]
pub mod directory;
pub mod memory;
pub(crate) mod owner;
#[cfg(feature = "redis")]
pub mod redis;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::BoxFuture;

#[cfg(feature = "dir")]
use directory::DirectoryState;
use memory::MemoryState;

#[cfg(feature = "redis")]
use self::redis::RedisState;
#[cfg(feature = "redis")]
use self::redis::address::Address;

/// The longest key in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// The longest name of an account in bytes.
pub const MAX_ACCOUNT_BYTES: usize = 1024;
/// The largest value in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;
/// The most keys that one call of [`Bucket::list_keys`] returns.
pub const KEYS_PER_PAGE: usize = 1000;

/// A store that holds the buckets of all accounts.
pub trait State: Send + Sync {
    /// The bucket of one account; does no I/O. It exists, empty, before its first write.
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError>;

    /// Why the store does not work right now, for the operator. `None` while it works, and if that is
    /// not known. The accounts of a store with trouble are `degraded`.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// The keys and values of one account.
pub trait Bucket: Send + Sync {
    /// The value of `key`, `None` when there is none.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>>;

    /// Stores `value`, in place of what was there.
    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> BoxFuture<'a, Result<(), StateError>>;

    /// Removes `key`; does nothing when it is not there.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StateError>>;

    /// Whether `key` has a value.
    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StateError>>;

    /// A page of keys, from the start or from where the page with this cursor ended. Keys that are
    /// there during the whole listing are listed exactly once, also when others come and go.
    fn list_keys<'a>(
        &'a self,
        cursor: Option<String>,
    ) -> BoxFuture<'a, Result<KeyPage, StateError>>;

    /// Adds `delta` to the number in `key` and returns the sum. A key without a value counts as 0;
    /// the value is the number in decimal digits.
    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> BoxFuture<'a, Result<u64, StateError>>;
}

/// Some of the keys of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// At most [`KEYS_PER_PAGE`] keys.
    pub keys: Vec<String>,
    /// What to pass for the next page; `None` on the last one. Only the bucket can read it.
    pub cursor: Option<String>,
}

/// How much a write survives once it has returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however sudden.
    #[default]
    Process,
    /// A power cut too: each write waits for the disk.
    Full,
}

/// What `--state` names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateSpec {
    /// `memory`: gone with the process.
    Memory,
    /// `dir:PATH`: a directory of this machine.
    #[cfg(feature = "dir")]
    Directory(PathBuf),
    /// `redis://…` or `rediss://…`: a Redis server.
    #[cfg(feature = "redis")]
    Redis(Address),
}

impl StateSpec {
    /// Opens the store. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// One line that says why it can't be used, and never has a password in it.
    #[cfg_attr(
        not(any(feature = "dir", feature = "redis")),
        expect(unused_variables, reason = "memory is never durable")
    )]
    pub async fn open(&self, durability: Durability) -> Result<Arc<dyn State>, StateError> {
        Ok(match self {
            StateSpec::Memory => Arc::new(MemoryState::default()),
            #[cfg(feature = "dir")]
            StateSpec::Directory(path) => {
                let path = path.clone();
                // It reads the journal, which blocks for some milliseconds.
                let opening = move || DirectoryState::open(&path, durability);
                let opened = tokio::task::spawn_blocking(opening).await;
                Arc::new(opened.map_err(|error| StateError::Storage {
                    reason: error.to_string(),
                })??)
            }
            #[cfg(feature = "redis")]
            StateSpec::Redis(address) => Arc::new(RedisState::open(address, durability).await?),
        })
    }
}

/// Why a value of `--state` or `--durability` can't be used; one line, with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

impl SpecError {
    #[cfg(not(all(feature = "dir", feature = "redis")))]
    fn not_built(feature: &str) -> SpecError {
        SpecError(format!(
            "--state {feature}: is not part of this build: build gateway-host with its feature `{feature}`"
        ))
    }
}

impl FromStr for StateSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<StateSpec, SpecError> {
        if spec == "memory" {
            return Ok(StateSpec::Memory);
        }
        #[cfg(not(feature = "dir"))]
        if spec.starts_with("dir:") {
            return Err(SpecError::not_built("dir"));
        }
        #[cfg(feature = "dir")]
        if let Some(path) = spec.strip_prefix("dir:") {
            if path.is_empty() {
                return Err(SpecError(
                    "--state dir: names no directory: write dir:PATH, such as dir:./weixin-state"
                        .to_owned(),
                ));
            }
            return Ok(StateSpec::Directory(PathBuf::from(path)));
        }
        if spec.starts_with("redis:") || spec.starts_with("rediss:") {
            #[cfg(feature = "redis")]
            return spec.parse().map(StateSpec::Redis);
            #[cfg(not(feature = "redis"))]
            return Err(SpecError::not_built("redis"));
        }
        Err(SpecError(
            "--state is neither memory nor dir:PATH nor redis://…: write one of them, such as dir:./weixin-state"
                .to_owned(),
        ))
    }
}

impl FromStr for Durability {
    type Err = SpecError;

    fn from_str(level: &str) -> Result<Durability, SpecError> {
        match level {
            "process" => Ok(Durability::Process),
            "full" => Ok(Durability::Full),
            _ => Err(SpecError(
                "--durability is unknown: use process (survives kill -9) or full (survives a power cut)"
                    .to_owned(),
            )),
        }
    }
}

/// Why a store could not do what it was asked. Nothing was written, except after
/// [`StateError::Storage`], where it is not known.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A key is longer than [`MAX_KEY_BYTES`].
    #[error("the key has {bytes} bytes: at most {MAX_KEY_BYTES} are allowed")]
    KeyTooLong {
        /// Its size.
        bytes: usize,
    },
    /// An account's name is longer than [`MAX_ACCOUNT_BYTES`].
    #[error("the name of the account has {bytes} bytes: at most {MAX_ACCOUNT_BYTES} are allowed")]
    AccountTooLong {
        /// Its size.
        bytes: usize,
    },
    /// A value is larger than [`MAX_VALUE_BYTES`].
    #[error("the value has {bytes} bytes: at most {MAX_VALUE_BYTES} are allowed")]
    ValueTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// [`Bucket::increment`] found something else than a number.
    #[error("the value is no number in decimal digits, so it can't be incremented")]
    NotANumber,
    /// [`Bucket::increment`] would pass the largest number.
    #[error("the incremented number would not fit into 64 bits")]
    Overflow,
    /// Another process has the directory open.
    #[error(
        "state directory {} is in use by another process: stop it or give another --state",
        .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory can't be opened.
    #[error("state directory {} can't be opened: {reason}", .path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system or the server says.
        reason: String,
    },
    /// The server can't be used.
    #[error("state {address} can't be used: {reason}")]
    Connect {
        /// The server, without a password.
        address: String,
        /// What the system or the server says.
        reason: String,
    },
    /// The store failed later.
    #[error("the store failed: {reason}")]
    Storage {
        /// What the system or the server says.
        reason: String,
    },
}

fn check_key(key: &str) -> Result<(), StateError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(StateError::KeyTooLong { bytes: key.len() });
    }
    Ok(())
}

fn check_account(account: &str) -> Result<(), StateError> {
    if account.len() > MAX_ACCOUNT_BYTES {
        return Err(StateError::AccountTooLong {
            bytes: account.len(),
        });
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), StateError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(StateError::ValueTooLarge { bytes: value.len() });
    }
    Ok(())
}

/// The number that a value holds plus `delta`.
fn incremented(value: Option<&[u8]>, delta: u64) -> Result<u64, StateError> {
    let number = match value {
        None => 0,
        Some(value) => std::str::from_utf8(value)
            .ok()
            .and_then(|digits| digits.parse::<u64>().ok())
            .ok_or(StateError::NotANumber)?,
    };
    number.checked_add(delta).ok_or(StateError::Overflow)
}

/// Ends a page that was collected with one key more than it may have, if there are that many.
fn page_of(mut keys: Vec<String>) -> KeyPage {
    let more = keys.len() > KEYS_PER_PAGE;
    keys.truncate(KEYS_PER_PAGE);
    let cursor = if more { keys.last().cloned() } else { None };
    KeyPage { keys, cursor }
}

#[cfg(all(test, feature = "dir", feature = "redis"))]
mod tests {
    use super::*;

    #[test]
    fn state_specs_are_read() {
        assert_eq!("memory".parse(), Ok(StateSpec::Memory));
        assert_eq!(
            "dir:./weixin-state".parse(),
            Ok(StateSpec::Directory(PathBuf::from("./weixin-state")))
        );
        let spec: StateSpec = "rediss://:hunter2@localhost/1".parse().unwrap();
        assert!(matches!(spec, StateSpec::Redis(_)));
        assert!(!format!("{spec:?}").contains("hunter2"));
        assert_eq!("full".parse(), Ok(Durability::Full));
        assert_eq!("process".parse(), Ok(Durability::Process));
    }

    #[test]
    fn wrong_specs_say_in_one_line_what_would_be_right() {
        for (spec, expected) in [
            ("", "dir:PATH"),
            ("dir:", "dir:PATH"),
            ("./weixin-state", "dir:PATH"),
            ("Memory", "memory"),
            ("redis:hunter2", "redis://[user:password@]host"),
            ("rediss://:hunter2@", "rediss://"),
        ] {
            let error = spec.parse::<StateSpec>().unwrap_err().to_string();
            assert!(error.contains(expected), "{spec}: {error}");
            assert!(!error.contains('\n'), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = "safe".parse::<Durability>().unwrap_err().to_string();
        assert!(
            error.contains("process") && error.contains("full"),
            "{error}"
        );
    }
}
