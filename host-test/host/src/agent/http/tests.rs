//! Answers of agents behind a URL, from servers of this process.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::super::message::tests::hello;
use super::*;

/// An agent at a server that answers as `answer` says, and the count of its connections.
async fn agent<A: IntoResponse + 'static>(
    answer: fn(HeaderMap, Value) -> A,
) -> (HttpAgent, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/agent?a=b", listener.local_addr().unwrap());
    let listener = listener.tap_io(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let handler = move |headers: HeaderMap, body: Bytes| async move {
        answer(headers, serde_json::from_slice(&body).unwrap())
    };
    let router = Router::new().route("/agent", post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (
        HttpAgent::new(url.parse().unwrap(), Clock::new()),
        connections,
    )
}

/// An agent at a server that sends this, whatever it is asked.
async fn raw_agent(answer: &'static str) -> HttpAgent {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    HttpAgent::new(url.parse().unwrap(), Clock::new())
}

async fn ask(agent: &HttpAgent, id: &str) -> Result<Option<Reply>, AgentError> {
    agent.answer(&hello(id), &Progress::nowhere()).await
}

fn text(reply: Option<Reply>) -> Option<String> {
    reply.and_then(|reply| reply.text)
}

#[tokio::test]
async fn messages_are_posted_as_json_over_one_connection() {
    let (agent, connections) = agent(|headers, message| {
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        assert_eq!(message["conversation"]["kind"], "direct");
        assert_eq!(message["quote"], Value::Null);
        axum::Json(json!({"text": format!("{} {}", message["id"], message["text"])}))
    })
    .await;
    for id in ["1", "2", "3"] {
        let reply = ask(&agent, id).await.unwrap();
        assert_eq!(text(reply), Some(format!("\"{id}\" \"hello\"")));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn any_2xx_acknowledges() {
    let answers: [fn(HeaderMap, Value) -> axum::response::Response; 6] = [
        |_, _| StatusCode::NO_CONTENT.into_response(),
        |_, _| StatusCode::OK.into_response(),
        |_, _| (StatusCode::ACCEPTED, " \r\n").into_response(),
        |_, _| "OK".into_response(),
        |_, _| "[1]".into_response(),
        |_, _| "<ok/>".into_response(),
    ];
    for answer in answers {
        let (agent, _) = agent(answer).await;
        assert_eq!(ask(&agent, "1").await, Ok(None));
    }
    let (agent, _) = agent(|_, _| (StatusCode::CREATED, r#"{"text": "hi"}"#)).await;
    let reply = ask(&agent, "1").await.unwrap();
    assert_eq!(text(reply).as_deref(), Some("hi"));
}

#[tokio::test]
async fn every_other_status_is_an_error() {
    let answers: [fn(HeaderMap, Value) -> axum::response::Response; 3] = [
        |_, _| axum::response::Redirect::to("/agent").into_response(),
        |_, _| (StatusCode::BAD_REQUEST, r#"{"text": "hi"}"#).into_response(),
        |_, _| StatusCode::SERVICE_UNAVAILABLE.into_response(),
    ];
    for (answer, status) in answers.into_iter().zip([303, 400, 503]) {
        let (agent, _) = agent(answer).await;
        let error = ask(&agent, "1").await.unwrap_err();
        let is_told = error.to_string().contains("/agent answered with status");
        assert!(is_told && !error.to_string().contains("a=b"), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(error.fault(), Fault::of_status(status));
    }
    let (agent, _) = agent(|_, _| (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "7")])).await;
    let error = ask(&agent, "1").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn what_was_meant_as_a_reply_and_is_none_is_final() {
    let answers: [fn(HeaderMap, Value) -> axum::response::Response; 6] = [
        |_, _| r#"{"text": "hi"#.into_response(),
        |_, _| r#"{"text" "hi"}"#.into_response(),
        |_, _| r#"{"text": ["hi"]}"#.into_response(),
        |_, _| r#"{"text": "<think>hm"}"#.into_response(),
        |_, _| "<!DOCTYPE html>\n<html>\n<p>{\n</html>".into_response(),
        |_, _| "{\"text\": \"…\", \"progress\": true}\n{\"text\": \"do".into_response(),
    ];
    for answer in answers {
        let (agent, _) = agent(answer).await;
        let error = ask(&agent, "1").await.unwrap_err();
        assert_eq!(error.fault(), Fault::Final, "{error}");
    }
}

#[tokio::test]
async fn replies_are_read_however_they_are_written() {
    let answers: [fn(HeaderMap, Value) -> axum::response::Response; 9] = [
        |_, _| r#"{"text": "ok \ud83d"}"#.into_response(),
        |_, _| "\u{feff}{\"text\": \"ok \\ud83d\"}\u{0}".into_response(),
        |_, _| "{\n  \"text\": \"ok \u{fffd}\",\n  \"media\": []\n}\n".into_response(),
        |_, _| b"{\"text\": \"ok \xff\"}".into_response(),
        |_, _| "{\"text\": \"ok \u{fffd}\", \"score\": NaN}".into_response(),
        |_, _| "{\"text\": \"<think>hm</think>ok \u{fffd}\"}".into_response(),
        |_, _| {
            let kind = [(CONTENT_TYPE, "text/event-stream")];
            let body = ": hi\n\nevent: x\ndata: {\"text\": \"…\", \"progress\": true}\n\n\
                        data: {\"text\": \"ok \u{fffd}\"}\n\ndata: [DONE]\n\n";
            (kind, body).into_response()
        },
        |_, _| "{\"text\": \"…\", \"progress\": true}\n{\"text\": \"ok \u{fffd}\"}".into_response(),
        |_, _| "\u{1b}[0m{\"text\": \"ok \u{fffd}\"}\r\nnonsense".into_response(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let (agent, _) = agent(answer).await;
        let reply = ask(&agent, "1").await.unwrap();
        assert_eq!(text(reply).as_deref(), Some("ok \u{fffd}"), "{number}");
    }
}

#[tokio::test]
async fn of_ndjson_the_last_line_is_the_reply() {
    fn ndjson(body: &'static str) -> axum::response::Response {
        (
            [(CONTENT_TYPE, "application/x-ndjson; charset=utf-8")],
            body,
        )
            .into_response()
    }
    let (two_lines, _) =
        agent(|_, _| ndjson("{\"text\":\"…\",\"progress\":true}\n\n{\"text\":\"done\"}\r\n\n"))
            .await;
    let reply = ask(&two_lines, "1").await.unwrap();
    assert_eq!(text(reply).as_deref(), Some("done"));
    for body in [
        |_: HeaderMap, _: Value| ndjson(""),
        |_, _| ndjson("\n"),
        |_, _| ndjson("{\"text\":\"…\",\"progress\":true}\n"),
        |_, _| ndjson("nonsense"),
    ] {
        let (agent, _) = agent(body).await;
        assert_eq!(ask(&agent, "1").await, Ok(None));
    }
}

#[tokio::test]
async fn lines_of_progress_are_said_as_they_arrive() {
    let (lines, body) = futures::channel::mpsc::unbounded::<Result<&'static str, io::Error>>();
    let body = Arc::new(Mutex::new(Some(body)));
    let router = Router::new().route(
        "/",
        post(async move || {
            let body = axum::body::Body::from_stream(body.lock().unwrap().take().unwrap());
            ([(CONTENT_TYPE, "application/x-ndjson")], body)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let agent = HttpAgent::new(url.parse().unwrap(), Clock::new());
    let (progress, mut said) = Progress::new();
    let talk = async {
        let send = |part| lines.unbounded_send(Ok(part)).unwrap();
        // Lines are what counts, not how they arrive.
        send("{\"text\": \"one\", \"progress\": true}\n{\"text\": \"t");
        assert_eq!(said.recv().await.unwrap().text, "one");
        send("wo\", \"progress\": true, \"media\": [{\"path\": \"/a\"}]}\r\n");
        assert_eq!(said.recv().await.unwrap().text, "two");
        send("\nnonsense\n{\"text\": \"done\"}");
        drop(lines);
    };
    let message = hello("1");
    let (reply, ()) = tokio::join!(agent.answer(&message, &progress), talk);
    assert_eq!(text(reply.unwrap()).as_deref(), Some("done"));
    assert!(said.try_recv().is_err());
}

#[tokio::test]
async fn broken_connections_are_errors() {
    for answer in [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"text\": \"hi\"}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ] {
        let agent = raw_agent(answer).await;
        let result = ask(&agent, "1").await;
        assert!(
            matches!(result, Err(AgentError::Incomplete(_))),
            "{result:?}"
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let agent = HttpAgent::new(url.parse().unwrap(), Clock::new());
    let result = ask(&agent, "1").await;
    assert!(
        matches!(result, Err(AgentError::Unreachable(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn answers_that_are_too_large_are_errors() {
    let agent = raw_agent("HTTP/1.1 200 OK\r\ncontent-length: 157286401\r\n\r\n").await;
    assert!(ask(&agent, "1").await.is_err());
    let (agent, _) = self::agent(|_, _| vec![b' '; MAX_ANSWER_BYTES + 1]).await;
    assert_eq!(ask(&agent, "1").await, Err(AgentError::TooLarge));
}

#[tokio::test]
async fn silence_ends_after_ten_minutes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(Notify::new());
    let asking = asked.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        asking.notify_one();
        std::future::pending::<()>().await;
    });
    let clock = Clock::new();
    let agent = HttpAgent::new(url.parse().unwrap(), clock.clone());
    let wait = async {
        asked.notified().await;
        clock.advance(ANSWER_TIME);
    };
    let (result, ()) = tokio::join!(ask(&agent, "1"), wait);
    assert_eq!(result, Err(AgentError::TimedOut));
}
