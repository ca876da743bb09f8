use gateway_channel_sdk::message::Quote;
use gateway_channel_sdk::platform::PartContent;
use gateway_channel_sdk::settings::Markdown;
use gateway_channel_sdk::testing::{TestHost, run};
use serde_json::{Value, json};

use super::*;

fn weixin() -> Weixin {
    Weixin::new(&|_| None).unwrap()
}

fn poll(weixin: &Weixin, host: &Host) -> Result<Batch, PollError> {
    let poll = Poll {
        cursor: "before",
        hold: Duration::from_secs(35),
        timeout: Duration::from_secs(40),
    };
    run(weixin.poll(host, &poll)).unwrap()
}

#[test]
fn a_poll_brings_what_people_wrote_and_where_the_next_one_begins() {
    let (weixin, host) = (weixin(), TestHost::new());
    let answer = json!({"ret": 0, "get_updates_buf": "after", "longpolling_timeout_ms": 9000,
        "msgs": [{"message_id": 1, "from_user_id": "alice", "message_type": 1,
            "item_list": [{"type": 1, "text_item": {"text": "hi"}}]}, 5, 5]});
    host.answers(200, answer.to_string());
    host.answers(200, answer.to_string());
    let batch = poll(&weixin, &host.host()).unwrap();
    assert_eq!(batch.cursor.as_deref(), Some("after"));
    assert_eq!(batch.hold, Some(Duration::from_secs(9)));
    assert_eq!(batch.failure, None);
    let texts = batch.events.iter().map(|incoming| &incoming.event);
    let texts: Vec<&str> = texts
        .filter_map(|event| Some(event.message()?.text.as_str()))
        .collect();
    assert_eq!(texts, ["hi"]);
    let request = host.requests().remove(0);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["get_updates_buf"], "before");
    assert_eq!(request.timeout, Duration::from_secs(40));
    // What is skipped is told once.
    let skipped = |lines: Vec<(Level, String)>| {
        let warnings = lines.into_iter().filter(|(level, _)| *level == Level::Warn);
        warnings.count()
    };
    assert_eq!(skipped(host.lines()), 2);
    poll(&weixin, &host.host()).unwrap();
    assert_eq!(skipped(host.lines()), 0);
}

#[test]
fn a_message_that_is_quoted_by_its_id_is_looked_up() {
    let (weixin, host) = (weixin(), TestHost::new());
    let answer = json!({"ret": 0, "msgs": [{"message_id": 2, "from_user_id": "alice",
        "message_type": 1, "item_list": [{"type": 1, "text_item": {"text": "this"},
            "ref_msg": {"svrid": 1}}]}]});
    host.answers(200, answer.to_string());
    let batch = poll(&weixin, &host.host()).unwrap();
    let [incoming] = batch.events.as_slice() else {
        panic!("{batch:?}");
    };
    if let Some(quoted) = &incoming.quoted {
        let Quote {
            message_id, text, ..
        } = (quoted.read)(None);
        assert_eq!(
            (message_id.as_deref(), text),
            (Some(quoted.id.as_str()), None)
        );
    }
}

#[test]
fn the_end_of_the_indicator_is_tried_twice_with_a_fresh_ticket() {
    let (weixin, host) = (weixin(), TestHost::new());
    for _ in 0..2 {
        host.answers(200, r#"{"ret":0,"typing_ticket":"t"}"#);
        host.answers(200, r#"{"ret":-1}"#);
    }
    let handle = host.host();
    let typing = weixin.typing(&handle, "alice", Some("token"), false);
    assert!(run(typing).unwrap().is_err());
    let urls: Vec<String> = host
        .requests()
        .into_iter()
        .map(|request| request.url)
        .collect();
    let ends = |end: &str| urls.iter().filter(|url| url.ends_with(end)).count();
    assert_eq!((ends("/getconfig"), ends("/sendtyping")), (2, 2));
}

#[test]
fn a_part_carries_the_reply_token_and_its_own_id() {
    let (weixin, host) = (weixin(), TestHost::new());
    host.answers(200, r#"{"ret":0,"message_id":7}"#);
    let part = Part {
        conversation: "alice",
        content: PartContent::Text("hello"),
        markdown: Markdown::Plain,
        answers: None,
        client_id: "openclaw-weixin:1-1",
        is_again: false,
        reply_token: Some("context"),
    };
    let outcome = run(weixin.deliver(&host.host(), &part)).unwrap();
    let message_id = Some("7".to_owned());
    assert_eq!(outcome, Outcome::Accepted { message_id });
    let request = host.requests().remove(0);
    let body = String::from_utf8(request.body).unwrap();
    for value in [
        "\"alice\"",
        "\"hello\"",
        "\"context\"",
        "\"openclaw-weixin:1-1\"",
    ] {
        assert!(body.contains(value), "{body}");
    }
}
