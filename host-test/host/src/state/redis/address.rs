//! Where a Redis server is, as `--state` names it.
//!
//! Promise: neither `Display`, nor `Debug`, nor an error shows the password of an address.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::state::SpecError;

/// A connection on which nothing is said is tried after this.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The address of a server, with the user and the password for it.
#[derive(Clone)]
pub struct Address {
    /// As it was given.
    url: String,
    info: Arc<ConnectionInfo>,
}

impl Address {
    /// A client for it; no connection is made.
    pub(crate) fn client(&self) -> redis::RedisResult<Client> {
        if matches!(self.info.addr(), ConnectionAddr::TcpTls { .. }) {
            // Where another part of a program brings a second one, the client could not choose; an
            // earlier choice stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Client::open(ConnectionInfo::clone(&self.info))
    }
}

impl Address {
    /// The secrets of an address with a password: the password, and the address as it was given.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let password = self.info.redis_settings().password();
        let url = password.map(|_| self.url.as_str());
        password.into_iter().chain(url)
    }
}

impl FromStr for Address {
    type Err = SpecError;

    fn from_str(url: &str) -> Result<Address, SpecError> {
        let wrong = |what: &str| {
            SpecError(format!(
                "--state redis:// {what}: write redis://[user:password@]host[:port][/db], or rediss:// for TLS, \
                 with %XX in place of what is no letter or digit of a password"
            ))
        };
        // What the client would take besides, such as a TLS that trusts everybody; and what is cut
        // off a password that was not escaped.
        if url.contains(['?', '#']) {
            return Err(wrong("has a ? or a # in it"));
        }
        // The client's words may repeat what they are about.
        let info = url
            .into_connection_info()
            .map_err(|_| wrong("is no address of a Redis server"))?;
        let access = info.redis_settings();
        if access.db() < 0 {
            return Err(wrong("has a database below 0"));
        }
        if access.username().is_some() && access.password().is_none() {
            return Err(wrong("has a user without a password"));
        }
        // The requests are small and each one is waited for, so none may be held back for another.
        let tcp = TcpSettings::default().set_nodelay(true);
        // A listener sends nothing, so the system has to find out whether the other end is still there.
        let tcp = tcp.set_keepalive(
            TcpKeepalive::new()
                .with_time(KEEP_ALIVE)
                .with_interval(KEEP_ALIVE / 3)
                .with_retries(3),
        );
        let info = info.set_tcp_settings(tcp);
        Ok(Address {
            url: url.to_owned(),
            info: Arc::new(info),
        })
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.url == other.url
    }
}

impl Eq for Address {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => ("redis", host.as_str(), *port),
            ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host.as_str(), *port),
            // Neither is read from an address that starts with redis:// or rediss://.
            _ => ("redis", "", 0),
        };
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let db = self.info.redis_settings().db();
        write!(f, "{scheme}://{open}{host}{close}:{port}/{db}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_whole_but_for_its_access() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://:hunter2@localhost/3", "redis://localhost:6379/3"),
            ("redis://u:hunter2@[::1]:7000", "redis://[::1]:7000/0"),
            (
                "rediss://u:hunter%23@db.example/1",
                "rediss://db.example:6379/1",
            ),
        ] {
            let address: Address = url.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("hunter"), "{address:?}");
        }
        let address: Address = "redis://u%40x:a%2Fb%23@localhost".parse().unwrap();
        let access = address.info.redis_settings();
        assert_eq!(access.username(), Some("u@x"));
        assert_eq!(access.password(), Some("a/b#"));
    }

    #[test]
    fn a_wrong_address_is_one_line_without_the_password() {
        for url in [
            "redis://",
            "redis:",
            "redis://:hunter2@",
            "redis://hunter2@localhost",
            "redis://:hun#ter2@localhost",
            "redis://:hun/ter2@localhost",
            "redis://:hunter2@localhost/x",
            "redis://:hunter2@localhost/-1",
            "redis://:hunter2@localhost:99999",
            "rediss://:hunter2@localhost/#insecure",
            "redis://:hunter2@0.0.0.0",
        ] {
            let error = url.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("redis://[user:password@]host"), "{error}");
            assert!(!error.contains('\n'), "{error}");
            assert!(
                !error.contains("hunter2") && !error.contains("ter2"),
                "{error}"
            );
        }
    }
}
