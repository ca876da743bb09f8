//! Origins that are pinned for the component of a platform.

use gateway_host::egress::pins;

use super::{wecom, weixin};

/// A platform and an origin that its component may reach, as `PLATFORM=ORIGIN`.
pub(super) fn read(text: &str) -> Result<(String, String), String> {
    let (platform, origin) = text.split_once('=').ok_or(
        "names no platform: write PLATFORM=ORIGIN, such as weixin=https://ilinkai.weixin.qq.com",
    )?;
    check(platform, origin).map_err(|why| format!("is refused: {why}"))?;
    Ok((platform.to_owned(), origin.to_owned()))
}

/// Checks an origin that a platform may reach.
///
/// # Errors
/// One line, without a name of where it stands and without the origin.
pub(super) fn check(platform: &str, origin: &str) -> Result<(), String> {
    if ![weixin::PLATFORM, wecom::PLATFORM].contains(&platform) {
        return Err(format!(
            "the platform is unknown: use {} or {}",
            weixin::PLATFORM,
            wecom::PLATFORM
        ));
    }
    // The error of the rule names the origin, which may have a password in it.
    pins::rule(origin).map_err(|_| {
        "an origin is refused: write https://, a host and a port where it is not 443, without user, \
         path and query"
    })?;
    Ok(())
}
