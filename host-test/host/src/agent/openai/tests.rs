//! The agent against a server that answers as it is told.

use std::collections::VecDeque;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::super::Fault;
use super::super::message::tests::hello;
use super::super::message::{Conversation, ConversationKind, Media, MediaKind};
use super::*;

const KEY: &str = "sk-hunter2";

/// Answers with what it was told, and writes down what it was asked.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
}

impl Server {
    async fn start() -> (Server, String) {
        let server = Server::default();
        let router = Router::new()
            .route("/v1/chat/completions", post(Server::complete))
            .route(
                "/picture",
                get(async || ([(CONTENT_TYPE, "image/png")], vec![1, 2, 3])),
            )
            .route("/text", get(async || "no picture"))
            .route(
                "/large",
                get(async || ([(CONTENT_TYPE, "image/png")], vec![0; 6 * 1024 * 1024])),
            )
            .with_state(server.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, origin)
    }

    async fn complete(
        State(server): State<Server>,
        headers: HeaderMap,
        axum::Json(body): axum::Json<Value>,
    ) -> impl IntoResponse {
        let said = body["messages"].as_array().unwrap().last().unwrap();
        let echo =
            json!({"choices": [{"message": {"content": format!("re: {}", said["content"])}}]});
        server.asked.lock().unwrap().push((headers, body));
        let answer = server.answers.lock().unwrap().pop_front();
        let (status, body) = answer.unwrap_or((200, echo.to_string()));
        (StatusCode::from_u16(status).unwrap(), body)
    }

    fn will_answer(&self, status: u16, body: Value) {
        let answer = (status, body.to_string());
        self.answers.lock().unwrap().push_back(answer);
    }

    fn will_say(&self, body: &str) {
        let answer = (200, body.to_owned());
        self.answers.lock().unwrap().push_back(answer);
    }

    /// The contents of the last request's messages.
    fn last_asked(&self) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let messages = asked.last().unwrap().1["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|message| message["content"].clone())
            .collect()
    }
}

fn settings() -> Settings {
    Settings {
        model: "small".to_owned(),
        key: Key::new(KEY),
        system_prompt: Some("Be brief.".to_owned()),
    }
}

async fn agent() -> (OpenAiAgent, Server, String) {
    let (server, origin) = Server::start().await;
    let base = format!("{origin}/v1/").parse().unwrap();
    let agent = OpenAiAgent::new(&base, settings(), Clock::new());
    (agent, server, origin)
}

fn message(id: &str, text: &str) -> Message {
    Message {
        text: text.to_owned(),
        ..hello(id)
    }
}

async fn ask(agent: &OpenAiAgent, message: &Message) -> Result<Option<String>, AgentError> {
    let reply = agent.answer(message, &Progress::nowhere()).await?;
    Ok(reply.and_then(|reply| reply.text))
}

#[tokio::test]
async fn the_model_is_asked_with_key_prompt_and_history() {
    let (agent, server, _) = agent().await;
    let first = ask(&agent, &message("1", "one")).await.unwrap();
    assert_eq!(first.as_deref(), Some("re: \"one\""));
    ask(&agent, &message("2", "two")).await.unwrap();
    {
        let asked = server.asked.lock().unwrap();
        let (headers, body) = &asked[1];
        assert_eq!(headers[AUTHORIZATION], format!("Bearer {KEY}"));
        assert_eq!(body["model"], "small");
        assert_eq!(body["stream"], false);
        assert_eq!(
            body["messages"],
            json!([
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "re: \"one\""},
                {"role": "user", "content": "two"},
            ])
        );
    }
    // Another conversation knows nothing of it.
    let mut other = message("3", "three");
    other.conversation = Conversation {
        id: "wxid_bob@im.wechat".to_owned(),
        kind: ConversationKind::Direct,
    };
    ask(&agent, &other).await.unwrap();
    assert_eq!(server.last_asked(), ["Be brief.", "three"]);
}

#[tokio::test]
async fn a_message_that_comes_again_is_in_the_history_once() {
    let (agent, server, _) = agent().await;
    ask(&agent, &message("1", "one")).await.unwrap();
    for _ in 0..2 {
        ask(&agent, &message("2", "two")).await.unwrap();
        assert_eq!(
            server.last_asked(),
            ["Be brief.", "one", "re: \"one\"", "two"]
        );
    }
    ask(&agent, &message("3", "three")).await.unwrap();
    assert_eq!(server.last_asked().len(), 6);
}

#[tokio::test]
async fn refusals_are_errors_with_the_servers_words_and_leave_no_history() {
    let (agent, server, _) = agent().await;
    for (status, body, expected) in [
        (
            401,
            json!({"error": {"message": format!("wrong key {KEY},\nsorry")}}),
            "wrong key …, sorry",
        ),
        (429, json!({"error": {"message": "slow down"}}), "slow down"),
        (500, json!("oops"), "oops"),
        (503, json!({}), "no reason given"),
        (302, json!({}), "no reason given"),
    ] {
        server.will_answer(status, body);
        let error = ask(&agent, &message("1", "one")).await.unwrap_err();
        assert_eq!(error.fault(), Fault::of_status(status));
        let AgentError::Refused {
            server,
            status: told,
            reason,
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((told, reason.as_str()), (status, expected));
        assert!(server.ends_with("/v1/chat/completions"), "{server}");
    }
    for body in [json!({}), json!({"choices": []})] {
        server.will_answer(200, body);
        let result = ask(&agent, &message("1", "one")).await;
        assert!(matches!(result, Err(AgentError::Unreadable(_))));
    }
    // An error with status 200 is the one that it means.
    server.will_answer(
        200,
        json!({"error": {"message": "no money", "code": "insufficient_quota"}}),
    );
    let error = ask(&agent, &message("1", "one")).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Lasting);
    assert!(
        error.to_string().contains("status 402: no money"),
        "{error}"
    );
    // Nothing is no answer, and is not asked for again.
    for nothing in [
        json!({"content": ""}),
        json!({"content": null, "reasoning_content": "hm"}),
        json!({"content": "<think>hm"}),
        json!({"content": null, "tool_calls": [{"id": "1"}]}),
    ] {
        server.will_answer(200, json!({"choices": [{"message": nothing}]}));
        let error = ask(&agent, &message("1", "one")).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Final);
    }
    ask(&agent, &message("2", "two")).await.unwrap();
    assert_eq!(server.last_asked(), ["Be brief.", "two"]);
}

