//! What the weixin component says of itself.

use crate::TOKEN_CREDENTIAL;
use crate::component::bindings::exports::gateway::channel::meta::{
    Capture, CredentialUse, Descriptor, Egress, Keeping, Placement,
};
use crate::component::bindings::gateway::channel::types as wit;
use gateway_channel_sdk::store::STATE_VERSION;

/// The component's description.
pub fn descriptor() -> Descriptor {
    let token = |placement| {
        Some(CredentialUse {
            name: TOKEN_CREDENTIAL.to_owned(),
            placement,
        })
    };
    let egress = |host: &str, path: &str, placement| Egress {
        scheme: "https".to_owned(),
        host: host.to_owned(),
        port: None,
        path_prefix: path.to_owned(),
        credential: token(placement),
    };
    // An edge of another region is told by a login.
    let api = |host: &str| egress(host, "/ilink/bot/", Placement::Header);
    // Which bots the person has already; the one place where a body holds the token.
    let code = |host: &str| egress(host, "/ilink/bot/get_bot_qrcode", Placement::JsonBody);
    // Where the server says that media are; the token never goes there.
    let media = |host: &str| Egress {
        scheme: "https".to_owned(),
        host: host.to_owned(),
        port: None,
        path_prefix: "/".to_owned(),
        credential: None,
    };
    Descriptor {
        platform: "weixin".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        text_limit: 2000,
        media: vec![
            wit::MediaKind::Image,
            wit::MediaKind::Video,
            wit::MediaKind::File,
        ],
        typing_refresh: Some(5000),
        reply_window: Some(24 * 3600 * 1000),
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
        origins: vec!["base-url".to_owned(), "cdn-base-url".to_owned()],
        captures: vec![Capture {
            path_prefix: "/ilink/bot/get_qrcode_status".to_owned(),
            json_pointer: "/bot_token".to_owned(),
            credential: TOKEN_CREDENTIAL.to_owned(),
            keep: Keeping::Aside,
        }],
        config_schema: include_str!("../../../../weixin/config.schema.json").to_owned(),
        state_version: STATE_VERSION,
        state_reads_from: STATE_VERSION,
    }
}
