//! What goes direct: the list of `NO_PROXY`, in the many ways in which systems and people write it.
//!
//! An entry is understood or it is not, and then what it may mean goes through the proxy.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr};

use super::super::target::{Host, split_port};

/// Entries that are told of those that are not understood, and the length of each.
const TOLD: usize = 8;
const TOLD_CHARS: usize = 60;

/// What goes direct.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Direct {
    pub everything: bool,
    /// Hosts, suffixes, addresses and ranges as the matcher reads them.
    pub hosts: Vec<String>,
    /// Names with a `*` in them, in lower case.
    patterns: Vec<String>,
    /// Names without a dot, which Windows calls `<local>`.
    plain_names: bool,
    /// What is not understood.
    unknown: Vec<String>,
}

impl Direct {
    /// Reads a list. Commas, semicolons, bars and blanks separate.
    pub fn read(list: &OsStr) -> Direct {
        let list = list.to_string_lossy();
        let list = list.trim().trim_matches(['"', '\'']);
        let is_between = |char: char| matches!(char, ',' | ';' | '|') || char.is_whitespace();
        let mut direct = Direct::default();
        for entry in list.split(is_between).filter(|entry| !entry.is_empty()) {
            direct.add(entry);
        }
        direct
    }

    fn add(&mut self, entry: &str) {
        if entry == "*" {
            self.everything = true;
        } else if entry.eq_ignore_ascii_case("<local>") {
            self.plain_names = true;
        } else if let Some(host) = host(entry) {
            self.hosts.push(host);
        } else if let Some(pattern) = pattern(entry) {
            self.patterns.push(pattern);
        } else {
            self.unknown.push(entry.to_owned());
        }
    }

    /// Whether a host goes direct by what the matcher does not know.
    pub fn includes(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = host.parse().ok();
        if address.is_none() && self.plain_names && !host.contains('.') {
            return true;
        }
        let host = host.to_ascii_lowercase();
        self.patterns.iter().any(|pattern| {
            // What is written as an address is about addresses alone: anybody may have the name
            // 127.evil.example.
            let is_numeric = !pattern.contains(|char: char| char.is_ascii_alphabetic());
            match address {
                Some(IpAddr::V4(_)) => is_numeric && matches(pattern, &host),
                Some(IpAddr::V6(_)) => false,
                None => !is_numeric && matches(pattern, &host),
            }
        })
    }

    /// What is understood, in words; empty where nothing is.
    pub fn words(&self) -> String {
        let local = self.plain_names.then_some("names without a dot");
        let all = self.hosts.iter().chain(&self.patterns).map(String::as_str);
        all.chain(local).collect::<Vec<_>>().join(" ")
    }

    /// What is not understood, in a sentence that names the variable.
    pub fn warning(&self, name: &str) -> Option<String> {
        if self.unknown.is_empty() {
            return None;
        }
        let shown: Vec<String> = self
            .unknown
            .iter()
            .take(TOLD)
            .map(|entry| shown(entry))
            .collect();
        let more = match self.unknown.len().saturating_sub(TOLD) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "{name} has {}{more}, which is no host, suffix, address, range or pattern and is left \
             out: what it means goes through the proxy; write for example .example.com or \
             10.0.0.0/8",
            shown.join(", ")
        ))
    }
}

/// One line, and without what is in front of an `@`.
fn shown(entry: &str) -> String {
    let entry = entry.rsplit('@').next().unwrap_or_default();
    let mut shown: String = entry.chars().take(TOLD_CHARS).collect();
    if shown.len() < entry.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// A host, a suffix, an address or a range, as the matcher reads it.
fn host(entry: &str) -> Option<String> {
    // Some write a URL.
    let bare = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    let bare = match entry.contains("://") {
        true => bare.trim_end_matches('/'),
        false => bare,
    };
    if let Some((address, length)) = bare.split_once('/') {
        return range(address, length);
    }
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_canonical().to_string());
    }
    let (host, _) = split_port(bare).ok()?;
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(literal) = literal {
        return Some(literal.parse::<IpAddr>().ok()?.to_string());
    }
    let name = host
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(host);
    let bare = name.strip_prefix('.').unwrap_or(name);
    // One dot at the end is the root, which URLs mostly leave out.
    let name = match bare.strip_suffix('.') {
        Some(rest) if rest.contains(|char: char| char.is_ascii_alphabetic()) => {
            name.strip_suffix('.').unwrap_or(name)
        }
        _ => name,
    };
    Host::parse(name.strip_prefix('.').unwrap_or(name)).ok()?;
    Some(name.to_owned())
}

