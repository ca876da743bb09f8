//! Many accounts: a file that changes, components that are swapped, neighbours that are left alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway_host::account::{AccountOptions, Changes, Handle, SwapError};
use gateway_host::agent::EchoAgent;
use gateway_host::gateway::Gateway;
use gateway_host::media::MediaRules;
use gateway_simulator::ilink::{Endpoint, RuleChanges};
use gateway_simulator::{Fault, Simulator};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::{
    ALICE, BOB, Harness, Recorder, component, eventually, heard, runner, signal, until,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// The same component with another digest: a custom section more.
pub fn another_component() -> Vec<u8> {
    let mut bytes = std::fs::read(component()).unwrap();
    bytes.extend([0, 5, 1, b'x', 1, 2, 3]);
    bytes
}

/// The same component with a host more that gets the token.
pub fn wider_component() -> Vec<u8> {
    let bytes = std::fs::read(component()).unwrap();
    patched(bytes, b"*.wechat.com", b"*.wechax.com")
}

/// A component with other words of the same length.
fn patched(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, old).collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + new.len()].copy_from_slice(new);
    }
    bytes
}

async fn add(harness: &Harness, gateway: &Gateway, id: &str) -> Handle {
    let bot = harness.simulator.add_account(id);
    harness
        .simulator
        .faults(&json!({"account": id, "budget": null}))
        .unwrap();
    let options = AccountOptions {
        id: id.to_owned(),
        secrets: BTreeMap::from([("bot-token".to_owned(), bot.token())]),
        config: BTreeMap::from([
            ("base-url".to_owned(), harness.simulator.base_url()),
            ("send-interval-ms".to_owned(), "0".to_owned()),
        ]),
        media: MediaRules::default(),
    };
    gateway
        .add("weixin", options, Arc::new(EchoAgent))
        .await
        .unwrap()
}