#[tokio::test]
async fn what_a_model_thinks_is_neither_said_nor_kept() {
    let (agent, server, _) = agent().await;
    let thought = json!({"choices": [{"message": {"content": "<think>hm</think>\n\nHello"}}]});
    server.will_answer(200, thought);
    let answer = ask(&agent, &message("1", "one")).await.unwrap();
    assert_eq!(answer.as_deref(), Some("Hello"));
    let refusal = json!({"choices": [{"message": {"content": null, "refusal": "I can't."}}]});
    server.will_answer(200, refusal);
    let answer = ask(&agent, &message("2", "two")).await.unwrap();
    assert_eq!(answer.as_deref(), Some("I can't."));
    ask(&agent, &message("3", "three")).await.unwrap();
    assert_eq!(
        server.last_asked(),
        ["Be brief.", "one", "Hello", "two", "I can't.", "three"]
    );
}

#[tokio::test]
async fn a_stream_that_was_not_asked_for_is_read() {
    let (agent, server, _) = agent().await;
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"he\"}}]}\n\n\
                  data: {\"choices\":[{\"delta\":{\"content\":\"llo \\ud83d\"}}]}\n\ndata: [DONE]\n\n";
    server.will_say(stream);
    let answer = ask(&agent, &message("1", "one")).await.unwrap();
    assert_eq!(answer.as_deref(), Some("hello \u{fffd}"));
}

#[tokio::test]
async fn a_base_without_a_path_finds_the_version() {
    let (server, origin) = Server::start().await;
    for base in [
        origin.clone(),
        format!("{origin}/v1/chat/completions"),
        format!("{origin}/v1/models"),
    ] {
        let agent = OpenAiAgent::new(&base.parse().unwrap(), settings(), Clock::new());
        for id in ["1", "2"] {
            let answer = ask(&agent, &message(id, "one")).await.unwrap();
            assert_eq!(answer.as_deref(), Some("re: \"one\""));
        }
    }
    assert_eq!(server.asked.lock().unwrap().len(), 6);
    let base = format!("{origin}/nothing?key=hunter2");
    let agent = OpenAiAgent::new(&base.parse().unwrap(), settings(), Clock::new());
    let error = ask(&agent, &message("1", "one"))
        .await
        .unwrap_err()
        .to_string();
    let url = format!("{origin}/nothing/chat/completions");
    assert!(
        error.contains(&url) && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_conversation_that_got_too_long_goes_on_without_its_past() {
    let (agent, server, _) = agent().await;
    ask(&agent, &message("1", "one")).await.unwrap();
    server.will_answer(
        400,
        json!({"error": {"message": "context length exceeded"}}),
    );
    let answer = ask(&agent, &message("2", "two")).await.unwrap();
    assert_eq!(answer.as_deref(), Some("re: \"two\""));
    assert_eq!(server.last_asked(), ["Be brief.", "two"]);
    ask(&agent, &message("3", "three")).await.unwrap();
    assert_eq!(
        server.last_asked(),
        ["Be brief.", "two", "re: \"two\"", "three"]
    );
}

#[tokio::test]
async fn pictures_are_shown_and_left_out_where_the_model_has_no_eyes() {
    let (agent, server, origin) = agent().await;
    let mut message = message("1", "what is this?");
    message.media = ["picture", "text", "large", "missing"]
        .map(|path| Media {
            kind: MediaKind::Image,
            name: None,
            mime: None,
            size: None,
            transcript: None,
            url: Some(format!("{origin}/{path}")),
            wav_url: None,
        })
        .into();
    let words = "what is this?\n[image]\n[image]\n[image]\n[image]";
    let shown = json!([
        {"type": "text", "text": words},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQID"}},
    ]);
    ask(&agent, &message).await.unwrap();
    assert_eq!(server.last_asked(), [json!("Be brief."), shown]);

    message.id = "2".to_owned();
    server.will_answer(
        500,
        json!({"error": {"message": "image input is not supported"}}),
    );
    ask(&agent, &message).await.unwrap().unwrap();
    let last = server.last_asked();
    assert_eq!(last[1..], [json!(words), last[2].clone(), json!(words)]);
}

#[tokio::test]
async fn silence_ends_after_ten_minutes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Notify::new());
    let asking = asked.clone();
    tokio::spawn(async move {
        let _connection = listener.accept().await.unwrap();
        asking.notify_one();
        std::future::pending::<()>().await;
    });
    let clock = Clock::new();
    let agent = OpenAiAgent::new(&base.parse().unwrap(), settings(), clock.clone());
    let wait = async {
        asked.notified().await;
        clock.advance(ANSWER_TIME);
    };
    let message = message("1", "hello?");
    let (result, ()) = tokio::join!(ask(&agent, &message), wait);
    assert_eq!(result, Err(AgentError::TimedOut));
}

#[test]
fn the_key_is_not_shown() {
    assert!(!format!("{:?}", settings()).contains("hunter2"));
    assert!(Key::new("").is_none() && Key::new("a\nb").is_none());
}