/// A range, also one of which the zeros at the end are left out: `169.254/16`.
fn range(address: &str, length: &str) -> Option<String> {
    let address = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    if let Ok(IpAddr::V6(address)) = address.parse() {
        let length: u8 = length.parse().ok().filter(|length| *length <= 128)?;
        return Some(format!("{address}/{length}"));
    }
    let address = of_parts(address)?;
    let length = match length.parse::<Ipv4Addr>() {
        // A mask, such as 255.255.0.0.
        Ok(mask) => {
            let mask = u32::from(mask);
            let ones = mask.leading_ones();
            (mask.count_ones() == ones).then_some(ones)?
        }
        Err(_) => length.parse().ok().filter(|length| *length <= 32)?,
    };
    Some(format!("{address}/{length}"))
}

/// An address of up to four numbers, the rest being zeros.
fn of_parts(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.strip_suffix('.').unwrap_or(text).split('.');
    for octet in &mut octets {
        match parts.next() {
            Some(part) if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                *octet = part.parse().ok()?;
            }
            Some(_) => return None,
            None => break,
        }
    }
    parts.next().is_none().then(|| octets.into())
}

/// A name with a `*` in it, `192.168.*` or `192.168.`, in lower case.
fn pattern(entry: &str) -> Option<String> {
    let (host, _) = split_port(entry).ok()?;
    let is_prefix = host.ends_with('.') && of_parts(host).is_some();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"*.-_".contains(&byte);
    if !host.bytes().all(is_part) || !(is_prefix || host.contains('*')) || host.contains("..") {
        return None;
    }
    // Something has to be said besides.
    host.bytes().find(u8::is_ascii_alphanumeric)?;
    let star = if is_prefix { "*" } else { "" };
    Some(format!("{}{star}", host.to_ascii_lowercase()))
}

/// Whether a text is what a pattern says, a `*` being anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Direct {
        Direct::read(OsStr::new(list))
    }

    #[test]
    fn a_pattern_is_matched_as_a_whole() {
        for (pattern, text, expected) in [
            ("127.*", "127.0.0.1", true),
            ("127.*", "128.0.0.1", false),
            ("*corp", "a.corp", true),
            ("*corp", "corpa", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn ranges_are_read_as_they_are_written() {
        for (entry, expected) in [
            ("169.254/16", "169.254.0.0/16"),
            ("10/8", "10.0.0.0/8"),
            ("192.168.0.0/16", "192.168.0.0/16"),
            ("172.16.0.0/255.240.0.0", "172.16.0.0/12"),
            ("127/8", "127.0.0.0/8"),
            ("fe80::/10", "fe80::/10"),
            ("[fd00::]/8", "fd00::/8"),
        ] {
            let direct = read(entry);
            assert_eq!(direct.hosts, [expected], "{entry}");
            assert_eq!(direct.warning("NO_PROXY"), None);
        }
    }

    #[test]
    fn what_is_not_understood_is_named_once_and_without_passwords() {
        let warning = read("a,10.0.0.0/33,u:hunter2@x!,<-loopback>").warning("no_proxy");
        let warning = warning.unwrap();
        let named = "no_proxy has \"10.0.0.0/33\", \"x!\", \"<-loopback>\", which";
        assert!(warning.starts_with(named), "{warning}");
        assert!(!warning.contains("hunter2"), "{warning}");
        let many = ["a!"; 100].join(";");
        let warning = read(&many).warning("NO_PROXY").unwrap();
        assert!(warning.contains(" and 92 more,"), "{warning}");
        let long = format!("{}!", "a".repeat(5000));
        assert!(read(&long).warning("NO_PROXY").unwrap().len() < 400);
    }
}
