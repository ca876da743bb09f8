//! Threads for instances that compute for long, so that the threads of all others stay free.
//!
//! An instance starts among the others, which look after the sockets as well. When it has computed for
//! more than a moment it goes on here, where others like it wait for it, and the system puts it behind
//! the rest of the process; when it has calmed down it comes back. Its sockets and timers stay where
//! they are.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tracing::instrument::WithSubscriber;

use super::cpu::Meter;

/// How far they stand behind the other threads of the process.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// All cores but one; they end with the last handle.
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    pub fn start() -> std::io::Result<Threads> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.saturating_sub(1).max(1))
            .thread_name("computing")
            .on_thread_start(|| {
                // Of this thread alone, on Linux. Without it they are only apart.
                #[cfg(target_os = "linux")]
                let _ = rustix::process::nice(NICENESS);
            })
            .build()?;
        Ok(Threads(Some(runtime)))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // It may be an instance that lets go of them, and that must not wait for itself.
            runtime.shutdown_background();
        }
    }
}

type Body<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs what computes in an instance, here or on those threads; none when it was cancelled there.
pub(crate) fn run<T: Send + 'static>(
    meter: Option<Arc<Meter>>,
    body: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Option<T>> + Send {
    // Before the first poll: an async function would keep room for what it was given as well.
    move_about(meter, Box::pin(body))
}

async fn move_about<T: Send + 'static>(meter: Option<Arc<Meter>>, mut body: Body<T>) -> Option<T> {
    let Some(meter) = meter else {
        return Some(body.await);
    };
    loop {
        let stint = |body, is_away| Stint {
            body: Some(body),
            meter: Arc::clone(&meter),
            home: Handle::current(),
            is_away,
            woken: None,
        };
        body = match stint(body, false).await {
            Ok(value) => return Some(value),
            Err(body) => body,
        };
        let Threads(Some(threads)) = meter.threads() else {
            return None;
        };
        // Dropped with this future, and the body with it.
        let mut away = JoinSet::new();
        let stint = stint(body, true).with_current_subscriber();
        away.spawn_on(stint, threads.handle());
        body = match away.join_next().await? {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(body)) => body,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return None,
            },
        };
    }
}

/// A part of a body's life, until it should be on the other threads.
struct Stint<T> {
    body: Option<Body<T>>,
    meter: Arc<Meter>,
    home: Handle,
    is_away: bool,
    /// How it is told to go on, and when it last paused.
    woken: Option<(Arc<Noted>, Instant)>,
}

/// A waker that notes when it was first used.
struct Noted {
    waker: Waker,
    at: OnceLock<Instant>,
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.at.get_or_init(Instant::now);
        self.waker.wake_by_ref();
    }
}

impl<T> Future for Stint<T> {
    type Output = Result<T, Body<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Body<T>>> {
        let Stint {
            body: slot,
            meter,
            home,
            is_away,
            woken,
        } = &mut *self;
        let Some(body) = slot else {
            // It was handed over, and nobody asks again.
            return Poll::Pending;
        };
        // Time between the end of a poll and the call for the next one is idle; waiting for its turn
        // is not.
        if let Some((woken, ended)) = woken.take() {
            let until = woken.at.get().copied().unwrap_or_else(Instant::now);
            meter.idled(until.saturating_duration_since(ended));
        }
        let noted = Arc::new(Noted {
            waker: context.waker().clone(),
            at: OnceLock::new(),
        });
        let waker = Waker::from(Arc::clone(&noted));
        // What it opens and waits for belongs to the runtime that it came from.
        let home = is_away.then(|| home.enter());
        let result = body.as_mut().poll(&mut Context::from_waker(&waker));
        drop(home);
        *woken = Some((noted, Instant::now()));
        if let Poll::Ready(value) = result {
            return Poll::Ready(Ok(value));
        }
        if meter.is_computing() == *is_away {
            return Poll::Pending;
        }
        match slot.take() {
            Some(body) => Poll::Ready(Err(body)),
            None => Poll::Pending,
        }
    }
}
