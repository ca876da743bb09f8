//! What the wecom component says of itself.

use crate::component::bindings::exports::gateway::channel::meta::{
    Capture, CredentialUse, Descriptor, Egress, Keeping, Placement,
};
use crate::component::bindings::gateway::channel::types as wit;
use crate::{SECRET_CREDENTIAL as SECRET, TOKEN_CREDENTIAL as TOKEN};
use gateway_channel_sdk::store::STATE_VERSION;

/// Where the API is unless the operator says otherwise.
const HOST: &str = "qyapi.weixin.qq.com";
/// The same where the operator does.
const CONFIGURED: &str = "{api-base-url}";

/// The component's description.
pub fn descriptor() -> Descriptor {
    let egress = |host: &str, path: &str, credential: &str| Egress {
        scheme: "https".to_owned(),
        host: host.to_owned(),
        port: None,
        path_prefix: path.to_owned(),
        credential: Some(CredentialUse {
            name: credential.to_owned(),
            placement: Placement::Query,
        }),
    };
    let api = |host: &str| {
        [
            egress(host, "/cgi-bin/gettoken", SECRET),
            egress(host, "/cgi-bin/message/send", TOKEN),
            egress(host, "/cgi-bin/media/upload", TOKEN),
            egress(host, "/cgi-bin/media/get", TOKEN),
        ]
    };
    Descriptor {
        platform: "wecom".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        text_limit: 2000,
        media: vec![
            wit::MediaKind::Image,
            wit::MediaKind::Voice,
            wit::MediaKind::Video,
            wit::MediaKind::File,
        ],
        typing_refresh: None,
        reply_window: None,
        egress: api(HOST).into_iter().chain(api(CONFIGURED)).collect(),
        origins: vec!["api-base-url".to_owned()],
        captures: vec![Capture {
            path_prefix: "/cgi-bin/gettoken".to_owned(),
            json_pointer: "/access_token".to_owned(),
            credential: TOKEN.to_owned(),
            keep: Keeping::InUse,
        }],
        config_schema: include_str!("../../../../wecom/config.schema.json").to_owned(),
        state_version: STATE_VERSION,
        state_reads_from: STATE_VERSION,
    }
}
