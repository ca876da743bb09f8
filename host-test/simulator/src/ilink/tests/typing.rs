//! The typing indicator, and the client that comes and goes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ilink::RuleChanges;
use crate::ilink::client::{Client, strict_simulator};
use crate::{Event, Typing};

const ALICE: &str = "wxid_alice@im.wechat";

async fn typing(client: &Client, user: &str, ticket: &Value, status: u64) -> Value {
    let body = json!({"ilink_user_id": user, "typing_ticket": ticket, "status": status});
    client.call("sendtyping", body).await
}

#[tokio::test]
async fn a_ticket_switches_its_persons_indicator() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    let mut events = simulator.subscribe();
    let config = client
        .call("getconfig", json!({"ilink_user_id": ALICE}))
        .await;
    let ticket = &config["typing_ticket"];
    assert_eq!(config["ret"], 0);
    for status in [1, 1, 2] {
        assert_eq!(
            typing(&client, ALICE, ticket, status).await,
            json!({"ret": 0})
        );
        assert_eq!(simulator.first().typing(ALICE).on, status == 1);
    }
    let seen = simulator.first().typing(ALICE);
    assert_eq!(
        seen,
        Typing {
            on: false,
            started: 2,
            stopped: 1
        }
    );
    for expected in [true, false] {
        let Event::Typing { on, user, .. } = events.recv().await.unwrap() else {
            panic!("nothing was shown")
        };
        assert_eq!((on, user.as_str()), (expected, ALICE));
    }
    assert_eq!(simulator.violations(), Vec::<String>::new());
    assert_ne!(
        typing(&client, "wxid_bob@im.wechat", ticket, 1).await["ret"],
        0
    );
    assert_eq!(simulator.violations().len(), 1);
    assert_ne!(typing(&client, ALICE, ticket, 3).await["ret"], 0);
    assert_ne!(typing(&client, ALICE, &json!("forged"), 1).await["ret"], 0);
}

#[tokio::test]
async fn a_ticket_expires_by_the_clock() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    let config = client
        .call("getconfig", json!({"ilink_user_id": ALICE}))
        .await;
    simulator
        .change(&RuleChanges::new().ticket_life(Some(Duration::from_secs(60))))
        .unwrap();
    simulator
        .first()
        .server
        .clock
        .advance(Duration::from_secs(59));
    assert_eq!(
        typing(&client, ALICE, &config["typing_ticket"], 1).await["ret"],
        0
    );
    simulator
        .first()
        .server
        .clock
        .advance(Duration::from_secs(2));
    assert_ne!(
        typing(&client, ALICE, &config["typing_ticket"], 2).await["ret"],
        0
    );
    assert!(simulator.first().typing(ALICE).on);
}

#[tokio::test]
async fn coming_and_going_is_counted_and_can_be_required() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    simulator
        .change(&RuleChanges::new().needs_start(true))
        .unwrap();
    assert_eq!(client.poll("").await["errcode"], -14);
    assert_eq!(
        client.call("msg/notifystart", json!({})).await,
        json!({"ret": 0})
    );
    assert_eq!(client.poll("").await["ret"], 0);
    assert_eq!(
        client.call("msg/notifystop", json!({})).await,
        json!({"ret": 0})
    );
    let counters = simulator.counters();
    assert_eq!((counters.starts, counters.stops, counters.polls), (1, 1, 2));
    assert_eq!(simulator.violations(), Vec::<String>::new());
}
