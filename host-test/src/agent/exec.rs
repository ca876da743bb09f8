//! An agent that is a process: one JSON per line in on its standard input, one per line out on its
//! standard output, with `"in_reply_to"` added.
//!
//! - Any number of messages is under way at once, and answers come in any order. Lines of progress
//!   before an answer are said as they arrive.
//! - The process is started again when it ends, after a pause that grows while it keeps dying at
//!   once. What it had not answered fails, so that the caller gives it once more.
//! - Lines that can't be read, that are too long or that answer no message under way are reported
//!   and skipped. Its standard error is ours.
//! - It is killed when the agent is dropped, with the processes that it has started.

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::message::{Answer, Message, Reply};
use super::progress::Progress;
use super::{ANSWER_TIME, Agent, AgentError, MAX_ANSWER_BYTES};
use crate::clock::Clock;

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A process that ran for this long did not die at once.
const LONG_RUN: Duration = Duration::from_secs(10);
/// What it wrote before it ended is read for this long, should another process hold its output.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages that are not written yet, when the process does not read. More wait outside.
const UNWRITTEN_BYTES: usize = 1024 * 1024;

/// An agent that is a process of ours.
pub struct ExecAgent {
    calls: mpsc::Sender<Call>,
    clock: Clock,
    task: JoinHandle<()>,
}

struct Call {
    id: String,
    line: Vec<u8>,
    asker: Asker,
}

/// Who waits for an answer.
struct Asker {
    progress: Progress,
    answer: oneshot::Sender<Result<Option<Reply>, AgentError>>,
}

impl ExecAgent {
    /// Starts `command` with `sh -c`, and with `umask` in place of ours if there is one. Must be
    /// called within a runtime.
    pub fn start(command: &str, umask: Option<u32>, clock: Clock) -> ExecAgent {
        let (calls, received) = mpsc::channel(64);
        let keeper = Keeper {
            command: command.to_owned(),
            umask,
            clock: clock.clone(),
            calls: received,
        };
        ExecAgent {
            calls,
            clock,
            task: tokio::spawn(keeper.run()),
        }
    }
}

impl Drop for ExecAgent {
    fn drop(&mut self) {
        // Its end drops the process, and that kills it.
        self.task.abort();
    }
}

impl Agent for ExecAgent {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        let mut line = serde_json::to_vec(message).expect("a message has string keys alone");
        line.push(b'\n');
        let (answer, answered) = oneshot::channel();
        let call = Call {
            id: message.id.clone(),
            line,
            asker: Asker {
                progress: progress.clone(),
                answer,
            },
        };
        let exchange = async move {
            let sent = self.calls.send(call).await;
            sent.map_err(|_| AgentError::NotRunning)?;
            answered.await.map_err(|_| AgentError::ProcessEnded)?
        };
        async move {
            tokio::select! {
                biased;
                result = exchange => result,
                () = self.clock.sleep(ANSWER_TIME) => Err(AgentError::TimedOut),
            }
        }
        .boxed()
    }
}

/// Variables of the runner that the agent's process has no use for.
const SECRETS: [&str; 3] = ["WEIXIN_TOKEN", "WEIXIN_SIM_TOKEN", "HOST_ADMIN_TOKEN"];

/// Keeps the process running.
struct Keeper {
    command: String,
    umask: Option<u32>,
    clock: Clock,
    calls: mpsc::Receiver<Call>,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let started = self.clock.elapsed();
            match self.spawn() {
                Ok(mut process) => {
                    let status = process.serve(&mut self.calls, &self.clock).await;
                    tracing::warn!("the agent's process ended ({status})");
                }
                Err(error) => tracing::warn!("the agent's process can't be started: {error}"),
            }
            if self.clock.elapsed().saturating_sub(started) >= LONG_RUN {
                pause = SHORTEST_PAUSE;
            }
            let resumes = self.clock.sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            let mut resumes = std::pin::pin!(resumes);
            loop {
                tokio::select! {
                    biased;
                    () = &mut resumes => break,
                    call = self.calls.recv() => match call {
                        Some(call) => call.end(Err(AgentError::NotRunning)),
                        None => return,
                    },
                }
            }
        }
    }

    fn spawn(&self) -> io::Result<Process> {
        let mut shell = Command::new("sh");
        shell.arg("-c");
        match self.umask {
            // The command gets a shell of its own, so that it may be anything that a shell takes.
            Some(umask) => shell
                .arg(format!("umask {umask:03o}; exec sh -c \"$1\""))
                .arg("sh")
                .arg(&self.command),
            None => shell.arg(&self.command),
        };
        for name in SECRETS {
            shell.env_remove(name);
        }
        let mut child = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no standard input or output"));
        };
        Ok(Process {
            child,
            input: Some(input),
            output: Lines::new(output),
            unwritten: BytesMut::new(),
            waiting: Waiting::default(),
        })
    }
}

