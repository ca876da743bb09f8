//! What the agent says arrives, or is told not to: shares, windows, throttles, the queue.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use gateway_host::account::{Account, PartState, Post};
use gateway_host::agent::message::Reply;
use gateway_host::agent::{AgentError, EchoAgent};
use gateway_simulator::Fault;
use gateway_simulator::ilink::Endpoint;
use tokio::sync::Notify;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually, proactive};

const HOUR: Duration = Duration::from_secs(3600);

fn progress(number: usize) -> Post {
    proactive(&format!("p{number}"), ALICE, &format!("step {number}")).as_progress()
}

fn queued(harness: &Harness, key: &str, conversation: &str, text: &str) -> Post {
    let day_ms = 24 * 3600 * 1000;
    proactive(key, conversation, text).queued_until(harness.clock.unix_ms() + 10 * day_ms)
}

async fn state(account: &Account, post: Post) -> PartState {
    account.send(post).await.unwrap().parts[0].state
}

/// An agent that answers when it is told to.
fn patient(answer: &Arc<Notify>) -> Arc<Recorder> {
    let answer = Arc::clone(answer);
    Recorder::new(move |_, _| {
        let answer = Arc::clone(&answer);
        async move {
            answer.notified().await;
            Ok::<_, AgentError>(Reply::of_text("the answer".to_owned()))
        }
    })
}

/// Moves the clock on by `step` when the instance has nothing to do and no request but its poll is
/// open: what is under way would time out on a busy machine.
async fn advance(harness: &Harness, account: &Account, step: Duration) {
    eventually(async || {
        account.health().await.unwrap();
        let open = account.tenant().requests.open();
        open == 1 && harness.simulator.counters().polls_open == 1
    })
    .await;
    harness.clock.advance(step);
}

/// Does so until a condition comes true; how long that was.
async fn advance_until(
    harness: &Harness,
    account: &Account,
    step: Duration,
    what: impl AsyncFn() -> bool,
) -> Duration {
    let begun = harness.clock.elapsed();
    eventually(async || {
        advance(harness, account, step).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        what().await
    })
    .await;
    harness.clock.elapsed() - begun
}

#[tokio::test]
async fn progress_leaves_room_for_the_answer_also_after_a_crash() {
    let harness = Harness::new().await;
    let answer = Arc::new(Notify::new());
    let mut account = harness.start(patient(&answer), &[]).await;
    harness.simulator.say(ALICE, "work");
    harness
        .until(|simulator| simulator.counters().typings > 0)
        .await;
    let mut states = Vec::new();
    for number in 0..30 {
        if number == 5 {
            // As with kill -9: nothing is tidied.
            drop(account);
            account = harness.start(patient(&answer), &[]).await;
        }
        states.push(state(&account, progress(number)).await);
    }
    let accepted = |states: &[PartState]| {
        let accepted = states.iter().filter(|state| **state == PartState::Accepted);
        accepted.count()
    };
    assert_eq!(accepted(&states[..7]), 7, "{states:?}");
    assert_eq!(accepted(&states), 7, "{states:?}");
    answer.notify_one();
    answer.notify_waiters();
    harness
        .until(|simulator| simulator.answers(ALICE).last().unwrap() == "the answer")
        .await;
    assert_eq!(harness.simulator.counters().refused, 0);
    harness.check();
}

#[tokio::test]
async fn progress_that_waits_for_the_pace_becomes_one_message() {
    let harness = Harness::new().await;
    let answer = Arc::new(Notify::new());
    let config = [("send-interval-ms", "60000")];
    let account = harness.start(patient(&answer), &config).await;
    harness.simulator.say(ALICE, "work");
    eventually(async || account.health().await.unwrap().unacknowledged == 1).await;
    for number in 0..2 {
        assert_eq!(state(&account, progress(number)).await, PartState::Accepted);
    }
    let waiting = (2..6).map(|number| account.send(progress(number)));
    let sent = async {
        let receipts = join_all(waiting).await;
        let states: Vec<PartState> = receipts
            .into_iter()
            .map(|receipt| receipt.unwrap().parts[0].state)
            .collect();
        use PartState::{Dropped, Pending};
        assert_eq!(states, [Dropped, Dropped, Dropped, Pending]);
    };
    let moved = async {
        eventually(async || account.health().await.unwrap().queued == 1).await;
        harness.clock.advance(Duration::from_secs(16));
    };
    tokio::join!(sent, moved);
    advance_until(&harness, &account, Duration::from_secs(5), async || {
        harness.simulator.answers(ALICE).len() == 3
    })
    .await;
    let merged = "step 2\nstep 3\nstep 4\nstep 5";
    assert_eq!(harness.simulator.answers(ALICE)[2], merged);
    // What waits when the answer is there is said by it.
    let (late, ()) = tokio::join!(account.send(progress(9)), async {
        eventually(async || account.health().await.unwrap().queued == 1).await;
        answer.notify_one();
    });
    assert_eq!(late.unwrap().parts[0].state, PartState::Dropped);
    advance_until(&harness, &account, Duration::from_secs(5), async || {
        harness.simulator.answers(ALICE).len() == 4
    })
    .await;
    assert_eq!(harness.simulator.answers(ALICE)[3], "the answer");
    harness.check();
}

