//! Credentials on a Redis server, beside the store: the hash [`KEY`].
//!
//! Promises: they are replaced as a whole, and one change at a time, also by several processes. What
//! is asked waits for the server for some seconds at most. The server sees the tokens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Connection, RedisResult, cmd};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::CredentialsError;
use super::stored::Stored;
use crate::state::redis::address::Address;
use crate::state::redis::server::{is_lost, words};

/// Its field `json` has the credentials; `version` is another one after each change.
pub(super) const KEY: &str = "weixin:credentials";
/// How long connecting may take, and an answer.
const WAIT: Duration = Duration::from_secs(2);
/// Changes of others that may come between.
const MAX_ATTEMPTS: usize = 20;
/// Replaces them if they are still those that were seen, and tells who listens; a user that may not
/// publish has written all the same.
const REPLACE: &str = "\
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'json', ARGV[3])
redis.pcall('PUBLISH', KEYS[1], ARGV[2])
return 1";

/// The credentials of a server.
pub(super) struct Server {
    address: Address,
    connection: Mutex<Option<Connection>>,
}

impl Server {
    pub fn new(address: &Address) -> Server {
        Server {
            address: address.clone(),
            connection: Mutex::default(),
        }
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn read(&self) -> Result<Stored, CredentialsError> {
        Ok(self.read_with_version()?.0)
    }

    /// Changes them, unless the change refuses.
    pub fn change<T, E: From<CredentialsError>>(
        &self,
        change: impl Fn(&mut Stored) -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..MAX_ATTEMPTS {
            let (mut stored, seen) = self.read_with_version()?;
            let changed = change(&mut stored)?;
            let json = serde_json::to_string(&stored).map_err(|error| self.failure(error))?;
            // A counter would start again after a loss, with versions that were seen before.
            let version = format!("{:016x}", rand::random::<u64>());
            let mut replace = cmd("EVAL");
            replace.arg(REPLACE).arg(1).arg(KEY);
            replace.arg(&[seen, version, json]);
            if self.ask(|connection| replace.query(connection))? {
                return Ok(changed);
            }
        }
        Err(self
            .failure("others change them without a pause: try again")
            .into())
    }

    fn read_with_version(&self) -> Result<(Stored, String), CredentialsError> {
        let mut ask = cmd("HMGET");
        ask.arg(&[KEY, "json", "version"]);
        let (json, version): (Option<Vec<u8>>, Option<String>) =
            self.ask(|connection| ask.query(connection))?;
        let stored = match json {
            None => Stored::default(),
            // The error of a value may repeat it.
            Some(json) => serde_json::from_slice(&json).map_err(|_| {
                self.failure(format!("{KEY} has no credentials: restore or remove it"))
            })?,
        };
        Ok((stored, version.unwrap_or_default()))
    }

    /// Asks over the connection that there is, or over a new one. What may have happened already is
    /// done again: it compares before it changes.
    fn ask<T>(
        &self,
        question: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, CredentialsError> {
        let asking = || {
            let mut held = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(connection) = held.as_mut() {
                match question(connection) {
                    Err(error) if is_lost(&error) => *held = None,
                    answer => return answer,
                }
            }
            let mut connection = self.connect()?;
            let answer = question(&mut connection)?;
            *held = Some(connection);
            Ok(answer)
        };
        blocking(asking).map_err(|error| self.failure(words(&error)))
    }

    fn connect(&self) -> RedisResult<Connection> {
        let connection = self.address.client()?.get_connection_with_timeout(WAIT)?;
        connection.set_read_timeout(Some(WAIT))?;
        connection.set_write_timeout(Some(WAIT))?;
        Ok(connection)
    }

    fn failure(&self, error: impl std::fmt::Display) -> CredentialsError {
        CredentialsError {
            place: format!("the logins at {}", self.address),
            what: error.to_string(),
        }
    }
}

/// Does what waits for the server, while the runtime's other tasks go on.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
