//! Which URLs an account may reach, and what may be put into the requests.
//!
//! A rule compares the parts of a URL, never the beginning of its text. A URL that two parsers could
//! read in two ways is refused, whatever the rules say: a user in the authority, encoded dots and
//! slashes, dot segments, odd hosts.

use std::net::IpAddr;

use http::Uri;

use super::capture::Capture;
use super::target::{Host, check_path, default_port};

pub use super::error::RuleError;
pub use super::target::{Target, origin};

/// One place that an account may reach.
#[derive(Debug, Clone)]
pub struct Rule {
    https: bool,
    host: HostPattern,
    port: u16,
    path_prefix: String,
    /// What the host may put into requests to this place.
    pub credential: Option<Credential>,
    /// The credentials that arrive in answers from this host.
    pub captures: Vec<Capture>,
    /// The operator named this origin, so plain http and addresses that are not public are fine.
    /// Other rules match https alone, and only addresses of the public internet.
    pub configured: bool,
    /// The path of that origin's URL, below which the component's own paths begin; empty otherwise.
    base: String,
}

/// A credential and where in a request it may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name: the placeholder is this between `{{` and `}}`.
    pub name: String,
    /// Where it may stand.
    pub placement: Placement,
}

/// Where in a request a credential may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In a header.
    Header,
    /// In a JSON body, as a string of its own. Never use this for a place that takes people's text: a
    /// person who writes the placeholder into a chat would get the credential.
    JsonBody,
    /// In the query, as the whole value of a parameter.
    Query,
    /// In the path, where the rule's path prefix has its placeholder.
    Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Name(String),
    /// With its dot in front, so that it matches after one or more labels.
    Suffix(String),
    Address(IpAddr),
}

impl Rule {
    /// A rule without a credential that the operator did not configure.
    ///
    /// `host` is a name, an address, or `*.` and a suffix for any one or more labels before it.
    /// Without a `port` it is the scheme's own. `path_prefix` matches whole segments: `/a/b`
    /// matches `/a/b` and `/a/b/c`, not `/a/bc`; empty matches every path. It may have one `{{name}}`,
    /// which matches that placeholder alone.
    pub fn new(
        scheme: &str,
        host: &str,
        port: Option<u16>,
        path_prefix: &str,
    ) -> Result<Rule, RuleError> {
        let https = match scheme {
            "https" => true,
            "http" => false,
            other => {
                return Err(RuleError(format!(
                    "scheme {other:?} is neither https nor http"
                )));
            }
        };
        if port == Some(0) {
            return Err(RuleError("port 0 can't be reached".to_owned()));
        }
        let path_prefix = if path_prefix.is_empty() {
            "/"
        } else {
            path_prefix
        };
        if !path_prefix.starts_with('/') {
            return Err(RuleError(format!(
                "path prefix {path_prefix:?} does not start with /"
            )));
        }
        check_prefix(path_prefix)
            .map_err(|reason| RuleError(format!("path prefix {path_prefix:?}: {reason}")))?;
        Ok(Rule {
            https,
            host: HostPattern::parse(host)?,
            port: port.unwrap_or(default_port(https)),
            path_prefix: path_prefix.to_owned(),
            credential: None,
            captures: Vec::new(),
            configured: false,
            base: String::new(),
        })
    }

    /// A rule for the whole origin of a URL that the operator configured, without a credential.
    pub fn configured(url: &str) -> Result<Rule, RuleError> {
        let uri: Uri = url
            .parse()
            .map_err(|_| RuleError("it is no URL: write http(s)://host[:port]".to_owned()))?;
        let target = Target::of(&uri)
            .and_then(|target| match target.placeholder {
                Some(_) => Err("the URL's path holds a placeholder"),
                None => Ok(target),
            })
            .map_err(|reason| RuleError(format!("{reason}: write http(s)://host[:port]")))?;
        Ok(Rule {
            https: target.https,
            host: match target.host {
                Host::Name(name) => HostPattern::Name(name.into_owned()),
                Host::Address(address) => HostPattern::Address(address),
            },
            port: target.port,
            path_prefix: "/".to_owned(),
            credential: None,
            captures: Vec::new(),
            configured: true,
            base: target.path.trim_end_matches('/').to_owned(),
        })
    }

