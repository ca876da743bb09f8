use serde_json::{Value, json};

use super::*;
use gateway_channel_sdk::http::{Response, TransportError};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> WeixinConfig {
    WeixinConfig::read(&|_| None).unwrap()
}

/// A login and what it asks.
struct Test(WeixinLogin);

impl Test {
    fn new() -> Test {
        Test(WeixinLogin::new(config(), SECOND))
    }

    /// What it asks for next, after the pauses that it wants.
    fn url(&mut self) -> String {
        match self.0.next(SECOND, 0) {
            Action::Ask(request) => request.url,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, body: &Value) -> Option<Step> {
        let answer = Ok(Response {
            status: 200,
            body: body.to_string().into_bytes(),
        });
        match self.0.answer(0, answer) {
            Action::Tell(step) => Some(step),
            Action::Wait(_) => None,
            Action::Ask(request) => panic!("{request:?}"),
        }
    }

    fn status(&mut self, status: &str) -> Option<Step> {
        self.url();
        self.answer(&json!({ "status": status }))
    }

    fn code(&mut self, number: u32) {
        let url = self.url();
        assert_eq!(
            url,
            "https://ilinkai.weixin.qq.com/ilink/bot/get_bot_qrcode?bot_type=3"
        );
        let content = format!("https://liteapp.weixin.qq.com/q/{number}");
        let step = self.answer(&json!({"qrcode": "a+b", "qrcode_img_content": content}));
        assert_eq!(step, Some(Step::ShowQr(content, CODE_LIFE)));
    }

    fn confirmed(&mut self, changes: Value) -> Option<Step> {
        let mut body = json!({"status": "confirmed", "bot_token": TOKEN_PLACEHOLDER,
            "ilink_bot_id": "b@im.bot", "ilink_user_id": "alice"});
        if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
            body.extend(changes);
        }
        self.url();
        self.answer(&body)
    }
}

