//! Answers that go wrong on the way: bodies that break off, stall or drip, and connections that
//! close without an answer.

use std::convert::Infallible;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream;
use http::HeaderValue;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::faults::{members, text};
use gateway_listener::clock::Clock;

/// A whole body, or one with a fault.
pub(super) type AnswerBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Cut>>;

/// The connection is to be closed here, which is what the HTTP library does on an error.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a fault closes the connection here")
    }
}

impl std::error::Error for Cut {}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Cut {
        match never {}
    }
}

/// Bytes that no encoder would write, in an answer that is otherwise true. Each character of the texts up
/// to U+00FF is one byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mangle {
    before: Vec<u8>,
    behind: Vec<u8>,
    replace: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Mangle {
    /// Reads `{"before", "behind", "replace": {FIND: WITH}}`.
    pub(super) fn read(of: &str, value: &Value) -> Result<Mangle, String> {
        let mut mangle = Mangle::default();
        for (key, value) in members(of, value)? {
            let name = &format!("{of}.{key}");
            match key.as_str() {
                "before" => mangle.before = bytes(name, value)?,
                "behind" => mangle.behind = bytes(name, value)?,
                "replace" => {
                    for (find, with) in members(name, value)? {
                        let with = bytes(name, with)?;
                        mangle.replace.push((find.clone().into_bytes(), with));
                    }
                }
                _ => {
                    return Err(format!(
                        "`{name}` is unknown; it has `before`, `behind` and `replace`."
                    ));
                }
            }
        }
        Ok(mangle)
    }

    /// The answer with these bytes.
    pub(super) fn apply(&self, answer: &[u8]) -> Bytes {
        let mut body = answer.to_vec();
        for (find, with) in &self.replace {
            body = replaced(&body, find, with);
        }
        [&self.before[..], &body, &self.behind].concat().into()
    }
}

fn bytes(name: &str, value: &Value) -> Result<Vec<u8>, String> {
    let text = text(name, value)?;
    let bytes = text.chars().map(|char| u8::try_from(u32::from(char)));
    let bytes: Result<Vec<u8>, _> = bytes.collect();
    bytes.map_err(|_| format!("`{name}` has a character above U+00FF: write its bytes."))
}

fn replaced(body: &[u8], find: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, behind)) = rest.split_first() {
        match rest.strip_prefix(find).filter(|_| !find.is_empty()) {
            Some(behind) => {
                replaced.extend_from_slice(with);
                rest = behind;
            }
            None => {
                replaced.push(*first);
                rest = behind;
            }
        }
    }
    replaced
}

