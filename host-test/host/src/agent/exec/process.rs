//! A process of an agent's program: how it is started, fed, read and ended.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::codec::FramedRead;

use super::super::environment::Environment;
use super::super::objects::{Item, Objects};
use super::super::{AgentError, MAX_ANSWER_BYTES};
use super::noise::Noise;
use super::output::{Line, LineDecoder};
use super::waiting::Waiting;
use super::{Call, UNWRITTEN_BYTES};
use crate::clock::Clock;

/// Of its output, at once.
const READ_BYTES: usize = 64 * 1024;
/// What it wrote before it ended is read for this long, should another process hold its output.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is started.
#[derive(Clone)]
pub struct Program {
    pub command: String,
    pub umask: Option<u32>,
    pub environment: Environment,
    pub clock: Clock,
    /// Messages that its processes have answered.
    pub answers: Arc<AtomicU64>,
}

impl Program {
    /// Starts it.
    pub fn spawn(&self) -> io::Result<Process> {
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
        self.environment.apply(&mut shell);
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
            output: FramedRead::with_capacity(
                output,
                LineDecoder::new(MAX_ANSWER_BYTES),
                READ_BYTES,
            ),
            objects: Objects::new(MAX_ANSWER_BYTES),
            unwritten: BytesMut::new(),
            waiting: Waiting::new(Arc::clone(&self.answers)),
            noise: Noise::new(self.clock.clone()),
            clock: self.clock.clone(),
        })
    }
}

/// One run of the program. What waits for it fails when it is dropped.
pub struct Process {
    child: Child,
    /// `None` once it is closed.
    input: Option<ChildStdin>,
    output: FramedRead<ChildStdout, LineDecoder>,
    objects: Objects,
    unwritten: BytesMut,
    pub waiting: Waiting,
    noise: Noise,
    clock: Clock,
}

impl Process {
    /// Whether more messages may be given to it now.
    pub fn has_room(&self) -> bool {
        self.unwritten.len() < UNWRITTEN_BYTES
    }

    /// Gives it a message.
    pub fn give(&mut self, call: Call) {
        if self.input.is_none() {
            call.end(Err(AgentError::ProcessEnded));
            return;
        }
        if self.waiting.has_of_another(&call) {
            call.end(Err(AgentError::SameId));
            return;
        }
        let (id, line, asker) = call.into_parts();
        self.unwritten.extend_from_slice(&line);
        self.waiting.add(id, asker);
    }

    /// Tells it that nothing follows.
    pub fn close(&mut self) {
        self.input = None;
        self.unwritten.clear();
    }

    /// Writes and reads as much as possible. Returns false once the process has ended. A call that is
    /// cancelled loses nothing: the next one goes on.
    pub async fn step(&mut self) -> bool {
        tokio::select! {
            line = self.output.next() => match line {
                Some(Ok(line)) => self.read(&line),
                Some(Err(_)) | None => return false,
            },
            written = write(&mut self.input, &mut self.unwritten) => {
                if written.is_err() {
                    // It may still answer what it has read.
                    self.close();
                }
            }
            () = self.noise.due() => self.noise.tell(),
            _ = self.child.wait() => {
                self.last_words().await;
                return false;
            }
        }
        true
    }

    async fn last_words(&mut self) {
        let clock = self.clock.clone();
        let last_words = async {
            while let Some(Ok(line)) = self.output.next().await {
                self.read(&line);
            }
        };
        tokio::select! {
            () = last_words => {}
            () = clock.sleep(LAST_WORDS) => {}
        }
    }

    fn read(&mut self, line: &Line) {
        let (waiting, noise) = (&mut self.waiting, &mut self.noise);
        match line {
            Line::Whole(line) => {
                let mut settle = |item: Item<'_>| waiting.settle(item, noise);
                self.objects.line(line, &mut settle);
            }
            Line::TooLong(head) => waiting.fail_named(head, "it is too long", noise),
        }
    }

    /// Ends it, if it has not ended; says how it did.
    pub async fn end(mut self) -> String {
        // An answer that was cut off by the end of the process comes again.
        let noise = &mut self.noise;
        self.objects.end(&mut |item| {
            if let Item::Broken(line, why) = item {
                noise.add(line, why);
            }
        });
        // A process that only closed its output is of no more use.
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
    let id = process.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = id.and_then(Pid::from_raw) {
        // Where it has just ended, there is nobody to kill.
        let _ = kill_process_group(group, Signal::KILL);
    }
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
