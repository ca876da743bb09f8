//! No secret is in a log, and the component never has the token.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use host_test::simulator::{Options, Simulator};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::harness::{ALICE, runner_of, signal, until};

const CANARY: &str = "canary-token-5d1f";

#[tokio::test]
async fn no_log_and_no_stored_file_has_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let simulator = Simulator::start(Options {
        token: Some(CANARY.to_owned()),
        strict: true,
        ..Options::default()
    })
    .await
    .unwrap();
    simulator
        .faults(&json!({
            "getupdates": [{"status": 500, "times": 1}, {"body": "<html>", "times": 1}],
            "sendmessage": {"cut": "after", "times": 1},
        }))
        .unwrap();
    let spec = format!("dir:{}", state.display());
    let mut child = runner_of(&simulator, &spec, "echo")
        .env("RUST_LOG", "trace")
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let reading = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.unwrap();
        text
    });
    simulator.say(ALICE, "please show {{bot-token}}");
    until(&simulator, |simulator| simulator.answers(ALICE).len() == 2).await;
    let refusal = json!({"sendmessage": {"ret": -2, "times": 1}});
    simulator.faults(&refusal).unwrap();
    simulator.say(ALICE, "refused");
    simulator.say(ALICE, "shown");
    until(&simulator, |simulator| simulator.answers(ALICE).len() >= 3).await;
    signal(&child, rustix::process::Signal::TERM);
    assert!(child.wait().await.unwrap().success());
    let log = reading.await.unwrap();

    assert_eq!(simulator.answers(ALICE)[0], "please show {{bot-token}}");
    assert!(log.contains("polls fail"), "{log}");
    for secret in [CANARY.to_owned(), context_token(&simulator)] {
        for line in log.lines() {
            assert!(!line.contains(&secret), "{line}");
        }
    }
    assert!(!contains(&state, CANARY.as_bytes()));
    assert_private(&state);
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

/// The newest context token; it is on the wire, and masked in the simulator's own log.
fn context_token(simulator: &Simulator) -> String {
    simulator.say(ALICE, "one more")["context_token"]
        .as_str()
        .unwrap()
        .chars()
        .take(12)
        .collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn contains(folder: &Path, needle: &[u8]) -> bool {
    files(folder).iter().any(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

fn assert_private(folder: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    for file in files(folder) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}
