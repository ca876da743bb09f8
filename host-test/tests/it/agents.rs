//! Agents that fail: for one message, for all, for good. Nobody is left without a word, no
//! conversation stands still, and an outage costs no message.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use gateway_host::account::Account;
use gateway_host::agent::message::Reply;
use gateway_host::agent::{Agent, AgentError, AgentSpec, Settings, Words};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually};

const SORRY: &str = "Sorry.";
const LATER: &str = "Later.";
/// A step of the clock that a process can follow.
const SMALL: Duration = Duration::from_millis(50);

fn words() -> Words {
    Words {
        failure: SORRY.to_owned(),
        outage: LATER.to_owned(),
        outage_after: Duration::from_secs(3600),
    }
}

fn agent(harness: &Harness, spec: &str, words: Words) -> Arc<dyn Agent> {
    let settings = Settings {
        words,
        ..Settings::default()
    };
    let spec: AgentSpec = spec.parse().unwrap();
    spec.start(settings, harness.clock.clone())
}

/// Moves the clock on in small steps until it is so.
async fn in_time(harness: &Harness, what: impl AsyncFn() -> bool) {
    in_steps(harness, Duration::from_millis(500), what).await;
}

/// The same where processes take their own time.
async fn in_steps(harness: &Harness, step: Duration, what: impl AsyncFn() -> bool) {
    eventually(async || {
        harness.clock.advance(step);
        what().await
    })
    .await;
}

