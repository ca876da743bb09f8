//! Which URLs the server may name: those of the platform's hosts over https, and those of the origins
//! that the operator configured.

use super::WeixinConfig;
use gateway_channel_sdk::error::{Error, ErrorKind};

/// These, and names below them.
const PLATFORM: [&str; 2] = ["weixin.qq.com", "wechat.com"];

/// The rule for URLs that the server names, under one configuration.
#[derive(Debug, Clone, Copy)]
pub struct UrlPolicy<'a>(pub &'a WeixinConfig);

impl UrlPolicy<'_> {
    /// The URL, if it leads to the platform or to a configured origin.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn check(self, url: &str) -> Result<String, Error> {
        let is_allowed = match origin(url) {
            Some(("https", authority)) => is_platform(authority),
            _ => false,
        };
        let is_configured = [&self.0.qr_base_url, &self.0.cdn_base_url]
            .into_iter()
            .any(|base| origin(url).is_some() && origin(url) == origin(base));
        if is_allowed || is_configured {
            return Ok(url.to_owned());
        }
        Err(Error::new(
            ErrorKind::Forbidden,
            "the server named a URL that is neither the platform's nor configured: it is not opened",
        ))
    }

    /// The base of an API at a host that the server names: over https for a host of the platform, and
    /// the configured URL for the host of that URL.
    pub fn base_of_host(self, host: &str) -> Option<String> {
        let url = format!("https://{host}/");
        if is_platform(host) {
            return Some(url);
        }
        let (_, authority) = origin(&self.0.qr_base_url)?;
        (authority == host).then(|| self.0.qr_base_url.clone())
    }
}

/// Scheme and authority; none for what is not plainly a URL of printable ASCII.
fn origin(url: &str) -> Option<(&str, &str)> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    Some((scheme, rest.get(..end)?))
}

/// A name of the platform, in lower case, without user, port or trailing dot.
fn is_platform(authority: &str) -> bool {
    let is_name = authority
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    is_name
        && PLATFORM.iter().any(|suffix| {
            authority
                .strip_suffix(suffix)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
}

/// As `encodeURIComponent` does.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~!*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(base_url: &str, cdn_base_url: &str) -> WeixinConfig {
        WeixinConfig {
            base_url: base_url.into(),
            qr_base_url: base_url.into(),
            cdn_base_url: cdn_base_url.into(),
            bot_agent: String::new(),
        }
    }

    fn platform() -> WeixinConfig {
        config(
            "https://ilinkai.weixin.qq.com/",
            "https://novac2c.cdn.weixin.qq.com/c2c/",
        )
    }

    #[test]
    fn a_url_of_the_server_must_be_the_platforms() {
        for url in [
            "https://novac2c.cdn.weixin.qq.com/c2c/download?x=1",
            "https://weixin.qq.com/",
            "https://a.wechat.com?x",
        ] {
            assert!(UrlPolicy(&platform()).check(url).is_ok(), "{url}");
        }
        for url in [
            "http://novac2c.cdn.weixin.qq.com/",
            "https://novac2c.cdn.weixin.qq.com:444/",
            "https://novac2c.cdn.weixin.qq.com:443/",
            "https://weixin.qq.com.evil.com/",
            "https://evilweixin.qq.com/",
            "https://user@weixin.qq.com/",
            "https://weixin.qq.com@evil.com/",
            "https://weixin.qq.com./",
            "https://WEIXIN.qq.com/",
            "https://evil.com\\.weixin.qq.com/",
            "https://evil.com#.weixin.qq.com",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "//weixin.qq.com/",
            "weixin.qq.com/",
            "https://weixin.qq.com/\r\nHost: x",
            "https://wéixin.qq.com/",
            "",
        ] {
            let error = UrlPolicy(&platform()).check(url).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Forbidden, "{url}");
        }
    }

    #[test]
    fn a_configured_origin_is_allowed_as_it_is() {
        let config = config("http://127.0.0.1:5000/", "http://127.0.0.1:5001/c2c/");
        assert!(
            UrlPolicy(&config)
                .check("http://127.0.0.1:5001/other?x")
                .is_ok()
        );
        assert!(UrlPolicy(&config).check("http://127.0.0.1:5000").is_ok());
        assert!(UrlPolicy(&config).check("http://127.0.0.1:5002/").is_err());
        assert!(UrlPolicy(&config).check("https://127.0.0.1:5001/").is_err());
    }

    #[test]
    fn a_host_of_the_server_must_be_the_platforms_or_the_configured_one() {
        let config = config("http://127.0.0.1:5000/x/", "http://127.0.0.1:5001/c2c/");
        let base = |host| UrlPolicy(&config).base_of_host(host);
        assert_eq!(
            base("ilinkai.wechat.com").as_deref(),
            Some("https://ilinkai.wechat.com/")
        );
        assert_eq!(
            base("127.0.0.1:5000").as_deref(),
            Some("http://127.0.0.1:5000/x/")
        );
        for host in [
            "127.0.0.1",
            "127.0.0.1:5001",
            "evil.com",
            "weixin.qq.com/x",
            "",
            "a@weixin.qq.com",
        ] {
            assert_eq!(base(host), None, "{host}");
        }
    }
}
