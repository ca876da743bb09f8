//! Machines as they are: full disks, little memory, other users' directories, odd environments.

use std::path::PathBuf;

use gateway_simulator::{Simulator, SimulatorOptions};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::gateway::shown;
use crate::harness::{ALICE, BOB, component, eventually, runner, runner_of, signal, until};
use crate::redis_server::{self, RedisServer};

async fn simulated() -> Simulator {
    let options = SimulatorOptions {
        strict: true,
        ..SimulatorOptions::default()
    };
    Simulator::start(options).await.unwrap()
}

/// The lines of a runner's log, as they come.
struct Log {
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    seen: Vec<String>,
}

impl Log {
    fn of(child: &mut Child) -> Log {
        Log {
            lines: BufReader::new(child.stderr.take().unwrap()).lines(),
            seen: Vec::new(),
        }
    }

    /// Waits for a line with these words, and returns it.
    async fn until(&mut self, words: &str) -> String {
        loop {
            let next = self.lines.next_line().await.unwrap();
            let Some(line) = next else {
                panic!("no {words:?} in {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }
}

/// Status and body of the operator's health.
async fn health(address: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn with_admin(command: &mut Command) -> &mut Command {
    command
        .args(["--admin", "127.0.0.1:0"])
        .env("HOST_ADMIN_TOKEN", "t0ken")
}

/// Where the operator's API listens, by the log.
async fn admin_address(log: &mut Log) -> String {
    let line = log.until("the operator's API listens").await;
    let (_, address) = line.split_once("address=").unwrap();
    address.trim().to_owned()
}

/// A small file system; gone with the value.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Disk(folder));
        }
        eprintln!("skipped: only root may mount a file system, on Linux");
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("full")
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("umount");
        let _ = command.arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_moment_is_told_by_health_and_heals() {
    let Some(disk) = Disk::new("64m") else {
        return;
    };
    let simulator = simulated().await;
    let state = format!("dir:{}", disk.0.path().join("state").display());
    let mut command = runner_of(&simulator, &state, "echo");
    let mut child = with_admin(&mut command).spawn().unwrap();
    let mut log = Log::of(&mut child);
    let admin = admin_address(&mut log).await;
    simulator.say(ALICE, "before");
    until(&simulator, |simulator| simulator.answers(ALICE).len() == 1).await;
    eventually(async || health(&admin).await.0 == 200).await;

    let mut said = vec!["before".to_owned()];
    for round in 0..2 {
        disk.fill();
        for number in 0..5 {
            let text = format!("{round}.{number}");
            simulator.say(ALICE, &text);
            simulator.say(BOB, &text);
            said.push(text);
        }
        eventually(async || health(&admin).await.0 == 503).await;
        eventually(async || health(&admin).await.1.contains("make room on the disk")).await;
        std::fs::remove_file(disk.filler()).unwrap();
        until(&simulator, |simulator| {
            simulator.answers(ALICE).len() >= said.len()
                && simulator.answers(BOB).len() >= said.len() - 1
        })
        .await;
        eventually(async || health(&admin).await.0 == 200).await;
    }
    for person in [ALICE, BOB] {
        let mut answers = simulator.answers(person);
        answers.dedup();
        let expected = said
            .iter()
            .filter(|text| person == ALICE || *text != "before");
        assert_eq!(answers, expected.cloned().collect::<Vec<_>>(), "{person}");
    }
    signal(&child, Signal::TERM);
    assert!(child.wait().await.unwrap().success());
    while let Some(line) = log.lines.next_line().await.unwrap() {
        log.seen.push(line);
    }
    let count = |words: &str| log.seen.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count(" fails: No space left"), 2, "{:#?}", log.seen);
    assert_eq!(count(" works again after "), 2, "{:#?}", log.seen);
    assert!(log.seen.len() < 60, "{:#?}", log.seen);
}

#[tokio::test]
async fn a_redis_server_that_refuses_is_told_by_health_and_heals() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let simulator = simulated().await;
    let mut command = runner_of(&simulator, &server.url(), "echo");
    let mut child = with_admin(&mut command).spawn().unwrap();
    let mut log = Log::of(&mut child);
    let admin = admin_address(&mut log).await;
    eventually(async || health(&admin).await.0 == 200).await;
    let mut said = Vec::new();
    for (bad, good, expect) in [
        (
            &["CONFIG", "SET", "maxmemory", "1"][..],
            &["CONFIG", "SET", "maxmemory", "0"][..],
            "its memory is full",
        ),
        (
            &["REPLICAOF", "127.0.0.1", "1"],
            &["REPLICAOF", "NO", "ONE"],
            "read-only replica",
        ),
    ] {
        server.ask(bad).unwrap();
        said.push(expect.to_owned());
        simulator.say(ALICE, expect);
        eventually(async || {
            let (status, answer) = health(&admin).await;
            status == 503 && answer.contains(expect)
        })
        .await;
        server.ask(good).unwrap();
        until(&simulator, |simulator| {
            simulator.answers(ALICE).len() >= said.len()
        })
        .await;
        eventually(async || health(&admin).await.0 == 200).await;
    }
    let mut answers = simulator.answers(ALICE);
    answers.dedup();
    assert_eq!(answers, said);
    signal(&child, Signal::TERM);
    assert!(child.wait().await.unwrap().success());
}

/// A shell that limits itself and then becomes the runner.
#[cfg(target_os = "linux")]
fn limited(limit: &str, simulator: &Simulator, state: &std::path::Path) -> Command {
    let as_is = runner_of(simulator, &format!("dir:{}", state.display()), "echo");
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{limit}; exec \"$0\" \"$@\""))
        .arg(as_is.as_std().get_program())
        .args(as_is.as_std().get_args())
        .env_clear()
        .env("HOME", std::env::var_os("HOME").unwrap_or_default())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    for (name, value) in as_is.as_std().get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn with_little_address_space_it_runs_and_says_what_to_set() {
    // From 64 GiB, in which a pool of small memories has room, to 3, in which none has.
    for kib in [
        64_000_000, 24_000_000, 16_000_000, 8_000_000, 5_000_000, 3_000_000,
    ] {
        let simulator = simulated().await;
        let folder = tempfile::tempdir().unwrap();
        let limit = format!("ulimit -v {kib}");
        let mut child = limited(&limit, &simulator, folder.path()).spawn().unwrap();
        let mut log = Log::of(&mut child);
        let line = log.until("address space of this process").await;
        assert!(line.contains("`ulimit -v unlimited`"), "{line}");
        assert!(!line.contains("max_map_count"), "{line}");
        simulator.say(ALICE, "hello");
        until(&simulator, |simulator| {
            simulator.answers(ALICE) == ["hello"]
        })
        .await;
        signal(&child, Signal::TERM);
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn odd_lists_of_what_goes_direct_start_all_the_same() {
    for (list, named) in [
        ("169.254/16,<local>,127.*", None),
        ("*.corp;10/8 192.168.*", None),
        ("localhost,[::1],::1,.local", None),
        ("a b;c|d", None),
        ("10.0.0.0/33,ok.com", Some("\"10.0.0.0/33\"")),
        ("<-loopback>;a..b", Some("\"<-loopback>\", \"a..b\"")),
    ] {
        let simulator = simulated().await;
        let mut child = runner_of(&simulator, "memory", "echo")
            .env("ALL_PROXY", "socks://127.0.0.1:1")
            .env("NO_PROXY", list)
            .spawn()
            .unwrap();
        simulator.say(ALICE, "hello");
        until(&simulator, |simulator| {
            simulator.answers(ALICE) == ["hello"]
        })
        .await;
        signal(&child, Signal::TERM);
        let mut log = String::new();
        let mut errors = child.stderr.take().unwrap();
        errors.read_to_string(&mut log).await.unwrap();
        assert!(child.wait().await.unwrap().success(), "{log}");
        assert!(log.contains("socks5://127.0.0.1:1"), "{log}");
        let warnings: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("NO_PROXY has"))
            .collect();
        match named {
            None => assert!(warnings.is_empty(), "{log}"),
            Some(named) => {
                assert_eq!(warnings.len(), 1, "{log}");
                assert!(warnings[0].contains(named), "{log}");
            }
        }
    }
}

#[tokio::test]
async fn values_that_a_file_of_variables_left_quoted_are_refused() {
    for (name, value, expect) in [
        (
            "WEIXIN_TOKEN",
            "\"s3cret\"",
            "WEIXIN_TOKEN has quotation marks",
        ),
        ("WEIXIN_TOKEN", "Bearer s3cret", "WEIXIN_TOKEN starts with"),
        (
            "WEIXIN_ACCOUNT_ID",
            "'b@im.bot'",
            "WEIXIN_ACCOUNT_ID has quo",
        ),
        ("WEIXIN_ALLOWED_USERS", "*", "WEIXIN_ALLOWED_USERS has a *"),
        (
            "WEIXIN_BASE_URL",
            "\"http://a\"",
            "WEIXIN_BASE_URL has quotation",
        ),
        ("HTTPS_PROXY", "\"http://a:1\"", "HTTPS_PROXY is no proxy"),
    ] {
        let output = runner(&["run", "--state", "memory", "--component"])
            .arg(component())
            .env("WEIXIN_TOKEN", "t")
            .env("WEIXIN_ACCOUNT_ID", "b@im.bot")
            .env("WEIXIN_BASE_URL", "http://127.0.0.1:1")
            .env(name, value)
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(expect), "{errors}");
        assert!(!errors.contains("s3cret"), "{errors}");
    }
}

#[tokio::test]
async fn authorities_that_can_not_be_read_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let missing = folder.path().join("missing.pem");
    for (name, path, expect) in [
        ("SSL_CERT_FILE", missing.as_path(), "No such file"),
        ("SSL_CERT_FILE", folder.path(), "Is a directory"),
        ("SSL_CERT_FILE", empty.as_path(), "it is empty"),
        ("SSL_CERT_DIR", missing.as_path(), "No such file"),
        ("SSL_CERT_DIR", folder.path(), "no file with a certificate"),
    ] {
        let simulator = simulated().await;
        let mut child = runner_of(&simulator, "memory", "echo")
            .env(name, path)
            .spawn()
            .unwrap();
        let mut log = Log::of(&mut child);
        let line = log.until(&format!("{name} {}", path.display())).await;
        assert!(line.contains(expect), "{line}");
        until(&simulator, |simulator| simulator.counters().polls_open == 1).await;
        signal(&child, Signal::TERM);
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn of_a_gateway_with_a_file_that_is_taken_over_each_account_is_told_and_the_end_is_status_3()
{
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = ("a@im.bot", "b@im.bot");
    let entry = |id: &str| {
        simulator.add_account(id);
        let token = simulator.account(id).unwrap().token();
        let url = simulator.base_url();
        format!("[[account]]\nid = \"{id}\"\ntoken = \"{token}\"\nbase_url = \"{url}\"\n")
    };
    let (of_a, of_b) = (entry(a), entry(b));
    // It has no login: it only fails, and does not count.
    let failing = "[[account]]\nid = \"c@im.bot\"\n";
    let start = |name: &str, accounts: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, accounts).unwrap();
        let mut command = runner(&["run", "--component"]);
        command
            .arg(component())
            .args(["--state", &server.url()])
            .arg("--accounts")
            .arg(file);
        with_admin(&mut command).spawn().unwrap()
    };
    let bot = |id: &str| simulator.account(id).unwrap();
    let mut old = start("old.toml", format!("{of_a}{of_b}{failing}"));
    let mut log = Log::of(&mut old);
    let admin = admin_address(&mut log).await;
    until(&simulator, |_| {
        bot(a).counters().polls_open == 1 && bot(b).counters().polls_open == 1
    })
    .await;

    // One is taken: it is stopped with a reason, and the other one goes on.
    let _first = start("first.toml", of_a);
    until(&simulator, |_| bot(a).counters().starts == 2).await;
    bot(a).say(ALICE, "hello a");
    log.until("another gateway that was started later").await;
    eventually(async || {
        let (status, answer) = health(&admin).await;
        status == 503 && answer.contains("\"stopped\"") && answer.contains("started later")
    })
    .await;
    bot(b).say(ALICE, "hello b");
    until(&simulator, |simulator| {
        shown(simulator, b, ALICE) == ["hello b"]
    })
    .await;
    assert!(old.try_wait().unwrap().is_none());

    // The other one, too: none is left.
    let _second = start("second.toml", of_b);
    until(&simulator, |_| bot(b).counters().starts == 2).await;
    bot(b).say(ALICE, "once more");
    assert_eq!(old.wait().await.unwrap().code(), Some(3));
    while let Some(line) = log.lines.next_line().await.unwrap() {
        log.seen.push(line);
    }
    let last = log.seen.last().unwrap();
    assert!(last.contains("a@im.bot, b@im.bot"), "{last}");
    assert_eq!(bot(a).counters().stops + bot(b).counters().stops, 0);
}
