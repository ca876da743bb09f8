//! The runner's binary, as a person and a script use it.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use host_test::simulator::{Options, Simulator};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::harness::{
    ALICE, World, component, component_wecom, eventually, runner, runner_of, signal, until,
};

async fn output_with(arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Output {
    let mut child = runner(arguments)
        .stdin(Stdio::piped())
        .envs(variables.iter().copied())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

fn one_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[tokio::test]
async fn lines_in_are_answers_out() {
    let output = output_with(&["--state", "memory"], "hello\n\n你好\n", &[]).await;
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "hello\n你好\n");
}

#[tokio::test]
async fn an_exec_agent_answers() {
    let agent = r#"exec:while read -r line; do id=$(printf '%s' "$line" | sed 's/.*"id":"\([0-9]*\)".*/\1/'); printf '{"in_reply_to":"%s","text":"heard"}\n' "$id"; done"#;
    let output = output_with(&["--state", "memory", "--agent", agent], "hello\n", &[]).await;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "heard\n");
}

#[tokio::test]
async fn an_exec_agent_has_no_token_and_ends_with_the_runner() {
    let agent = r#"exec:while read -r line; do id=$(printf '%s' "$line" | sed 's/.*"id":"\([0-9]*\)".*/\1/'); printf '{"in_reply_to":"%s","text":"%s %s"}\n' "$id" "$$" "${WEIXIN_TOKEN:-none}"; done"#;
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut child = runner_of(&simulator, "memory", agent).spawn().unwrap();
    simulator.say(ALICE, "hello");
    until(&simulator, |simulator| !simulator.answers(ALICE).is_empty()).await;
    let answer = simulator.answers(ALICE).remove(0);
    let (process, token) = answer.split_once(' ').unwrap();
    assert_eq!(token, "none");
    signal(&child, rustix::process::Signal::TERM);
    assert!(child.wait().await.unwrap().success());
    let is_there = format!("/proc/{process}/stat");
    let ends = async || match std::fs::read_to_string(&is_there) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    eventually(ends).await;
}

#[tokio::test]
async fn a_mistake_is_exit_2_and_one_line() {
    for (arguments, variables, expect) in [
        (
            &["run", "--agent", "x"] as &[&str],
            &[] as &[(&str, &str)],
            "--agent",
        ),
        (&["--state", "x"], &[], "--state"),
        (&["run"], &[("WEIXIN_TOKEN", "t")], "WEIXIN_ACCOUNT_ID"),
        (
            &["run"],
            &[("WEIXIN_DM_POLICY", "everyone")],
            "WEIXIN_DM_POLICY",
        ),
        (&["run"], &[("RUST_LOG", "weixin=loud")], "RUST_LOG"),
        (&["frob"], &[], "frob"),
    ] {
        let output = output_with(arguments, "", variables).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let line = one_line(&output);
        assert!(line.contains(expect), "{line}");
    }
}

#[tokio::test]
async fn a_missing_component_is_named() {
    let output = output_with(
        &["--state", "memory", "--component", "/nowhere.wasm"],
        "",
        &[],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("/nowhere.wasm"));
}

#[tokio::test]
async fn a_state_that_is_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = format!("dir:{}", folder.path().display());
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let first = runner_of(&simulator, &state, "echo").spawn().unwrap();
    until(&simulator, |simulator| simulator.counters().polls == 1).await;
    let second = runner_of(&simulator, &state, "echo")
        .output()
        .await
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    let line = one_line(&second);
    assert!(line.contains("in use by another process"), "{line}");
    drop(first);
}

#[tokio::test]
async fn a_signal_while_a_poll_hangs_ends_in_order_within_two_seconds() {
    for ending in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let mut child = runner_of(&simulator, "memory", "echo").spawn().unwrap();
        until(&simulator, |simulator| simulator.counters().polls_open == 1).await;
        let begun = Instant::now();
        signal(&child, ending);
        let status = child.wait().await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        assert!(status.success());
        assert_eq!(simulator.counters().stops, 1);
    }
}

