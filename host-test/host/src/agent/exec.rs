//! An agent that is a process: one JSON per line in on its standard input, one per line out on its
//! standard output, with `"in_reply_to"` added.
//!
//! - Any number of messages is under way at once, and answers come in any order. Lines of progress
//!   before an answer are said as they arrive.
//! - The process is started again when it ends, after a pause that grows while it answers nothing.
//!   What it had not answered fails, so that the caller gives it once more.
//! - The message that a process most likely ended on is given to a second process, alone, so that the
//!   others go on at once.
//! - What is no answer to a message under way is counted, told once a minute, and skipped. Its standard
//!   error is ours.
//! - The processes are killed when the agent is dropped, with those that they have started.

mod alone;
mod noise;
mod output;
mod process;
mod suspects;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::environment::Environment;
use super::message::{Message, Reply};
use super::progress::Progress;
use super::{ANSWER_TIME, Agent, AgentError};
use crate::clock::Clock;
use alone::Alone;
use process::{Process, Program};
use suspects::Suspects;

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A process that ran for this long did not die at once.
const LONG_RUN: Duration = Duration::from_secs(10);
/// Messages that are not written yet, when the process does not read. More wait outside.
const UNWRITTEN_BYTES: usize = 1024 * 1024;

/// An agent that is a process of ours.
pub struct ExecAgent {
    calls: mpsc::Sender<Call>,
    clock: Clock,
    /// Their end drops the processes, and that kills them.
    _tasks: JoinSet<()>,
}

debug_by_name!(ExecAgent);

/// A message, and who waits for its answer.
struct Call {
    id: String,
    line: Vec<u8>,
    asker: Asker,
    /// No second process can be had for it.
    is_for_all: bool,
}

/// Who waits for an answer.
struct Asker {
    /// The message's account.
    account: String,
    progress: Progress,
    answer: oneshot::Sender<Result<Option<Reply>, AgentError>>,
}

/// The run of the process that has all messages but the suspects.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Run {
    number: u64,
    /// Since when, by the clock; none while it does not run.
    since: Option<Duration>,
}

impl ExecAgent {
    /// Starts `command` with `sh -c`, with `umask` in place of ours if there is one, and with what
    /// `environment` lets through of our variables. Must be called within a runtime.
    pub fn start(
        command: &str,
        umask: Option<u32>,
        environment: Environment,
        clock: Clock,
    ) -> ExecAgent {
        let (calls, received) = mpsc::channel(64);
        let (suspects, alone) = mpsc::unbounded_channel();
        let program = Program {
            command: command.to_owned(),
            umask,
            environment,
            clock: clock.clone(),
            answers: Arc::new(AtomicU64::new(0)),
        };
        let found = Arc::new(Suspects::default());
        let (run, main) = watch::channel(Run::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(
            Alone {
                program: program.clone(),
                calls: alone,
                all: calls.clone(),
                main,
                suspects: Arc::clone(&found),
            }
            .run(),
        );
        tasks.spawn(
            Keeper {
                program,
                calls: received,
                alone: suspects,
                run,
                suspects: found,
            }
            .run(),
        );
        ExecAgent {
            calls,
            clock,
            _tasks: tasks,
        }
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
                account: message.account.clone(),
                progress: progress.clone(),
                answer,
            },
            is_for_all: false,
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

impl Call {
    fn end(self, result: Result<Option<Reply>, AgentError>) {
        self.asker.end(result);
    }
}

impl Asker {
    fn end(self, result: Result<Option<Reply>, AgentError>) {
        // The caller may have given up.
        let _ = self.answer.send(result);
    }
}

/// Keeps the process running that has all messages but the suspects.
struct Keeper {
    program: Program,
    calls: mpsc::Receiver<Call>,
    alone: mpsc::UnboundedSender<Call>,
    run: watch::Sender<Run>,
    suspects: Arc<Suspects>,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = SHORTEST_PAUSE;
        let clock = self.program.clock.clone();
        loop {
            let started = clock.elapsed();
            let mut has_answered = false;
            match self.program.spawn() {
                Ok(mut process) => {
                    self.run.send_modify(|run| {
                        run.number += 1;
                        run.since = Some(started);
                    });
                    self.serve(&mut process).await;
                    self.run.send_modify(|run| run.since = None);
                    has_answered = process.waiting.answered > 0;
                    self.suspects.ended(process.waiting.ids());
                    let status = process.end().await;
                    tracing::warn!("the agent's process ended ({status})");
                }
                Err(error) => tracing::warn!("the agent's process can't be started: {error}"),
            }
            let ran = clock.elapsed().saturating_sub(started);
            if has_answered || ran >= LONG_RUN {
                pause = SHORTEST_PAUSE;
            }
            let mut resumes = std::pin::pin!(clock.sleep(pause));
            pause = (pause * 2).min(LONGEST_PAUSE);
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

    /// Passes messages and answers until the process ends.
    async fn serve(&mut self, process: &mut Process) {
        loop {
            tokio::select! {
                goes_on = process.step() => {
                    if !goes_on {
                        break;
                    }
                }
                call = self.calls.recv(), if process.has_room() => {
                    // Without a sender the agent is gone, and this task is about to be.
                    let Some(call) = call else { break };
                    self.give(call, process);
                }
            }
        }
        // What came before the end is lost with it, and nothing may reach the next run as well.
        while let Ok(call) = self.calls.try_recv() {
            match self.is_for_alone(&call) {
                true => self.give(call, process),
                false => call.end(Err(AgentError::ProcessEnded)),
            }
        }
    }

    fn is_for_alone(&self, call: &Call) -> bool {
        !call.is_for_all && self.suspects.has(&call.id)
    }

    /// Passes a message to where it belongs.
    fn give(&self, call: Call, process: &mut Process) {
        if !self.is_for_alone(&call) {
            process.give(call);
        } else if let Err(call) = self.alone.send(call) {
            // Its task has panicked.
            process.give(call.0);
        }
    }
}

#[cfg(test)]
mod tests;
