//! An agent behind a URL: one POST for each message, over pooled connections.
//!
//! - 2xx acknowledges, whatever the body; a body that can't be read is reported once and counts as
//!   no reply. Every other status, a broken connection and silence are errors.
//! - Of an `application/x-ndjson` answer the last line is the reply; lines of progress before it are
//!   said as they arrive.
//! - Redirects are not followed.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;

use super::message::{Answer, Message, Reply};
use super::progress::Progress;
use super::{ANSWER_TIME, Agent, AgentError, MAX_ANSWER_BYTES};
use crate::clock::Clock;
use crate::egress::client::{TCP_LIMIT, pool};
use crate::egress::connector::{Connector, Reach, innermost};
use crate::egress::resolver::SystemResolver;

/// An agent behind an `http` or `https` URL that the operator named.
pub struct HttpAgent {
    url: Uri,
    client: Client<Connector, Full<Bytes>>,
    clock: Clock,
}

impl HttpAgent {
    /// An agent at `url`, with connections of its own.
    pub fn new(url: Uri, clock: Clock) -> HttpAgent {
        let connector = Connector::new(Arc::new(SystemResolver::new()), Reach::Anywhere, TCP_LIMIT);
        HttpAgent {
            url,
            client: pool(connector),
            clock,
        }
    }

    async fn post(
        &self,
        message: &Message,
        progress: &Progress,
    ) -> Result<Option<Reply>, AgentError> {
        let json = serde_json::to_vec(message).expect("a message has string keys alone");
        let mut request = Request::new(Full::from(json));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);

        let response = self.client.request(request).await.map_err(|error| {
            let reason = innermost(&error);
            if error.is_connect() {
                AgentError::Unreachable(reason)
            } else {
                AgentError::Incomplete(reason)
            }
        })?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(AgentError::Status(head.status.as_u16()));
        }
        let body = Limited::new(body, MAX_ANSWER_BYTES);
        if is_ndjson(&head.headers) {
            return Ok(last_line(body, progress).await?.and_then(reply_of));
        }
        let body = body.collect().await.map_err(broken)?.to_bytes();
        let body = body.trim_ascii();
        if head.status == StatusCode::NO_CONTENT || body.is_empty() {
            return Ok(None);
        }
        Ok(reply_of(Answer::read(body)))
    }
}

impl Agent for HttpAgent {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        async move {
            tokio::select! {
                biased;
                result = self.post(message, progress) => result,
                () = self.clock.sleep(ANSWER_TIME) => Err(AgentError::TimedOut),
            }
        }
        .boxed()
    }
}

fn broken(error: Box<dyn Error + Send + Sync>) -> AgentError {
    if error.is::<LengthLimitError>() {
        AgentError::TooLarge
    } else {
        AgentError::Incomplete(innermost(&*error))
    }
}

/// Reads lines as they arrive, and returns the last one.
async fn last_line(
    mut body: Limited<Incoming>,
    progress: &Progress,
) -> Result<Option<Result<Answer, &'static str>>, AgentError> {
    let mut line = Vec::new();
    let mut last = None;
    let mut read = |line: Vec<u8>| {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        last = Some(match Answer::read(line) {
            Ok(answer) if answer.progress => {
                answer.say(progress);
                Err("its last line is progress")
            }
            answer => answer,
        });
    };
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                read(std::mem::take(&mut line));
            }
        }
    }
    read(line);
    Ok(last)
}

/// The reply in the body of a 2xx, which is acknowledged already.
fn reply_of(answer: Result<Answer, &'static str>) -> Option<Reply> {
    match answer {
        Ok(Answer { reply, wrong, .. }) => {
            if let Some(wrong) = wrong {
                tracing::warn!("a part of the agent's answer is left out: {wrong}");
            }
            reply
        }
        Err(wrong) => {
            tracing::warn!("the agent's answer acknowledges the message, but is no reply: {wrong}");
            None
        }
    }
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"))
}

#[cfg(test)]
mod tests {
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
            |_, _| r#"{"text": "hi"#.into_response(),
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
            let result = ask(&agent, "1").await;
            assert_eq!(result, Err(AgentError::Status(status)));
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
            |_, _| ndjson("{\"text\":\"x\"}\nnonsense"),
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
}
