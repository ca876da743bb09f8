//! `getuploadurl`: allows an upload, after looking at each field that announces it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ServerState;
use super::account::Bot;
use super::cdn::Announced;
use super::cipher::{Key, is_hex32, padded};
use super::faults::UploadUrl;
use super::files::MediaKind;

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
    let ticket = server.cdn.announce(Announced {
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

#[cfg(test)]
mod tests {
    use super::super::client::{Client, announcement, strict_simulator};
    use super::*;

    const ALICE: &str = "wxid_alice@im.wechat";

    #[tokio::test]
    async fn an_upload_is_allowed_in_each_form() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        simulator.say(ALICE, "hi");
        for (fault, full_url, param) in [
            (json!(null), true, false),
            (json!({"answer": "param"}), false, true),
            (json!({"answer": "both"}), true, true),
            (json!({"answer": "neither"}), false, false),
        ] {
            simulator.faults(&json!({"getuploadurl": fault})).unwrap();
            let answer = client
                .call("getuploadurl", announcement(ALICE, 3, b"abc"))
                .await;
            assert_eq!(answer["ret"], 0);
            assert_eq!(answer["upload_full_url"].is_string(), full_url, "{answer}");
            assert_eq!(answer["upload_param"].is_string(), param, "{answer}");
        }
        let hostile = "http://169.254.169.254/latest/meta-data";
        let fault = json!({"answer": "param", "upload_full_url": hostile, "times": 1});
        let base = "http://cdn.test:1/c2c/";
        simulator
            .faults(&json!({"getuploadurl": fault, "cdn_base_url": base}))
            .unwrap();
        let body = announcement(ALICE, 3, b"abc");
        let answer = client.call("getuploadurl", body.clone()).await;
        assert_eq!(answer["upload_full_url"], hostile);
        assert!(answer["upload_param"].is_string());
        let answer = client.call("getuploadurl", body).await;
        let url = answer["upload_full_url"].as_str().unwrap();
        assert!(url.starts_with("http://cdn.test:1/c2c/upload?"), "{url}");
        assert_eq!(simulator.violations(), Vec::<String>::new());
        assert_eq!(simulator.counters().upload_urls, 6);
    }

    #[tokio::test]
    async fn each_wrong_field_is_refused_and_named() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        simulator.say(ALICE, "hi");
        for (field, value) in [
            ("filekey", json!("0123")),
            ("filekey", json!(null)),
            ("media_type", json!(0)),
            ("media_type", json!("1")),
            ("to_user_id", json!("")),
            ("rawsize", json!("3")),
            ("rawsize", json!(-3)),
            ("rawfilemd5", json!("x")),
            ("filesize", json!(3)),
            ("filesize", json!(32)),
            ("no_need_thumb", json!(false)),
            ("aeskey", json!("00112233445566778899AABBCCDDEEFF")),
            ("aeskey", json!("ABEiM0RVZneImaq7zN3u/w==")),
        ] {
            let before = simulator.violations().len();
            let mut body = announcement(ALICE, 3, b"abc");
            body[field] = value.clone();
            let answer = client.call("getuploadurl", body).await;
            let text = answer.to_string();
            assert!(
                !text.contains("http") && answer["upload_param"].as_str().is_none_or(str::is_empty),
                "{field} {value}: {answer}"
            );
            let violations = &simulator.violations()[before..];
            assert!(
                violations.iter().any(|sentence| sentence.contains(field)),
                "{field} {value}: {violations:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_unknown_person_is_refused_and_no_fault_of_the_client() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        let body = announcement("wxid_nobody@im.wechat", 3, b"abc");
        assert_eq!(client.call("getuploadurl", body).await["ret"], -1);
        assert_eq!(simulator.violations(), Vec::<String>::new());
        simulator.say(ALICE, "hi");
        let mut body = announcement(ALICE, 3, b"abc");
        body["thumb_rawsize"] = json!(1);
        assert_eq!(client.call("getuploadurl", body).await["ret"], 0);
        assert_eq!(simulator.violations().len(), 1);
    }
}