#[tokio::test]
async fn the_simulator_prints_what_a_client_needs_and_serves_it() {
    let mut server = runner(&["simulator"]).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut variables = Vec::new();
    for name in [
        "WEIXIN_BASE_URL",
        "WEIXIN_CDN_BASE_URL",
        "WEIXIN_TOKEN",
        "WEIXIN_ACCOUNT_ID",
        "WEIXIN_SIM_TOKEN",
    ] {
        let line = lines.next_line().await.unwrap().unwrap();
        let (key, value) = line.split_once('=').unwrap();
        assert_eq!(key, name);
        variables.push((key.to_owned(), value.to_owned()));
    }
    let mut client = runner(&["run", "--state", "memory", "--component"])
        .arg(component())
        .envs(variables)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(client.stderr.take().unwrap()).lines();
    loop {
        let line = log.next_line().await.unwrap().expect("it connects");
        if line.contains("connected") {
            break;
        }
    }
    signal(&client, rustix::process::Signal::TERM);
    assert!(client.wait().await.unwrap().success());
    signal(&server, rustix::process::Signal::TERM);
    assert!(server.wait().await.unwrap().success());
}

#[tokio::test]
async fn check_says_what_a_component_reaches() {
    let output = runner(&["check"]).arg(component()).output().await.unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("weixin 0.1.0 for gateway:channel@0.1.0"),
        "{text}"
    );
    assert!(
        text.contains("reaches https://ilinkai.weixin.qq.com/ilink/bot/"),
        "{text}"
    );
    for line in [
        "exports gateway:channel/inbound@0.1.0",
        "imports wasi:http/client@0.3.0",
        "limits 256 MiB of memory",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.ends_with("this host runs it\n"), "{text}");
}

#[tokio::test]
async fn check_says_what_the_component_of_wecom_reaches() {
    let output = runner(&["check"])
        .arg(component_wecom())
        .output()
        .await
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let api = "reaches https://qyapi.weixin.qq.com/cgi-bin";
    for line in [
        "wecom 0.1.0 for gateway:channel@0.1.0".to_owned(),
        format!("{api}/gettoken* with corp-secret in the query\n"),
        format!("{api}/message/send* with access-token in the query\n"),
        "takes webhooks\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{text}");
    }
    assert!(text.ends_with("this host runs it\n"), "{text}");
}

#[tokio::test]
async fn logs_can_be_json() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut child = runner_of(&simulator, "memory", "echo")
        .args(["--log-format", "json"])
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = log.next_line().await.unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["account"], simulator.account_id());
    simulator.say(ALICE, "hello");
    until(&simulator, |simulator| !simulator.answers(ALICE).is_empty()).await;
    signal(&child, rustix::process::Signal::TERM);
    child.wait().await.unwrap();
}

#[tokio::test]
async fn the_example_of_the_readme_is_the_one_that_runs() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(root.join("examples/gateway.rs")).unwrap();
    let readme = std::fs::read_to_string(root.join("../README.md")).unwrap();
    assert!(readme.contains(&format!("```rust,no_run\n{example}```\n")));

    let world = World::new().await;
    world.simulator.say(ALICE, "hello");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(component(), folder.path().join("weixin.wasm")).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_host-test"));
    let binary = binary.with_file_name("examples").join("gateway");
    let child = tokio::process::Command::new(&binary)
        .current_dir(folder.path())
        .env("WEIXIN_BASE_URL", world.simulator.base_url())
        .env("WEIXIN_TOKEN", world.simulator.token())
        .env("WEIXIN_ACCOUNT_ID", world.simulator.account_id())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: build the examples", binary.display()));
    world
        .until(|simulator| simulator.answers(ALICE).len() == 2)
        .await;
    let mut answers = world.simulator.answers(ALICE);
    answers.sort();
    assert_eq!(answers, ["The nightly build is done.", "You said: hello"]);
    // It listens for the signal a moment after it has sent; where that can be seen, it is waited for.
    let status = format!("/proc/{}/status", child.id().unwrap());
    let listens = |status: String| {
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(caught.unwrap_or_default().trim(), 16).unwrap_or_default();
        mask & (1 << (rustix::process::Signal::INT.as_raw() - 1)) != 0
    };
    eventually(async || std::fs::read_to_string(&status).map_or(true, listens)).await;
    signal(&child, rustix::process::Signal::INT);
    assert!(child.wait_with_output().await.unwrap().status.success());
}
