//! The answer to a callback in the same exchange, sealed as callbacks are.
//!
//! A callback has one such answer at most, within five seconds, and nobody is told whether it arrived;
//! so what an agent says goes out through [`super::api::send_message`], unless the operator chose
//! otherwise ([`super::passive`]).

use serde_json::json;

use super::WecomConfig;
use super::crypto::Seal;
use super::xml::cdata;

/// A text as the platform's clients are to show it, not sealed yet; at most
/// [`super::MAX_TEXT_BYTES`].
pub fn text(config: &WecomConfig, user: &str, now_s: u64, text: &str) -> String {
    format!(
        "<xml><ToUserName>{}</ToUserName><FromUserName>{}</FromUserName>\
         <CreateTime>{now_s}</CreateTime><MsgType><![CDATA[text]]></MsgType>\
         <Content>{}</Content></xml>",
        cdata(user),
        cdata(&config.corp_id),
        cdata(text)
    )
}

/// What is new for each answer.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// The first bytes of the sealed content.
    pub random: [u8; 16],
    /// Seconds since the Unix epoch.
    pub now_s: u64,
    /// Told beside the content.
    pub nonce: u64,
}

/// The sealed answer of an app, as `application/xml`. None for content of more than 4 GiB.
pub fn xml(seal: &Seal, fresh: Fresh, content: &str) -> Option<String> {
    let (encrypt, signature) = sealed(seal, fresh, content)?;
    Some(format!(
        "<xml><Encrypt>{}</Encrypt><MsgSignature>{}</MsgSignature>\
         <TimeStamp>{}</TimeStamp><Nonce>{}</Nonce></xml>",
        cdata(&encrypt),
        cdata(&signature),
        fresh.now_s,
        cdata(&fresh.nonce.to_string())
    ))
}

/// The sealed answer of an AI bot, as `application/json`.
pub fn json(seal: &Seal, fresh: Fresh, content: &str) -> Option<String> {
    let (encrypt, signature) = sealed(seal, fresh, content)?;
    let answer = json!({
        "encrypt": encrypt,
        "msgsignature": signature,
        "timestamp": fresh.now_s,
        "nonce": fresh.nonce.to_string(),
    });
    Some(answer.to_string())
}

fn sealed(seal: &Seal, fresh: Fresh, content: &str) -> Option<(String, String)> {
    let encrypt = seal.encrypt(fresh.random, content.as_bytes())?;
    let signature = seal.sign(&fresh.now_s.to_string(), &fresh.nonce.to_string(), &encrypt);
    Some((encrypt, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback;
    use crate::crypto::Key;
    use crate::xml::parse;

    const FRESH: Fresh = Fresh {
        random: *b"0123456789abcdef",
        now_s: 1_409_659_813,
        nonce: 1_372_623_149,
    };

    fn config(receive_id: &str) -> WecomConfig {
        WecomConfig {
            base_url: String::new(),
            corp_id: "ww1234567890abcdef".into(),
            agent_id: 1,
            seal: Seal {
                token: "testToken123".into(),
                key: Key::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap(),
                receive_id: receive_id.into(),
            },
            passive_reply: true,
        }
    }

    #[test]
    fn an_answer_has_the_signature_of_its_own_content() {
        let config = config("ww1234567890abcdef");
        let answer = xml(&config.seal, FRESH, "你好").unwrap();
        let answer = parse(answer.as_bytes()).unwrap();
        assert_eq!(
            answer.text("MsgSignature"),
            Some("97880255260ae4896f58dfd595201ca88a4385e9")
        );
        assert_eq!(answer.text("TimeStamp"), Some("1409659813"));
        assert_eq!(answer.text("Nonce"), Some("1372623149"));
        let body = format!(
            "<xml><Encrypt>{}</Encrypt></xml>",
            answer.text("Encrypt").unwrap()
        );
        let query = "msg_signature=97880255260ae4896f58dfd595201ca88a4385e9\
                     &timestamp=1409659813&nonce=1372623149";
        let opened = callback::open(&config.seal, 1_409_659_813_000, query, body.as_bytes());
        assert_eq!(opened.as_deref(), Ok("你好".as_bytes()));
    }

    #[test]
    fn an_answer_of_a_bot_is_json() {
        let answer = json(&config("").seal, FRESH, r#"{"msgtype":"text"}"#).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            answer["msgsignature"],
            "da532375e4fbf30ceaf5ae8e419742c11f601ef5"
        );
        assert_eq!(answer["timestamp"], 1_409_659_813);
    }

    #[test]
    fn no_text_ends_its_own_section() {
        let content = "a]]><b>\u{0}\u{ffff}&amp;";
        let text = text(&config(""), "alice", 5, content);
        let text = parse(text.as_bytes()).unwrap();
        assert_eq!(text.text("Content"), Some("a]]><b>&amp;"));
        assert_eq!(text.text("ToUserName"), Some("alice"));
    }
}