impl Call {
    fn end(self, result: Result<Option<Reply>, AgentError>) {
        // The caller may have given up.
        let _ = self.asker.answer.send(result);
    }
}

/// One run of the process. What waits for it fails when it is dropped.
struct Process {
    child: Child,
    /// `None` once the process has closed it.
    input: Option<ChildStdin>,
    output: Lines,
    unwritten: BytesMut,
    waiting: Waiting,
}

impl Process {
    /// Passes messages and answers until the process ends; says how it did.
    async fn serve(&mut self, calls: &mut mpsc::Receiver<Call>, clock: &Clock) -> String {
        loop {
            tokio::select! {
                line = self.output.next() => match line {
                    Some(line) => self.waiting.settle(&line),
                    None => break,
                },
                written = write(&mut self.input, &mut self.unwritten) => {
                    if written.is_err() {
                        // It may still answer what it has read.
                        self.input = None;
                        self.unwritten.clear();
                    }
                }
                call = calls.recv(), if self.unwritten.len() < UNWRITTEN_BYTES => {
                    // Without a sender the agent is gone, and this task is about to be.
                    let Some(call) = call else { break };
                    if self.input.is_none() {
                        call.end(Err(AgentError::ProcessEnded));
                        continue;
                    }
                    self.unwritten.extend_from_slice(&call.line);
                    self.waiting.add(call);
                }
                _ = self.child.wait() => {
                    let last_words = async {
                        while let Some(line) = self.output.next().await {
                            self.waiting.settle(&line);
                        }
                    };
                    tokio::select! {
                        () = last_words => {}
                        () = clock.sleep(LAST_WORDS) => {}
                    }
                    break;
                }
            }
        }
        // What came before the end is lost with it, and nothing may reach the next run as well.
        while let Ok(call) = calls.try_recv() {
            call.end(Err(AgentError::ProcessEnded));
        }
        // One that only closed its output is of no more use.
        kill(&self.child);
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&self.child);
    }
}

