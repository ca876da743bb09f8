//! What the component promises by its shape, and what a host refuses.

use std::path::Path;
use std::sync::Arc;

use gateway_host::account::Phase;
use gateway_host::clock::Clock;
use gateway_host::runtime::Runtime;

use crate::harness::{ALICE, Harness, component};

async fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.wasm");
    std::fs::write(&path, bytes).unwrap();
    load_error(&path).await
}

async fn load_error(path: &Path) -> String {
    let runtime = Runtime::new(Clock::new()).unwrap();
    let error = runtime.load(path).await.err().unwrap().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// A component that exports one instance under `name`, and imports nothing.
fn exporting(name: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // An instance without exports, of a component without anything.
    let nested = b"\0asm\x0d\0\x01\0";
    bytes.push(4);
    bytes.push(u8::try_from(nested.len()).unwrap());
    bytes.extend(nested);
    bytes.extend([5, 4, 1, 0, 0, 0]);
    let mut export = vec![1, 0, u8::try_from(name.len()).unwrap()];
    export.extend(name.as_bytes());
    export.extend([5, 0, 0]);
    bytes.push(11);
    bytes.push(u8::try_from(export.len()).unwrap());
    bytes.extend(export);
    bytes
}

#[tokio::test]
async fn a_component_of_another_version_is_refused_with_both_versions() {
    let error = refusal(&exporting("gateway:channel/lifecycle@0.7.0")).await;
    assert!(error.contains("gateway:channel@0.7.0"), "{error}");
    assert!(error.contains("gateway:channel@0.1.0"), "{error}");
}

#[tokio::test]
async fn what_is_no_channel_is_explained() {
    let error = refusal(&exporting("wasi:cli/run@0.2.0")).await;
    assert!(
        error.contains("wasi:cli/run@0.2.0 and no gateway:channel"),
        "{error}"
    );
    let error = refusal(b"\0asm\x01\0\0\0").await;
    assert!(error.contains("no WebAssembly component"), "{error}");
    assert!(error.contains("core module"), "{error}");
    for (bytes, expect) in [
        (b"MZ" as &[u8], "no WebAssembly component"),
        (b"", "it is empty"),
        (b"(component)", "it is text"),
        (b"\x7fELF\xff", "a program"),
        (b"\0asm\x0d", "cut off"),
    ] {
        let error = refusal(bytes).await;
        assert!(error.contains(expect), "{error}");
    }
    let error = load_error(std::env::temp_dir().as_path()).await;
    assert!(error.contains("it is a directory"), "{error}");
    // A channel by its name alone.
    let error = refusal(&exporting("gateway:channel/lifecycle@0.1.0")).await;
    assert!(error.contains("it lacks an export"), "{error}");
    let whole = std::fs::read(component()).unwrap();
    let error = refusal(&whole[..whole.len() / 2]).await;
    assert!(error.contains("no WebAssembly component"), "{error}");
    let error = load_error(Path::new("/nowhere/weixin.wasm")).await;
    assert!(error.contains("/nowhere/weixin.wasm"), "{error}");
}

#[tokio::test]
async fn the_component_imports_standard_interfaces_and_no_sockets() {
    let runtime = Runtime::new(Clock::new()).unwrap();
    let plugin = runtime.load(&component()).await.unwrap();
    for import in plugin.imports().iter() {
        assert!(
            import.starts_with("wasi:") || import.starts_with("gateway:channel/types@"),
            "{import}"
        );
        assert!(!import.starts_with("wasi:sockets"), "{import}");
    }
    for needed in [
        "wasi:http/client@0.3.0",
        "wasi:keyvalue/store@0.2.0-draft",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:logging/logging@0.1.0-draft",
    ] {
        assert!(
            plugin.imports().iter().any(|import| import == needed),
            "{needed}"
        );
    }
}

#[tokio::test]
async fn the_description_says_what_the_component_reaches() {
    let runtime = Runtime::new(Clock::new()).unwrap();
    let plugin = runtime.load(&component()).await.unwrap();
    let about = plugin.descriptor();
    assert_eq!(about.platform, "weixin");
    for egress in &about.egress {
        assert_eq!(egress.scheme, "https");
        let is_platforms = egress.host.ends_with(".weixin.qq.com")
            || egress.host.ends_with(".wechat.com")
            || about
                .origins
                .contains(&egress.host.trim_matches(['{', '}']).to_owned());
        assert!(is_platforms, "{}", egress.host);
    }
    let schema: serde_json::Value = serde_json::from_str(&about.config_schema).unwrap();
    assert!(schema["properties"]["account-id"].is_object());
}

/// Every export of the world is called here once and says something.
#[tokio::test]
async fn every_export_answers() {
    let harness = Harness::new().await;
    let instance = harness.instance().await;
    assert!(instance.receive().await.is_err(), "not started");
    instance.start().await.unwrap();
    assert!(instance.start().await.is_err(), "started twice");
    assert_eq!(instance.check().await.unwrap().phase, Phase::Starting);
    instance.ack(vec!["unknown".to_owned()]).await.unwrap();
    assert!(instance.find("unknown".to_owned()).await.unwrap().is_none());
    harness.simulator.say(ALICE, "hello");
    assert_eq!(instance.receive().await.unwrap().len(), 1);
    instance.typing(ALICE.to_owned(), true).await.unwrap();
    assert!(harness.simulator.first().typing(ALICE).on);
    let (first, second) = tokio::join!(instance.run(), async {
        let second = instance.run().await;
        instance.drain(100).await.unwrap();
        second
    });
    first.unwrap();
    assert!(second.is_err(), "one lane");
    assert!(instance.receive().await.unwrap().is_empty(), "draining");
    instance.stop().await.unwrap();
    instance.stop().await.unwrap();
    assert_eq!(harness.simulator.counters().stops, 1);
}

#[tokio::test]
async fn a_newer_instance_fences_the_older_one() {
    let harness = Harness::new().await;
    let old = harness.instance().await;
    old.start().await.unwrap();
    let old = Arc::new(old);
    let receiving = tokio::spawn({
        let old = Arc::clone(&old);
        async move { old.receive().await }
    });
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    let new = harness.instance().await;
    new.start().await.unwrap();
    // What the old poll brings is stored by the old instance, and returned by the new one.
    harness.simulator.say(ALICE, "hello");
    let error = receiving.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("fenced"), "{error}");
    harness.clock.advance(std::time::Duration::from_secs(6));
    let events = new.receive().await.unwrap();
    assert_eq!(events.len(), 1);
    let health = old.check().await.unwrap();
    assert_eq!(health.phase, Phase::Draining);
}
