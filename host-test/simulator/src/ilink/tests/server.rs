//! The end of the server.

use serde_json::json;

use crate::ilink::client::Client;
use crate::{Simulator, SimulatorOptions};

#[tokio::test]
async fn shutdown_ends_open_polls_and_frees_the_port() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let client = Client::new(&simulator);
    let poll = tokio::spawn(async move {
        client
            .post("getupdates", json!({"get_updates_buf": ""}))
            .await
    });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    simulator.shutdown().await;
    assert!(poll.await.unwrap().is_err());
    assert_eq!(simulator.counters().polls_open, 0);
    let listen = simulator.first().server.address;
    let again = Simulator::start(SimulatorOptions {
        listen,
        ..SimulatorOptions::default()
    })
    .await;
    assert_eq!(again.unwrap().base_url(), simulator.base_url());
}

#[tokio::test]
async fn the_server_ends_with_its_last_handle() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let client = Client::new(&simulator);
    let account = simulator.first().clone();
    drop(simulator);
    let poll = tokio::spawn(async move {
        client
            .post("getupdates", json!({"get_updates_buf": ""}))
            .await
    });
    while account.counters().polls_open == 0 {
        tokio::task::yield_now().await;
    }
    drop(account);
    assert!(poll.await.unwrap().is_err());
}
