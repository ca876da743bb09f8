//! What the component says of itself.

use std::time::Duration;

use gateway_channel_sdk::message::MediaKind;
use gateway_channel_sdk::platform::{Capture, Description, Egress, Keeping, Placement};
use gateway_channel_sdk::settings::Defaults;
use gateway_channel_sdk::split::Unit;

use crate::{MAX_TEXT_BYTES, TOKEN_CREDENTIAL, api};

/// The description.
pub fn describe() -> Description {
    // An edge of another region is told by a login.
    let api = |host| Egress::https(host, "/ilink/bot/").with(TOKEN_CREDENTIAL, Placement::Header);
    // Which bots the person has already; the one place where a body holds the token.
    let code = |host| {
        let code = Egress::https(host, "/ilink/bot/get_bot_qrcode");
        code.with(TOKEN_CREDENTIAL, Placement::JsonBody)
    };
    // Where the server says that media are; the token never goes there.
    let media = |host| Egress::https(host, "/");
    Description {
        defaults: Defaults {
            max_text: MAX_TEXT_BYTES,
            unit: Unit::Bytes,
            sends_per_message: 10,
            reply_window: Duration::from_secs(24 * 3600),
            ..Defaults::default()
        },
        media: vec![MediaKind::Image, MediaKind::Video, MediaKind::File],
        typing_refresh: Some(Duration::from_secs(5)),
        hold: api::DEFAULT_HOLD,
        egress: vec![
            api("*.weixin.qq.com"),
            api("*.wechat.com"),
            api("{base-url}"),
            code("ilinkai.weixin.qq.com"),
            code("{base-url}"),
            media("*.weixin.qq.com"),
            media("*.wechat.com"),
            media("{cdn-base-url}"),
        ],
        origins: vec!["base-url", "cdn-base-url"],
        captures: vec![Capture {
            path_prefix: "/ilink/bot/get_qrcode_status",
            json_pointer: "/bot_token",
            credential: TOKEN_CREDENTIAL,
            keep: Keeping::Aside,
        }],
        ..Description::new(
            env!("CARGO_PKG_VERSION"),
            include_str!("../config.schema.json"),
        )
    }
}

#[cfg(test)]
mod tests {
    use gateway_channel_sdk::settings::Settings;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documents() {
        let lookup = |key: &str| (key == "account-id").then(|| "bot".to_owned());
        let settings = Settings::read(&lookup, &describe().defaults).unwrap();
        assert_eq!(settings.limits.chars, 2000);
        assert_eq!(settings.limits.size, 16_000);
        assert_eq!(settings.send_interval, Duration::from_secs(1));
        assert_eq!(settings.max_parts, 10);
        assert_eq!(settings.allowance.sends, 10);
        assert_eq!(settings.allowance.window_ms, 24 * 3_600_000);
    }
}
