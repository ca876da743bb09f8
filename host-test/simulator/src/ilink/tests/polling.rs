//! The long poll: what it hands out, and when.

use std::time::Duration;

use serde_json::json;

use crate::ilink::RuleChanges;
use crate::ilink::client::{Client, cursor, strict_simulator, texts};
use crate::ilink::rules::Cursors;
use crate::{Simulator, SimulatorOptions};

const ALICE: &str = "wxid_alice@im.wechat";

async fn simulator() -> (Simulator, Client) {
    let simulator = Simulator::start(SimulatorOptions::default())
        .await
        .expect("a free port is there");
    let client = Client::new(&simulator);
    (simulator, client)
}

#[tokio::test]
async fn a_message_ends_the_hold_at_once() {
    let (simulator, client) = simulator().await;
    let poll = tokio::spawn(async move { client.poll("").await });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    let said = simulator.say(ALICE, "hello");
    let answer = poll.await.unwrap();
    assert_eq!(answer["msgs"], json!([said]));
    assert_eq!(answer["ret"], 0);
    assert_eq!(answer["longpolling_timeout_ms"], 35_000);
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 0)
        .await;
}

#[tokio::test]
async fn an_empty_poll_is_answered_before_the_advertised_time() {
    let simulator = strict_simulator().await;
    let clock = &simulator.server().clock;
    let began = clock.elapsed();
    let answer = Client::new(&simulator).poll("").await;
    assert!(clock.elapsed() - began >= Duration::from_millis(270));
    assert_eq!(answer["longpolling_timeout_ms"], 300);
    assert_eq!((&answer["msgs"], cursor(&answer)), (&json!([]), ""));
    simulator
        .change(
            &RuleChanges::new()
                .advertise(Some(Duration::from_secs(0)))
                .hold(Duration::from_secs(0)),
        )
        .unwrap();
    assert!(
        Client::new(&simulator)
            .poll("")
            .await
            .get("longpolling_timeout_ms")
            .is_none()
    );
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_hold_goes_by_the_clock() {
    let (simulator, client) = simulator().await;
    let poll = tokio::spawn(async move { client.poll("").await });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    simulator
        .first()
        .server
        .clock
        .advance(Duration::from_secs(34));
    assert_eq!(poll.await.unwrap()["msgs"], json!([]));
}

#[tokio::test]
async fn the_edge_cuts_a_poll_and_loses_nothing() {
    let (simulator, client) = simulator().await;
    let rules = json!({"edge_ms": 17_000, "cursor": "consume"});
    simulator.faults(&rules).unwrap();
    let waiting = client.clone();
    let body = json!({"get_updates_buf": ""});
    let poll = tokio::spawn(async move { waiting.post("getupdates", body).await });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    let clock = simulator.first().server.clock.clone();
    clock.advance(Duration::from_secs(16));
    assert!(!poll.is_finished());
    clock.advance(Duration::from_secs(1));
    let (status, page) = poll.await.unwrap().unwrap();
    assert_eq!(status.as_u16(), 524);
    assert!(page.starts_with("<html>"), "{page}");
    simulator.say(ALICE, "hello");
    assert_eq!(texts(&client.poll("").await), ["hello"]);
}

#[tokio::test]
async fn a_rewound_cursor_delivers_again_from_there() {
    let (simulator, client) = simulator().await;
    simulator.say(ALICE, "one");
    let first = client.poll("").await;
    simulator.say(ALICE, "two");
    let second = client.poll(cursor(&first)).await;
    assert_eq!((texts(&first), texts(&second)), (vec!["one"], vec!["two"]));
    assert_eq!(texts(&client.poll(cursor(&first)).await), ["two"]);
    assert_eq!(texts(&client.poll("").await), ["one", "two"]);
    assert_eq!(
        texts(&client.poll("a cursor of another server").await),
        ["one", "two"]
    );
}

#[tokio::test]
async fn an_acknowledged_message_never_comes_again() {
    let (simulator, client) = simulator().await;
    simulator
        .change(
            &RuleChanges::new()
                .cursors(Cursors::Acknowledge)
                .hold(Duration::from_millis(1)),
        )
        .unwrap();
    simulator.say(ALICE, "one");
    let first = client.poll("").await;
    assert_eq!(texts(&client.poll("").await), ["one"]);
    simulator.say(ALICE, "two");
    assert_eq!(texts(&client.poll(cursor(&first)).await), ["two"]);
    assert_eq!(texts(&client.poll("").await), ["two"]);
}

#[tokio::test]
async fn a_consumed_message_never_comes_again() {
    let (simulator, client) = simulator().await;
    simulator
        .change(
            &RuleChanges::new()
                .cursors(Cursors::Consume)
                .hold(Duration::from_millis(1)),
        )
        .unwrap();
    simulator.say(ALICE, "one");
    assert_eq!(texts(&client.poll("").await), ["one"]);
    simulator.say(ALICE, "two");
    assert_eq!(texts(&client.poll("").await), ["two"]);
    assert!(texts(&client.poll("").await).is_empty());
}

#[tokio::test]
async fn a_poll_that_its_client_leaves_consumes_nothing() {
    let (simulator, client) = simulator().await;
    simulator
        .change(&RuleChanges::new().cursors(Cursors::Consume))
        .unwrap();
    let left = client.clone();
    let poll = tokio::spawn(async move { left.poll("").await });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    poll.abort();
    drop(poll.await);
    drop(client);
    let open = |simulator: &Simulator| simulator.counters().polls_open;
    simulator.wait_for(|simulator| open(simulator) == 0).await;
    simulator.say(ALICE, "hello");
    assert_eq!(texts(&Client::new(&simulator).poll("").await), ["hello"]);
}

#[tokio::test]
async fn a_newer_poll_ends_the_older_one() {
    let (simulator, client) = simulator().await;
    let polling = |client: Client| tokio::spawn(async move { client.poll("").await });
    let older = polling(client.clone());
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    let newer = polling(client);
    assert_eq!(older.await.unwrap()["msgs"], json!([]));
    simulator.say(ALICE, "hello");
    assert_eq!(texts(&newer.await.unwrap()), ["hello"]);
    assert_eq!(simulator.counters().polls_open_max, 2);
}

#[tokio::test]
async fn batches_are_limited_and_go_on_where_they_ended() {
    let (simulator, client) = simulator().await;
    simulator.change(&RuleChanges::new().batch(2)).unwrap();
    for text in ["1", "2", "3"] {
        simulator.say(ALICE, text);
    }
    let first = client.poll("").await;
    assert_eq!(texts(&first), ["1", "2"]);
    assert_eq!(texts(&client.poll(cursor(&first)).await), ["3"]);
    assert_eq!(simulator.counters().delivered, 3);
}

#[tokio::test]
async fn an_expired_session_ends_the_open_poll() {
    let (simulator, client) = simulator().await;
    let waiting = client.clone();
    let poll = tokio::spawn(async move { waiting.poll("").await });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    simulator
        .faults(&json!({"session": {"expired": "errcode", "for_ms": 60_000}}))
        .unwrap();
    let stale = json!({"errcode": -14, "errmsg": "session timeout"});
    assert_eq!(poll.await.unwrap(), stale);
    simulator
        .faults(&json!({"session": {"expired": "both"}}))
        .unwrap();
    assert_eq!(client.poll("").await["ret"], -14);
    simulator
        .faults(&json!({"session": {"expired": "ret"}}))
        .unwrap();
    assert!(client.send(ALICE, "x", "1").await.get("errcode").is_none());
    simulator.first().replace_token();
    assert_eq!(client.poll("").await, stale);
    simulator.say(ALICE, "hello");
    assert_eq!(texts(&Client::new(&simulator).poll("").await), ["hello"]);
}

#[tokio::test]
async fn accounts_know_nothing_of_each_other() {
    let simulator = strict_simulator().await;
    let other = simulator.add_account("0123456789ab@im.bot");
    simulator.say(ALICE, "to the first");
    other.say(ALICE, "to the other");
    let clients = (Client::new(&simulator), Client::of(&simulator, &other));
    let first = clients.0.poll("").await;
    assert_eq!(texts(&first), ["to the first"]);
    assert_eq!(texts(&clients.1.poll("").await), ["to the other"]);
    simulator
        .faults(&json!({"account": other.id(), "session": {"expired": "ret"}}))
        .unwrap();
    assert_eq!(clients.1.poll("").await["ret"], -14);
    assert_eq!(clients.0.poll("").await["ret"], 0);
    assert_eq!(simulator.violations(), Vec::<String>::new());
    simulator.change(&RuleChanges::new().session(None)).unwrap();
    clients.1.poll(cursor(&first)).await;
    assert_eq!(simulator.violations().len(), 1);
    assert!(simulator.account("nobody@im.bot").is_none());
}

#[tokio::test]
async fn five_hundred_polls_wait_side_by_side() {
    let (simulator, _) = simulator().await;
    let accounts: Vec<_> = (0..500)
        .map(|number| simulator.add_account(&format!("{number:012x}@im.bot")))
        .collect();
    let polls: Vec<_> = accounts
        .iter()
        .map(|account| Client::of(&simulator, account))
        .map(|client| tokio::spawn(async move { client.poll("").await }))
        .collect();
    let all_wait = |_: &Simulator| accounts.iter().all(|one| one.counters().polls_open == 1);
    simulator.wait_for(all_wait).await;
    for account in &accounts {
        account.say(ALICE, account.id());
    }
    for (account, poll) in accounts.iter().zip(polls) {
        assert_eq!(texts(&poll.await.unwrap()), [account.id()]);
    }
}