    /// The captures that apply to a request to this target. `plain` is its path as
    /// [`plain`](super::capture::plain) gives it. The rule's own path does not matter: another rule may
    /// allow a spelling of the path that this rule does not know.
    pub(super) fn captures_of<'a>(
        &'a self,
        target: &Target<'_>,
        plain: &'a str,
    ) -> impl Iterator<Item = &'a Capture> {
        let credential = self.credential.as_ref().map(|used| used.name.as_str());
        let is_here = self.is_at(target);
        self.captures.iter().filter(move |capture| {
            is_here
                && Some(capture.credential.as_str()) == credential
                && capture.applies_to_plain(plain)
        })
    }

    /// A path at this target as the component knows it: below what the operator configured.
    pub(super) fn own_path<'t>(&self, target: &'t Target<'_>) -> Option<&'t str> {
        let is_below = begins_with_segments(&target.path, &self.base);
        let rest = target.path.get(self.base.len()..)?;
        (is_below && self.is_at(target)).then_some(if rest.is_empty() { "/" } else { rest })
    }

    /// The same for paths below this one alone.
    ///
    /// # Errors
    /// When it is no plain path.
    pub fn below(mut self, path: &str) -> Result<Rule, RuleError> {
        let path = path.trim_end_matches('/');
        // The path may be the operator's and hold a secret, so the error does not repeat it.
        check_prefix(path).map_err(|reason| RuleError(reason.to_owned()))?;
        self.path_prefix = path.to_owned();
        Ok(self)
    }

    /// Whether the rule allows this target. A placeholder in the path has to stand where the rule's
    /// prefix has one.
    pub fn allows(&self, target: &Target<'_>) -> bool {
        let is_filled = self.path_prefix.contains("{{");
        self.allows_origin_of(target)
            && begins_with_segments(&target.path, &self.path_prefix)
            && is_filled == target.placeholder.is_some()
    }

    /// Whether it allows anything of this target's origin.
    pub(super) fn allows_origin_of(&self, target: &Target<'_>) -> bool {
        (self.https || self.configured) && self.is_at(target)
    }

    fn is_at(&self, target: &Target<'_>) -> bool {
        self.https == target.https && self.port == target.port && self.host.matches(&target.host)
    }
}

impl HostPattern {
    fn parse(pattern: &str) -> Result<HostPattern, RuleError> {
        let pattern = pattern.to_ascii_lowercase();
        let wrong = |reason: &str| RuleError(format!("host {pattern:?}: {reason}"));
        let (suffix, name) = match pattern.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, pattern.as_str()),
        };
        match Host::parse(name).map_err(wrong)? {
            Host::Address(_) if suffix => Err(wrong("an address has no names below it")),
            Host::Address(address) => Ok(HostPattern::Address(address)),
            Host::Name(name) if suffix && !name.contains('.') => {
                Err(wrong("the suffix has one label, which is too wide"))
            }
            Host::Name(name) if suffix => Ok(HostPattern::Suffix(format!(".{name}"))),
            Host::Name(name) => Ok(HostPattern::Name(name.into_owned())),
        }
    }

    fn matches(&self, host: &Host<'_>) -> bool {
        match (self, host) {
            (HostPattern::Name(pattern), Host::Name(name)) => pattern == name,
            // A host has no empty labels, so what stands before the suffix is a whole label.
            (HostPattern::Suffix(suffix), Host::Name(name)) => {
                name.len() > suffix.len() && name.ends_with(suffix.as_str())
            }
            (HostPattern::Address(pattern), Host::Address(address)) => pattern == address,
            _ => false,
        }
    }
}

/// The same of a rule, whose placeholder is spelled out.
fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    match check_path(prefix)? {
        Some(placeholder) if placeholder.spelled_out(prefix) != prefix => {
            Err("the placeholder is percent-encoded: write {{name}}")
        }
        _ => Ok(()),
    }
}