#[tokio::test]
async fn fifty_questions_get_fifty_answers() {
    let harness = Harness::new().await;
    let account = harness.start(Recorder::replying(), &[]).await;
    for turn in 1..=50 {
        harness.simulator.say(ALICE, &format!("question {turn}"));
        harness
            .until(|simulator| simulator.answers(ALICE).len() == turn)
            .await;
    }
    assert_eq!(harness.simulator.counters().refused, 0);
    eventually(async || account.health().await.unwrap().queued == 0).await;
    harness.check();
}

#[tokio::test]
async fn the_window_closes_after_a_day_without_a_request() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    eventually(async || account.health().await.unwrap().queued == 0).await;
    harness.clock.advance(22 * HOUR);
    assert_eq!(
        state(&account, proactive("k1", ALICE, "in time")).await,
        PartState::Accepted
    );
    harness.clock.advance(2 * HOUR);
    let before = harness.simulator.counters().sends;
    let late = account.send(proactive("k2", ALICE, "too late")).await;
    let error = late.unwrap_err().to_string();
    assert!(error.contains("window-closed"), "{error}");
    let first = queued(&harness, "k3", ALICE, "first");
    assert_eq!(state(&account, first.clone()).await, PartState::Queued);
    let second = queued(&harness, "k4", ALICE, "second");
    assert_eq!(state(&account, second).await, PartState::Queued);
    assert_eq!(account.health().await.unwrap().queued, 2);
    assert_eq!(harness.simulator.counters().sends, before);

    // What is queued survives a crash, and goes out in order when the person writes.
    drop(account);
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    assert_eq!(state(&account, first).await, PartState::Queued);
    harness.simulator.say(ALICE, "good morning");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 5)
        .await;
    let answers = harness.simulator.answers(ALICE);
    assert_eq!(answers[..4], ["hello", "in time", "first", "second"]);
    assert_eq!(answers[4], "good morning");
    let phone = harness.simulator.phone();
    assert!(
        phone[phone.len() - 3..]
            .iter()
            .all(|bubble| bubble["context"] == "newest")
    );
    // A key whose post did not go out is free again.
    let again = proactive("k2", ALICE, "too late");
    assert_eq!(state(&account, again).await, PartState::Accepted);
    harness.check();
}

#[tokio::test]
async fn what_the_server_refuses_closes_the_peer_and_nobody_else() {
    let harness = Harness::new().await;
    let config = [("sends-per-message", "0")];
    let account = harness.start(Arc::new(EchoAgent), &config).await;
    for person in [ALICE, BOB] {
        harness.simulator.say(person, "hello");
        harness
            .until(|simulator| simulator.answers(person).len() == 1)
            .await;
    }
    // The server counts to ten although the operator said that there is no limit.
    let posts = (0..12).map(|number| {
        let key = format!("k{number}");
        account.send(queued(&harness, &key, ALICE, &key))
    });
    let refused = async {
        let states: Vec<PartState> = join_all(posts)
            .await
            .into_iter()
            .map(|receipt| receipt.unwrap().parts[0].state)
            .collect();
        assert_eq!(states[..9], [PartState::Accepted; 9]);
        assert_eq!(states[9..], [PartState::Queued; 3]);
    };
    refused.await;
    for number in 0..4 {
        let post = proactive(&format!("bob{number}"), BOB, "for bob");
        assert_eq!(state(&account, post).await, PartState::Accepted);
        harness.clock.advance(Duration::from_secs(6));
        tokio::task::yield_now().await;
    }
    // Refused once more while Bob is served: it is Alice, and she is not asked again.
    eventually(async || harness.simulator.counters().refused >= 2).await;
    harness.clock.advance(HOUR);
    assert_eq!(
        state(&account, proactive("late", BOB, "for bob")).await,
        PartState::Accepted
    );
    assert_eq!(harness.simulator.counters().refused, 2);
    harness.simulator.say(ALICE, "go on");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 14)
        .await;
    let answers = harness.simulator.answers(ALICE);
    assert_eq!(answers[10..], ["k9", "k10", "k11", "go on"]);
    harness.check();
}

