//! Reads what a server reports about itself, and puts its errors into plain words.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, cmd};

use crate::egress::roots::advice;
use crate::state::Durability;

/// What a server reports about itself. Empty if the user may not ask.
#[derive(Default)]
pub struct About(HashMap<String, String>);

debug_by_name!(About);

impl About {
    /// Asks a server.
    pub async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<About> {
        match cmd("INFO").query_async::<String>(connection).await {
            Ok(text) => Ok(About::read(&text)),
            // The user has few rights. A problem will show when the operation is made.
            Err(error) if is_forbidden(&error) => Ok(About::default()),
            Err(error) => Err(error),
        }
    }

    fn read(text: &str) -> About {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.trim_end().to_owned());
        About(fields.map(owned).collect())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|said| said == value)
    }

    /// Differs between two runs of a server, and between two servers.
    pub fn run(&self) -> Option<&str> {
        self.0.get("run_id").map(String::as_str)
    }

    /// Why it can't hold a state.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.is("loading", "1") {
            Some(LOADING)
        } else if self.is("cluster_enabled", "1") {
            Some(CLUSTER)
        } else if self.is("role", "slave") {
            Some(REPLICA)
        } else {
            None
        }
    }

    /// What the operator should know about the server's persistence, or why it is not enough.
    pub async fn durability(
        &self,
        connection: &mut MultiplexedConnection,
        durability: Durability,
    ) -> Result<Vec<&'static str>, &'static str> {
        let appends = self.is("aof_enabled", "1");
        if durability == Durability::Full {
            let sync = setting(connection, "appendfsync").await;
            // If the server does not say, the operator's promise has to do.
            if (!self.0.is_empty() && !appends) || sync.is_some_and(|sync| sync != "always") {
                return Err(
                    "--durability full needs a server with `appendonly yes` and `appendfsync always`",
                );
            }
        }
        let mut warnings = Vec::new();
        if self.is("aof_enabled", "0") {
            warnings.push(match setting(connection, "save").await.as_deref() {
                Some("") => {
                    "it keeps nothing on its disk: when it ends, messages and logins are lost; set \
                     `appendonly yes`"
                }
                _ => {
                    "it writes to its disk now and then only: when it crashes, what came since is \
                     lost, messages and logins; set `appendonly yes`"
                }
            });
        }
        let evicts = self
            .0
            .get("maxmemory_policy")
            .is_some_and(|policy| policy.starts_with("allkeys"));
        if evicts && !self.is("maxmemory", "0") {
            warnings.push(
                "it removes what it likes when its memory is full: set `maxmemory-policy noeviction`",
            );
        }
        Ok(warnings)
    }
}

async fn setting(connection: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let mut ask = cmd("CONFIG");
    ask.arg("GET").arg(name);
    // Hosted servers do not say.
    let settings: HashMap<String, String> = ask.query_async(connection).await.ok()?;
    settings.into_values().next()
}

const LOADING: &str = "it still loads its data: try again in a moment";
const CLUSTER: &str = "it is part of a cluster, which can't hold a state: name a single server";
const REPLICA: &str = "it is a read-only replica: name the primary";

/// Whether the user may not do that.
pub fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// Whether the connection is of no more use.
pub fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        // The server is no longer the primary, or the user's password was changed.
        || matches!(code(error).as_str(), "READONLY" | "NOAUTH")
}

/// The code of the server, also of one command of several.
fn code(error: &RedisError) -> String {
    let several = error.clone().into_server_errors();
    let first = several.as_ref().and_then(|errors| errors.first());
    match first {
        Some((_, first)) => first.code().to_owned(),
        None => error.code().unwrap_or_default().to_owned(),
    }
}

/// What went wrong, and where it is the operator's to correct, what would be right.
pub fn words(error: &RedisError) -> String {
    let text = error.to_string();
    let plain = match (error.kind(), code(error).as_str()) {
        (ErrorKind::AuthenticationFailed, _) => "it refuses the user or the password, or has none",
        (_, "NOAUTH") => "it wants a password: write redis://user:password@host",
        (_, "OOM") => "its memory is full: raise its `maxmemory`",
        (_, "READONLY") => REPLICA,
        (_, "LOADING") => LOADING,
        (_, "MISCONF") => "it can't write to its disk, and says why in its log",
        (_, "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN") => CLUSTER,
        (_, "WRONGTYPE") => "a key that starts with weixin: is somebody else's",
        (ErrorKind::Parse, _) => "what answers there is no Redis server",
        _ if error.is_connection_refusal() => "nothing listens there",
        _ if error.is_timeout() => "it does not answer",
        _ if text.contains("DB index is out of range") => "it has no database of that number",
        // One line, whatever the server said.
        _ => return format!("{}{}", text.replace(['\n', '\r'], " "), advice(&text)),
    };
    plain.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_read() {
        let about = About::read("# Server\r\nrun_id:abc\r\n\r\n# Replication\r\nrole:slave\r\n");
        assert_eq!(about.run(), Some("abc"));
        assert_eq!(about.obstacle(), Some(REPLICA));
        assert_eq!(About::read("role:master\r\nloading:0\r\n").obstacle(), None);
        assert_eq!(About::read("HTTP/1.1 400\n:\n").run(), None);
    }
}
