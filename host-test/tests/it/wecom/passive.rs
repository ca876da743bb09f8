//! Answers in the exchange of their callback, where the operator chose so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use gateway_host::account::{PartState, Post};
use gateway_host::agent::message::{Reply, ReplyMedia};
use gateway_host::agent::{AgentError, EchoAgent};
use gateway_simulator::wecom::SealedCallback;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::harness::{Corp, Served, posted};
use super::{ALICE, BOB};
use crate::harness::{Recorder, eventually, proactive};
use crate::storage::Failing;

const ON: (&str, &str) = ("passive-reply", "on");

/// An agent that answers when it may, and the permits.
fn patient() -> (Arc<Recorder>, Arc<Semaphore>) {
    let may = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&may);
    let agent = Recorder::new(move |message, _| {
        let (permits, text) = (Arc::clone(&permits), format!("re: {}", message.text));
        async move {
            permits.acquire().await.unwrap().forget();
            Ok(Reply::of_text(text))
        }
    });
    (agent, may)
}

/// What the phone of a person shows of the app: whether it came in an exchange, and the text.
fn shown(corp: &Corp, user: &str) -> Vec<(bool, String)> {
    let entries = corp.wecom.phone().into_iter();
    let of_app = entries.filter(|entry| entry["user"] == user && entry["from"] == "app");
    of_app
        .map(|entry| {
            let text = entry["text"].as_str().or(entry["markdown"].as_str());
            (
                entry["passive"] == true,
                text.unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

/// Whether the answers to all deliveries until now had a reply.
fn replies(corp: &Corp) -> Vec<bool> {
    let deliveries = corp.wecom.deliveries().into_iter();
    deliveries
        .inspect(|delivery| assert_eq!(delivery["status"], 200, "{delivery}"))
        .map(|delivery| delivery["reply"] == true)
        .collect()
}

async fn nothing_waits(served: &Served) {
    eventually(async || {
        let status = served.account.status().await;
        status.queued == Some(0) && status.unacknowledged == Some(0)
    })
    .await;
}

#[tokio::test]
async fn an_answer_goes_out_in_the_exchange_of_its_callback() {
    let corp = Corp::new().await;
    let agent = Recorder::new(|message, _| {
        let text = format!("re: {}", message.text);
        async move { Ok(Reply::of_text(text).filter(|reply| reply.text.as_deref() != Some("re: "))) }
    });
    let served = corp.serve(agent, &[ON]).await;
    served.connected().await;
    corp.wecom.say(ALICE, "3 < 4 ]]> & 你好 🎉");
    corp.answered(ALICE, &["re: 3 < 4 ]]> & 你好 🎉"]).await;
    corp.wecom.say(BOB, "hello");
    corp.answered(BOB, &["re: hello"]).await;
    let counters = corp.wecom.counters();
    assert_eq!((counters.passive, counters.sends), (2, 0));
    // What has no answer waits for none.
    let event = corp.wecom.happen(ALICE, "enter_agent", "");
    corp.until(|wecom| wecom.is_answered(&event)).await;
    // Delivered once more although it was answered: one answer.
    let faults = json!({"callback": {"times": 1, "duplicate": true}});
    corp.wecom.faults(&faults).unwrap();
    corp.wecom.say(BOB, "again");
    corp.until(|wecom| wecom.deliveries().len() == 5).await;
    assert_eq!(replies(&corp), [true, true, false, true, false]);
    assert_eq!(
        shown(&corp, BOB),
        [(true, "re: hello".into()), (true, "re: again".into())]
    );
    // What is not an answer is a message.
    let receipt = served
        .account
        .send(proactive("k", ALICE, "by the way"))
        .await;
    assert_eq!(receipt.unwrap().parts[0].state, PartState::Accepted);
    assert_eq!(corp.wecom.counters().sends, 1);
    nothing_waits(&served).await;
    corp.check();
}

#[tokio::test]
async fn who_has_nothing_to_say_holds_nothing_open() {
    let corp = Corp::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let served = corp.serve(agent, &[ON]).await;
    // One is delivered when the one before it is answered: all of them would take 45 s.
    for _ in 0..10 {
        corp.wecom.say(ALICE, "hello");
    }
    corp.until(|wecom| wecom.counters().answered == 10).await;
    assert_eq!(replies(&corp), [false; 10]);
    nothing_waits(&served).await;
}

#[tokio::test]
async fn what_an_exchange_can_not_carry_follows_as_messages() {
    let corp = Corp::new().await;
    let long: String = (0..900).map(|number| format!("字{number} ")).collect();
    let agent = Recorder::new(move |message, _| {
        let (text, long) = (message.text.clone(), long.clone());
        async move {
            let file = ReplyMedia::Data {
                name: Some("a.txt".to_owned()),
                mime: None,
                data: "aGVsbG8=".to_owned(),
            };
            let (text, media) = match text.as_str() {
                "a file" => (None, vec![file]),
                "both" => (Some("here".to_owned()), vec![file]),
                _ => (Some(long), Vec::new()),
            };
            Ok::<_, AgentError>(Some(Reply { text, media }))
        }
    });
    let served = corp.serve(agent.clone(), &[ON]).await;
    served.connected().await;
    for (said, how) in [
        ("a file", &[false][..]),
        ("both", &[true, false]),
        ("tell me all", &[true, false, false, false]),
    ] {
        let person = said.replace(' ', "-");
        corp.wecom.say(&person, said);
        corp.until(|_| !shown(&corp, &person).is_empty()).await;
        eventually(async || {
            corp.clock.advance(Duration::from_millis(100));
            shown(&corp, &person).len() == how.len()
        })
        .await;
        nothing_waits(&served).await;
        let shown = shown(&corp, &person);
        let passive: Vec<bool> = shown.iter().map(|(passive, _)| *passive).collect();
        assert_eq!(passive, how, "{said}");
    }
    let parts = corp.wecom.answers("tell-me-all");
    let numbers: Vec<usize> = parts
        .iter()
        .flat_map(|part| part.split_whitespace())
        .map(|word| word.trim_start_matches('字').parse().unwrap())
        .collect();
    assert_eq!(numbers, Vec::from_iter(0..900));
    drop(served);
    let served = corp.serve(agent, &[ON, ("markdown", "native")]).await;
    served.connected().await;
    let before = corp.wecom.counters().passive;
    corp.wecom.say(BOB, "tell me all");
    corp.until(|wecom| !wecom.answers(BOB).is_empty()).await;
    assert_eq!(corp.wecom.counters().passive, before);
    corp.check();
}

#[tokio::test]
async fn an_answer_that_comes_too_late_for_the_exchange_is_a_message() {
    let corp = Corp::new().await;
    // The platform is patient here: time jumps.
    let patience = json!({"answer_ms": 3_600_000});
    corp.wecom.faults(&patience).unwrap();
    let (agent, may) = patient();
    let served = corp.serve(agent.clone(), &[ON]).await;
    served.connected().await;
    corp.wecom.say(ALICE, "hello");
    eventually(async || !agent.texts().is_empty()).await;
    eventually(async || {
        corp.clock.advance(Duration::from_millis(500));
        corp.wecom.deliveries().len() == 1
    })
    .await;
    assert_eq!(replies(&corp), [false]);
    may.add_permits(1);
    corp.answered(ALICE, &["re: hello"]).await;
    let counters = corp.wecom.counters();
    assert_eq!((counters.passive, counters.sends), (0, 1));
    nothing_waits(&served).await;
    corp.check();
}

#[tokio::test]
async fn an_answer_whose_exchange_is_gone_is_a_message() {
    let corp = Corp::new().await;
    let (agent, may) = patient();
    let served = corp.serve(agent.clone(), &[ON]).await;
    served.connected().await;
    let post = corp.wecom.sealed(&corp.text(ALICE, 1, "hello"));
    let (address, path) = served
        .url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /{path}?{} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}",
        post.query,
        post.body.len(),
        post.body
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually(async || !agent.texts().is_empty()).await;
    // Who hangs up is answered with the same.
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    // The platform says it again, and has no second answer to hope for.
    assert_eq!(served.post(&post).await, (200, Bytes::new()));
    assert!(corp.wecom.answers(ALICE).is_empty());
    may.add_permits(1);
    corp.answered(ALICE, &["re: hello"]).await;
    let counters = corp.wecom.counters();
    assert_eq!((counters.passive, counters.sends), (0, 1));
    nothing_waits(&served).await;
    assert_eq!(agent.texts(), ["hello"]);
    corp.check();
}

#[tokio::test]
async fn held_exchanges_are_bounded_and_end_with_the_instance() {
    let corp = Corp::new().await;
    let instance = corp.instance(&[ON]).await;
    instance.start().await.unwrap();
    let posts: Vec<SealedCallback> = (0..40)
        .map(|number| corp.wecom.sealed(&corp.text(ALICE, 1 + number, "hello")))
        .collect();
    let mut open: FuturesUnordered<_> = posts.iter().map(|post| posted(&instance, post)).collect();
    // As many as there is no place for.
    for _ in 0..8 {
        assert_eq!(open.next().await.unwrap(), (200, Bytes::new()));
    }
    assert_eq!(instance.check().await.unwrap().unacknowledged, 40);
    assert!(futures::poll!(open.next()).is_pending());
    instance.drain(0).await.unwrap();
    for _ in 8..40 {
        assert_eq!(open.next().await.unwrap(), (200, Bytes::new()));
    }
    let next = corp.instance(&[ON]).await;
    next.start().await.unwrap();
    assert_eq!(next.receive().await.unwrap().len(), 40);
}

#[tokio::test]
async fn the_receipt_says_what_is_known() {
    let corp = Corp::new().await;
    let instance = corp.instance(&[ON]).await;
    instance.start().await.unwrap();
    let running = tokio::spawn({
        let instance = instance.clone();
        async move { instance.run().await }
    });
    let post = corp.wecom.sealed(&corp.text(ALICE, 1, "hello"));
    let answering = async {
        let events = instance.receive().await.unwrap();
        let answer = Post {
            answers: Some(events[0].id.clone()),
            ..proactive("k", ALICE, "hi")
        };
        instance.send(answer).await.unwrap()
    };
    let ((status, body), receipt) = tokio::join!(posted(&instance, &post), answering);
    assert_eq!(status, 200);
    assert_eq!(corp.wecom.opened(ALICE, &body).as_deref(), Ok("hi"));
    assert!(corp.wecom.opened(BOB, &body).is_err());
    assert_eq!(receipt.parts[0].state, PartState::Unconfirmed);
    assert_eq!(receipt.parts[0].message_id, None);
    assert_eq!(corp.wecom.counters().sends, 0);
    instance.drain(10).await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_that_fails_neither_loses_nor_doubles_an_answer() {
    for pass in 0..12 {
        let state = Failing::default();
        let faults = Arc::clone(&state.faults);
        let corp = Corp {
            state: Arc::new(state),
            ..Corp::new().await
        };
        let served = corp.serve(Arc::new(EchoAgent), &[ON]).await;
        served.connected().await;
        let post = corp.wecom.sealed(&corp.text(ALICE, 1, "hello"));
        faults.set(pass, 1);
        let mut replies = 0;
        let mut deliver = async || {
            let (status, body) = served.post(&post).await;
            replies += usize::from(corp.wecom.opened(ALICE, &body).is_ok());
            status
        };
        // As the platform does.
        while deliver().await != 200 {}
        faults.set(0, 0);
        assert_eq!(deliver().await, 200);
        eventually(async || {
            corp.clock.advance(Duration::from_millis(100));
            let status = served.account.status().await;
            status.queued == Some(0) && status.unacknowledged == Some(0)
        })
        .await;
        let sent = corp.wecom.answers(ALICE);
        assert_eq!(sent.len() + replies, 1, "after {pass} operations");
        corp.check();
    }
}

#[tokio::test]
async fn kill_9_while_an_exchange_is_held_loses_nothing() {
    let corp = Corp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let state = format!("dir:{}", folder.path().display());
    let on = [("WECOM_PASSIVE_REPLY", "on")];
    // It takes a connection, and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!("http://{}", hanging.local_addr().unwrap());
    let mut child = corp.run(&state, &agent, &on).await;
    corp.wecom.say(ALICE, "hello");
    let _asked = hanging.accept().await.unwrap();
    child.kill().await.unwrap();
    let _child = corp.run(&state, "echo", &on).await;
    corp.answered(ALICE, &["hello"]).await;
    // The platform has had no answer, and says it again.
    let is_repeated = |deliveries: Vec<Value>| {
        let last = deliveries.last().cloned().unwrap_or_default();
        deliveries.len() > 1 && last["status"] == 200
    };
    eventually(async || {
        corp.clock.advance(Duration::from_millis(500));
        is_repeated(corp.wecom.deliveries())
    })
    .await;
    let counters = corp.wecom.counters();
    assert_eq!((counters.passive, counters.sends), (0, 1));
    corp.answered(ALICE, &["hello"]).await;
    corp.check();
}
