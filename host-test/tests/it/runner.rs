//! The runner's binary, as a person and a script use it.

use std::process::{Output, Stdio};

use gateway_simulator::{Simulator, SimulatorOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::harness::{
    ALICE, Harness, component, component_wecom, eventually, runner, runner_of, signal, until,
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
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
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

/// What a shell agent answers with.
fn saying(text: &str) -> String {
    let id = r#"id=$(printf '%s' "$line" | sed 's/.*"id":"\([0-9]*\)".*/\1/')"#;
    let reply = format!(r#"printf '{{"in_reply_to":"%s","text":"%s"}}\n' "$id" "{text}""#);
    format!("exec:while read -r line; do {id}; {reply}; done")
}

#[tokio::test]
async fn an_exec_agent_gets_the_environment_without_what_is_the_gateway_s() {
    let shown = [
        "WEIXIN_TOKEN",
        "HOST_ADMIN_TOKEN",
        "WEIXIN_SIM_TOKEN",
        "COPY_OF_THE_ADMIN_TOKEN",
        "WEIXIN_SECRET_OF_A_TOOL",
        "OPENAI_API_KEY",
        "HTTPS_PROXY",
        "OTHER",
    ];
    let text: Vec<String> = shown
        .iter()
        .map(|name| format!("${{{name}:-none}}"))
        .collect();
    for (more, expect) in [
        (
            &[] as &[&str],
            "none none none none tool key http://u:p@127.0.0.1:1 other",
        ),
        (
            &["--agent-env", "WEIXIN_SIM_TOKEN", "--agent-env", "-OTHER"],
            "none none simulated none tool key http://u:p@127.0.0.1:1 none",
        ),
    ] {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let _child = runner_of(&simulator, "memory", &saying(&text.join(" ")))
            .args(["--admin", "127.0.0.1:0"])
            .args(more)
            .env("HOST_ADMIN_TOKEN", "the-admin-token")
            .env("COPY_OF_THE_ADMIN_TOKEN", "Bearer the-admin-token")
            .env("WEIXIN_SIM_TOKEN", "simulated")
            .env("WEIXIN_SECRET_OF_A_TOOL", "tool")
            .env("OPENAI_API_KEY", "key")
            .env("HTTPS_PROXY", "http://u:p@127.0.0.1:1")
            .env("OTHER", "other")
            .spawn()
            .unwrap();
        simulator.say(ALICE, "hello");
        until(&simulator, |simulator| !simulator.answers(ALICE).is_empty()).await;
        assert_eq!(simulator.answers(ALICE), [expect]);
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_memory_of_a_runner_is_in_no_core_dump_and_open_to_nobody() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let runner = runner_of(&simulator, "memory", "echo");
    let runner = runner.as_std();
    // With the limit that it would have where core dumps are wanted.
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-c", "ulimit -S -c $(ulimit -H -c); exec \"$0\" \"$@\""])
        .arg(runner.get_program())
        .args(runner.get_args())
        .env_clear()
        .envs(
            runner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .kill_on_drop(true);
    let child = shell.spawn().unwrap();
    until(&simulator, |simulator| simulator.counters().polls_open == 1).await;
    let of = |file: &str| format!("/proc/{}/{file}", child.id().unwrap());
    let limits = std::fs::read_to_string(of("limits")).unwrap();
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let soft = limit.unwrap().split_whitespace().next();
    assert_eq!(soft, Some("0"), "{limits}");
    // What may not be dumped belongs to root, and root may read everything.
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(std::fs::read(of("environ")).is_ok(), is_root);
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(of("environ")).unwrap());
    assert_eq!(owner, 0);
}

#[tokio::test]
async fn an_answer_that_a_program_reads_is_the_text_itself() {
    let agent = saying(r"\u001b]0;owned\u0007 \u202e");
    let output = output_with(&["--state", "memory", "--agent", &agent], "hello\n", &[]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    // The component itself takes out what controls a terminal.
    assert_eq!(text, " \u{202e}\n");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_terminal_shows_what_an_agent_says_and_does_nothing_of_it() {
    let agent = saying(r"\u001b]0;owned\u0007\u001b]52;c;cm0=\u0007 \u202egnp \u2028 the-end");
    let binary = env!("CARGO_BIN_EXE_host-test");
    let quoted = agent.replace('\'', r"'\''");
    // It runs the command in a terminal of its own, which is ours to type into and to read.
    let mut terminal = tokio::process::Command::new("script")
        .arg("-qec")
        .arg(format!(
            "{binary} run --state memory --component {} --agent '{quoted}'",
            component().display()
        ))
        .arg("/dev/null")
        .env("SHELL", "/bin/sh")
        .env_remove("WEIXIN_TOKEN")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs `script` of util-linux: {error}"));
    let mut keys = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let (mut seen, mut has_typed) = (String::new(), false);
    while !seen.contains("the-end") {
        let mut bytes = [0; 4096];
        let length = screen.read(&mut bytes).await.unwrap();
        assert!(length > 0, "it ended: {seen}");
        seen += &String::from_utf8_lossy(&bytes[..length]);
        if !has_typed && seen.contains("you> ") {
            keys.write_all(b"hello\r").await.unwrap();
            has_typed = true;
        }
    }
    assert!(
        seen.contains(r"bot>  \u{202e}gnp \u{2028} the-end"),
        "{seen:?}"
    );
    assert!(
        !seen.contains("\u{1b}]") && !seen.contains('\u{202e}'),
        "{seen:?}"
    );
    keys.write_all(b"\x04").await.unwrap();
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
    assert_eq!(output.status.code(), Some(2));
    let line = one_line(&output);
    assert!(line.contains("/nowhere.wasm"), "{line}");
    assert!(line.contains("--component"), "{line}");
}

#[tokio::test]
async fn two_accounts_of_the_environment_with_one_id_are_the_users_to_correct() {
    let nobody = "http://127.0.0.1:1";
    let key = "k".repeat(43);
    let variables = [
        ("WEIXIN_TOKEN", "t"),
        ("WEIXIN_ACCOUNT_ID", "ww1"),
        ("WEIXIN_BASE_URL", nobody),
        ("WECOM_CORP_ID", "ww1"),
        ("WECOM_AGENT_ID", "1"),
        ("WECOM_SECRET", "s"),
        ("WECOM_TOKEN", "t"),
        ("WECOM_ENCODING_AES_KEY", &key),
        ("WECOM_API_BASE_URL", nobody),
    ];
    let output = output_with(&["--state", "memory"], "", &variables).await;
    assert_eq!(output.status.code(), Some(2));
    let line = one_line(&output);
    assert!(
        line.contains("the id ww1") && line.contains("another id"),
        "{line}"
    );
}

#[tokio::test]
async fn a_misspelled_variable_is_told_in_the_log_and_refuses_nothing() {
    let variables = [("WEIXIN_ALOWED_USERS", "nobody")];
    let output = output_with(&["--state", "memory"], "hello\n", &variables).await;
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "hello\n");
    let log = String::from_utf8(output.stderr).unwrap();
    let expect =
        "WEIXIN_ALOWED_USERS is unknown and has no effect: WEIXIN_ALLOWED_USERS may be meant";
    assert!(log.contains(expect), "{log}");
}

#[tokio::test]
async fn a_state_that_is_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = format!("dir:{}", folder.path().display());
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
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
async fn a_signal_while_a_poll_hangs_breaks_it_off_and_ends_in_order() {
    for ending in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let mut child = runner_of(&simulator, "memory", "echo").spawn().unwrap();
        until(&simulator, |simulator| simulator.counters().polls_open == 1).await;
        signal(&child, ending);
        let status = child.wait().await.unwrap();
        assert!(status.success());
        let polls = simulator.log();
        let mut polls = polls
            .iter()
            .filter(|entry| entry["endpoint"] == "getupdates");
        assert!(
            polls.all(|entry| entry["status"] != 200),
            "it waited for the poll"
        );
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
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
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
async fn the_example_of_the_manual_is_the_one_that_runs() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(root.join("examples/gateway.rs")).unwrap();
    let page = std::fs::read_to_string(root.join("../docs/en/embed.md")).unwrap();
    assert!(page.contains(&format!("```rust,no_run\n{example}```\n")));

    let harness = Harness::new().await;
    harness.simulator.say(ALICE, "hello");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(component(), folder.path().join("weixin.wasm")).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_host-test"));
    let binary = binary.with_file_name("examples").join("gateway");
    let child = tokio::process::Command::new(&binary)
        .current_dir(folder.path())
        .env("WEIXIN_BASE_URL", harness.simulator.base_url())
        .env("WEIXIN_TOKEN", harness.simulator.token())
        .env("WEIXIN_ACCOUNT_ID", harness.simulator.account_id())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: build the examples", binary.display()));
    harness
        .until(|simulator| simulator.answers(ALICE).len() == 2)
        .await;
    let mut answers = harness.simulator.answers(ALICE);
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