fn begins_with_segments(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &Rule, url: &str) -> bool {
        url.parse::<Uri>()
            .is_ok_and(|uri| Target::of(&uri).is_ok_and(|target| rule.allows(&target)))
    }

    #[test]
    fn names_match_exactly_and_in_any_case() {
        let rule = Rule::new("https", "ilinkai.weixin.qq.com", None, "").unwrap();
        for url in [
            "https://ilinkai.weixin.qq.com",
            "https://ilinkai.weixin.qq.com/",
            "https://ilinkai.weixin.qq.com:443/a/b?c=..%2f",
            "HTTPS://ILINKAI.weixin.qq.com/a",
        ] {
            assert!(allows(&rule, url), "{url}");
        }
        for url in [
            "http://ilinkai.weixin.qq.com/",
            "http://ilinkai.weixin.qq.com:443/",
            "ws://ilinkai.weixin.qq.com/",
            "file:///etc/passwd",
            "/relative",
            "https://ilinkai.weixin.qq.com:80/",
            "https://ilinkai.weixin.qq.com:8443/",
            "https://ilinkai.weixin.qq.com:0443x/",
            "https://ilinkai.weixin.qq.com:/",
            "https://ilinkai.weixin.qq.com:+443/",
            "https://ilinkai.weixin.qq.com:65979/",
            "https://weixin.qq.com/",
            "https://x.ilinkai.weixin.qq.com/",
            "https://ilinkai.weixin.qq.com.evil.com/",
            "https://evililinkai.weixin.qq.com/",
            "https://ilinkai.weixin.qq.com./",
            "https://ilinkai.weixin.qq.com../",
            "https://.ilinkai.weixin.qq.com/",
            "https://ilinkai..weixin.qq.com/",
            "https://ilinkai.weixin.qq.com@evil.com/",
            "https://ilinkai.weixin.qq.com:443@evil.com/",
            "https://user@ilinkai.weixin.qq.com/",
            "https://user:password@ilinkai.weixin.qq.com/",
            "https://evil.com/@ilinkai.weixin.qq.com/",
            "https://evil.com#@ilinkai.weixin.qq.com/",
            "https://evil.com?@ilinkai.weixin.qq.com/",
            r"https://evil.com\@ilinkai.weixin.qq.com/",
            "https://ilinkai.weixin.qq.com%2eevil.com/",
            "https://ilinkai.weixin.qq.com%00.evil.com/",
            "https://ilinkai%2eweixin.qq.com/",
            "https://ilinkai.weixin。qq.com/",
            "https://ilinkai.weixin.qq.cоm/",
            "https://xn--ilinkai-9c7e.weixin.qq.com/",
            "https://[ilinkai.weixin.qq.com]/",
        ] {
            assert!(!allows(&rule, url), "{url}");
        }
    }

    #[test]
    fn suffixes_match_whole_labels_before_them() {
        let rule = Rule::new("https", "*.Weixin.qq.com", None, "/").unwrap();
        for url in [
            "https://ilinkai.weixin.qq.com/",
            "https://a.b.weixin.qq.com/",
            "https://xn--fiq228c.weixin.qq.com/",
        ] {
            assert!(allows(&rule, url), "{url}");
        }
        for url in [
            "https://weixin.qq.com/",
            "https://.weixin.qq.com/",
            "https://evilweixin.qq.com/",
            "https://ilinkai.weixin.qq.com.evil.com/",
            "https://a.weixin.qq.com./",
            "https://*.weixin.qq.com/",
        ] {
            assert!(!allows(&rule, url), "{url}");
        }
    }

    #[test]
    fn numbers_are_no_names() {
        for url in [
            "https://2130706433/",
            "https://0x7f000001/",
            "https://127.1/",
            "https://0177.0.0.1/",
            "https://example.0x7f/",
            "https://[::1/",
            "https://[::1]x/",
            "https://[fe80::1%25eth0]/",
        ] {
            let uri = url.parse::<Uri>();
            assert!(uri.is_err() || Target::of(&uri.unwrap()).is_err(), "{url}");
        }
    }

    #[test]
    fn path_prefixes_match_whole_segments() {
        let rule = Rule::new("https", "example.com", None, "/ilink/bot").unwrap();
        let slash = Rule::new("https", "example.com", None, "/ilink/bot/").unwrap();
        for path in ["/ilink/bot/getupdates", "/ilink/bot/", "/ilink/bot/a%20b"] {
            let url = format!("https://example.com{path}");
            assert!(allows(&rule, &url) && allows(&slash, &url), "{url}");
        }
        assert!(allows(&rule, "https://example.com/ilink/bot"));
        assert!(!allows(&slash, "https://example.com/ilink/bot"));
        for path in [
            "/",
            "/ilink/bots",
            "/ilink/botx/y",
            "/ILINK/bot",
            "//ilink/bot",
            "/ilink%2fbot",
            "/ilink/bot/../secret",
            "/ilink/bot/..",
            "/ilink/bot/./x",
            "/ilink/bot/..;x/secret",
            "/ilink/bot/%2e%2E/secret",
            "/ilink/bot/.%2e/secret",
            "/ilink/bot/%252e%252e/secret",
            "/ilink/bot/..%2fsecret",
            "/ilink/bot/..%5Csecret",
            "/ilink/bot/%00",
            "/ilink/bot/{{bot-token}}",
            "/ilink/bot/%7B%7bbot-token}}",
        ] {
            let url = format!("https://example.com{path}");
            assert!(!allows(&rule, &url) && !allows(&slash, &url), "{url}");
        }
    }

    #[test]
    fn a_placeholder_stands_where_the_prefix_has_it_and_nowhere_else() {
        let rule = Rule::new("https", "example.com", None, "/x/bot{{token}}").unwrap();
        for path in [
            "/x/bot{{token}}",
            "/x/bot{{token}}/getMe",
            "/x/bot%7B%7Btoken%7D%7D/getMe",
        ] {
            assert!(
                allows(&rule, &format!("https://example.com{path}")),
                "{path}"
            );
        }
        for path in [
            "/x/bot/getMe",
            "/x/bot1234/getMe",
            "/x/bot{{other}}/getMe",
            "/x/bot{{token}}x/getMe",
            "/x/{{token}}/getMe",
            "/bot{{token}}/getMe",
            "/x/y/bot{{token}}/getMe",
            "/x/bot{{token}}/{{token}}",
            "/x/bot{{token}}{{token}}",
            "/x/bot{{token}}/../{{token}}",
            "/x/bot%257B%257Btoken%257D%257D/getMe",
        ] {
            assert!(
                !allows(&rule, &format!("https://example.com{path}")),
                "{path}"
            );
        }
        // A rule without a placeholder is for no path with one.
        let all = Rule::new("https", "example.com", None, "").unwrap();
        assert!(!allows(&all, "https://example.com/x/bot{{token}}/getMe"));
        for prefix in ["/bot{{a}}{{b}}", "/bot{{}}", "/bot%7B%7Btoken%7D%7D"] {
            assert!(
                Rule::new("https", "example.com", None, prefix).is_err(),
                "{prefix}"
            );
        }
        for url in ["http://h/{{token}}", "http://h/%7b%7btoken%7d%7d"] {
            assert!(Rule::configured(url).is_err(), "{url}");
        }
    }

    #[test]
    fn configured_origins_are_allowed_as_they_are() {
        let rule = Rule::configured("http://127.0.0.1:8080/base/").unwrap();
        assert!(allows(&rule, "http://127.0.0.1:8080/other"));
        assert!(!allows(&rule, "http://127.0.0.1:8081/"));
        assert!(!allows(&rule, "https://127.0.0.1:8080/"));
        assert!(!allows(&rule, "http://localhost:8080/"));
        let rule = Rule::configured("http://[::1]").unwrap();
        assert!(allows(&rule, "http://[0:0:0:0:0:0:0:1]:80/x"));
        for url in [
            "",
            "127.0.0.1:80",
            "http://",
            "http://u:hunter2@host",
            "ftp://host",
        ] {
            let error = Rule::configured(url).unwrap_err().to_string();
            assert!(
                error.contains("http(s)://") && !error.contains("hunter2"),
                "{url}: {error}"
            );
        }
    }

    #[test]
    fn plain_http_needs_the_operator() {
        let mut rule = Rule::new("http", "example.com", None, "").unwrap();
        assert!(!allows(&rule, "http://example.com/"));
        rule.configured = true;
        assert!(allows(&rule, "http://example.com/"));
    }

    #[test]
    fn rules_that_are_too_wide_or_unclear_are_refused() {
        for (scheme, host, port, path) in [
            ("ftp", "example.com", None, ""),
            ("https", "", None, ""),
            ("https", "*", None, ""),
            ("https", "*.com", None, ""),
            ("https", "*.*.com", None, ""),
            ("https", "a*.example.com", None, ""),
            ("https", "*.127.0.0.1", None, ""),
            ("https", "example.com:443", None, ""),
            ("https", "example.com", Some(0), ""),
            ("https", "example.com", None, "ilink"),
            ("https", "example.com", None, "/a/../b"),
        ] {
            assert!(
                Rule::new(scheme, host, port, path).is_err(),
                "{host} {path}"
            );
        }
    }
}
