//! Decides which requests go through a proxy, by the variables of the environment that users know.
//!
//! - `HTTPS_PROXY` is for https, `HTTP_PROXY` for plain http, and `ALL_PROXY` for each of the two that
//!   is not set. Upper case comes before lower case, and an empty variable counts as not set.
//! - `NO_PROXY` lists what is reached directly: hosts and suffixes (`example.com` and `.example.com`
//!   both mean the name and all names below it), addresses, CIDR ranges, `*`. Ports in it are ignored.
//!   An entry that can't be understood is left out, and a warning names it (`direct.rs`). That does no
//!   harm: the request only takes a detour.
//! - A proxy is `http://`, `https://` or `socks5://` (also `socks5h://` and `socks://`), with a user
//!   and a password if the proxy asks for them. https goes through a tunnel, so the proxy sees only
//!   the server's name. Plain http is forwarded.
//! - Servers on this machine are reached directly, whatever the environment says.
//! - The environment is read once. A proxy that can't be understood is an error: no request may go
//!   direct because of a typing mistake.

mod direct;

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use self::direct::Direct;
use super::target::{Host, split_port};

/// The proxies of a process. Clones share them; neither `Debug` nor `Display` shows a password.
#[derive(Clone, Default)]
pub struct Proxies {
    /// None: everything goes direct.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    matcher: Matcher,
    /// The entries of the list that the matcher can't express.
    direct: Direct,
    /// The entries of `NO_PROXY` that were left out.
    warning: Option<String>,
    /// Whether servers on this machine are reached through the proxy, too.
    with_loopback: bool,
    /// What `Display` shows.
    words: String,
    /// Whether the last request through a proxy failed because of it.
    failing: AtomicBool,
}

/// A variable that can't be used; names it, and never shows a proxy's URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProxyError(String);

impl Proxies {
    /// No proxy at all.
    pub fn none() -> Proxies {
        Proxies::default()
    }

    /// What the environment says; `lookup` gives the value of a variable.
    ///
    /// # Errors
    /// One line that names the variable.
    pub fn from_environment(
        lookup: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Proxies, ProxyError> {
        let all = variable(lookup, "ALL_PROXY")?;
        let of_scheme = |name| Ok(variable(lookup, name)?.or_else(|| all.clone()));
        let https = of_scheme("HTTPS_PROXY")?;
        let http = of_scheme("HTTP_PROXY")?;
        // Without a proxy, the list of exceptions does not matter.
        if https.is_none() && http.is_none() {
            return Ok(Proxies::none());
        }
        let (name, direct) = match list(lookup, "NO_PROXY") {
            Some((name, list)) => (name, Direct::read(&list)),
            None => (String::new(), Direct::default()),
        };
        if direct.everything {
            return Ok(Proxies::none());
        }
        let mut builder = Matcher::builder().no(direct.hosts.join(","));
        let mut words = Vec::new();
        for (scheme, found) in [("https", https), ("http", http)] {
            let Some((name, url)) = found else {
                continue;
            };
            let shown =
                checked(&url).map_err(|why| ProxyError(format!("{name} is no proxy: {why}")))?;
            words.push(format!("{scheme} through {shown} ({name})"));
            let url = as_known(&url);
            builder = match scheme {
                "https" => builder.https(url),
                _ => builder.http(url),
            };
        }
        let shown = direct.words();
        if !shown.is_empty() {
            words.push(format!("direct to {shown}"));
        }
        let warning = direct.warning(&name);
        Ok(Proxies::of(Shared {
            matcher: builder.build(),
            direct,
            warning,
            with_loopback: false,
            words: words.join(", "),
            failing: AtomicBool::new(false),
        }))
    }

    /// Everything goes through the proxy at `url`, this machine's own servers included.
    ///
    /// # Errors
    /// Why the URL is no proxy's.
    pub fn everything_through(url: &str) -> Result<Proxies, ProxyError> {
        let shown = checked(url).map_err(|why| ProxyError(format!("it is no proxy: {why}")))?;
        Ok(Proxies::of(Shared {
            matcher: Matcher::builder().all(as_known(url)).build(),
            direct: Direct::default(),
            warning: None,
            with_loopback: true,
            words: format!("everything through {shown}"),
            failing: AtomicBool::new(false),
        }))
    }

    fn of(shared: Shared) -> Proxies {
        Proxies {
            shared: Some(Arc::new(shared)),
        }
    }

    /// The entries of `NO_PROXY` that were left out, in one line.
    pub fn warning(&self) -> Option<&str> {
        self.shared.as_deref()?.warning.as_deref()
    }

    /// Whether everything goes direct.
    pub fn is_none(&self) -> bool {
        self.shared.is_none()
    }

    /// The proxy of a request to `uri`.
    pub(super) fn of_request(&self, uri: &Uri) -> Option<Intercept> {
        let shared = self.shared.as_deref()?;
        let host = uri.host()?;
        if (!shared.with_loopback && is_this_machine(host)) || shared.direct.includes(host) {
            return None;
        }
        shared.matcher.intercept(uri)
    }

    /// Logs when a proxy begins to fail, and when it works again.
    pub(super) fn report(&self, failed: Option<&dyn fmt::Display>) {
        let Some(shared) = &self.shared else {
            return;
        };
        match (
            shared.failing.swap(failed.is_some(), Ordering::Relaxed),
            failed,
        ) {
            (false, Some(error)) => tracing::warn!("{error}"),
            (true, None) => tracing::info!("the proxy works again"),
            (true, Some(_)) | (false, None) => {}
        }
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.shared {
            Some(shared) => &shared.words,
            None => "none",
        })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxies({self})")
    }
}

