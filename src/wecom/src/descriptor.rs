//! What the component says of itself.

use std::time::Duration;

use gateway_channel_sdk::message::MediaKind;
use gateway_channel_sdk::platform::{Capture, Description, Egress, Keeping, Placement};
use gateway_channel_sdk::settings::Defaults;
use gateway_channel_sdk::split::Unit;

use crate::{MAX_TEXT_BYTES, SECRET_CREDENTIAL as SECRET, TOKEN_CREDENTIAL as TOKEN};

/// Where the API is unless the operator says otherwise.
const HOST: &str = "qyapi.weixin.qq.com";
/// The same where the operator does.
const CONFIGURED: &str = "{api-base-url}";
/// An access token that was given is a sign of life for twice this long; it is renewed before.
const HOLD: Duration = Duration::from_secs(2 * 3600);

/// The description. Any number of messages may be sent, whenever a person last wrote.
pub fn describe() -> Description {
    let api = |host| {
        [
            ("/cgi-bin/gettoken", SECRET),
            ("/cgi-bin/message/send", TOKEN),
            ("/cgi-bin/media/upload", TOKEN),
            ("/cgi-bin/media/get", TOKEN),
        ]
        .map(|(path, credential)| Egress::https(host, path).with(credential, Placement::Query))
    };
    Description {
        defaults: Defaults {
            max_text: MAX_TEXT_BYTES,
            unit: Unit::Bytes,
            ..Defaults::default()
        },
        media: vec![
            MediaKind::Image,
            MediaKind::Voice,
            MediaKind::Video,
            MediaKind::File,
        ],
        hold: HOLD,
        trouble: "there is no access token",
        egress: api(HOST).into_iter().chain(api(CONFIGURED)).collect(),
        origins: vec!["api-base-url"],
        captures: vec![Capture {
            path_prefix: "/cgi-bin/gettoken",
            json_pointer: "/access_token",
            credential: TOKEN,
            keep: Keeping::InUse,
        }],
        ..Description::new(
            env!("CARGO_PKG_VERSION"),
            include_str!("../config.schema.json"),
        )
    }
}

#[cfg(test)]
mod tests {
    use gateway_channel_sdk::policy::Policy;
    use gateway_channel_sdk::settings::Settings;

    use super::*;

    #[test]
    fn sends_are_not_counted_unless_asked() {
        let settings = |changed: &'static [(&'static str, &'static str)]| {
            let lookup = |key: &str| {
                let mut entries = changed.iter().chain(&[("account-id", "ww1/1000002")]);
                let entry = entries.find(|(name, _)| *name == key);
                entry.map(|(_, value)| (*value).to_owned())
            };
            Settings::read(&lookup, &describe().defaults).unwrap()
        };
        let shared = settings(&[]);
        assert_eq!((shared.allowance.sends, shared.allowance.window_ms), (0, 0));
        assert_eq!(shared.limits.size, MAX_TEXT_BYTES);
        assert_eq!(shared.access.direct, Policy::Open);
        let counted = settings(&[("sends-per-message", "3")]);
        assert_eq!(counted.allowance.sends, 3);
    }
}
