//! A store on a Redis server, for gateways whose machines come and go.
//!
//! - Two keys for each bucket: the hash `weixin:values:<bucket>` has the values, and the sorted set
//!   `weixin:keys:<bucket>` their keys in order, because a hash can't be listed page by page without
//!   repeats. Both change at once.
//! - The server decides what a write survives: with `appendonly yes` a crash of the server, and with
//!   `appendfsync always` as well, which [`Durability::Full`] requires, a power cut.
//! - While the server is away, each operation fails soon, and no write is lost: see [`link`].

pub mod address;
pub mod link;
pub mod server;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use redis::{cmd, pipe};

use self::address::Address;
use self::link::Link;
use super::{
    Bucket, Durability, KEYS_PER_PAGE, KeyPage, State, StateError, check_account, check_key,
    check_value, incremented, page_of,
};

/// Sets a field if it still has the value that it was seen to have.
const COMPARE_AND_SET: &str = "\
local now = redis.call('HGET', KEYS[1], ARGV[1])
if (ARGV[2] == 'absent' and now) or (ARGV[2] ~= 'absent' and now ~= ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1";
/// Removes a key. A script, because a server whose memory is full takes no transaction, and this is
/// what makes room.
const REMOVE: &str = "\
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])";

/// A store on a server.
pub struct RedisState {
    link: Arc<Link>,
}

debug_by_name!(RedisState);

impl RedisState {
    /// Connects, and checks that the server takes writes. Warns in the log of what the server may lose.
    ///
    /// # Errors
    /// When it can't be reached or used; one line without the password.
    pub async fn open(address: &Address, durability: Durability) -> Result<RedisState, StateError> {
        let failed = |reason: String| StateError::Connect {
            address: address.to_string(),
            reason,
        };
        let (link, about) = Link::open(address).await.map_err(failed)?;
        link.probe().await.map_err(failed)?;
        let kept = link.try_ask(async |mut connection| {
            Ok(about.durability(&mut connection, durability).await)
        });
        let kept = kept.await.map_err(failed)?;
        for warning in kept.map_err(|why| failed(why.to_owned()))? {
            tracing::warn!("the state at {address}: {warning}");
        }
        Ok(RedisState { link })
    }
}

impl State for RedisState {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        check_account(account)?;
        Ok(Arc::new(RedisBucket {
            link: Arc::clone(&self.link),
            values: format!("weixin:values:{account}"),
            keys: format!("weixin:keys:{account}"),
        }))
    }

    fn trouble(&self) -> Option<String> {
        self.link.trouble()
    }
}

struct RedisBucket {
    link: Arc<Link>,
    /// The names of the bucket's two keys.
    values: String,
    keys: String,
}

impl RedisBucket {
    async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        check_key(key)?;
        let mut ask = cmd("HGET");
        ask.arg(&self.values).arg(key);
        self.link
            .ask(async |mut connection| ask.query_async(&mut connection).await)
            .await
    }

    async fn incremented(&self, key: &str, delta: u64) -> Result<u64, StateError> {
        // The server's own counters are signed, and end half way.
        loop {
            let seen = self.value(key).await?;
            let sum = incremented(seen.as_deref(), delta)?;
            let mut ask = cmd("EVAL");
            ask.arg(COMPARE_AND_SET)
                .arg(2)
                .arg(&[&self.values, &self.keys])
                .arg(key)
                .arg(if seen.is_some() { "present" } else { "absent" })
                .arg(seen.unwrap_or_default())
                .arg(sum.to_string());
            let is_set: bool = self
                .link
                .ask(async |mut connection| ask.query_async(&mut connection).await)
                .await?;
            // Otherwise somebody else's came between, so the store as a whole goes on.
            if is_set {
                return Ok(sum);
            }
        }
    }
}

impl Bucket for RedisBucket {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>> {
        self.value(key).boxed()
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> BoxFuture<'a, Result<(), StateError>> {
        async move {
            check_key(key)?;
            check_value(&value)?;
            let mut change = pipe();
            change.atomic();
            change.cmd("HSET").arg(&self.values).arg(key).arg(value);
            change.cmd("ZADD").arg(&self.keys).arg(0).arg(key);
            self.link
                .ask(async |mut connection| change.exec_async(&mut connection).await)
                .await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StateError>> {
        async move {
            check_key(key)?;
            let mut change = cmd("EVAL");
            change.arg(REMOVE).arg(2);
            change.arg(&[&self.values, &self.keys]).arg(key);
            self.link
                .ask(async |mut connection| change.exec_async(&mut connection).await)
                .await
        }
        .boxed()
    }

    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StateError>> {
        async move {
            check_key(key)?;
            let mut ask = cmd("HEXISTS");
            ask.arg(&self.values).arg(key);
            self.link
                .ask(async |mut connection| ask.query_async(&mut connection).await)
                .await
        }
        .boxed()
    }

    fn list_keys<'a>(
        &'a self,
        cursor: Option<String>,
    ) -> BoxFuture<'a, Result<KeyPage, StateError>> {
        async move {
            let from = cursor.map_or_else(|| "-".to_owned(), |last| format!("({last}"));
            let mut ask = cmd("ZRANGEBYLEX");
            ask.arg(&self.keys).arg(from).arg(&["+", "LIMIT", "0"]);
            ask.arg(KEYS_PER_PAGE + 1);
            self.link
                .ask(async |mut connection| ask.query_async(&mut connection).await)
                .await
                .map(page_of)
        }
        .boxed()
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> BoxFuture<'a, Result<u64, StateError>> {
        self.incremented(key, delta).boxed()
    }
}

#[cfg(test)]
mod tests;