/// What `Date` says: the server's own clock.
pub(super) fn date(clock: &Clock) -> HeaderValue {
    let now = SystemTime::UNIX_EPOCH + clock.unix();
    // A date is ASCII.
    HeaderValue::from_str(&httpdate::fmt_http_date(now))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The body as it is.
pub(super) fn whole(body: Bytes) -> AnswerBody {
    Either::Left(Full::new(body))
}

/// Half of the body, then the end of the connection.
pub(super) fn cut_off(body: &Bytes) -> AnswerBody {
    let half = body.slice(..body.len() / 2);
    streamed(stream::unfold(Some(half), |half| async {
        match half {
            Some(half) => Some((Ok(half), None)),
            None => {
                // A pause, in which the half is flushed to the wire.
                tokio::task::yield_now().await;
                Some((Err(Cut), None))
            }
        }
    }))
}

/// The first `length` bytes of the body, then nothing, on an open connection.
pub(super) fn stalled(body: &Bytes, length: usize) -> AnswerBody {
    let first = body.slice(..length.min(body.len()));
    streamed(stream::unfold(Some(first), |first| async {
        match first {
            Some(first) => Some((Ok(first), None)),
            None => std::future::pending().await,
        }
    }))
}

/// The body, byte by byte.
pub(super) fn dripping(body: Bytes, every: Duration, clock: Clock) -> AnswerBody {
    streamed(stream::unfold(
        (body, clock),
        move |(mut body, clock)| async move {
            if body.is_empty() {
                return None;
            }
            clock.sleep(every).await;
            Some((Ok(body.split_to(1)), (body, clock)))
        },
    ))
}

/// A body that comes in pieces.
pub(super) fn streamed(
    chunks: impl futures::Stream<Item = Result<Bytes, Cut>> + Send + 'static,
) -> AnswerBody {
    use futures::StreamExt;
    Either::Right(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use http::StatusCode;
    use serde_json::{Value, json};

    use super::super::Simulator;
    use super::super::client::{Client, cursor, message, strict_simulator};
    use super::*;

    const ALICE: &str = "wxid_alice@im.wechat";

    /// The outcome of one send under this fault, and what Alice's phone shows of it.
    async fn send_under(fault: Value) -> (Result<(StatusCode, String), String>, usize) {
        let simulator = strict_simulator().await;
        simulator.say(ALICE, "hi");
        simulator.faults(&json!({"sendmessage": fault})).unwrap();
        let outcome = Client::new(&simulator)
            .post("sendmessage", message(ALICE, "x", "c"))
            .await;
        (outcome, simulator.answers(ALICE).len())
    }

    #[tokio::test]
    async fn a_cut_connection_tells_nothing_about_what_took_effect() {
        for (cut, shown) in [("before", 0), ("after", 1), ("body", 1)] {
            let (outcome, phone) = send_under(json!({"cut": cut, "times": 1})).await;
            assert!(outcome.is_err(), "{cut}: {outcome:?}");
            assert_eq!(phone, shown, "{cut}");
        }
    }

    #[tokio::test]
    async fn wrong_answers_are_given_with_or_without_effect() {
        let (outcome, phone) = send_under(json!({"status": 524})).await;
        let (status, page) = outcome.unwrap();
        assert_eq!((status.as_u16(), phone), (524, 0));
        assert!(page.starts_with("<html>"), "{page}");
        let (outcome, phone) = send_under(json!({"status": 502, "processed": true})).await;
        assert_eq!((outcome.unwrap().0.as_u16(), phone), (502, 1));
        let (outcome, phone) = send_under(json!({"body": ""})).await;
        assert_eq!((outcome.unwrap().1.as_str(), phone), ("", 0));
        let result = json!({"ret": 0, "errcode": -14, "errmsg": "x"});
        let (outcome, phone) = send_under(result.clone()).await;
        assert_eq!((outcome.unwrap().1, phone), (result.to_string(), 0));
        let (outcome, phone) = send_under(json!({"truncated": true})).await;
        assert!(serde_json::from_str::<Value>(&outcome.unwrap().1).is_err());
        assert_eq!(phone, 1);
        let (outcome, _) = send_under(json!({"without": ["ret", "message_id"]})).await;
        assert_eq!(outcome.unwrap().1, "{}");
    }

    #[tokio::test]
    async fn a_dripping_answer_comes_whole_in_the_end() {
        let began = Instant::now();
        let (outcome, phone) = send_under(json!({"drip_ms": 2})).await;
        let answer: Value = serde_json::from_str(&outcome.unwrap().1).unwrap();
        assert!(answer["message_id"].is_u64() && phone == 1);
        assert!(began.elapsed() > Duration::from_millis(60));
    }

    #[tokio::test]
    async fn a_stalled_exchange_ends_with_the_server() {
        for (stall, shown) in [("before", 0), ("headers", 1), ("body", 1)] {
            let simulator = strict_simulator().await;
            simulator.say(ALICE, "hi");
            simulator
                .faults(&json!({"sendmessage": {"stall": stall}}))
                .unwrap();
            let client = Client::new(&simulator);
            let sending =
                tokio::spawn(
                    async move { client.post("sendmessage", message(ALICE, "x", "c")).await },
                );
            let recorded = |simulator: &Simulator| simulator.log().len() == 1;
            simulator.wait_for(recorded).await;
            assert!(!sending.is_finished(), "{stall}");
            simulator.shutdown().await;
            assert!(sending.await.unwrap().is_err(), "{stall}");
            assert_eq!(simulator.answers(ALICE).len(), shown, "{stall}");
        }
    }

    #[tokio::test]
    async fn a_slow_answer_took_effect_before_it_comes() {
        let simulator = strict_simulator().await;
        simulator.say(ALICE, "hi");
        simulator
            .faults(&json!({"sendmessage": {"delay_ms": 60_000}}))
            .unwrap();
        let client = Client::new(&simulator);
        let sending = tokio::spawn(async move { client.send(ALICE, "x", "c").await });
        simulator
            .wait_for(|simulator| simulator.answers(ALICE).len() == 1)
            .await;
        assert!(!sending.is_finished());
        simulator
            .first()
            .server
            .clock
            .advance(Duration::from_secs(60));
        assert_eq!(sending.await.unwrap()["ret"], 0);
    }

    #[tokio::test]
    async fn an_answer_without_cursor_loses_nothing() {
        let simulator = strict_simulator().await;
        simulator.say(ALICE, "hi");
        let fault = json!({"getupdates": {"without": ["get_updates_buf"], "times": 1}});
        simulator.faults(&fault).unwrap();
        let client = Client::new(&simulator);
        let answer = client.poll("").await;
        assert!(answer.get("get_updates_buf").is_none());
        assert_eq!(answer["msgs"], client.poll("").await["msgs"]);
        assert!(!cursor(&client.poll("").await).is_empty());
    }
}