/// A variable's name as it was found, and its value.
type Found = (String, String);

fn variable(
    lookup: &dyn Fn(&str) -> Option<OsString>,
    name: &str,
) -> Result<Option<Found>, ProxyError> {
    for name in [name.to_owned(), name.to_lowercase()] {
        let Some(value) = lookup(&name) else {
            continue;
        };
        let Ok(value) = value.into_string() else {
            return Err(ProxyError(format!("{name} is no UTF-8 text")));
        };
        let value = value.trim();
        if !value.is_empty() {
            return Ok(Some((name, value.to_owned())));
        }
    }
    Ok(None)
}

/// The same for a list, which may be any bytes.
fn list(lookup: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<(String, OsString)> {
    let names = [name.to_owned(), name.to_lowercase()];
    let mut found = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), lookup(&name)?)));
    found.find(|(_, list)| !list.to_string_lossy().trim().is_empty())
}

/// A proxy's URL as the matcher knows its scheme.
fn as_known(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match scheme.to_ascii_lowercase().as_str() {
        "socks" => format!("socks5://{rest}"),
        scheme => format!("{scheme}://{rest}"),
    }
}

/// The proxy without its password, if the URL is read as it was meant.
fn checked(url: &str) -> Result<String, String> {
    let form = |why: &str| {
        format!(
            "{why}: write http://host:port or http://user:password@host:port, with %23 for # and \
             so on"
        )
    };
    if url.starts_with(['"', '\'']) || url.ends_with(['"', '\'']) {
        return Err(form("it has quotation marks in it"));
    }
    let known = as_known(url);
    let url = known.as_str();
    let uri: Uri = match url.contains(['#', '?']) {
        false => url.parse().map_err(|_| form("it is no URL"))?,
        true => return Err(form("it has a # or a ?")),
    };
    let scheme = match uri.scheme_str() {
        None => "http",
        Some(scheme @ ("http" | "https" | "socks5" | "socks5h")) => scheme,
        Some("socks4" | "socks4a") => {
            return Err(form(
                "SOCKS 4 is not spoken: if the proxy speaks SOCKS 5, write socks5://",
            ));
        }
        Some(_) => return Err(form("its scheme is neither http, https nor socks5")),
    };
    if !matches!(uri.path(), "" | "/") {
        return Err(form("it has a path"));
    }
    let authority = uri
        .authority()
        .ok_or_else(|| form("it names no host"))?
        .as_str();
    let place = authority
        .split_once('@')
        .map_or(authority, |(_, place)| place);
    let (host, _) = split_port(place).map_err(|_| form("its port is no number from 1 to 65535"))?;
    Host::parse(host).map_err(form)?;
    Ok(format!("{scheme}://{place}"))
}

/// Whether a host is this machine by its name or address alone.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address.is_unspecified()
        }
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests;
