//! Checks the name by which a server is called, and the page that sent a request.
//!
//! A web page can make a browser send requests to this machine. Two headers give such a request away,
//! and a page can set neither: `Origin`, if it is not the server's own, and `Host`, if the page's own
//! name was made to point here (DNS rebinding).

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::{Authority, Uri};

/// The names and addresses that a server accepts. The loopback names and addresses, and the address
/// that a connection came to, are always accepted.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// In lower case, without a port; addresses without brackets.
    more: Vec<String>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It asks for another name than the server's, or for none.
    Host,
    /// A page of another origin sent it.
    Origin,
}

impl Foreign {
    /// What is wrong and what to do, in a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Foreign::Host => {
                "this server is not known by the name in the Host header: call it by its address or \
                 as localhost, or start it with --allow-host NAME"
            }
            Foreign::Origin => "requests from pages of another origin are refused",
        }
    }
}

impl Names {
    /// Adds names of hosts, or addresses, each without scheme and port.
    ///
    /// # Errors
    /// The first that is none.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Names, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let read = |name: String| {
            let inside = name
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'));
            if let Ok(address) = inside.unwrap_or(&name).parse::<IpAddr>() {
                return Ok(address.to_canonical().to_string());
            }
            match !name.is_empty() && name.bytes().all(is_plain) {
                true => Ok(plain(&name)),
                false => Err(name),
            }
        };
        let more: Result<Vec<String>, String> = names.into_iter().map(read).collect();
        Ok(Names { more: more? })
    }

    /// Checks a request that came to the address `local`.
    pub fn check(&self, local: IpAddr, head: &Parts) -> Result<(), Foreign> {
        let host = host(&head.uri, &head.headers).ok_or(Foreign::Host)?;
        if !self.has(host.host(), local) {
            return Err(Foreign::Host);
        }
        match origin(&head.headers) {
            Origin::None => Ok(()),
            Origin::Of(scheme, authority) if is_same(&scheme, &authority, &host) => Ok(()),
            Origin::Of(..) | Origin::Other => Err(Foreign::Origin),
        }
    }

    fn has(&self, host: &str, local: IpAddr) -> bool {
        let mut host = plain(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            if address.is_loopback() || address == local.to_canonical() {
                return true;
            }
            host = address.to_string();
        }
        host == "localhost" || self.more.contains(&host)
    }
}

/// Whether a page or anything else of a browser may have sent this.
pub fn has_origin(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
}

/// In lower case, without brackets and without the dot of a full name.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

/// The host that the request names. `None` if it names no host, two hosts, or nonsense.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(HOST).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let host: Authority = value.to_str().ok()?.parse().ok()?;
    let is_plain = !host.host().is_empty() && !host.as_str().contains('@');
    let is_one = uri.authority().is_none_or(|other| *other == host);
    (is_plain && is_one).then_some(host)
}

enum Origin {
    None,
    Of(String, Authority),
    /// `null`, several, or nonsense.
    Other,
}

fn origin(headers: &HeaderMap) -> Origin {
    let mut values = headers.get_all(ORIGIN).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Origin::None,
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Origin::Other,
    };
    let read = || {
        let (scheme, authority) = value.to_str().ok()?.split_once("://")?;
        Some(Origin::Of(
            scheme.to_ascii_lowercase(),
            authority.parse().ok()?,
        ))
    };
    read().unwrap_or(Origin::Other)
}