pub fn shown(simulator: &Simulator, account: &str, user: &str) -> Vec<String> {
    let phone = simulator.phone();
    let bubbles = phone.iter().filter(|entry| {
        entry["account"] == account && entry["user"] == user && entry["from"] == "bot"
    });
    bubbles
        .map(|entry| entry["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn swaps_under_load_lose_and_double_nothing() {
    let harness = Harness::lenient().await;
    // The clock is fast, so a drain may give up a request that the server has taken. It is sent again
    // with the same `client_id`; a second post of the same answer would have another one.
    let dedupe = RuleChanges::new().dedupe(true);
    harness.simulator.change(&dedupe).unwrap();
    let gateway = harness.gateway();
    let ids: Vec<String> = (0..4)
        .map(|number| format!("{number:012x}@im.bot"))
        .collect();
    let mut bots = Vec::new();
    for id in &ids {
        add(&harness, &gateway, id).await;
        bots.push(harness.simulator.account(id).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.wasm");
    std::fs::write(&path, another_component()).unwrap();
    let plugins = [
        harness.runtime.load(&path).await.unwrap(),
        gateway.plugin("weixin").unwrap(),
    ];
    let talking = async {
        for number in 0..400 {
            for (place, bot) in bots.iter().enumerate() {
                bot.say([ALICE, BOB][(number + place) % 2], &format!("{number}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let swapping = async {
        for number in 0..50 {
            gateway
                .swap(&plugins[number % 2], DEADLINE)
                .await
                .unwrap_or_else(|error| panic!("swap {number}: {error}"));
        }
    };
    let moving = async {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            harness.clock.advance(Duration::from_millis(200));
        }
    };
    tokio::select! {
        _ = async { tokio::join!(talking, swapping) } => {}
        () = moving => {}
    }
    for (place, id) in ids.iter().enumerate() {
        for (offset, user) in [ALICE, BOB].into_iter().enumerate() {
            let expect: Vec<String> = (0..400)
                .filter(|number| (number + place) % 2 == offset)
                .map(|number| number.to_string())
                .collect();
            eventually(async || shown(&harness.simulator, id, user).len() >= expect.len()).await;
            assert_eq!(shown(&harness.simulator, id, user), expect, "{id} {user}");
        }
        let asked = gateway.account(id).unwrap().metrics().agent_messages.get();
        assert_eq!(asked, 400, "{id}: each message is given to the agent once");
    }
    harness.check();
}

#[tokio::test]
async fn a_component_that_reaches_more_is_swapped_in_when_that_is_confirmed() {
    let harness = Harness::new().await;
    let (gateway, account) = harness.serve(Arc::new(EchoAgent), &[]).await;
    let before = gateway.plugin("weixin").unwrap().digest();
    let name = Path::new("wider.wasm");
    let wider = harness
        .runtime
        .load_bytes(name, wider_component())
        .await
        .unwrap();
    let error = gateway.swap(&wider, DEADLINE).await.unwrap_err();
    assert!(matches!(error, SwapError::Unconfirmed(_)), "{error}");
    let told = error.to_string();
    let more = "it reaches https://*.wechax.com/ilink/bot/* with bot-token in a header";
    assert!(told.contains(more), "{told}");
    let error = account.swap(&wider, DEADLINE, Changes::Refused).await;
    assert!(matches!(error, Err(SwapError::Unconfirmed(_))), "{error:?}");
    assert_eq!(
        (
            account.component(),
            gateway.plugin("weixin").unwrap().digest()
        ),
        (before.clone(), before)
    );
    gateway.swap_confirmed(&wider, DEADLINE).await.unwrap();
    assert_eq!(account.component(), wider.digest());
    // What hides less is refused as well.
    let open = patched(wider_component(), b"/bot_token", b"/bot_tokex");
    let open = harness.runtime.load_bytes(Path::new("open.wasm"), open);
    let open = open.await.unwrap();
    let error = gateway.swap(&open, DEADLINE).await.unwrap_err();
    assert!(
        error.to_string().contains("it gets to see bot-token"),
        "{error}"
    );
    harness.check();
}

#[tokio::test]
async fn check_shows_how_two_components_differ() {
    let folder = tempfile::tempdir().unwrap();
    let wider = folder.path().join("wider.wasm");
    std::fs::write(&wider, wider_component()).unwrap();
    let compare = async |new: &Path, old: &Path| {
        let command = &mut runner(&["check"]);
        let output = command.arg(new).arg("--against").arg(old).output().await;
        let output = output.unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (status, text) = compare(&wider, &component()).await;
    assert_eq!(status, Some(1), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    for line in [
        "- reaches https://*.wechat.com/ilink/bot/* with bot-token in a header",
        "+ reaches https://*.wechax.com/ilink/bot/* with bot-token in a header",
        "+ reaches https://*.wechax.com/*",
    ] {
        assert!(lines.contains(&line), "{text}");
    }
    let last = lines.last().unwrap();
    assert!(last.contains("refused without your word"), "{text}");
    let (status, text) = compare(&component(), &component()).await;
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(text, "a swap to it needs no word of yours\n");
    let (status, text) = compare(&crate::harness::component_wecom(), &component()).await;
    assert_eq!(status, Some(1));
    for line in ["+ takes webhooks", "it is for the platform wecom"] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn a_component_that_does_not_connect_gives_way_to_the_old_one() {
    let harness = Harness::new().await;
    let (gateway, account) = harness.serve(Arc::new(EchoAgent), &[]).await;
    harness.simulator.say(ALICE, "one");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["one"])
        .await;
    let before = gateway.plugin("weixin").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.wasm");
    std::fs::write(&path, another_component()).unwrap();
    let other = harness.runtime.load(&path).await.unwrap();
    harness
        .simulator
        .change(
            &RuleChanges::new()
                .fault(Endpoint::GetUpdates, Fault::status(502))
                .fault(Endpoint::NotifyStart, Fault::status(502)),
        )
        .unwrap();
    let (result, ()) = tokio::join!(gateway.swap(&other, Duration::from_secs(3)), async {
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            harness.clock.advance(Duration::from_millis(50));
        }
    });
    let error = result.unwrap_err();
    assert!(matches!(error, SwapError::RolledBack(_)), "{error}");
    assert!(error.to_string().contains("not connected"), "{error}");
    assert_eq!(account.component(), before.digest());
    assert_eq!(gateway.plugin("weixin").unwrap().digest(), before.digest());
    harness
        .simulator
        .change(
            &RuleChanges::new()
                .clear(Endpoint::GetUpdates)
                .clear(Endpoint::NotifyStart),
        )
        .unwrap();
    harness.simulator.say(ALICE, "two");
    eventually(async || {
        harness.clock.advance(Duration::from_millis(500));
        harness.simulator.answers(ALICE) == ["one", "two"]
    })
    .await;
}

#[tokio::test]
async fn a_file_that_changes_or_a_signal_swaps_the_component() {
    let harness = Harness::lenient().await;
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("plugin.wasm");
    std::fs::copy(component(), &plugin).unwrap();
    let state = format!("dir:{}", folder.path().join("state").display());
    let mut running = runner(&["run", "--watch", "--component"])
        .arg(&plugin)
        .args(["--state", &state])
        .env("WEIXIN_BASE_URL", harness.simulator.base_url())
        .env("WEIXIN_TOKEN", harness.simulator.token())
        .env("WEIXIN_ACCOUNT_ID", harness.simulator.account_id())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap()).lines();
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    let starts = || harness.simulator.counters().starts;
    assert_eq!(starts(), 1);
    std::fs::write(&plugin, b"no component").unwrap();
    heard(&mut log, "the old component goes on").await;
    std::fs::write(&plugin, another_component()).unwrap();
    harness.until(|_| starts() == 2).await;
    std::fs::copy(component(), &plugin).unwrap();
    signal(&running, Signal::HUP);
    harness.until(|_| starts() == 3).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["hello"])
        .await;
    assert_eq!(harness.simulator.counters().stops, 0);
    signal(&running, Signal::TERM);
    assert_eq!(running.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn what_replaces_a_component_while_a_swap_runs_is_not_lost() {
    let harness = Harness::lenient().await;
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("plugin.wasm");
    let (original, other) = (std::fs::read(component()).unwrap(), another_component());
    std::fs::write(&plugin, &original).unwrap();
    let running = runner(&["run", "--watch", "--state", "memory", "--component"])
        .arg(&plugin)
        .env("WEIXIN_BASE_URL", harness.simulator.base_url())
        .env("WEIXIN_TOKEN", harness.simulator.token())
        .env("WEIXIN_ACCOUNT_ID", harness.simulator.account_id())
        .spawn()
        .unwrap();
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    // Each way to replace a file: in place, by a rename, by a link.
    let in_place = |content: &[u8]| std::fs::write(&plugin, content).unwrap();
    let renamed = |content: &[u8]| {
        let new = folder.path().join("new.wasm");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, &plugin).unwrap();
    };
    let linked = |content: &[u8]| {
        let version = folder.path().join(format!("{}.wasm", content.len()));
        std::fs::write(&version, content).unwrap();
        let link = folder.path().join("link.wasm");
        std::os::unix::fs::symlink(&version, &link).unwrap();
        std::fs::rename(&link, &plugin).unwrap();
    };
    let mut starts = 1;
    for replace in [&in_place as &dyn Fn(&[u8]), &renamed, &linked] {
        for content in [&other, &original] {
            replace(content);
            // It has announced itself, and the swap waits for its connection.
            starts += 1;
            harness
                .until(|simulator| simulator.counters().starts >= starts)
                .await;
        }
    }
    assert_eq!(harness.simulator.counters().starts, starts);
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["hello"])
        .await;
    signal(&running, Signal::TERM);
    let output = running.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_neighbour_that_is_slow_dead_or_gone_delays_nobody() {
    let harness = Harness::lenient().await;
    let gateway = harness.gateway();
    let stuck = Recorder::new(|_, _| std::future::pending());
    let (slow, dead, well) = ("51@im.bot", "52@im.bot", "53@im.bot");
    for id in [slow, dead, well] {
        add(&harness, &gateway, id).await;
    }
    let bot = |id: &str| harness.simulator.account(id).unwrap();
    // An agent that never answers, and a server that says nothing.
    let options = AccountOptions {
        id: slow.to_owned(),
        secrets: BTreeMap::from([("bot-token".to_owned(), bot(slow).token())]),
        config: BTreeMap::from([("base-url".to_owned(), harness.simulator.base_url())]),
        media: MediaRules::default(),
    };
    gateway.add("weixin", options, stuck).await.unwrap();
    for number in 0..300 {
        bot(slow).say(ALICE, &format!("{number}"));
    }
    harness
        .simulator
        .faults(&json!({"account": dead, "*": {"stall": "before"}}))
        .unwrap();
    bot(dead).say(ALICE, "anybody?");
    for number in 1..=20 {
        bot(well).say(ALICE, &format!("{number}"));
        until(&harness.simulator, |simulator| {
            shown(simulator, well, ALICE).len() == number
        })
        .await;
    }
    gateway.remove(dead).await;
    gateway.remove(slow).await;
    bot(well).say(ALICE, "still here");
    until(&harness.simulator, |simulator| {
        shown(simulator, well, ALICE).len() == 21
    })
    .await;
}
