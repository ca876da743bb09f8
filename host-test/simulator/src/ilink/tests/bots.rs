//! Bots, and whose they are.

use serde_json::json;

use crate::ilink::client::{Client, strict_simulator, texts};
use crate::ilink::state::DISPLACED;
use crate::{DEFAULT_USER, Simulator, SimulatorOptions};

const BOB: &str = "wxid_bob@im.wechat";

#[tokio::test]
async fn a_binding_ends_the_one_before_and_its_open_poll() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let first = simulator.first().clone();
    assert_eq!(first.owner().as_deref(), Some(DEFAULT_USER));
    simulator.say(DEFAULT_USER, "to the first");
    let client = Client::new(&simulator);
    assert_eq!(texts(&client.poll("").await), ["to the first"]);
    simulator
        .faults(&json!({"cursor": "consume", "session": {"expired": "ret", "after_ms": 60_000}}))
        .unwrap();
    let waiting = client.clone();
    let poll = tokio::spawn(async move { waiting.poll("").await });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    let second = simulator.log_in_elsewhere(DEFAULT_USER);
    let stale = json!({"errcode": -14, "errmsg": "session timeout"});
    assert_eq!(poll.await.unwrap(), stale);
    for (endpoint, body) in [
        ("getupdates", json!({"get_updates_buf": ""})),
        ("sendmessage", json!({"msg": {}})),
        ("msg/notifystart", json!({})),
        ("getconfig", json!({"ilink_user_id": "a"})),
    ] {
        assert_eq!(client.call(endpoint, body).await, stale, "{endpoint}");
    }
    assert!(!first.is_live() && second.is_live());
    assert_eq!(first.counters().starts, 1);
    // The rule of the older sessions is not the new one's.
    simulator
        .first()
        .server
        .clock
        .advance(std::time::Duration::from_secs(61));
    simulator.say(DEFAULT_USER, "to the second");
    let client = Client::of(&simulator, &second);
    assert_eq!(texts(&client.poll("").await), ["to the second"]);
    assert_ne!(second.token(), first.token());
    assert!(second.token().starts_with(&format!("{}:", second.id())));
    let hex = second.id().strip_suffix("@im.bot").unwrap();
    assert!(hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[tokio::test]
async fn people_write_to_their_own_bot_or_to_one_that_lives() {
    let simulator = strict_simulator().await;
    let other = simulator.add_account("0123456789ab@im.bot");
    let of = |user: &str| simulator.bot_of(user).id().to_owned();
    assert_eq!((other.owner(), of(BOB)), (None, simulator.account_id()));
    other.bind(BOB);
    assert_eq!(of(BOB), other.id());
    let second = simulator.log_in_elsewhere(DEFAULT_USER);
    assert_eq!(of(DEFAULT_USER), second.id());
    assert_eq!(of("wxid_carol@im.wechat"), second.id());
    // A new token makes a bot the live one again.
    simulator.first().replace_token();
    assert_eq!(of(DEFAULT_USER), simulator.account_id());
    assert!(simulator.first().is_live() && !second.is_live());
    // A bot that goes to another person leaves the first one without.
    other.bind(DEFAULT_USER);
    assert!(!simulator.first().is_live() && other.is_live());
    assert_eq!(of(BOB), other.id());
}

#[tokio::test]
async fn only_the_newest_of_the_displaced_are_remembered() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let first = Client::new(&simulator);
    for _ in 0..DISPLACED + 5 {
        simulator.log_in_elsewhere(DEFAULT_USER);
    }
    assert_eq!(simulator.server().all_bots().len(), DISPLACED + 1);
    assert_eq!(first.poll("").await["errcode"], -14);
    assert_eq!(simulator.counters().polls, 0);
}