/// Whether a page of this origin belongs to the server that the request names, directly or behind a TLS
/// proxy.
fn is_same(scheme: &str, origin: &Authority, host: &Authority) -> bool {
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
    plain(origin.host()) == plain(host.host())
        && port(origin) == port(host)
        && !origin.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(names: &[&str], local: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Foreign> {
        let names = Names::new(names.iter().map(|name| (*name).to_owned())).unwrap();
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        names.check(local.parse().unwrap(), &head).err()
    }

    #[test]
    fn a_server_obeys_its_own_names_and_those_that_it_was_told() {
        let told = ["Gateway.example", "203.0.113.5", "2001:db8::5", "sim"];
        for (local, host, expect) in [
            ("127.0.0.1", "localhost", None),
            ("127.0.0.1", "LOCALHOST:8081", None),
            ("127.0.0.1", "localhost.:8081", None),
            ("127.0.0.1", "127.0.0.1:8081", None),
            ("127.0.0.1", "127.0.0.2", None),
            ("::1", "[::1]:8081", None),
            ("127.0.0.1", "[::ffff:127.0.0.1]", None),
            ("192.0.2.7", "192.0.2.7:1", None),
            ("::ffff:192.0.2.7", "192.0.2.7", None),
            ("192.0.2.7", "gateway.EXAMPLE:443", None),
            ("192.0.2.7", "203.0.113.5", None),
            ("192.0.2.7", "[2001:db8::5]:80", None),
            ("192.0.2.7", "[2001:DB8:0::5]:80", None),
            ("192.0.2.7", "sim:8000", None),
            ("192.0.2.7", "192.0.2.8", Some(Foreign::Host)),
            ("127.0.0.1", "rebound.example", Some(Foreign::Host)),
            ("127.0.0.1", "rebound.example:8081", Some(Foreign::Host)),
            ("127.0.0.1", "localhost.evil.example", Some(Foreign::Host)),
            ("127.0.0.1", "evil.localhost", Some(Foreign::Host)),
            ("127.0.0.1", "127.0.0.1.evil.example", Some(Foreign::Host)),
            ("127.0.0.1", "2130706433", Some(Foreign::Host)),
            ("127.0.0.1", "0.0.0.0:8081", Some(Foreign::Host)),
            ("127.0.0.1", "localhost@evil.example", Some(Foreign::Host)),
            ("127.0.0.1", "evil.example@localhost", Some(Foreign::Host)),
            ("127.0.0.1", "", Some(Foreign::Host)),
            ("127.0.0.1", "local host", Some(Foreign::Host)),
        ] {
            assert_eq!(
                check(&told, local, "/", &[("host", host)]),
                expect,
                "{host}"
            );
        }
        let foreign = Some(Foreign::Host);
        assert_eq!(check(&[], "127.0.0.1", "/", &[]), foreign);
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(check(&[], "127.0.0.1", "/", &twice), foreign);
        let other = [("host", "localhost")];
        assert_eq!(
            check(&[], "127.0.0.1", "http://evil.example/", &other),
            foreign
        );
        assert_eq!(check(&[], "127.0.0.1", "http://localhost/", &other), None);
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for (host, origin, is_own) in [
            ("localhost:8081", "http://localhost:8081", true),
            ("LOCALHOST:8081", "http://localhost:8081", true),
            ("127.0.0.1", "http://127.0.0.1:80", true),
            ("[::1]:8081", "http://[::1]:8081", true),
            ("gateway.example", "https://gateway.example", true),
            ("gateway.example:443", "https://gateway.example", true),
            ("localhost:8081", "http://localhost:3000", false),
            ("localhost:8081", "http://localhost", false),
            ("localhost:8081", "http://127.0.0.1:8081", false),
            ("localhost:8081", "https://evil.example", false),
            ("localhost", "null", false),
            ("localhost", "", false),
            ("localhost", "file://localhost", false),
            ("localhost", "http://evil@localhost", false),
            ("localhost", "http://localhost http://evil.example", false),
            ("localhost", "chrome-extension://localhost", false),
        ] {
            let headers = [("host", host), ("origin", origin)];
            let expect = (!is_own).then_some(Foreign::Origin);
            let found = check(&["gateway.example"], "127.0.0.1", "/", &headers);
            assert_eq!(found, expect, "{host} {origin}");
        }
        let twice = [
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("origin", "http://localhost"),
        ];
        assert_eq!(check(&[], "127.0.0.1", "/", &twice), Some(Foreign::Origin));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in [
            "http://gateway.example",
            "gateway.example:443",
            "user@gateway.example",
            "gateway.example/path",
            "",
            "*",
            "a b",
            "[::1",
        ] {
            let names = Names::new([wrong.to_owned()]);
            assert_eq!(names.unwrap_err(), wrong);
        }
    }
}
