//! The CPU time of instances. An instance that computes for long lets others run, and one that
//! computes without end is stopped or slowed down.
//!
//! - A thread ticks while instances compute, and rests while none does.
//! - At a tick, code that has run for about that long yields to the executor, so that other tasks and
//!   the sockets get their turn.
//! - Code that does not return to the host's event loop within `cpu_slice` traps.
//! - An instance that computes for more than a moment goes on on other [threads](super::offload).
//! - An instance that uses more than its account's share waits until it is within the share again.
//!
//! CPU time of the thread is what counts, so a busy machine makes no instance guilty.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::Thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Sleep;
use wasmtime::{Engine, EngineWeak, UpdateDeadline};

use super::background_pool::BackgroundPool;
use super::cpu_budget::Overdraft;
use super::limits::{Exceeded, Limits};
use super::tenant::Tenant;

/// The longest time for which an instance computes before others may run.
pub const TICK: Duration = Duration::from_millis(1);
/// The part of its time that an instance may compute; time in which it waits for its turn does not
/// count. The excess adds up, and older excess is forgotten. With more than a moment of excess the
/// instance moves to the background threads; when it has computed less for a while, it moves back.
const BUSY: f64 = 0.75;
const MOMENT: Duration = Duration::from_millis(10);
const CALM: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_millis(50);
/// Ticks without an instance that computes, after which the ticker rests.
const QUIET_TICKS: u32 = 50;

/// The thread that ticks; it ends with the last handle, or with the engine.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    pool: BackgroundPool,
}

#[derive(Default)]
struct Shared {
    /// Polls that have begun and that have ended.
    begun: AtomicU64,
    ended: AtomicU64,
    is_resting: AtomicBool,
    is_over: AtomicBool,
}

