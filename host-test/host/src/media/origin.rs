//! Origins that a reply's `url` may name although they are no public https server: the agent's own,
//! and those that the operator lists.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::egress::rule::{Rule, RuleError, Target};

/// A scheme, a host and a port, compared as they are written: `localhost` is not `127.0.0.1`.
#[derive(Clone)]
pub struct Origin {
    rule: Rule,
    words: String,
}

impl Origin {
    /// The origin of a URL; its path and query do not matter.
    ///
    /// # Errors
    /// As those of reading one.
    pub fn of(url: &Uri) -> Result<Origin, RuleError> {
        words(url).parse()
    }

    /// What lets requests to this origin through.
    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether a URL is of this origin.
    pub(super) fn has(&self, url: &Uri) -> bool {
        Target::of(url).is_ok_and(|target| self.rule.allows(&target))
    }
}

impl FromStr for Origin {
    type Err = RuleError;

    /// Reads `http(s)://host[:port]`; a path behind it does not matter.
    ///
    /// # Errors
    /// When it is no such URL, or has a user in it. The text is not repeated.
    fn from_str(text: &str) -> Result<Origin, RuleError> {
        let rule = Rule::configured(text)?;
        let words = text.parse().map(|url| words(&url)).unwrap_or_default();
        Ok(Origin { rule, words })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// A URL's origin, as it is written.
pub(super) fn words(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    // Without a user, which may come with a password.
    let host = url.host().unwrap_or_default();
    match url.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}
