use gateway_channel_sdk::testing::{TestHost, run};

use super::*;

fn telegram() -> Telegram {
    Telegram::new(&|_| None).unwrap()
}

fn poll(answer: &str) -> Result<Batch, PollError> {
    let host = TestHost::new();
    host.answers(200, answer);
    let poll = Poll {
        cursor: "7",
        hold: HOLD,
        timeout: HOLD + TIMEOUT,
    };
    let batch = run(telegram().poll(&host.host(), &poll)).unwrap();
    assert_eq!(
        host.requests()[0].url,
        "https://api.telegram.org/bot{{bot-token}}/getUpdates?offset=7&timeout=25\
         &allowed_updates=%5B%22message%22%5D"
    );
    batch
}

/// What becomes of a part that is answered so, and the request's body.
fn sent(part: &Part<'_>, status: u16, answer: &str) -> (Outcome, serde_json::Value) {
    let host = TestHost::new();
    host.answers(status, answer);
    let outcome = run(telegram().deliver(&host.host(), part)).unwrap();
    let requests = host.requests();
    let url = "https://api.telegram.org/bot{{bot-token}}/sendMessage";
    assert_eq!(requests[0].url, url);
    (outcome, serde_json::from_slice(&requests[0].body).unwrap())
}

const PART: Part<'_> = Part {
    conversation: "42",
    content: PartContent::Text("**hi**"),
    markdown: Markdown::Plain,
    answers: None,
    client_id: "1",
    is_again: false,
    reply_token: None,
};

#[test]
fn updates_become_events_and_the_next_offset() {
    let batch = poll(
        r#"{"ok":true,"result":[
            {"update_id":9,"message":{"message_id":1,"from":{"id":42},"chat":{"id":42,"type":"private"},"date":1795000000,"text":"hello"}},
            {"update_id":10,"message":{"message_id":2,"from":{"id":43},"chat":{"id":-7,"type":"supergroup"},"date":1795000001,"caption":"look","photo":[{"file_size":1},{"file_size":2}],"reply_to_message":{"message_id":1,"text":"hello"}}},
            {"update_id":11,"message":{"message_id":3,"date":"soon"}},
            {"update_id":12,"message":{"message_id":4,"from":{"id":43},"chat":{"id":-8,"type":"channel"},"date":1,"text":"no"}},
            {"update_id":13,"poll":{}}]}"#,
    )
    .unwrap();
    assert_eq!(batch.cursor.as_deref(), Some("14"));
    let messages: Vec<&Message> = batch
        .events
        .iter()
        .map(|incoming| incoming.event.message().unwrap())
        .collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(batch.events[0].event.id, "42:1");
    assert_eq!(messages[0].sent_at_ms, 1_795_000_000_000);
    assert_eq!(messages[1].conversation, Conversation::group("-7"));
    assert_eq!(messages[1].sender, "43");
    assert_eq!(messages[1].media[0].size, Some(2));
    let quote = messages[1].quote.as_ref().unwrap();
    assert_eq!(quote.message_id.as_deref(), Some("-7:1"));
}

#[test]
fn a_poll_without_updates_stays_where_it_is() {
    let batch = poll(r#"{"ok":true,"result":[]}"#).unwrap();
    assert_eq!((batch.cursor, batch.events.len()), (None, 0));
}

#[test]
fn errors_say_who_has_to_act() {
    use ErrorKind::{
        Forbidden, Invalid, LoginRequired, NotFound, RateLimited, TooLarge, UnknownOutcome,
    };
    for (status, description, kind) in [
        (401, "Unauthorized", LoginRequired),
        (404, "Not Found", LoginRequired),
        (403, "Forbidden: bot was blocked by the user", Forbidden),
        (429, "Too Many Requests: retry after 7", RateLimited),
        (400, "Bad Request: chat not found", NotFound),
        (400, "Bad Request: message is too long", TooLarge),
        (400, "Bad Request: can't parse entities", Invalid),
        (500, "Internal Server Error", UnknownOutcome),
    ] {
        let answer = format!(
            r#"{{"ok":false,"error_code":{status},"description":"{description}","parameters":{{"retry_after":7}}}}"#
        );
        let (outcome, _) = sent(&PART, status, &answer);
        let error = match outcome {
            Outcome::Declined { error, .. }
            | Outcome::Refused(error)
            | Outcome::Unknown(error)
            | Outcome::LoginRequired(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.kind, kind, "{description}");
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert!(poll(&answer).is_err());
    }
    for (status, page) in [(502, "<html>"), (200, "<html>"), (200, "{}")] {
        let (outcome, _) = sent(&PART, status, page);
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    }
}

#[test]
fn a_part_is_a_message_with_entities_and_in_a_group_a_reply() {
    let taken = r#"{"ok":true,"result":{"message_id":5}}"#;
    let (outcome, body) = sent(&PART, 200, taken);
    let id = Some("42:5".to_owned());
    assert_eq!(outcome, Outcome::Accepted { message_id: id });
    assert_eq!(
        body,
        json!({"chat_id": "42", "text": "**hi**", "entities": []})
    );
    let native = Part {
        conversation: "-7",
        markdown: Markdown::Native,
        answers: Some("-7:3"),
        ..PART
    };
    let (_, body) = sent(&native, 200, taken);
    assert_eq!(body["text"], "hi");
    assert_eq!(
        body["entities"],
        json!([{"type": "bold", "offset": 0, "length": 2}])
    );
    assert_eq!(body["reply_parameters"]["message_id"], 3);
}

#[test]
fn a_base_url_and_a_chat_are_checked() {
    let error = Telegram::new(&|key| (key == "base-url").then(|| "here".to_owned()));
    assert!(error.unwrap_err().message.contains("base-url"));
    assert!(Telegram::check_conversation("-100123").is_ok());
    assert!(Telegram::check_conversation("@name").is_err());
}

#[test]
fn a_poll_that_an_edge_cuts_short_is_told_from_one_that_fails() {
    for (status, is_cut_short) in [(502, true), (504, true), (524, true), (500, false)] {
        let host = TestHost::new();
        host.answers(status, "");
        let poll = Poll {
            cursor: "7",
            hold: HOLD,
            timeout: HOLD + TIMEOUT,
        };
        let error = run(telegram().poll(&host.host(), &poll))
            .unwrap()
            .unwrap_err();
        let found = matches!(error, PollError::CutShort(_));
        assert_eq!(found, is_cut_short, "{status}");
    }
}