impl Ticker {
    /// Starts ticking for `engine`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let (ticking, engine) = (Arc::clone(&shared), engine.weak());
        let thread = std::thread::Builder::new()
            .name("epochs".to_owned())
            .spawn(move || ticking.tick(&engine))?;
        Ok(Ticker {
            shared,
            thread: thread.thread().clone(),
            pool: BackgroundPool::start()?,
        })
    }

    fn begin(&self) {
        self.shared.begun.fetch_add(1, Ordering::SeqCst);
        if self.shared.is_resting.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    fn end(&self) {
        self.shared.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn tick(&self, engine: &EngineWeak) {
        let (mut seen, mut quiet) = (0, 0);
        while !self.is_over.load(Ordering::SeqCst) {
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
            let ended = self.ended.load(Ordering::SeqCst);
            let begun = self.begun.load(Ordering::SeqCst);
            let is_quiet = begun == seen && ended == begun;
            seen = begun;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet < QUIET_TICKS {
                std::thread::sleep(TICK);
                continue;
            }
            self.is_resting.store(true, Ordering::SeqCst);
            // A poll that began before it could see the line above is seen here.
            let stays = self.begun.load(Ordering::SeqCst) == begun;
            if stays && !self.is_over.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.is_resting.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }
}

/// CPU time of this thread, in nanoseconds.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What one instance takes of the CPU.
pub(crate) struct Meter {
    ticker: Arc<Ticker>,
    slice: Duration,
    /// The thread's CPU clock when the poll began, and when this poll's part of the slice did.
    poll_from: AtomicU64,
    slice_from: AtomicU64,
    /// What earlier polls took of the slice.
    slice_before: AtomicU64,
    has_returned: AtomicBool,
    is_computing: AtomicBool,
    idle: AtomicU64,
    /// It would have gone on at once.
    is_interrupted: AtomicBool,
}

impl Meter {
    pub fn new(ticker: Arc<Ticker>, limits: &Limits) -> Arc<Meter> {
        Arc::new(Meter {
            ticker,
            slice: limits.cpu_slice,
            poll_from: AtomicU64::new(0),
            slice_from: AtomicU64::new(0),
            slice_before: AtomicU64::new(0),
            has_returned: AtomicBool::new(false),
            is_computing: AtomicBool::new(false),
            idle: AtomicU64::new(0),
            is_interrupted: AtomicBool::new(false),
        })
    }

    /// The component has returned to the host's event loop: another slice begins.
    pub fn returned(&self) {
        self.has_returned.store(true, Ordering::Relaxed);
    }

    /// Whether it has lately computed for more than a moment.
    pub fn is_computing(&self) -> bool {
        self.is_computing.load(Ordering::Relaxed)
    }

    /// Nobody has called it for that long.
    pub(super) fn idled(&self, time: Duration) {
        if !self.is_interrupted.swap(false, Ordering::Relaxed) {
            self.idle.fetch_add(ns(time), Ordering::Relaxed);
        }
    }

    pub(super) fn pool(&self) -> &BackgroundPool {
        &self.ticker.pool
    }

    /// What code does that runs across a tick.
    pub fn at_tick(&self) -> wasmtime::Result<UpdateDeadline> {
        let now = cpu_ns();
        if self.has_returned.swap(false, Ordering::Relaxed) {
            self.slice_before.store(0, Ordering::Relaxed);
            self.slice_from.store(now, Ordering::Relaxed);
        }
        let this_poll = now.saturating_sub(self.slice_from.load(Ordering::Relaxed));
        let taken = self.slice_before.load(Ordering::Relaxed) + this_poll;
        if taken > ns(self.slice) {
            let what = "it computes without a pause";
            return Err(Exceeded::call("cpu_slice", what, self.slice).into());
        }
        // Most code that sees a tick has only just begun.
        let in_poll = now.saturating_sub(self.poll_from.load(Ordering::Relaxed));
        if in_poll < ns(TICK) / 2 {
            return Ok(UpdateDeadline::Continue(1));
        }
        self.is_interrupted.store(true, Ordering::Relaxed);
        if self.is_computing() {
            return Ok(UpdateDeadline::Yield(1));
        }
        // Among the others: it is woken after the sockets have been looked at.
        let others = Box::pin(tokio::task::yield_now());
        Ok(UpdateDeadline::YieldCustom(1, others))
    }

    fn begin_poll(&self) {
        self.ticker.begin();
        let now = cpu_ns();
        self.poll_from.store(now, Ordering::Relaxed);
        self.slice_from.store(now, Ordering::Relaxed);
    }

    /// What the poll took.
    fn end_poll(&self) -> u64 {
        let now = cpu_ns();
        if self.has_returned.swap(false, Ordering::Relaxed) {
            self.slice_before.store(0, Ordering::Relaxed);
        } else {
            let part = now.saturating_sub(self.slice_from.load(Ordering::Relaxed));
            self.slice_before.fetch_add(part, Ordering::Relaxed);
        }
        self.ticker.end();
        now.saturating_sub(self.poll_from.load(Ordering::Relaxed))
    }
}

/// A future that runs an instance, at no more than its account's share.
pub(crate) struct Metered<F> {
    meter: Arc<Meter>,
    tenant: Arc<Tenant>,
    inner: Pin<Box<F>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// What it has lately taken above [`BUSY`], in nanoseconds.
    lately: f64,
}

impl<F> Metered<F> {
    pub fn new(meter: Arc<Meter>, tenant: Arc<Tenant>, inner: F) -> Metered<F> {
        Metered {
            meter,
            tenant,
            inner: Box::pin(inner),
            pause: None,
            lately: 0.0,
        }
    }

    /// Accounts for what a poll took.
    fn charge(&mut self, taken: u64) {
        let idle = self.meter.idle.swap(0, Ordering::Relaxed);
        let allowed = (taken + idle) as f64 * BUSY;
        self.lately = (self.lately + taken as f64 - allowed).clamp(0.0, MOST.as_nanos() as f64);
        let bound = match self.meter.is_computing() {
            true => CALM,
            false => MOMENT,
        };
        let is_computing = self.lately > bound.as_nanos() as f64;
        let flag = &self.meter.is_computing;
        flag.store(is_computing, Ordering::Relaxed);

        let Tenant { limits, cpu, .. } = &*self.tenant;
        let mut budget = cpu.lock().unwrap_or_else(PoisonError::into_inner);
        let overdraft = budget.charge(taken, limits);
        drop(budget);
        let Some(Overdraft { wait, is_new }) = overdraft else {
            return;
        };
        if is_new {
            let what = "it takes more CPU than its share and is slowed down";
            let limit = format!("{} % of a core", limits.cpu_share);
            let exceeded = Exceeded::new("cpu_share", what, limit);
            tracing::warn!(account = &*self.tenant.account, "{exceeded}");
        }
        self.pause = Some(Box::pin(tokio::time::sleep(wait)));
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(context));
            this.pause = None;
        }
        this.meter.begin_poll();
        let result = this.inner.as_mut().poll(context);
        let taken = this.meter.end_poll();
        if result.is_pending() {
            this.charge(taken);
            if let Some(pause) = &mut this.pause
                && pause.as_mut().poll(context).is_ready()
            {
                context.waker().wake_by_ref();
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_ticks_while_something_computes_and_ends_with_its_handle() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).unwrap();
        let ticker = Ticker::start(&engine).unwrap();
        let rests = || ticker.shared.is_resting.load(Ordering::SeqCst);
        for _ in 0..3 {
            ticker.begin();
            std::thread::sleep(TICK * QUIET_TICKS * 2);
            assert!(!rests());
            ticker.end();
            while !rests() {
                std::thread::sleep(TICK);
            }
        }
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker);
        while shared.strong_count() > 0 {
            std::thread::sleep(TICK);
        }
    }
}
