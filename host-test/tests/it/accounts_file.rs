//! The runner with a file of accounts: what changes in it takes effect, and touches nothing else.

use std::path::Path;

use gateway_simulator::Simulator;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::gateway::shown;
use crate::harness::{
    ALICE, Harness, component, component_wecom, heard, runner, runner_at, signal, until,
};

/// A runner with a file of accounts.
fn accounts_runner(folder: &Path, file: &Path) -> Command {
    let mut command = runner(&["run", "--component"]);
    command
        .arg(component())
        .args([
            "--state",
            &format!("dir:{}", folder.join("state").display()),
        ])
        .arg("--accounts")
        .arg(file)
        .env("WEIXIN_SEND_INTERVAL_MS", "0");
    command
}

fn entry(simulator: &Simulator, id: &str, more: &str) -> String {
    let token = simulator.account(id).unwrap().token();
    format!(
        "[[account]]\nid = \"{id}\"\ntoken = \"{token}\"\nbase_url = \"{}\"\n{more}\n",
        simulator.base_url()
    )
}

#[tokio::test]
async fn a_file_of_accounts_takes_effect_within_a_second_and_touches_only_what_changed() {
    let harness = Harness::lenient().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.toml");
    let (a, b, c) = ("a@im.bot", "b@im.bot", "c@im.bot");
    for id in [a, b, c] {
        harness.simulator.add_account(id);
    }
    let write = |text: String| std::fs::write(&file, text).unwrap();
    let of = |id, more| entry(&harness.simulator, id, more);
    write(of(a, "") + &of(b, "dm_policy = \"disabled\""));
    let mut running = accounts_runner(folder.path(), &file).spawn().unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap()).lines();
    let bot = |id: &str| harness.simulator.account(id).unwrap();
    until(&harness.simulator, |_| {
        bot(a).counters().polls_open == 1 && bot(b).counters().polls_open == 1
    })
    .await;
    bot(a).say(ALICE, "hello a");
    bot(b).say(ALICE, "hello b");
    until(&harness.simulator, |simulator| {
        shown(simulator, a, ALICE) == ["hello a"]
    })
    .await;
    assert!(shown(&harness.simulator, b, ALICE).is_empty());
    // The message ended the first one.
    until(&harness.simulator, |_| {
        let counters = bot(a).counters();
        counters.polls >= 2 && counters.polls_open == 1
    })
    .await;

    // One is added, one changes, and the first one's poll goes on.
    let (polls, starts) = (bot(a).counters().polls, bot(a).counters().starts);
    write(of(a, "") + &of(b, "dm_policy = \"open\"") + &of(c, ""));
    until(&harness.simulator, |_| {
        bot(c).counters().polls_open == 1 && bot(b).counters().starts == 2
    })
    .await;
    bot(b).say(ALICE, "hello again");
    bot(c).say(ALICE, "hello c");
    until(&harness.simulator, |simulator| {
        shown(simulator, b, ALICE) == ["hello again"] && shown(simulator, c, ALICE) == ["hello c"]
    })
    .await;
    assert_eq!(bot(a).counters().starts, starts);
    assert_eq!(bot(a).counters().polls, polls);

    // A mistake changes nothing, and one that is gone stops.
    write("[[account]]\nid = 5".to_owned());
    heard(&mut log, "the accounts stay as they were").await;
    write(of(a, "") + &of(b, "dm_policy = \"open\""));
    until(&harness.simulator, |_| bot(c).counters().stops == 1).await;
    assert_eq!(bot(a).counters().starts, starts);
    signal(&running, Signal::TERM);
    assert_eq!(running.wait().await.unwrap().code(), Some(0));
    assert_eq!(bot(a).counters().stops, 1);

    // At the start a mistake is the user's to correct.
    write("[[account]]\nid = 5".to_owned());
    let output = accounts_runner(folder.path(), &file)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));

    // A file without accounts is none, and may get some.
    write(String::new());
    let mut running = accounts_runner(folder.path(), &file).spawn().unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap()).lines();
    heard(&mut log, "has no account, so none runs").await;
    let starts = bot(a).counters().starts;
    write(of(a, ""));
    until(&harness.simulator, |_| bot(a).counters().starts > starts).await;
    signal(&running, Signal::TERM);
    assert_eq!(running.wait().await.unwrap().code(), Some(0));
}

/// An app of WeCom, whose server is not there.
fn app(id: &str) -> String {
    format!(
        "[[account]]\nid = \"{id}\"\nkind = \"wecom\"\ncorp_id = \"ww1\"\nagent_id = 1\n\
         secret = \"s\"\ntoken = \"t\"\nencoding_aes_key = \"{}\"\n\
         api_base_url = \"http://127.0.0.1:1\"\n",
        "k".repeat(43)
    )
}

#[tokio::test]
async fn an_account_whose_kind_changes_ends_on_its_old_platform() {
    let harness = Harness::lenient().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.toml");
    let id = "a@im.bot";
    harness.simulator.add_account(id);
    let write = |text: String| std::fs::write(&file, text).unwrap();
    let bot = || harness.simulator.account(id).unwrap();
    write(entry(&harness.simulator, id, ""));
    let mut running = accounts_runner(folder.path(), &file)
        .arg("--component")
        .arg(component_wecom())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap()).lines();
    until(&harness.simulator, |_| bot().counters().polls_open == 1).await;

    // What is stored under its id is of the old platform, which the log says.
    write(app(id));
    heard(&mut log, "give this account another id").await;
    assert_eq!(bot().counters().stops, 1);

    write(entry(&harness.simulator, id, ""));
    until(&harness.simulator, |_| bot().counters().polls_open == 1).await;
    assert_eq!(bot().counters().starts, 2);
    write(String::new());
    until(&harness.simulator, |_| bot().counters().stops == 2).await;
    signal(&running, Signal::TERM);
    assert_eq!(running.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_missing_component_keeps_no_account_of_another_platform_from_running() {
    let harness = Harness::lenient().await;
    // Beside this binary there is no component. A link to a file stays within one file system.
    let original = Path::new(env!("CARGO_BIN_EXE_host-test"));
    let folder = tempfile::tempdir_in(original.parent().unwrap()).unwrap();
    let binary = folder.path().join("host-test");
    std::fs::hard_link(original, &binary).unwrap();
    let file = folder.path().join("accounts.toml");
    let id = harness.simulator.account_id();
    std::fs::write(&file, app("ww1") + &entry(&harness.simulator, &id, "")).unwrap();
    let run = || {
        let mut command = runner_at(&binary, &["run", "--state", "memory", "--accounts"]);
        command.arg(&file);
        command
    };
    let mut running = run().arg("--component").arg(component()).spawn().unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap()).lines();
    heard(&mut log, "wecom.wasm").await;
    harness.simulator.say(ALICE, "hello");
    until(&harness.simulator, |simulator| {
        simulator.answers(ALICE) == ["hello"]
    })
    .await;
    signal(&running, Signal::TERM);
    assert_eq!(running.wait().await.unwrap().code(), Some(0));

    // Where no account has a component it is the user's to correct.
    let output = run().output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(
        line.contains(".wasm") && line.lines().count() == 1,
        "{line}"
    );
}
