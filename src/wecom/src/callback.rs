//! What the platform asks and posts: the verification of a URL, and callbacks.
//!
//! The caller answers a verification with the bytes of [`verify`]. It answers a callback with 200 and an
//! empty body when the event of [`receive`] is stored. After five seconds without an answer the platform
//! repeats the callback, up to three times. Every [`Refusal`] is answered alike: with
//! [`REFUSED_STATUS`] and an empty body.

use serde::Deserialize;

use super::WecomConfig;
use super::crypto::{Refusal, Seal, Sealed};
use super::inbound::{self, Reading};
use super::query::parameter;
use super::xml;

/// The answer to all that is refused.
pub const REFUSED_STATUS: u16 = 403;
/// Longest query that is read.
pub const MAX_QUERY_BYTES: usize = 8 * 1024;
/// Longest body that is read. The text of a person has 2,048 bytes; what an AI bot is sent may have
/// quotes besides.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// What a query says of a sealed message.
struct Parameters<'a> {
    signature: std::borrow::Cow<'a, str>,
    timestamp: std::borrow::Cow<'a, str>,
    nonce: std::borrow::Cow<'a, str>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str) -> Result<Parameters<'a>, Refusal> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(Refusal::Format("its query is too long"));
        }
        let read = |name, missing| parameter(query, name).ok_or(Refusal::Format(missing));
        Ok(Parameters {
            signature: read("msg_signature", "its query has no msg_signature")?,
            timestamp: read("timestamp", "its query has no timestamp")?,
            nonce: read("nonce", "its query has no nonce")?,
        })
    }

    fn open(&self, seal: &Seal, now_ms: u64, encrypt: &str) -> Result<Vec<u8>, Refusal> {
        let sealed = Sealed {
            signature: &self.signature,
            timestamp: &self.timestamp,
            nonce: &self.nonce,
            encrypt,
        };
        seal.open(now_ms, sealed)
    }
}

/// Answers the verification of the URL, a GET with this query: the body to answer with, as it is.
/// `now_ms` is in milliseconds since the Unix epoch.
///
/// # Errors
/// [`Refusal`], for the log alone.
pub fn verify(seal: &Seal, now_ms: u64, query: &str) -> Result<Vec<u8>, Refusal> {
    let parameters = Parameters::read(query)?;
    let echo = parameter(query, "echostr").ok_or(Refusal::Format("its query has no echostr"))?;
    parameters.open(seal, now_ms, &echo)
}

/// Opens a callback of an app, a POST with this query and this XML.
///
/// # Errors
/// [`Refusal`], for the log alone.
pub fn open(seal: &Seal, now_ms: u64, query: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let parameters = Parameters::read(query)?;
    check_length(body)?;
    let envelope = xml::parse(body).map_err(Refusal::Format)?;
    let encrypt = envelope
        .text("Encrypt")
        .ok_or(Refusal::Format("its XML has no Encrypt"))?;
    parameters.open(seal, now_ms, encrypt)
}

/// Opens a callback of an AI bot, a POST with this query and this JSON; returns the JSON in it. The
/// seal of a bot has an empty receiver.
///
/// # Errors
/// [`Refusal`], for the log alone.
pub fn open_json(seal: &Seal, now_ms: u64, query: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    #[derive(Deserialize)]
    struct Envelope {
        encrypt: String,
    }
    let parameters = Parameters::read(query)?;
    check_length(body)?;
    let envelope: Envelope = serde_json::from_slice(body)
        .map_err(|_| Refusal::Format("its body is no JSON with encrypt"))?;
    parameters.open(seal, now_ms, &envelope.encrypt)
}

/// Opens a callback of an app and makes an event of it.
///
/// # Errors
/// [`Refusal`], for the log alone; also when it is for another app.
pub fn receive(
    config: &WecomConfig,
    now_ms: u64,
    query: &str,
    body: &[u8],
) -> Result<Reading, Refusal> {
    let message = open(&config.seal, now_ms, query, body)?;
    inbound::read(config, &message)
}

