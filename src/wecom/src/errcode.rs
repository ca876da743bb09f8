//! The platform's result codes (全局错误码), as far as someone can act on them.

use super::wire::Status;
use gateway_channel_sdk::error::ErrorKind;

/// The caller's address is not among those of the app.
const ADDRESS_NOT_ALLOWED: i64 = 60020;
/// What of the platform's own words is passed on, in characters.
const MAX_WORDS: usize = 100;

/// Whether the access token is missing, invalid or expired.
pub fn wants_new_token(errcode: i64) -> bool {
    matches!(errcode, 40014 | 41001 | 42001)
}

/// Who must act.
pub fn kind(errcode: i64) -> ErrorKind {
    match errcode {
        // The platform is busy.
        -1 => ErrorKind::Transient,
        // Renewed already, and refused again: another process may have renewed it meanwhile.
        code if wants_new_token(code) => ErrorKind::Transient,
        // A wrong secret or corp id.
        40001 | 40013 | 41004 => ErrorKind::LoginRequired,
        // A wrong user id, no such user, no recipient at all; no such media, or no longer.
        40003 | 60111 | 81013 | 40007 => ErrorKind::NotFound,
        // Calls within a time, calls at once.
        45009 | 45033 => ErrorKind::RateLimited,
        // Empty content; bad parameters, type or size of media.
        44004 | 40058 | 40004 | 40005 | 40006 => ErrorKind::Invalid,
        // Media, content.
        45001 | 45002 => ErrorKind::TooLarge,
        _ => ErrorKind::Forbidden,
    }
}

/// The code verbatim, with the start of the platform's words.
pub fn platform(status: &Status) -> String {
    let mut text = format!("errcode={}", status.errcode);
    if let Some(errmsg) = &status.errmsg {
        text.push_str(" errmsg=");
        let words = errmsg.chars().filter(|char| !char.is_control());
        text.extend(words.take(MAX_WORDS));
    }
    text
}

/// What is wrong and what to do, for people.
pub fn sentence(status: &Status) -> String {
    let why = platform(status);
    match status.errcode {
        ADDRESS_NOT_ALLOWED => {
            let address = status.errmsg.as_deref().and_then(address);
            let address = address.map(|address| format!(" {address}"));
            format!(
                "WeCom takes no calls of the app from this machine's address{}: add it to the app's \
                 trusted addresses (企业可信IP) ({why})",
                address.unwrap_or_default()
            )
        }
        40001 | 40013 | 41004 => format!(
            "WeCom refuses the app's credential ({why}): the secret and corp-id must be those of the \
             app's page"
        ),
        code if wants_new_token(code) => format!("WeCom refuses the access token ({why})"),
        _ => format!("WeCom refused ({why})"),
    }
}

/// The address in words such as `not allow to access from your ip, …, from ip: 192.0.2.1, more info`.
fn address(errmsg: &str) -> Option<std::net::IpAddr> {
    let (_, rest) = errmsg.split_once("from ip:")?;
    let rest = rest.trim_start();
    let end = rest.find([',', ' ', ';']).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}
