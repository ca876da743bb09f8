//! A server that cannot be reached for a while.

use serde_json::json;

use crate::ilink::client::{Client, texts};
use crate::{Simulator, SimulatorOptions};

#[tokio::test]
async fn the_network_goes_and_comes_back_at_the_same_address() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let client = Client::new(&simulator);
    let waiting = client.clone();
    let empty = json!({"get_updates_buf": ""});
    let body = empty.clone();
    let poll = tokio::spawn(async move { waiting.post("getupdates", body).await });
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    for _ in 0..2 {
        simulator.go_offline().await;
        assert_eq!(simulator.counters().polls_open, 0);
        assert!(client.post("getupdates", empty.clone()).await.is_err());
    }
    assert!(poll.await.unwrap().is_err());
    simulator.say("wxid_alice@im.wechat", "in the dark");
    for _ in 0..2 {
        simulator.come_online().await.unwrap();
        assert_eq!(texts(&client.poll("").await), ["in the dark"]);
    }
    simulator.go_offline().await;
    simulator.shutdown().await;
    simulator.go_offline().await;
    assert!(simulator.come_online().await.is_err());
}