fn check_length(body: &[u8]) -> Result<(), Refusal> {
    match body.len() > MAX_BODY_BYTES {
        true => Err(Refusal::Format("its body is too long")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::Key;
    use crate::query::encoded;

    const NOW_MS: u64 = 1_409_659_813_000;

    fn seal(receive_id: &str) -> Seal {
        Seal {
            token: "testToken123".into(),
            key: Key::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap(),
            receive_id: receive_id.into(),
        }
    }

    fn config() -> WecomConfig {
        WecomConfig {
            base_url: String::new(),
            corp_id: "ww1234567890abcdef".into(),
            agent_id: 1_000_002,
            seal: seal("ww1234567890abcdef"),
            passive_reply: false,
        }
    }

    /// Query and ciphertext of a message.
    fn sealed(seal: &Seal, message: &str) -> (String, String) {
        let encrypt = seal.encrypt([7; 16], message.as_bytes()).unwrap();
        let signature = seal.sign("1409659813", "1372623149", &encrypt);
        let query = format!("msg_signature={signature}&timestamp=1409659813&nonce=1372623149");
        (query, encrypt)
    }

    fn posted(message: &str) -> Result<Reading, Refusal> {
        let config = config();
        let (query, encrypt) = sealed(&config.seal, message);
        let body = format!(
            "<xml><ToUserName><![CDATA[ww1234567890abcdef]]></ToUserName>\
             <AgentID><![CDATA[1000002]]></AgentID><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
        );
        receive(&config, NOW_MS, &query, body.as_bytes())
    }

    #[test]
    fn the_public_sample_verifies_whether_its_plus_is_encoded_or_not() {
        let seal = Seal {
            token: "QDG6eK".into(),
            key: Key::parse("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C").unwrap(),
            receive_id: "wx5823bf96d3bd56c7".into(),
        };
        let echo = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==";
        for echo in [echo.to_owned(), encoded(echo)] {
            let query = format!(
                "msg_signature=5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3&timestamp=1409659589\
                 &nonce=263014780&echostr={echo}"
            );
            let answer = verify(&seal, 1_409_659_600_000, &query);
            assert_eq!(answer.as_deref(), Ok(&b"1616140317555161061"[..]));
        }
    }

    #[test]
    fn a_callback_becomes_an_event() {
        let reading = posted(
            "<xml><ToUserName>ww1234567890abcdef</ToUserName><FromUserName>alice</FromUserName>\
             <CreateTime>1409659813</CreateTime><MsgType>text</MsgType><Content>hi</Content>\
             <MsgId>4561255354251345929</MsgId><AgentID>1000002</AgentID></xml>",
        );
        let Ok(Reading::Event(event)) = reading else {
            panic!("{reading:?}");
        };
        assert_eq!(event.id, "4561255354251345929");
        for (message, refusal) in [
            ("<xml><AgentID>1000003</AgentID></xml>", Refusal::Agent),
            (
                "<xml><ToUserName>other</ToUserName></xml>",
                Refusal::Receiver,
            ),
        ] {
            assert_eq!(posted(message).unwrap_err(), refusal);
        }
        for message in ["", "hello", "<xml/>", "<xml><MsgType>text</MsgType></xml>"] {
            assert!(
                matches!(posted(message), Ok(Reading::Unreadable(_))),
                "{message}"
            );
        }
    }

    #[test]
    fn a_callback_of_a_bot_is_json_in_json() {
        let seal = seal("");
        let (query, encrypt) = sealed(&seal, r#"{"msgtype":"text"}"#);
        let body = format!(r#"{{"encrypt":"{encrypt}","more":1}}"#);
        let opened = open_json(&seal, NOW_MS, &query, body.as_bytes());
        assert_eq!(opened.as_deref(), Ok(&br#"{"msgtype":"text"}"#[..]));
        for body in ["", "{}", "[]", r#"{"encrypt":5}"#, r#"{"encrypt":""}"#] {
            assert!(
                open_json(&seal, NOW_MS, &query, body.as_bytes()).is_err(),
                "{body}"
            );
        }
    }

    #[test]
    fn hostile_requests_are_refused_before_much_is_done() {
        let seal = seal("");
        let (query, encrypt) = sealed(&seal, "x");
        let body = format!("<xml><Encrypt>{encrypt}</Encrypt></xml>");
        assert!(open(&seal, NOW_MS, &query, body.as_bytes()).is_ok());
        let padded = |length: usize| {
            let mut body = body.clone();
            body.extend(std::iter::repeat_n(' ', length - body.len()));
            open(&seal, NOW_MS, &query, body.as_bytes())
        };
        assert!(padded(MAX_BODY_BYTES).is_ok() && padded(MAX_BODY_BYTES + 1).is_err());
        let long_query = format!("{query}&x={}", "x".repeat(MAX_QUERY_BYTES));
        for (query, body) in [
            ("", body.as_str()),
            (&long_query, &body),
            (&format!("{query}&nonce=1"), &body),
            (&query.replace("1409659813", "1409659812"), &body),
            (&query, ""),
            (&query, "<xml></xml>"),
            (&query, "<xml><Encrypt></Encrypt></xml>"),
            (
                &query,
                "<!DOCTYPE x [<!ENTITY a 'b'>]><xml><Encrypt>&a;</Encrypt></xml>",
            ),
            (&query, &body.replace("Encrypt", "encrypt")),
        ] {
            assert!(
                open(&seal, NOW_MS, query, body.as_bytes()).is_err(),
                "{query}"
            );
        }
        assert!(verify(&seal, NOW_MS, &query).is_err());
    }

    proptest! {
        #[test]
        fn any_request_is_answered(query: String, body in prop::collection::vec(any::<u8>(), 0..200), now_ms: u64) {
            let config = config();
            let _ = verify(&config.seal, now_ms, &query);
            let _ = receive(&config, now_ms, &query, &body);
            let _ = open_json(&config.seal, now_ms, &query, &body);
            let _ = inbound::read(&config, &body);
        }

        #[test]
        fn any_text_arrives_as_it_was_written(text in "[^\\p{C}]{1,200}") {
            let message = format!(
                "<xml><FromUserName>a</FromUserName><MsgType>text</MsgType><Content>{}</Content></xml>",
                xml::cdata(&text)
            );
            let Ok(Reading::Event(event)) = posted(&message) else {
                panic!("{message}");
            };
            let read = &event.message().unwrap().text;
            prop_assert!(*read == text || text.trim().is_empty());
        }
    }
}
