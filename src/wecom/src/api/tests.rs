use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crypto::{Key, Seal};
use crate::media::Uploaded;
use gateway_channel_sdk::message::MediaKind;

fn config() -> WecomConfig {
    WecomConfig {
        base_url: "https://qyapi.weixin.qq.com/".into(),
        corp_id: "ww 1".into(),
        agent_id: 1_000_002,
        seal: Seal {
            token: String::new(),
            key: Key::parse(&"A".repeat(43)).unwrap(),
            receive_id: "ww 1".into(),
        },
        passive_reply: false,
    }
}

fn answer(status: u16, body: impl Into<Vec<u8>>) -> Result<Response, TransportError> {
    Ok(Response {
        status,
        body: body.into(),
    })
}

/// One part of a post, at its first try or again.
fn part<'a>(conversation: &'a str, content: PartContent<'a>, is_again: bool) -> Part<'a> {
    Part {
        conversation,
        content,
        markdown: Markdown::Plain,
        answers: None,
        client_id: "wecom:1-1",
        is_again,
        reply_token: None,
    }
}

fn body(part: &Part<'_>) -> Result<Value, Error> {
    let request = send_message(&config(), part)?;
    assert_eq!(
        request.url,
        "https://qyapi.weixin.qq.com/cgi-bin/message/send?access_token=%7B%7Baccess-token%7D%7D"
    );
    Ok(serde_json::from_slice(&request.body).unwrap())
}

#[test]
fn requests_are_what_the_platform_documents() {
    let token = get_token(&config());
    assert_eq!(
        token.url,
        "https://qyapi.weixin.qq.com/cgi-bin/gettoken?corpid=ww%201&corpsecret=%7B%7Bcorp-secret%7D%7D"
    );
    assert_eq!((token.method, token.body.len()), (Method::Get, 0));
    let upload = upload(
        &config(),
        [1; 16],
        MediaKind::Image,
        "a.png",
        "image/png",
        100,
    );
    assert_eq!(
        upload.request.url,
        "https://qyapi.weixin.qq.com/cgi-bin/media/upload\
         ?access_token=%7B%7Baccess-token%7D%7D&type=image"
    );
    let length = upload.body.head.len() + upload.body.tail.len() + 100;
    let headers = &upload.request.headers;
    assert!(headers.contains(&("Content-Length", length.to_string())));
    assert_eq!(
        media_get(&config(), "a&b").url,
        "https://qyapi.weixin.qq.com/cgi-bin/media/get\
         ?access_token=%7B%7Baccess-token%7D%7D&media_id=a%26b"
    );
}

