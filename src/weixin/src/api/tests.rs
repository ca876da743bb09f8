use super::*;

fn answer(status: u16, body: &str) -> Result<Response, TransportError> {
    Ok(Response {
        status,
        body: body.as_bytes().to_vec(),
    })
}

#[test]
fn headers_are_those_of_the_official_client() {
    for (random, expect) in [
        (0u64, "MA=="),
        (1, "MQ=="),
        (12345, "MTIzNDU="),
        (305_419_896, "MzA1NDE5ODk2"),
        (4_294_967_295, "NDI5NDk2NzI5NQ=="),
    ] {
        assert_eq!(wechat_uin(random << 32), expect);
    }
    for (version, expect) in [
        ("0.0.0", 0),
        ("1.0.11", 65_547),
        ("2.2.0", 131_584),
        ("2.4.6", 132_102),
        ("2.4.9", 132_105),
        ("2.4.9-beta.0", 132_105),
        ("10.300.5", 666_629),
    ] {
        assert_eq!(app_client_version(version), expect, "{version}");
    }
}

#[test]
fn every_answer_is_read_the_same_way() {
    let kind = |status, body| read(answer(status, body)).map_err(|error| error.into_error().kind);
    use ErrorKind::{Forbidden, LoginRequired, RateLimited, Transient, UnknownOutcome};
    for (status, body, expect) in [
        (200, "{}", None),
        (200, r#"{"ret":0}"#, None),
        (200, r#"{"ret":0,"errcode":0,"errmsg":"ok"}"#, None),
        (200, r#"{"ret":null}"#, None),
        (200, r#"{"ret":-14}"#, Some(LoginRequired)),
        (
            200,
            r#"{"errcode":-14,"errmsg":"session timeout"}"#,
            Some(LoginRequired),
        ),
        (200, r#"{"errcode":0,"ret":-14}"#, Some(LoginRequired)),
        (200, r#"{"errcode":-14,"ret":-1}"#, Some(LoginRequired)),
        (
            200,
            r#"{"ret":-2,"errmsg":"prepare failed"}"#,
            Some(RateLimited),
        ),
        (200, r#"{"errcode":-2}"#, Some(RateLimited)),
        (200, r#"{"ret":-1}"#, Some(Forbidden)),
        (200, r#"{"ret":"-1"}"#, Some(Forbidden)),
        (200, "", Some(UnknownOutcome)),
        (200, "<html></html>", Some(UnknownOutcome)),
        (200, r#"{"ret":0"#, Some(UnknownOutcome)),
        (200, "[]", Some(UnknownOutcome)),
        (404, "{}", Some(Forbidden)),
        (429, "", Some(Transient)),
        (500, r#"{"ret":0}"#, Some(UnknownOutcome)),
        (503, "", Some(Transient)),
        (524, "<html>", Some(UnknownOutcome)),
        (302, "", Some(Forbidden)),
    ] {
        assert_eq!(kind(status, body).err(), expect, "{status} {body}");
    }
}

#[test]
fn a_poll_is_read_like_everything_else() {
    let codes = ["0", "-2", "-14", "\"-14\"", "-1", "null"];
    let mut bodies: Vec<String> = ["", "{}", "<html>busy</html>", r#"{"ret":0,"ms"#, "[]", "5"]
        .map(str::to_owned)
        .to_vec();
    for code in codes {
        bodies.push(format!(r#"{{"ret":{code}}}"#));
        bodies.push(format!(r#"{{"errcode":{code},"errmsg":"x"}}"#));
        for other in codes {
            bodies.push(format!(r#"{{"ret":{code},"errcode":{other}}}"#));
        }
    }
    for status in [200, 204, 400, 429, 500, 502, 503, 524] {
        for body in &bodies {
            let one = read(answer(status, body)).err();
            let poll = read_updates(answer(status, body), &mut UnreadableAnswers::default()).err();
            assert_eq!(one, poll, "{status} {body}");
            let is_good =
                status < 300 && body.starts_with('{') && body.ends_with('}') && !body.contains('-');
            assert_eq!(one.is_none(), is_good, "{status} {body}");
        }
    }
}

#[test]
fn an_unreadable_answer_is_asked_for_again_and_then_passed_over() {
    let mut unreadable = UnreadableAnswers::default();
    let cut = r#"{"ret":0,"get_updates_buf":"c","msgs":[{"message_id":1},{"mess"#;
    for _ in 1..10 {
        assert!(read_updates(answer(200, cut), &mut unreadable).is_err());
    }
    let updates = read_updates(answer(200, cut), &mut unreadable).unwrap();
    assert_eq!(updates.messages, [r#"{"message_id":1}"#]);
    assert_eq!(updates.cursor.as_deref(), Some("c"));
    // That was its end, and a good answer is one, too.
    assert!(read_updates(answer(200, cut), &mut unreadable).is_err());
    assert!(read_updates(answer(200, "{}"), &mut unreadable).is_ok());
    for number in 1..60 {
        let cut = format!(r#"{{"n":{number},"get_updates_buf":"c","msgs":[{{"#);
        assert!(
            read_updates(answer(200, &cut), &mut unreadable).is_err(),
            "{number}"
        );
    }
    assert!(read_updates(answer(200, cut), &mut unreadable).is_ok());
    // What has no cursor leads nowhere, and a page is none.
    for body in [
        r#"{"ret":0,"msgs":[{"message_id":1},"#,
        "<html>{}</html>",
        "",
        "[]",
    ] {
        let mut unreadable = UnreadableAnswers::default();
        for _ in 0..100 {
            let updates = read_updates(answer(200, body), &mut unreadable);
            assert!(updates.is_err() || updates.is_ok_and(|updates| updates.cursor.is_none()));
        }
    }
}

#[test]
fn what_may_pass_is_told_from_what_is_final() {
    let declined = |body| match sent(answer(200, body)) {
        Outcome::Declined { is_throttle, .. } => Some(is_throttle),
        _ => None,
    };
    for (body, expect) in [
        (r#"{"ret":-2,"errmsg":"prepare failed"}"#, Some(false)),
        (r#"{"ret":-2,"errmsg":"unknown error"}"#, Some(false)),
        (r#"{"ret":-2}"#, Some(false)),
        (r#"{"errcode":-2,"errmsg":""}"#, Some(false)),
        (r#"{"ret":-2,"errmsg":"rate limited"}"#, Some(true)),
        (r#"{"ret":-2,"errmsg":"Freq limit"}"#, Some(true)),
        (r#"{"ret":-12}"#, Some(false)),
        (r#"{"ret":-1,"errmsg":"invalid arguments"}"#, None),
        (r#"{"ret":-14}"#, None),
    ] {
        assert_eq!(declined(body), expect, "{body}");
    }
}

#[test]
fn a_poll_that_is_cut_off_teaches_the_next_ones() {
    let error = |status| CallError::Http(status).into_poll_error();
    assert!(matches!(error(524), PollError::CutShort(_)));
    assert!(matches!(error(500), PollError::Failed(_)));
    let timed_out = CallError::Transport(TransportError::TimedOut);
    assert_eq!(timed_out.into_poll_error(), PollError::Silent);
}

#[test]
fn a_refusal_carries_the_raw_codes() {
    let error = read(answer(200, r#"{"ret":-2,"errmsg":"prepare failed"}"#)).unwrap_err();
    assert_eq!(
        error.into_error().platform.as_deref(),
        Some("ret=-2 errcode=0 errmsg=prepare failed")
    );
}

#[test]
fn sent_is_only_said_of_an_answer_with_an_id() {
    let accepted = |body| match sent(answer(200, body)) {
        Outcome::Accepted { message_id } => message_id,
        other => panic!("{other:?}"),
    };
    assert_eq!(accepted(r#"{"message_id":7}"#).as_deref(), Some("7"));
    assert_eq!(
        accepted(r#"{"ret":0,"message_id":"8"}"#).as_deref(),
        Some("8")
    );
    assert_eq!(accepted(r#"{"ret":0}"#), None);
    assert_eq!(accepted(r#"{"ret":0,"message_id":0}"#), None);
    let timed_out = sent(Err(TransportError::TimedOut));
    assert!(matches!(timed_out, Outcome::Unknown(_)));
    let refused = sent(Err(TransportError::NotSent("refused".into())));
    assert!(matches!(refused, Outcome::NotSent(_)));
}