fn failed(step: Option<Step>) -> String {
    match step {
        Some(Step::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_login_is_a_code_a_scan_and_a_confirmation() {
    let mut test = Test::new();
    test.code(1);
    let url = test.url();
    assert_eq!(
        url,
        "https://ilinkai.weixin.qq.com/ilink/bot/get_qrcode_status?qrcode=a%2Bb"
    );
    assert_eq!(test.status("wait"), None);
    assert_eq!(test.status("scaned"), Some(Step::Confirm));
    assert_eq!(test.status("scaned"), None);
    assert_eq!(test.status("of the future"), None);
    let step = test.confirmed(json!({"baseurl": "https://ilinkai.wechat.com"}));
    let identity = Identity {
        account: "b@im.bot".into(),
        owner: Some("alice".into()),
        config: vec![(LOGIN_BASE_URL.into(), "https://ilinkai.wechat.com".into())],
    };
    assert_eq!(step, Some(Step::Done(identity)));
    assert!(test.0.has_ended());
}

#[test]
fn digits_are_asked_for_until_they_are_right() {
    let mut test = Test::new();
    test.code(1);
    assert_eq!(test.status("need_verifycode"), Some(Step::EnterCode));
    assert_eq!(test.status("need_verifycode"), None);
    assert!(test.0.submit("  ").is_err() && test.0.submit(&"1".repeat(65)).is_err());
    test.0.submit(" 1 2&3 ").unwrap();
    assert!(test.url().ends_with("&verify_code=1%202%263"));
    assert_eq!(test.status("need_verifycode"), Some(Step::EnterCode));
    assert!(!test.url().contains("verify_code"));
    test.0.submit("4711").unwrap();
    assert_eq!(test.status("scaned"), None);
    assert!(!test.url().contains("verify_code"));
    assert!(matches!(test.confirmed(json!({})), Some(Step::Done(_))));
}

#[test]
fn a_new_code_has_nothing_of_the_old_one() {
    for end in ["expired", "verify_code_blocked"] {
        let mut test = Test::new();
        test.code(1);
        test.url();
        let step = test.answer(&json!({"status": "scaned_but_redirect",
            "redirect_host": "ilinkai.wechat.com"}));
        assert_eq!(step, Some(Step::Confirm));
        assert!(
            test.url()
                .starts_with("https://ilinkai.wechat.com/ilink/bot/")
        );
        assert_eq!(test.status("need_verifycode"), Some(Step::EnterCode));
        test.0.submit("4711").unwrap();
        assert_eq!(test.status(end), None);
        test.code(2);
        assert!(!test.url().contains("verify_code"));
        assert!(test.url().starts_with("https://ilinkai.weixin.qq.com/"));
        assert_eq!(test.status("need_verifycode"), Some(Step::EnterCode));
        assert_eq!(test.status(end), None);
        test.code(3);
        assert_eq!(test.status("scaned"), Some(Step::Confirm));
        assert_eq!(test.status(end), None);
        let Action::Tell(Step::Failed(why)) = test.0.next(SECOND, 0) else {
            panic!("a fourth code");
        };
        assert!(why.contains("three codes"), "{why}");
    }
}

#[test]
fn places_that_are_not_the_platforms_end_the_login() {
    for host in [
        "evil.com",
        "weixin.qq.com.evil.com",
        "127.0.0.1",
        "a@weixin.qq.com",
    ] {
        let mut test = Test::new();
        test.code(1);
        test.url();
        let body = json!({"status": "scaned_but_redirect", "redirect_host": host});
        assert!(failed(test.answer(&body)).contains(host));
    }
    for url in [
        "https://evil.com",
        "http://ilinkai.weixin.qq.com",
        "file:///etc",
    ] {
        let mut test = Test::new();
        test.code(1);
        assert!(failed(test.confirmed(json!({"baseurl": url}))).contains(url));
    }
    let mut test = Test::new();
    test.code(1);
    test.url();
    let step = test.answer(&json!({"status": "scaned_but_redirect"}));
    assert_eq!(step, Some(Step::Confirm));
    let step = test.confirmed(json!({"baseurl": ""}));
    assert!(matches!(step, Some(Step::Done(identity)) if identity.config.is_empty()));
}

#[test]
fn a_confirmation_without_what_it_must_bring_is_no_login() {
    for (changes, expect) in [
        (json!({"ilink_bot_id": null}), "bot's id"),
        (json!({"bot_token": null}), "without a token"),
        (json!({"bot_token": "b@im.bot:secret"}), "does not keep"),
    ] {
        let mut test = Test::new();
        test.code(1);
        let why = failed(test.confirmed(changes));
        assert!(why.contains(expect) && !why.contains("secret"), "{why}");
    }
}

#[test]
fn a_bad_answer_is_asked_again_and_a_refused_code_is_the_end() {
    let mut test = Test::new();
    test.code(1);
    let answers = [
        Ok(Response {
            status: 524,
            body: b"<html>".to_vec(),
        }),
        Ok(Response {
            status: 200,
            body: b"{".to_vec(),
        }),
        Ok(Response {
            status: 200,
            body: br#"{"ret":-1}"#.to_vec(),
        }),
        Err(TransportError::TimedOut),
        Err(TransportError::NotSent("no address".into())),
    ];
    for answer in answers {
        test.url();
        assert!(matches!(test.0.answer(0, answer), Action::Wait(pause) if pause > Duration::ZERO));
    }
    assert_eq!(test.status("binded_redirect"), Some(Step::AlreadyBound));
    let mut test = Test::new();
    test.url();
    assert_eq!(test.answer(&json!({"qrcode": "x"})), None);
    test.url();
    assert_eq!(test.answer(&json!({"ret": 2})), None);
    test.url();
    assert!(failed(test.answer(&json!({"ret": 2}))).contains("ret=2"));
}

#[test]
fn a_server_that_refuses_old_tokens_is_asked_once_more_without_them() {
    let tokens = |test: &mut Test| match test.0.next(SECOND, 0) {
        Action::Ask(request) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            body["local_token_list"].clone()
        }
        other => panic!("{other:?}"),
    };
    for (status, body) in [
        (200, r#"{"ret":-1,"errmsg":"invalid token"}"#),
        (200, r#"{"ret":2}"#),
        (200, r#"{"errcode":-14,"errmsg":"session timeout"}"#),
        (200, "{\"ret\":-1,\"errmsg\":\"bad\u{8}\"}"),
        (400, "<html>"),
        (401, ""),
        (403, "{}"),
        (413, ""),
        (500, ""),
    ] {
        let mut test = Test::new();
        assert_eq!(tokens(&mut test), json!([TOKEN_PLACEHOLDER]));
        let refusal = Response {
            status,
            body: body.as_bytes().to_vec(),
        };
        let action = test.0.answer(0, Ok(refusal));
        assert!(
            matches!(action, Action::Wait(Duration::ZERO)),
            "{body}: {action:?}"
        );
        assert_eq!(tokens(&mut test), json!([]), "{status} {body}");
        let code = json!({"qrcode": "a", "qrcode_img_content": "https://q"});
        assert!(matches!(test.answer(&code), Some(Step::ShowQr(..))));
        // The next code is asked for without them, too.
        assert_eq!(test.status("expired"), None);
        assert_eq!(tokens(&mut test), json!([]));
    }
    // What says nothing of them is asked again with them.
    for status in [408, 429, 502, 503, 524] {
        let mut test = Test::new();
        tokens(&mut test);
        let answer = Response {
            status,
            body: Vec::new(),
        };
        assert!(matches!(test.0.answer(0, Ok(answer)), Action::Wait(_)));
        assert_eq!(tokens(&mut test), json!([TOKEN_PLACEHOLDER]), "{status}");
    }
}

#[test]
fn answers_that_are_nearly_json_are_followed() {
    let mut test = Test::new();
    test.url();
    let answer = |body: &[u8]| {
        Ok(Response {
            status: 200,
            body: body.to_vec(),
        })
    };
    let code =
        b"\xef\xbb\xbf{\"qrcode\":\"a\",\"qrcode_img_content\":\"https://q\",\"tip\":\"\x08\n\"}\0";
    assert!(matches!(
        test.0.answer(0, answer(code)),
        Action::Tell(Step::ShowQr(..))
    ));
    for (body, expect) in [
        (&b"{\"status\":\"wait\",\"tip\":\"\x1b\"}"[..], None),
        (b"{\"status\":\"wait\",\"n\":NaN} trailing", None),
        (
            b"{\"status\":\"scaned\",\"nick\":\"\xff\\x41\\ud83d\"}",
            Some(Step::Confirm),
        ),
        (
            b"{\"status\":\"binded_redirect\",}",
            Some(Step::AlreadyBound),
        ),
    ] {
        test.url();
        let step = match test.0.answer(0, answer(body)) {
            Action::Tell(step) => Some(step),
            _ => None,
        };
        assert_eq!(step, expect, "{}", body.escape_ascii());
    }
}

#[test]
fn a_login_does_not_take_for_ever() {
    let mut test = Test::new();
    test.code(1);
    let late = test.0.next(SECOND + DEADLINE, 0);
    assert!(matches!(late, Action::Tell(Step::Failed(_))), "{late:?}");
}
