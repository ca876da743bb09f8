//! Logins from the terminal, and beside a running account.

use super::*;

/// `host-test login`, with its output.
struct Terminal {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

fn login_command(simulator: &Simulator, state: &str) -> Command {
    let mut command = runner(&["login", "--component"]);
    command
        .arg(component())
        .args(["--state", state])
        .env("WEIXIN_BASE_URL", simulator.base_url());
    command
}

impl Terminal {
    fn new(mut command: Command) -> Terminal {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Terminal { child, lines }
    }

    /// Reads until a line has these words.
    async fn until(&mut self, words: &str) -> Vec<String> {
        let reading = async {
            let mut seen = Vec::new();
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let is_it = line.contains(words);
                seen.push(line);
                if is_it {
                    return seen;
                }
            }
            panic!("no {words:?} in {seen:?}");
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the words come")
    }

    async fn end(mut self) -> (Option<i32>, String) {
        let mut errors = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).await.unwrap();
        (self.child.wait().await.unwrap().code(), errors)
    }
}

#[tokio::test]
async fn the_terminal_shows_a_code_asks_for_digits_and_says_who_is_logged_in() {
    let harness = Harness::new().await;
    let folder = tempfile::tempdir().unwrap();
    let state = format!("dir:{}", folder.path().join("state").display());
    let mut terminal = Terminal::new(login_command(&harness.simulator, &state));
    let shown = terminal.until("open the link").await;
    assert!(shown.iter().any(|line| line.contains('█')), "{shown:?}");
    let code = harness.simulator.login(ALICE, Act::ScanWithDigits).unwrap();
    assert!(shown.contains(&code.url), "{shown:?}");
    let mut input = terminal.child.stdin.take().unwrap();
    let digits = format!("000000\n{}\n", code.digits.unwrap());
    input.write_all(digits.as_bytes()).await.unwrap();
    eventually(async || harness.simulator.qr_codes()[0].status == "scaned").await;
    let code = harness.simulator.login(ALICE, Act::Confirm).unwrap();
    let account = code.account.unwrap();
    let said = terminal.until("Logged in as").await.join("\n");
    assert!(said.contains("The phone shows some digits"), "{said}");
    assert!(said.contains("These digits are wrong"), "{said}");
    assert!(said.contains(&account), "{said}");
    let (status, errors) = terminal.end().await;
    assert_eq!((status, errors.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_login_that_is_given_up_or_too_late_ends_with_its_own_words() {
    let harness = Harness::new().await;
    let folder = tempfile::tempdir().unwrap();
    let state = format!("dir:{}", folder.path().join("state").display());
    let mut terminal = Terminal::new(login_command(&harness.simulator, &state));
    terminal.until("open the link").await;
    signal(&terminal.child, Signal::INT);
    let (status, errors) = terminal.end().await;
    assert_eq!(status, Some(1));
    assert!(errors.contains("the login was given up"), "{errors}");

    let mut terminal = Terminal::new(login_command(&harness.simulator, &state));
    for number in 0..3 {
        terminal.until("open the link").await;
        eventually(async || harness.simulator.login_counters().qr_codes == 2 + number).await;
        harness.simulator.login(ALICE, Act::Expire).unwrap();
    }
    let (status, errors) = terminal.end().await;
    assert_eq!(status, Some(1));
    assert!(errors.contains("three codes were shown"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    let mut memory = login_command(&harness.simulator, "memory");
    let output = memory.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_login_beside_a_running_account_takes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    takes_at_once(&format!("dir:{}", folder.path().join("state").display())).await;
}

#[tokio::test]
async fn a_login_beside_a_running_account_takes_at_once_on_redis() {
    if redis_server::is_missing() {
        return;
    }
    takes_at_once(&RedisServer::start().url()).await;
}

async fn takes_at_once(state: &str) {
    let harness = Harness::new().await;
    let command = |given: bool| {
        let mut command = runner(&["run", "--component"]);
        command
            .arg(component())
            .args(["--state", state, "--agent", "echo"])
            .env("WEIXIN_BASE_URL", harness.simulator.base_url())
            .env("WEIXIN_SEND_INTERVAL_MS", "0");
        if given {
            command
                .env("WEIXIN_TOKEN", harness.simulator.token())
                .env("WEIXIN_ACCOUNT_ID", harness.simulator.account_id());
        }
        command
    };
    // Without any credential and without a terminal there is nothing to run.
    let output = command(false).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("host-test login"), "{errors}");

    let running = command(true).spawn().unwrap();
    harness.simulator.say(ALICE, "before");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["before"])
        .await;
    // Another client took the person; the operator logs in again, in another terminal.
    harness.simulator.log_in_elsewhere(ALICE);
    let first = harness.simulator.first().clone();
    harness.until(|_| first.counters().starts >= 2).await;
    let mut terminal = Terminal::new(login_command(&harness.simulator, state));
    terminal.until("open the link").await;
    let code = harness.simulator.login(ALICE, Act::Confirm).unwrap();
    let bot = harness.simulator.account(&code.account.unwrap()).unwrap();
    terminal.until("Logged in as").await;
    until(&harness.simulator, |_| bot.counters().polls > 0).await;
    harness.simulator.say(ALICE, "after");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["before", "after"])
        .await;
    signal(&running, Signal::TERM);
    assert_eq!(
        running.wait_with_output().await.unwrap().status.code(),
        Some(0)
    );

    // From now on the login counts, also where the environment holds the old token.
    for given in [false, true] {
        let polls = bot.counters().polls;
        let running = command(given).spawn().unwrap();
        until(&harness.simulator, |_| bot.counters().polls > polls).await;
        signal(&running, Signal::TERM);
        assert_eq!(
            running.wait_with_output().await.unwrap().status.code(),
            Some(0)
        );
    }
}
