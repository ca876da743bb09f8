//! The parts of a URL that rules look at.
//!
//! What two parsers could read in two ways is refused: a user in the authority, encoded dots and slashes,
//! dot segments, odd hosts.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

use super::path::Placeholder;

/// `scheme://host:port` of a URL, spelled in one way; none for one that no rule would take.
pub fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let target = Target::of(&uri).ok()?;
    let scheme = if target.https { "https" } else { "http" };
    let host = match &target.host {
        Host::Name(name) => name.to_string(),
        Host::Address(IpAddr::V4(address)) => address.to_string(),
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
    };
    Some(format!("{scheme}://{host}:{}", target.port))
}

/// The parts of a URL that rules look at.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    pub(super) https: bool,
    pub(super) host: Host<'a>,
    pub(super) port: u16,
    /// With the braces of a placeholder spelled out.
    pub(super) path: Cow<'a, str>,
    /// Where a credential is to be put into the path.
    pub(super) placeholder: Option<Placeholder>,
}

impl<'a> Target<'a> {
    /// Takes a URL apart, or says why it is refused.
    pub fn of(uri: &'a Uri) -> Result<Target<'a>, &'static str> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("the URL is neither https nor http"),
        };
        let authority = uri.authority().ok_or("the URL names no host")?.as_str();
        if authority.contains('@') {
            return Err("the URL names a user");
        }
        let (host, port) = split_port(authority)?;
        let placeholder = check_path(uri.path())?;
        Ok(Target {
            https,
            host: Host::parse(host)?,
            port: port.unwrap_or(default_port(https)),
            path: match &placeholder {
                Some(placeholder) => placeholder.spelled_out(uri.path()),
                None => Cow::Borrowed(uri.path()),
            },
            placeholder,
        })
    }

    /// The path, with the braces of a placeholder spelled out.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// A host as every parser reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host<'a> {
    /// In lower case, without empty labels.
    Name(Cow<'a, str>),
    Address(IpAddr),
}

impl<'a> Host<'a> {
    pub(super) fn parse(host: &'a str) -> Result<Host<'a>, &'static str> {
        if let Some(literal) = host.strip_prefix('[') {
            return literal
                .strip_suffix(']')
                .and_then(|literal| literal.parse::<Ipv6Addr>().ok())
                .map(|address| Host::Address(address.into()))
                .ok_or("the host is no valid IPv6 address");
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Host::Address(address.into()));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if host.len() > 253
            || !host
                .split('.')
                .all(|label| (1..=63).contains(&label.len()) && label.bytes().all(plain))
        {
            return Err("the host is no plain name: letters, digits, - and single dots only");
        }
        // Resolvers read "127.1", "0x7f000001" and "2130706433" as addresses.
        let last = host.rsplit('.').next().unwrap_or_default();
        if last.starts_with(|first: char| first.is_ascii_digit()) {
            return Err("the host ends like a number and is no address");
        }
        Ok(Host::Name(
            if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(host.to_ascii_lowercase())
            } else {
                Cow::Borrowed(host)
            },
        ))
    }
}

pub(super) fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Host and port of an authority without a user.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let end_of_host = authority.rfind(']').map_or(0, |end| end + 1);
    let Some((before, port)) = authority
        .get(end_of_host..)
        .and_then(|rest| rest.split_once(':'))
    else {
        return Ok((authority, None));
    };
    let host = authority.get(..end_of_host + before.len()).unwrap_or("");
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok((host, Some(port))),
        _ => Err("the URL's port is no number from 1 to 65535"),
    }
}

/// The placeholder of a path, or why the path is refused.
pub(super) fn check_path(path: &str) -> Result<Option<Placeholder>, &'static str> {
    let lower = path.to_ascii_lowercase();
    // A server that decodes twice would turn %252e into a dot as well.
    if ["%2e", "%2f", "%5c", "%00", "%252e", "%252f", "%255c"]
        .iter()
        .any(|encoded| lower.contains(encoded))
        || path.contains('\\')
    {
        return Err("the URL's path has encoded dots, slashes or backslashes");
    }
    // Some servers cut parameters such as `..;x` off before they look at a segment.
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if path.split('/').any(dots) {
        return Err("the URL's path has dot segments");
    }
    Placeholder::find(path)
}