/// An agent over HTTP: what it answers to a message, and how often it was asked.
async fn over_http(
    answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let handler = move |axum::Json(message): axum::Json<Value>| {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = answer(message["text"].as_str().unwrap());
        async move { answer }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

fn reply(text: &str) -> Response {
    axum::Json(json!({"text": format!("re: {text}")})).into_response()
}

/// What an account put aside: the conversations, and how often the agent was asked.
fn aside(account: &Account) -> Vec<(String, u32)> {
    let aside = account.put_aside().into_iter();
    aside
        .map(|message| (message.conversation, message.tries))
        .collect()
}

#[tokio::test]
async fn a_process_that_dies_on_one_message_answers_all_others() {
    let harness = Harness::new().await;
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let script = format!(
        r#"exec:echo >> '{}'; while read -r line; do
            case "$line" in *poison*) exit 1;; esac
            id=${{line#*'"id":"'}}; id=${{id%%'"'*}}
            echo "{{\"in_reply_to\":\"$id\",\"text\":\"heard\"}}"
        done"#,
        starts.display()
    );
    let account = harness.start(agent(&harness, &script, words()), &[]).await;
    harness.simulator.say(ALICE, "poison");
    harness.simulator.say(ALICE, "after");
    let people: Vec<String> = (0..5).map(|n| format!("wxid_{n}@im.wechat")).collect();
    for number in 0..8 {
        for person in &people {
            harness.simulator.say(person, &number.to_string());
        }
    }
    in_steps(&harness, SMALL, async || {
        people
            .iter()
            .all(|person| harness.simulator.answers(person).len() == 8)
    })
    .await;
    in_steps(&harness, SMALL, async || {
        harness.simulator.answers(ALICE).len() == 2
    })
    .await;
    let mut answers = harness.simulator.answers(ALICE);
    answers.sort();
    assert_eq!(answers, [SORRY, "heard"]);
    assert_eq!(aside(&account).len(), 1);
    let starts = std::fs::read_to_string(&starts).unwrap().lines().count();
    assert!(starts <= 12, "{starts} starts");
    in_steps(&harness, SMALL, async || {
        account.health().await.unwrap().unacknowledged == 0
    })
    .await;
    harness.check();
}

#[tokio::test]
async fn a_process_that_dies_on_the_only_message_there_is_tells_the_person() {
    let harness = Harness::new().await;
    let script = r#"exec:while read -r line; do case "$line" in *poison*) exit 1;; esac; done"#;
    let account = harness.start(agent(&harness, script, words()), &[]).await;
    harness.simulator.say(ALICE, "poison");
    in_steps(&harness, SMALL, async || {
        !harness.simulator.answers(ALICE).is_empty()
    })
    .await;
    assert_eq!(harness.simulator.answers(ALICE), [SORRY]);
    let [message] = &account.put_aside()[..] else {
        panic!("one was put aside");
    };
    assert!(
        message.reason.contains("alone with it"),
        "{}",
        message.reason
    );
}

#[tokio::test]
async fn a_program_that_does_not_run_costs_no_message() {
    let harness = Harness::new().await;
    let folder = tempfile::tempdir().unwrap();
    let fixed = folder.path().join("fixed");
    let script = format!(
        r#"exec:[ -e '{}' ] || exit 1; while read -r line; do
            id=${{line#*'"id":"'}}; id=${{id%%'"'*}}
            echo "{{\"in_reply_to\":\"$id\",\"text\":\"heard\"}}"
        done"#,
        fixed.display()
    );
    let account = harness.start(agent(&harness, &script, words()), &[]).await;
    for person in [ALICE, BOB] {
        harness.simulator.say(person, "one");
        harness.simulator.say(person, "two");
    }
    in_steps(&harness, SMALL, async || {
        account.metrics().agent_failures.get() >= 30
    })
    .await;
    std::fs::write(&fixed, "").unwrap();
    for person in [ALICE, BOB] {
        in_steps(&harness, SMALL, async || {
            harness.simulator.answers(person).len() >= 2
        })
        .await;
        let answers = harness.simulator.answers(person);
        assert_eq!(
            answers.iter().filter(|answer| *answer == "heard").count(),
            2
        );
        assert!(!answers.contains(&SORRY.to_owned()));
    }
    assert_eq!(aside(&account), []);
}

#[tokio::test]
async fn a_message_that_a_server_always_fails_is_put_aside() {
    for status in [500, 422, 404] {
        let harness = Harness::new().await;
        let (url, _) = over_http(move |text| match text {
            "poison" => StatusCode::from_u16(status).unwrap().into_response(),
            text => reply(text),
        })
        .await;
        let account = harness.start(agent(&harness, &url, words()), &[]).await;
        harness.simulator.say(ALICE, "poison");
        harness.simulator.say(ALICE, "after");
        harness.simulator.say(BOB, "hello");
        in_time(&harness, async || {
            harness.simulator.answers(ALICE).len() == 2
        })
        .await;
        let mut answers = harness.simulator.answers(ALICE);
        // Where nobody else is answered in time, the next message of the person is the witness.
        answers.sort();
        assert_eq!(answers, [SORRY, "re: after"]);
        assert_eq!(harness.simulator.answers(BOB), ["re: hello"]);
        let [(conversation, tries)] = &aside(&account)[..] else {
            panic!("one was put aside");
        };
        assert!(conversation == ALICE && *tries >= 5, "{status}: {tries}");
        assert_eq!(account.metrics().put_aside.get(), 1);
        let health = account.health().await.unwrap();
        assert_eq!(health.unacknowledged, 0);
        harness.check();
    }
}

#[tokio::test]
async fn two_messages_of_a_person_that_fail_are_both_put_aside() {
    let harness = Harness::new().await;
    let (url, _) = over_http(|text| match text {
        "poison" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        text => reply(text),
    })
    .await;
    let account = harness.start(agent(&harness, &url, words()), &[]).await;
    for text in ["poison", "poison", "after"] {
        harness.simulator.say(ALICE, text);
    }
    in_time(&harness, async || {
        harness.simulator.answers(ALICE).len() == 3
    })
    .await;
    let answers = harness.simulator.answers(ALICE);
    assert_eq!(answers.iter().filter(|answer| *answer == SORRY).count(), 2);
    assert!(answers.contains(&"re: after".to_owned()));
    assert_eq!(account.metrics().put_aside.get(), 2);
}

#[tokio::test]
async fn an_outage_costs_no_message_and_is_told_once() {
    for status in [500, 503, 429, 401] {
        let harness = Harness::new().await;
        let is_up = Arc::new(AtomicBool::new(false));
        let up = Arc::clone(&is_up);
        let (url, asked) = over_http(move |text| match up.load(Ordering::Relaxed) {
            false => StatusCode::from_u16(status).unwrap().into_response(),
            true => reply(text),
        })
        .await;
        let words = Words {
            outage_after: Duration::from_secs(30),
            ..words()
        };
        let account = harness.start(agent(&harness, &url, words), &[]).await;
        for person in [ALICE, BOB] {
            harness.simulator.say(person, "one");
            harness.simulator.say(person, "two");
        }
        let is_told = |person: &str| harness.simulator.answers(person) == [LATER];
        in_time(&harness, async || is_told(ALICE) && is_told(BOB)).await;
        let until = harness.clock.elapsed() + Duration::from_secs(300);
        in_time(&harness, async || harness.clock.elapsed() > until).await;
        assert!(is_told(ALICE) && is_told(BOB), "once");
        assert!(asked.load(Ordering::Relaxed) >= 6);
        is_up.store(true, Ordering::Relaxed);
        for person in [ALICE, BOB] {
            in_time(&harness, async || {
                harness.simulator.answers(person).len() == 3
            })
            .await;
            let answers = harness.simulator.answers(person);
            assert_eq!(answers[0], LATER);
            let both = ["re: one".to_owned(), "re: two".to_owned()];
            assert!(
                both.iter().all(|text| answers.contains(text)),
                "{status}: {answers:?}"
            );
        }
        assert_eq!(aside(&account), []);
        assert_eq!(account.metrics().outage_notices.get(), 2);
        harness.check();
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_tried_by_one_message_for_all() {
    let harness = Harness::new().await;
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let (url, asked) = over_http(move |text| match up.load(Ordering::Relaxed) {
        false => StatusCode::UNAUTHORIZED.into_response(),
        true => reply(text),
    })
    .await;
    let account = harness.start(agent(&harness, &url, words()), &[]).await;
    let people: Vec<String> = (0..20).map(|n| format!("wxid_{n}@im.wechat")).collect();
    for person in &people {
        harness.simulator.say(person, "hello");
    }
    in_time(&harness, async || asked.load(Ordering::Relaxed) >= 1).await;
    let until = harness.clock.elapsed() + Duration::from_secs(900);
    in_time(&harness, async || harness.clock.elapsed() > until).await;
    // All may have been asked before the first refusal was known; then 1, 2, 4 … 60, 60 s.
    let count = asked.load(Ordering::Relaxed);
    assert!(count <= 20 + 22, "{count}");
    is_up.store(true, Ordering::Relaxed);
    in_time(&harness, async || {
        people
            .iter()
            .all(|person| harness.simulator.answers(person).len() == 1)
    })
    .await;
    assert_eq!(aside(&account), []);
}

#[tokio::test]
async fn every_way_to_fail_ends_in_a_word_and_the_conversation_goes_on() {
    let errors = [
        AgentError::NoAnswer("it said nothing".to_owned()),
        AgentError::TooLarge,
        AgentError::Status(500),
        AgentError::Status(403),
        AgentError::Unreadable("it is no JSON"),
        AgentError::Incomplete("connection reset".to_owned()),
        AgentError::Panicked,
        AgentError::ProcessEnded,
        // Others are answered all the time, so that these are its own as well.
        AgentError::Status(503),
        AgentError::Unreachable("refused".to_owned()),
        AgentError::NotRunning,
        AgentError::TimedOut,
    ];
    for error in errors {
        let harness = Harness::new().await;
        let failure = error.clone();
        let recorder = Recorder::new(move |message, _| {
            let result = match message.text.as_str() {
                "poison" => Err(failure.clone()),
                text => Ok(Reply::of_text(format!("re: {text}"))),
            };
            async move { result }
        });
        let account = harness.start(recorder, &[]).await;
        harness.simulator.say(ALICE, "poison");
        in_steps(&harness, Duration::from_secs(2), async || {
            account.metrics().agent_failures.get() > 0
        })
        .await;
        harness.simulator.say(ALICE, "after");
        harness.simulator.say(BOB, "hello");
        let failed = Words::default().failure;
        in_steps(&harness, Duration::from_secs(2), async || {
            let answers = harness.simulator.answers(ALICE);
            answers.contains(&failed) && answers.contains(&"re: after".to_owned())
        })
        .await;
        assert_eq!(account.metrics().put_aside.get(), 1, "{error}");
        let kinds: Vec<u64> = account
            .metrics()
            .agent_errors()
            .map(|(_, count)| count)
            .collect();
        assert_eq!(
            kinds.iter().sum::<u64>(),
            account.metrics().agent_failures.get()
        );
        in_steps(&harness, Duration::from_secs(2), async || {
            account.health().await.unwrap().unacknowledged == 0
        })
        .await;
    }
}

#[tokio::test]
async fn who_wants_no_words_has_none_and_the_conversation_goes_on() {
    let harness = Harness::new().await;
    let (url, _) = over_http(|text| match text {
        "poison" => "{\"text\": \"cut".into_response(),
        text => reply(text),
    })
    .await;
    let words = Words {
        failure: String::new(),
        ..words()
    };
    let account = harness.start(agent(&harness, &url, words), &[]).await;
    harness.simulator.say(ALICE, "poison");
    harness.simulator.say(ALICE, "after");
    in_time(&harness, async || {
        !harness.simulator.answers(ALICE).is_empty()
    })
    .await;
    assert_eq!(harness.simulator.answers(ALICE), ["re: after"]);
    assert_eq!(aside(&account), [(ALICE.to_owned(), 1)]);
}

#[tokio::test]
async fn what_was_put_aside_stays_so_after_a_restart() {
    let harness = Harness::new().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    let recorder = Recorder::new(move |message, _| {
        all.lock().unwrap().push(message.text.clone());
        async { Err(AgentError::NoAnswer("nothing".to_owned())) }
    });
    let account = harness.start(recorder, &[]).await;
    harness.simulator.say(ALICE, "poison");
    in_time(&harness, async || {
        !harness.simulator.answers(ALICE).is_empty()
    })
    .await;
    account.stop().await;
    let account = harness.start(Recorder::replying(), &[]).await;
    harness.simulator.say(ALICE, "after");
    in_time(&harness, async || {
        harness.simulator.answers(ALICE).len() == 2
    })
    .await;
    assert_eq!(harness.simulator.answers(ALICE)[1], "re: after");
    assert_eq!(*asked.lock().unwrap(), ["poison"]);
    account.stop().await;
}

#[tokio::test]
async fn a_text_that_no_post_takes_goes_as_a_file() {
    let harness = Harness::new().await;
    let recorder = Recorder::new(|message, _| {
        let text = match message.text.as_str() {
            "long" => "长文 ".repeat(300_000),
            text => format!("re: {text}"),
        };
        async move { Ok(Reply::of_text(text)) }
    });
    let _account = harness.start(recorder, &[]).await;
    harness.simulator.say(ALICE, "long");
    harness.simulator.say(ALICE, "after");
    in_time(&harness, async || {
        let answers = harness.simulator.answers(ALICE);
        answers.last().is_some_and(|last| last == "re: after")
    })
    .await;
    let answers = harness.simulator.answers(ALICE);
    assert!(answers[0].starts_with("长文") && answers[0].ends_with("… message.md"));
    let files = harness.simulator.phone();
    assert!(
        files
            .iter()
            .any(|bubble| bubble.to_string().contains("message.md\""))
    );
    harness.check();
}
