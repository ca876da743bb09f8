//! `getuploadurl`: allows an upload, after looking at each field that announces it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cipher::{Key, is_hex32, padded};
use super::media_kind::MediaKind;
use super::state::{Announced, Bot, ServerState};
use crate::faults::UploadUrl;

/// The answer to a person that the server does not know.
const UNKNOWN_USER: &str = r#"{"ret":-1,"errmsg":"invalid to_user_id"}"#;
/// The answer to other wrong fields: a refusal without URL.
const REFUSED: &str = r#"{"ret":-2}"#;
/// The answer without `filekey` or `no_need_thumb`, as the real server gives it.
const NO_URL: &str = r#"{"ret":0,"upload_param":"","thumb_upload_param":""}"#;

/// Answers `getuploadurl` with what `given` says.
pub(super) fn getuploadurl(
    server: &ServerState,
    bot: &Arc<Bot>,
    body: &Value,
    given: &UploadUrl,
) -> String {
    let mut wrong = Vec::new();
    let filekey = hex(body, "filekey");
    let key = body["aeskey"].as_str().and_then(Key::of_hex);
    let md5 = hex(body, "rawfilemd5");
    let kind = MediaKind::of_media_type(&body["media_type"]);
    let size = body["rawsize"].as_u64();
    let sealed = body["filesize"].as_u64();
    let user = body["to_user_id"].as_str().filter(|user| !user.is_empty());
    let no_thumb = body["no_need_thumb"] == true;
    for (right, sentence) in [
        (filekey.is_some(), "filekey is not 32 hex digits"),
        (kind.is_some(), "media_type is none of 1, 2, 3 and 4"),
        (user.is_some(), "to_user_id is missing"),
        (size.is_some(), "rawsize is no number of bytes"),
        (md5.is_some(), "rawfilemd5 is no MD5 in hex"),
        (
            size.is_none() || sealed == size.map(padded),
            "filesize is not rawsize padded to the next block of 16",
        ),
        (no_thumb, "no_need_thumb is not true"),
        (key.is_some(), "aeskey is not 32 lower-case hex digits"),
        (body["base_info"].is_object(), "base_info is missing"),
    ] {
        if !right {
            wrong.push(sentence);
        }
    }
    for sentence in &wrong {
        server.violation(format!("getuploadurl: {sentence}"));
    }
    let (Some(filekey), true) = (filekey, no_thumb) else {
        return NO_URL.to_owned();
    };
    let (Some(key), Some(md5), Some(kind), Some(size), Some(user), true) =
        (key, md5, kind, size, user, wrong.is_empty())
    else {
        return REFUSED.to_owned();
    };
    let base = {
        let state = bot.lock();
        let person = state.people.get(user);
        if person.is_none_or(|person| person.wrote_at.is_none()) {
            return UNKNOWN_USER.to_owned();
        }
        state.rules.cdn_base_url.clone()
    };
    let ticket = server.files.announce(Announced {
        bot: bot.clone(),
        user: user.to_owned(),
        filekey: filekey.clone(),
        kind,
        size,
        md5: md5.to_lowercase(),
        key,
    });
    let mut answer = json!({"ret": 0, "thumb_upload_param": ""});
    if given.reference.has_param() {
        answer["upload_param"] = ticket.as_str().into();
    }
    if let Some(hostile) = &given.full_url {
        answer["upload_full_url"] = hostile.as_str().into();
    } else if given.reference.has_full_url() {
        let url = server.upload_url(base.as_deref(), &ticket, &filekey);
        answer["upload_full_url"] = url.into();
    }
    answer.to_string()
}

/// 16 bytes in hex of any case.
fn hex(body: &Value, key: &str) -> Option<String> {
    let text = body[key].as_str()?;
    is_hex32(&text.to_ascii_lowercase()).then(|| text.to_owned())
}
