//! An agent behind a URL: one POST for each message, over pooled connections.
//!
//! - 2xx acknowledges, whatever the body. A body that was meant as a reply and can't be read (JSON that
//!   is broken, a web page) is an error, which is final; any other is no reply. Every other status, a
//!   broken connection and silence are errors.
//! - Of several lines (`application/x-ndjson`, `text/event-stream`) the last one is the reply; lines of
//!   progress before it are said as they arrive.
//! - Redirects are not followed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;

use super::answer::Answer;
use super::event_line::EventLine;
use super::message::{Message, Reply};
use super::objects::{Item, Objects};
use super::progress::Progress;
use super::{ANSWER_TIME, Agent, AgentError, Fault, MAX_ANSWER_BYTES};
use crate::clock::Clock;
use crate::egress::client::{TCP_LIMIT, pool};
use crate::egress::connector::{AddressPolicy, Connector};
use crate::egress::error::innermost;
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
        let connector = Connector::new(
            Arc::new(SystemResolver::new()),
            AddressPolicy::Anywhere,
            TCP_LIMIT,
        );
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
            let reason = format!("{}: {}", shown(&self.url), innermost(&error));
            if error.is_connect() {
                AgentError::Unreachable(reason)
            } else {
                AgentError::Incomplete(reason)
            }
        })?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let status = head.status.as_u16();
            return Err(AgentError::Refused {
                server: shown(&self.url),
                status,
                // The words may be about what the person wrote.
                reason: String::new(),
                fault: Fault::of_status(status),
                retry_after: retry_after(&head.headers),
            });
        }
        let mut body = Limited::new(body, MAX_ANSWER_BYTES);
        if head.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let mut reader = Reader::new(progress);
        if is_stream(&head.headers) {
            while let Some(frame) = body.frame().await {
                if let Ok(bytes) = frame.map_err(broken)?.into_data() {
                    reader.feed(&bytes);
                }
            }
        } else {
            reader.feed(&body.collect().await.map_err(broken)?.to_bytes());
        }
        reader.reply()
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

    fn url(&self) -> Option<&Uri> {
        Some(&self.url)
    }
}

fn broken(error: Box<dyn Error + Send + Sync>) -> AgentError {
    if error.is::<LengthLimitError>() {
        AgentError::TooLarge
    } else {
        AgentError::Incomplete(innermost(&*error))
    }
}

/// Reads an answer as it arrives.
struct Reader<'a> {
    line: Vec<u8>,
    objects: Objects,
    found: Found<'a>,
}

/// What was read of it.
struct Found<'a> {
    progress: &'a Progress,
    last: Option<Last>,
}

/// The last thing that was read.
enum Last {
    Reply(Answer),
    Progress,
    /// It was not meant as a reply.
    Other,
    /// It was meant as one.
    Broken(&'static str),
}

impl Reader<'_> {
    fn new(progress: &Progress) -> Reader<'_> {
        Reader {
            line: Vec::new(),
            objects: Objects::new(MAX_ANSWER_BYTES),
            found: Found {
                progress,
                last: None,
            },
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        // Within an object such a line is a string's.
        let line = match EventLine::of(line) {
            _ if self.objects.is_open() => line,
            EventLine::Data(data) => data,
            EventLine::Field => return,
            EventLine::Other(line) => line,
        };
        if line.trim_ascii() != b"[DONE]" {
            self.objects.line(line, &mut |item| self.found.take(item));
        }
    }

    /// The reply, when everything was read.
    fn reply(mut self) -> Result<Option<Reply>, AgentError> {
        self.end_line();
        self.objects.end(&mut |item| self.found.take(item));
        let why = match self.found.last {
            None => return Ok(None),
            Some(Last::Reply(answer)) => return answer.reply(),
            Some(Last::Broken(why)) => return Err(AgentError::NoAnswer(why.to_owned())),
            Some(Last::Progress) => "its last line is progress",
            Some(Last::Other) => "it is no JSON object",
        };
        tracing::warn!("the agent's answer acknowledges the message, but is no reply: {why}");
        Ok(None)
    }
}

impl Found<'_> {
    fn take(&mut self, item: Item<'_>) {
        self.last = Some(match item {
            Item::Object(members) => {
                let answer = Answer::of(members);
                match answer.progress {
                    true => {
                        answer.say(self.progress);
                        Last::Progress
                    }
                    false => Last::Reply(answer),
                }
            }
            Item::Broken(_, why) => Last::Broken(why),
            Item::Noise(line) if is_page(line) => Last::Broken("it is a web page"),
            // What a page goes on with, or what follows a reply.
            Item::Noise(_) if matches!(self.last, Some(Last::Broken(_) | Last::Reply(_))) => return,
            Item::Noise(_) => Last::Other,
        });
    }
}

fn is_page(line: &[u8]) -> bool {
    let names = [&b"<!doctype html"[..], b"<html"];
    names.iter().any(|name| {
        let start = line.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    })
}

/// A URL for the log: without its user and its query, which may hold a secret.
pub(super) fn shown(url: &Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str());
    let host = host.rsplit('@').next().unwrap_or_default();
    format!(
        "{}://{host}{}",
        url.scheme_str().unwrap_or("http"),
        url.path()
    )
}

/// When a server wants to be asked again, where it says so in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: f64 = value.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kinds = [
        "application/x-ndjson",
        "application/jsonl",
        "text/event-stream",
    ];
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| {
            kinds
                .iter()
                .any(|known| kind.trim().eq_ignore_ascii_case(known))
        })
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
            |_, _| {
                "{\"text\": \"…\", \"progress\": true}\n{\"text\": \"ok \u{fffd}\"}".into_response()
            },
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
}