#[test]
fn each_kind_of_message_has_its_own_member() {
    let text = PartContent::Text("hi");
    assert_eq!(
        body(&part("alice", text, false)),
        Ok(
            json!({"touser": "alice", "msgtype": "text", "agentid": 1_000_002,
            "text": {"content": "hi"}, "safe": 0})
        )
    );
    let again = Part {
        markdown: Markdown::Native,
        ..part("alice", text, true)
    };
    let again = body(&again).unwrap();
    assert_eq!(again["markdown"], json!({"content": "hi"}));
    assert_eq!(again["enable_duplicate_check"], 1);
    assert_eq!(again["duplicate_check_interval"], 120);
    for (kind, name) in [
        (MediaKind::Image, "image"),
        (MediaKind::Voice, "voice"),
        (MediaKind::Video, "video"),
        (MediaKind::File, "file"),
    ] {
        let uploaded = Handle::Uploaded(Uploaded {
            media_id: "m".into(),
            kind,
            to: "alice".into(),
            name: "a.bin".into(),
        });
        let handle = uploaded.encode();
        let sent = body(&part("alice", PartContent::Media(&handle), false)).unwrap();
        assert_eq!(
            (&sent["msgtype"], &sent[name]["media_id"]),
            (&json!(name), &json!("m"))
        );
    }
    let received = Handle::received("m", None);
    let error = body(&part("alice", PartContent::Media(&received), false)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[test]
fn nobody_writes_to_everybody() {
    for wrong in [
        "@all",
        "@ALL",
        "a|b",
        "",
        " a",
        "a b",
        "a\n",
        "你",
        &"a".repeat(65),
    ] {
        assert_eq!(
            check_person(wrong).unwrap_err().kind,
            ErrorKind::Invalid,
            "{wrong}"
        );
        let text = PartContent::Text("hi");
        assert!(body(&part(wrong, text, false)).is_err());
    }
    for good in ["a", "zhang.san@example.com", "wo_-1", &"a".repeat(64)] {
        assert_eq!(check_person(good), Ok(()));
    }
}

#[test]
fn every_answer_has_one_meaning() {
    use ErrorKind::*;
    for (status, body, expect) in [
        (200, r#"{"errcode":0,"errmsg":"ok"}"#, None),
        (200, " {}", None),
        (200, r#"{"errcode":"0"}"#, None),
        (200, r#"{"errcode":null}"#, None),
        (200, r#"{"errcode":-1}"#, Some(Transient)),
        (200, r#"{"errcode":40001}"#, Some(LoginRequired)),
        (200, r#"{"errcode":"40013"}"#, Some(LoginRequired)),
        (200, r#"{"errcode":40014}"#, Some(Transient)),
        (200, r#"{"errcode":42001}"#, Some(Transient)),
        (200, r#"{"errcode":40003}"#, Some(NotFound)),
        (200, r#"{"errcode":81013}"#, Some(NotFound)),
        (200, r#"{"errcode":45009}"#, Some(RateLimited)),
        (200, r#"{"errcode":45033}"#, Some(RateLimited)),
        (200, r#"{"errcode":44004}"#, Some(Invalid)),
        (200, r#"{"errcode":40058}"#, Some(Invalid)),
        (200, r#"{"errcode":60020}"#, Some(Forbidden)),
        (200, r#"{"errcode":301002}"#, Some(Forbidden)),
        (200, r#"{"errcode":48002}"#, Some(Forbidden)),
        (200, r#"{"errcode":45002}"#, Some(TooLarge)),
        (200, r#"{"errcode":987654}"#, Some(Forbidden)),
        (200, "", Some(UnknownOutcome)),
        (200, "<html></html>", Some(UnknownOutcome)),
        (200, r#"{"errcode":0"#, Some(UnknownOutcome)),
        (200, "[]", Some(UnknownOutcome)),
        (302, "", Some(Forbidden)),
        (404, "{}", Some(Forbidden)),
        (429, "", Some(Transient)),
        (500, "{}", Some(UnknownOutcome)),
        (503, "", Some(Transient)),
    ] {
        let kind = read(answer(status, body)).map_err(|error| error.into_error().kind);
        assert_eq!(kind.err(), expect, "{status} {body}");
    }
}

#[test]
fn a_message_is_accepted_only_for_a_person_who_gets_it() {
    let outcome = |body: &str| sent(answer(200, body));
    let id = Outcome::Accepted {
        message_id: Some("m".into()),
    };
    assert_eq!(outcome(r#"{"errcode":0,"msgid":"m","invaliduser":""}"#), id);
    let none = Outcome::Accepted { message_id: None };
    assert_eq!(outcome(r#"{"errcode":0}"#), none);
    for (body, kind) in [
        (
            r#"{"errcode":0,"invaliduser":"Alice","msgid":"m"}"#,
            ErrorKind::NotFound,
        ),
        (
            r#"{"errcode":0,"unlicenseduser":"alice","msgid":"m"}"#,
            ErrorKind::Forbidden,
        ),
        (r#"{"errcode":81013}"#, ErrorKind::NotFound),
    ] {
        assert!(
            matches!(outcome(body), Outcome::Refused(error) if error.kind == kind),
            "{body}"
        );
    }
    assert!(matches!(
        outcome(r#"{"errcode":42001}"#),
        Outcome::NotSent(_)
    ));
    assert!(matches!(outcome(r#"{"errcode":-1}"#), Outcome::NotSent(_)));
    assert!(matches!(
        outcome(r#"{"errcode":40001}"#),
        Outcome::LoginRequired(_)
    ));
    assert!(matches!(
        outcome(r#"{"errcode":45009}"#),
        Outcome::Declined {
            is_throttle: true,
            ..
        }
    ));
    assert!(matches!(
        sent(Err(TransportError::TimedOut)),
        Outcome::Unknown(_)
    ));
    assert!(matches!(
        sent(Err(TransportError::NotSent("x".into()))),
        Outcome::NotSent(_)
    ));
}

#[test]
fn a_token_is_renewed_when_the_platform_says_so() {
    for (body, expect) in [
        (r#"{"errcode":40014}"#, true),
        (r#"{"errcode":42001}"#, true),
        (r#"{"errcode":41001}"#, true),
        (r#"{"errcode":40001}"#, false),
        ("{", false),
    ] {
        let error = read(answer(200, body)).unwrap_err();
        assert_eq!(error.wants_new_token(), expect, "{body}");
    }
    let life = |body: &str| read_token(answer(200, body));
    let seconds = Duration::from_secs;
    for (body, expect) in [
        (
            r#"{"errcode":0,"access_token":"{{access-token}}","expires_in":7200}"#,
            7200,
        ),
        (r#"{"errcode":0,"access_token":"x","expires_in":"60"}"#, 60),
        (r#"{"errcode":0,"access_token":"x","expires_in":-5}"#, 7200),
        (
            r#"{"errcode":0,"access_token":"x","expires_in":99999999999}"#,
            7200,
        ),
    ] {
        assert_eq!(life(body), Ok(seconds(expect)), "{body}");
    }
    assert!(life(r#"{"errcode":0,"access_token":""}"#).is_err());
}

#[test]
fn an_address_that_is_not_allowed_is_named() {
    let errmsg = "not allow to access from your ip, hint: [1700000000_12_0123456789abcdef], \
                  from ip: 192.0.2.7, more info at https://open.work.weixin.qq.com/devtool/query?e=60020";
    let body = json!({"errcode": 60020, "errmsg": errmsg}).to_string();
    let error = read(answer(200, body)).unwrap_err().into_error();
    assert!(
        error.message.contains("address 192.0.2.7: add it"),
        "{error}"
    );
    let platform = error.platform.unwrap();
    assert!(
        platform.starts_with("errcode=60020 errmsg=not allow"),
        "{platform}"
    );
    let body = json!({"errcode": 60020, "errmsg": "from ip: <script>"}).to_string();
    let error = read(answer(200, body)).unwrap_err().into_error();
    assert!(error.message.contains("address: add it"), "{error}");
}

#[test]
fn a_refused_download_is_told_from_a_json_file() {
    use Download::{Content, Refusal};
    for (status, content_type, disposition, expect) in [
        (
            200,
            Some("image/jpeg"),
            Some("attachment; filename=\"a.jpg\""),
            Some(Content),
        ),
        (206, Some("image/jpeg"), None, Some(Content)),
        (
            200,
            Some("application/json"),
            Some("attachment; filename=\"a.json\""),
            Some(Content),
        ),
        (
            200,
            Some("application/json; charset=UTF-8"),
            None,
            Some(Refusal),
        ),
        (200, Some("text/plain"), None, Some(Refusal)),
        (200, None, None, Some(Content)),
        (404, None, None, None),
        (500, None, None, None),
    ] {
        let got = opened(status, content_type, disposition).ok();
        assert_eq!(got, expect, "{status} {content_type:?} {disposition:?}");
    }
    assert_eq!(
        opened(502, None, None).unwrap_err().kind,
        ErrorKind::Transient
    );
    let expired = download_refused(answer(
        200,
        r#"{"errcode":40007,"errmsg":"invalid media_id"}"#,
    ));
    assert_eq!(expired.into_error().kind, ErrorKind::NotFound);
    let odd = download_refused(answer(200, r#"{"errcode":0}"#));
    assert!(matches!(odd, CallError::Malformed(_)));
    assert_eq!(
        uploaded(answer(200, r#"{"errcode":0,"media_id":"m"}"#)).as_deref(),
        Ok("m")
    );
    assert!(uploaded(answer(200, r#"{"errcode":0}"#)).is_err());
}

proptest! {
    #[test]
    fn any_answer_is_read(status: u16, bytes in prop::collection::vec(any::<u8>(), 0..200), errmsg: String, errcode: i64) {
        let _ = sent(answer(status, bytes.clone()));
        let _ = read_token(answer(status, bytes));
        let body = json!({"errcode": errcode, "errmsg": errmsg}).to_string();
        if let Err(error) = read(answer(200, body)) {
            let error = error.into_error();
            prop_assert!(error.message.len() <= gateway_channel_sdk::error::MAX_MESSAGE_BYTES);
        }
    }
}

#[test]
fn an_answer_that_is_nearly_json_is_read() {
    for body in [
        &b"{\"errcode\":0,\"errmsg\":\"o\x08k\n\",\"access_token\":\"t\",\"expires_in\":60}"[..],
        b"\xef\xbb\xbf{\"errcode\":0,\"access_token\":\"t\",\"expires_in\":60}",
        b"\0{\"errcode\":0,\"access_token\":\"t\",\"expires_in\":60}\0",
        b"{\"errcode\":0,\"errmsg\":\"\\x6fk \xff\",\"access_token\":\"t\",\"expires_in\":60}",
        b"{\"errcode\":NaN,\"access_token\":\"t\",\"expires_in\":60,}",
        b"{\"errcode\":0,\"errmsg\":\"\\ud83d\",\"access_token\":\"t\",\"expires_in\":60} ok",
    ] {
        let life = read_token(answer(200, body));
        assert_eq!(life, Ok(Duration::from_secs(60)), "{}", body.escape_ascii());
    }
    let sent_as = |body: &str| match sent(answer(200, body)) {
        Outcome::Accepted { message_id } => message_id,
        other => panic!("{body}: {other:?}"),
    };
    assert_eq!(
        sent_as("{\"errcode\":0,\"errmsg\":\"\u{1b}\",\"msgid\":\"m\"}").as_deref(),
        Some("m")
    );
    let refused = sent(answer(
        200,
        "\u{feff}{\"errcode\":60111,\"errmsg\":\"no\u{8} user\"}",
    ));
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
    // Half an answer says nothing.
    for cut in [
        "{\"errcode\":0",
        "{\"errcode\":0,\"msgid\":\"m",
        "{\"errcode\":0,\"errmsg\":\"\n",
    ] {
        assert!(
            matches!(sent(answer(200, cut)), Outcome::Unknown(_)),
            "{cut}"
        );
    }
}
