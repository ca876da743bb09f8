//! Tries the suspects of an agent: one after the other, alone in a second process.
//!
//! If that process ends while the first one goes on, it has ended on that message. If the program can't
//! run twice, because it holds a port or a lock, a suspect goes back to the first process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::super::{ANSWER_TIME, AgentError};
use super::process::{Process, Program};
use super::suspects::Suspects;
use super::{Call, LONGEST_PAUSE, Run, SHORTEST_PAUSE};

/// A process that still runs after this time has started well.
pub const SETTLED: Duration = Duration::from_secs(1);
/// A process without suspects is kept for this long.
const IDLE: Duration = Duration::from_secs(60);
/// How long the process may take to end after its standard input was closed.
const LAST_ORDERS: Duration = Duration::from_secs(5);

/// The task that has the suspects.
pub struct Alone {
    pub program: Program,
    pub calls: mpsc::UnboundedReceiver<Call>,
    /// Gives a message back to the first process.
    pub all: mpsc::Sender<Call>,
    pub main: watch::Receiver<Run>,
    pub suspects: Arc<Suspects>,
}

/// Decides when a process for suspects may start: less often while no message is answered.
#[derive(Default)]
struct Starts {
    next: Duration,
    pause: Duration,
    /// How many messages were answered at the last end.
    answers: u64,
}

/// A process that has started, and the run of the first process beside it.
struct Beside {
    process: Process,
    run: Run,
}

impl Alone {
    pub async fn run(mut self) {
        let mut starts = Starts::default();
        let mut current: Option<Beside> = None;
        while let Some(call) = self.next(&mut current).await {
            if call.asker.answer.is_closed() {
                continue;
            }
            let beside = match current.take() {
                Some(beside) => Some(beside),
                None => self.start(&mut starts).await,
            };
            let Some(mut beside) = beside else {
                self.send_back(call).await;
                continue;
            };
            match self.try_alone(&mut beside.process, call).await {
                true => current = Some(beside),
                false => self.ended(beside, &mut starts).await,
            }
        }
    }

    /// The next suspect. A process that has none for long ends meanwhile.
    async fn next(&mut self, current: &mut Option<Beside>) -> Option<Call> {
        let clock = self.program.clock.clone();
        if let Some(beside) = current {
            let mut idle = std::pin::pin!(clock.sleep(IDLE));
            loop {
                tokio::select! {
                    call = self.calls.recv() => return call,
                    goes_on = beside.process.step() => if !goes_on { break },
                    () = &mut idle => break,
                }
            }
            beside.process.close();
            let ending = async { while beside.process.step().await {} };
            tokio::select! {
                () = ending => {}
                () = clock.sleep(LAST_ORDERS) => {}
            }
            *current = None;
        }
        self.calls.recv().await
    }

    /// A process for suspects; none where there can't be one beside the other.
    async fn start(&mut self, starts: &mut Starts) -> Option<Beside> {
        let clock = &self.program.clock;
        clock.sleep_until(starts.next).await;
        let run = *self.main.borrow();
        let since = run.since?;
        clock.sleep_until(since + SETTLED).await;
        if *self.main.borrow() != run {
            return None;
        }
        let mut process = self.program.spawn().ok()?;
        let settled = async { while process.step().await {} };
        tokio::select! {
            () = settled => None,
            () = clock.sleep(SETTLED) => Some(Beside { process, run }),
        }
    }

    /// Gives the process a message, and waits for its answer; false when it is of no more use.
    async fn try_alone(&mut self, process: &mut Process, call: Call) -> bool {
        let id = call.id.clone();
        process.give(call);
        let answered = async {
            while !process.waiting.is_empty() {
                if !process.step().await {
                    return false;
                }
            }
            true
        };
        let is_answered = tokio::select! {
            answered = answered => answered,
            () = self.program.clock.sleep(ANSWER_TIME) => false,
        };
        if is_answered {
            self.suspects.clear(&id);
        }
        is_answered
    }

    /// A process ended on its message.
    async fn ended(&mut self, mut beside: Beside, starts: &mut Starts) {
        let is_alone = *self.main.borrow() == beside.run;
        beside.process.waiting.fail(&match is_alone {
            true => AgentError::ProcessEndedAlone,
            false => AgentError::ProcessEnded,
        });
        let answers = self.program.answers.load(Ordering::Relaxed);
        if answers != starts.answers {
            starts.answers = answers;
            starts.pause = Duration::ZERO;
        }
        starts.pause = (starts.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        starts.next = self.program.clock.elapsed() + starts.pause;
        let status = beside.process.end().await;
        tracing::warn!("the agent's process for a message that was alone with it ended ({status})");
    }

    /// Gives the message to the first process, or lets it wait like all others while there is none.
    async fn send_back(&self, call: Call) {
        if self.main.borrow().since.is_none() {
            call.end(Err(AgentError::NotRunning));
            return;
        }
        let call = Call {
            is_for_all: true,
            ..call
        };
        // Without a receiver the agent is gone.
        let _ = self.all.send(call).await;
    }
}
