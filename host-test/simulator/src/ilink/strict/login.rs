//! The two requests of the login, which carry no token and tell less of the client.

use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::{Check, Found, is_uin};
use crate::ilink::endpoint::Endpoint;
use crate::query::names;

/// What the official client does otherwise in this request. `body` is an empty object where
/// there is none.
pub(crate) fn login(
    endpoint: Endpoint,
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
    body: &Value,
) -> Vec<String> {
    let mut found = Found::default();
    let app: [Check<'_>; 2] = [
        ("iLink-App-Id", "`bot`", &|value| value == "bot"),
        (
            "iLink-App-ClientVersion",
            "a version in three bytes",
            &is_client_version,
        ),
    ];
    let of_posts: [Check<'_>; 3] = [
        ("Content-Type", "`application/json`", &|value| {
            value == "application/json"
        }),
        ("AuthorizationType", "`ilink_bot_token`", &|value| {
            value == "ilink_bot_token"
        }),
        ("X-WECHAT-UIN", "the base64 of a decimal u32", &is_uin),
    ];
    found.headers(headers, &app);
    let mut without = vec!["Authorization"];
    let (needed, members): (&str, &[&str]) = if endpoint == Endpoint::GetBotQrcode {
        if method != Method::POST {
            found.add(format!("the official client does not {method} it"));
        }
        found.headers(headers, &of_posts);
        ("bot_type", &["local_token_list"])
    } else {
        without.extend(of_posts.map(|(name, ..)| name));
        ("qrcode", &[])
    };
    for name in without {
        if headers.contains_key(name) {
            found.add(format!("the header {name} is not sent here"));
        }
    }
    if !names(query).any(|name| name == needed) {
        found.add(format!("the parameter {needed} is missing"));
    }
    let is_known = |name: &&str| {
        *name == needed || *name == "verify_code" && endpoint == Endpoint::GetQrcodeStatus
    };
    for name in names(query).filter(|name| !is_known(name)) {
        found.add(format!("the parameter {name} is unknown"));
    }
    let wrapped = Value::Object(Map::from_iter([("the body".to_owned(), body.clone())]));
    found.members(&wrapped, "the body", members, &[]);
    found.0
}

/// `0x00MMNNPP` in decimal.
fn is_client_version(value: &str) -> bool {
    value
        .parse::<u32>()
        .is_ok_and(|number| number <= 0xff_ffff && number.to_string() == value)
}