/// Kills the process and those of its group: of `cd here && python agent.py` the process is only
/// the shell. Does nothing once its end was noticed, because its number may then be another's.
fn kill(process: &Child) {
    let Some(group) = process.id() else {
        return;
    };
    let _ = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("kill -KILL -{group}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Writes some of the bytes; waits for ever when there is nothing to write.
async fn write(input: &mut Option<ChildStdin>, unwritten: &mut BytesMut) -> io::Result<()> {
    match input {
        Some(input) if unwritten.has_remaining() => {
            if input.write_buf(unwritten).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            Ok(())
        }
        _ => std::future::pending().await,
    }
}

/// The messages that the process has not answered.
#[derive(Default)]
struct Waiting {
    askers: HashMap<String, Asker>,
    /// How many there were when those that nobody waits for were last removed.
    swept: usize,
}

impl Waiting {
    fn add(&mut self, call: Call) {
        if self.askers.len() > 2 * self.swept + 64 {
            self.askers.retain(|_, asker| !asker.answer.is_closed());
            self.swept = self.askers.len();
        }
        // An earlier call with this id fails by that: its caller gave it once more.
        self.askers.insert(call.id, call.asker);
    }

    /// Gives a line to who waits for it.
    fn settle(&mut self, line: &Line) {
        let wrong = match line {
            Line::TooLong => "it is too long",
            Line::Whole(line) if line.trim_ascii().is_empty() => return,
            Line::Whole(line) => match Answer::read(line) {
                Err(wrong) => wrong,
                Ok(answer) if answer.in_reply_to.is_none() => "it has no \"in_reply_to\"",
                Ok(answer) => match self.give(answer) {
                    Ok(()) => return,
                    Err(wrong) => wrong,
                },
            },
        };
        tracing::warn!("a line of the agent's process is skipped: {wrong}");
    }

    fn give(&mut self, answer: Answer) -> Result<(), &'static str> {
        let unknown = "it answers no message under way";
        let id = answer.in_reply_to.as_deref().unwrap_or_default();
        if answer.progress {
            let asker = self.askers.get(id).ok_or(unknown)?;
            answer.say(&asker.progress);
            return Ok(());
        }
        let asker = self.askers.remove(id).ok_or(unknown)?;
        if let Some(wrong) = answer.wrong {
            tracing::warn!("a part of the agent's answer is left out: {wrong}");
        }
        // The caller may have given up.
        let _ = asker.answer.send(Ok(answer.reply));
        Ok(())
    }
}

/// The lines of an output; what was read of one is kept when a wait is given up.
struct Lines {
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
    too_long: bool,
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Lines {
    fn new(output: ChildStdout) -> Lines {
        Lines {
            output: BufReader::with_capacity(64 * 1024, output),
            line: Vec::new(),
            too_long: false,
        }
    }

    /// The next line; `None` at the end, and what has no line break before it is no line.
    async fn next(&mut self) -> Option<Line> {
        loop {
            let read = self.output.fill_buf().await.ok()?;
            if read.is_empty() {
                return None;
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = read.get(..end.unwrap_or(read.len()))?;
            if self.line.len() + part.len() > MAX_ANSWER_BYTES {
                self.too_long = true;
                self.line = Vec::new();
            }
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.output.consume(consumed);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return Some(if std::mem::take(&mut self.too_long) {
                    Line::TooLong
                } else {
                    Line::Whole(line)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::message::tests::hello;
    use super::*;

    /// Reads the ids of messages, in the shell.
    const ID: &str = r#"id() { read -r line && id=${line#*'"id":"'} && id=${id%%'"'*}; };"#;

    fn start(command: &str) -> ExecAgent {
        ExecAgent::start(&format!("{ID} {command}"), None, Clock::new())
    }

    fn replies(text: &str) -> String {
        format!(r#"echo "{{\"in_reply_to\":\"$id\",\"text\":\"{text}\"}}""#)
    }

    async fn text(agent: &ExecAgent, id: &str) -> Result<Option<String>, AgentError> {
        let reply = agent.answer(&hello(id), &Progress::nowhere()).await?;
        Ok(reply.and_then(|reply| reply.text))
    }

    fn said(text: &str) -> Result<Option<String>, AgentError> {
        Ok(Some(text.to_owned()))
    }

    #[tokio::test]
    async fn lines_go_in_and_answers_come_out() {
        let agent = start(&format!("while id; do {}; done", replies("hi $id")));
        for id in ["1", "9007199254740995", "3"] {
            assert_eq!(text(&agent, id).await, said(&format!("hi {id}")));
        }
    }

    #[tokio::test]
    async fn an_answer_without_content_acknowledges() {
        let agent = start(r#"while id; do echo "{\"in_reply_to\":\"$id\"}"; done"#);
        assert_eq!(text(&agent, "1").await, Ok(None));
    }

    #[tokio::test]
    async fn answers_come_in_any_order() {
        let (a, b) = (replies("for $id"), replies("late for $id"));
        let agent = start(&format!(
            "id; one=$id; id; {a}; id=$one; {b}; while id; do :; done"
        ));
        let (one, two) = tokio::join!(text(&agent, "1"), text(&agent, "2"));
        assert_eq!(one, said("late for 1"));
        assert_eq!(two, said("for 2"));
    }

    #[tokio::test]
    async fn many_messages_are_under_way_at_once() {
        // It answers only when it has read them all, and they are more than a pipe holds.
        let agent = start(&format!(
            "n=0; while [ $n -lt 500 ]; do id; ids=\"$ids $id\"; n=$((n+1)); done; for id in $ids; do {}; done; cat",
            replies("$id")
        ));
        let ids: Vec<String> = (0..500).map(|id| id.to_string()).collect();
        let all = futures::future::join_all(ids.iter().map(|id| text(&agent, id))).await;
        for (id, answer) in ids.iter().zip(all) {
            assert_eq!(answer, said(id));
        }
    }

    #[tokio::test]
    async fn lines_of_progress_are_said_as_they_arrive() {
        let says = |text: &str| {
            format!(r#"echo "{{\"in_reply_to\":\"$id\",\"text\":\"{text}\",\"progress\":true}}""#)
        };
        // The answer waits until the progress was heard.
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("heard");
        let agent = start(&format!(
            "id; {}; {}; until [ -e '{}' ]; do sleep 0.01; done; {}; id",
            says("looking"),
            says("found"),
            heard.display(),
            replies("done")
        ));
        let (progress, mut said) = Progress::new();
        let listen = async {
            for expected in ["looking", "found"] {
                assert_eq!(said.recv().await.unwrap().text, expected);
            }
            std::fs::write(&heard, "").unwrap();
        };
        let message = hello("1");
        let (reply, ()) = tokio::join!(agent.answer(&message, &progress), listen);
        assert_eq!(reply.unwrap().unwrap().text.as_deref(), Some("done"));
    }

    #[tokio::test]
    async fn lines_that_make_no_sense_are_skipped() {
        let agent = start(&format!(
            r#"while id; do echo; echo nonsense; echo '{{"text":"x"}}'; echo '{{"in_reply_to":"9","text":"x"}}';
               echo "{{\"in_reply_to\":\"$id\",\"text\":\"…\",\"progress\":true}}"; {}; done"#,
            replies("hi")
        ));
        assert_eq!(text(&agent, "1").await, said("hi"));
        assert_eq!(text(&agent, "2").await, said("hi"));
    }

    #[tokio::test]
    async fn a_process_that_ends_fails_what_it_had_and_starts_again() {
        let clock = Clock::new();
        let command = format!("{ID} id; {}; id; exit 3", replies("hi from $$"));
        let agent = ExecAgent::start(&command, None, clock.clone());
        let first = text(&agent, "1").await.unwrap().unwrap();
        assert_eq!(text(&agent, "2").await, Err(AgentError::ProcessEnded));
        assert_eq!(text(&agent, "2").await, Err(AgentError::NotRunning));
        clock.advance(SHORTEST_PAUSE);
        let second = eventually(&agent, "2").await;
        assert!(second.starts_with("hi from") && second != first, "{second}");
    }

    #[tokio::test]
    async fn last_words_before_the_end_count() {
        let agent = start(&format!("id; {}", replies("bye")));
        assert_eq!(text(&agent, "1").await, said("bye"));
    }

    #[tokio::test]
    async fn the_pause_grows_while_it_keeps_dying() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("starts");
        let starts = || {
            std::fs::read_to_string(&log)
                .unwrap_or_default()
                .lines()
                .count()
        };
        let clock = Clock::new();
        let command = format!("echo >> '{}'", log.display());
        let agent = ExecAgent::start(&command, None, clock.clone());
        for (started, pause) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            until(|| starts() == started + 1).await;
            // Refused means that the end was noticed and the pause has begun.
            while text(&agent, "1").await != Err(AgentError::NotRunning) {}
            clock.advance(Duration::from_secs(pause) - Duration::from_millis(500));
            assert_eq!(text(&agent, "1").await, Err(AgentError::NotRunning));
            assert_eq!(starts(), started + 1);
            clock.advance(Duration::from_millis(500));
        }
    }

    #[tokio::test]
    async fn silence_ends_after_ten_minutes() {
        let clock = Clock::new();
        let directory = tempfile::tempdir().unwrap();
        let read = directory.path().join("read");
        let command = format!("head -n 1 > '{}'; exec sleep 1000", read.display());
        let agent = ExecAgent::start(&command, None, clock.clone());
        let wait = async {
            until(|| std::fs::metadata(&read).is_ok_and(|file| file.len() > 0)).await;
            clock.advance(ANSWER_TIME);
        };
        let (answer, ()) = tokio::join!(text(&agent, "1"), wait);
        assert_eq!(answer, Err(AgentError::TimedOut));
    }

    #[tokio::test]
    async fn the_command_gets_the_umask() {
        for (umask, expected) in [(Some(0o027), "0027"), (Some(0), "0000")] {
            let command = format!("{ID} while id; do {}; done", replies("$(umask)"));
            let agent = ExecAgent::start(&command, umask, Clock::new());
            assert_eq!(text(&agent, "1").await, said(expected));
        }
    }

    #[tokio::test]
    async fn dropping_the_agent_kills_all_of_its_processes() {
        for umask in [None, Some(0o022)] {
            let command = format!("{ID} id; sleep 1000 & {}; wait", replies("$$ $!"));
            let agent = ExecAgent::start(&command, umask, Clock::new());
            let numbers = text(&agent, "1").await.unwrap().unwrap();
            drop(agent);
            for number in numbers.split(' ') {
                // A process that has ended and is not yet waited for has no command line.
                let command = Path::new("/proc").join(number).join("cmdline");
                until(|| std::fs::read(&command).unwrap_or_default().is_empty()).await;
            }
        }
    }

    async fn eventually(agent: &ExecAgent, id: &str) -> String {
        loop {
            match text(agent, id).await {
                Ok(reply) => return reply.unwrap(),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