#[tokio::test]
async fn a_refusal_that_passes_delays_its_answer_and_no_other() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness
        .simulator
        .fault(
            Endpoint::SendMessage,
            Fault::ret(-2).with_errmsg("prepare failed").once(),
        )
        .unwrap();
    harness.simulator.say(ALICE, "one");
    eventually(async || harness.simulator.counters().sends == 1).await;
    harness.simulator.say(BOB, "two");
    harness
        .until(|simulator| simulator.answers(BOB).len() == 1)
        .await;
    let waited = advance_until(&harness, &account, Duration::from_millis(500), async || {
        harness.simulator.answers(ALICE) == ["one"]
    })
    .await;
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    eventually(async || account.health().await.unwrap().queued == 0).await;
    harness.check();
}

#[tokio::test]
async fn a_text_of_too_many_parts_goes_as_a_file_behind_its_first_part() {
    let harness = Harness::new().await;
    let cdn = harness.simulator.cdn_base_url();
    let config = [
        ("text-limit", "100"),
        ("max-parts", "3"),
        ("cdn-base-url", cdn.as_str()),
    ];
    let long: String = (0..40).fold(String::new(), |text, line| {
        text + &format!("- item **{line}** of a long list\n")
    });
    let answer = long.clone();
    let agent = Recorder::new(move |_, _| {
        let answer = answer.clone();
        async move { Ok(Reply::of_text(answer)) }
    });
    let account = harness.start(agent, &config).await;
    harness
        .simulator
        .fault(Endpoint::Upload, Fault::status(503).once())
        .unwrap();
    harness.simulator.say(ALICE, "a list, please");
    advance_until(&harness, &account, Duration::from_secs(5), async || {
        harness.simulator.phone().len() == 3
    })
    .await;
    let phone = harness.simulator.phone();
    let preview = phone[1]["text"].as_str().unwrap();
    assert!(
        preview.contains("of a long list") && preview.ends_with("message.md"),
        "{preview}"
    );
    assert!(preview.chars().count() <= 100);
    assert_eq!(phone[2]["item"]["name"], "message.md");
    assert!(phone[2]["broken"].is_null(), "{}", phone[2]);
    let file = harness
        .simulator
        .phone_file(phone[2]["message_id"].as_u64().unwrap());
    assert_eq!(String::from_utf8(file.unwrap()).unwrap(), long);
    eventually(async || account.health().await.unwrap().unacknowledged == 0).await;
    harness.check();
}

#[tokio::test]
async fn receipts_are_kept_for_three_days_and_the_store_does_not_grow() {
    let harness = Harness::new().await;
    let account = harness.start(Arc::new(EchoAgent), &[]).await;
    let keys = async |bucket: &str| {
        let name = format!("{bucket}/{}", account.id());
        let bucket = harness.state.bucket(&name).unwrap();
        let (mut count, mut cursor) = (0, None);
        loop {
            let page = bucket.list_keys(cursor.take()).await.unwrap();
            count += page.keys.len();
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return count,
            }
        }
    };
    for number in 0..40 {
        harness.simulator.say(ALICE, &format!("message {number}"));
        harness
            .until(|simulator| simulator.answers(ALICE).len() == number + 1)
            .await;
    }
    let key = "reply:7497484083968569737".to_owned();
    let first = harness.simulator.phone()[0]["message_id"].to_string();
    let key = key.replace("7497484083968569737", &first);
    eventually(async || keys("receipts").await >= 32).await;
    assert!(account.find(key.clone()).await.unwrap().is_some());
    harness.clock.advance(71 * HOUR);
    harness.simulator.say(ALICE, "still there?");
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 41)
        .await;
    assert!(account.find(key.clone()).await.unwrap().is_some());
    advance_until(&harness, &account, HOUR, async || {
        account.find(key.clone()).await.unwrap().is_none()
    })
    .await;
    eventually(async || keys("receipts").await <= 9).await;
    // Of 82 the last few are still with their posts, until the next tidying.
    let kept = keys("messages").await;
    assert!(kept >= 70, "{kept}");
    advance_until(&harness, &account, 24 * HOUR, async || {
        keys("messages").await <= 16
    })
    .await;
    let left = keys("state").await;
    assert!(left < 40, "{left}");
}
