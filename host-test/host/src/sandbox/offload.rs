//! Moves what computes for long to the [pool](super::background_pool) in the background, and back.
//!
//! An instance starts on the runtime's threads, which also serve the sockets. When it has computed for
//! more than a moment it moves to the pool, whose threads have a lower priority, and competes only with
//! instances like it. When it computes less, it moves back. Its sockets and timers stay with the
//! runtime.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::instrument::WithSubscriber;

use super::cpu::Meter;

type Body<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs the code of an instance, here or on those threads. `None` if it was cancelled there.
pub(crate) fn run<T: Send + 'static>(
    meter: Option<Arc<Meter>>,
    body: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Option<T>> + Send {
    // Boxed before the first poll: an async function would keep room for its argument as well.
    move_about(meter, Box::pin(body))
}

async fn move_about<T: Send + 'static>(meter: Option<Arc<Meter>>, mut body: Body<T>) -> Option<T> {
    let Some(meter) = meter else {
        return Some(body.await);
    };
    loop {
        let part = |body, is_away| UntilMoved {
            body: Some(body),
            meter: Arc::clone(&meter),
            home: Handle::current(),
            is_away,
            last_poll: None,
        };
        body = match part(body, false).await {
            Ok(value) => return Some(value),
            Err(body) => body,
        };
        let threads = meter.pool().handle()?;
        // Dropped with this future, and the body with it.
        let mut away = JoinSet::new();
        let part = part(body, true).with_current_subscriber();
        away.spawn_on(part, threads);
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

/// Runs a body until it is done, or should go on on the other threads.
struct UntilMoved<T> {
    body: Option<Body<T>>,
    meter: Arc<Meter>,
    home: Handle,
    is_away: bool,
    /// The waker of the last poll, and when that poll ended.
    last_poll: Option<(Arc<TimedWaker>, Instant)>,
}

/// A waker that keeps the time of its first use.
struct TimedWaker {
    waker: Waker,
    at: OnceLock<Instant>,
}

impl Wake for TimedWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.at.get_or_init(Instant::now);
        self.waker.wake_by_ref();
    }
}

impl<T> Future for UntilMoved<T> {
    type Output = Result<T, Body<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Body<T>>> {
        let UntilMoved {
            body: slot,
            meter,
            home,
            is_away,
            last_poll,
        } = &mut *self;
        let Some(body) = slot else {
            // It was handed over, and nobody asks again.
            return Poll::Pending;
        };
        // Time between the end of a poll and the call for the next one is idle; waiting for its turn
        // is not.
        if let Some((waker, ended)) = last_poll.take() {
            let until = waker.at.get().copied().unwrap_or_else(Instant::now);
            meter.idled(until.saturating_duration_since(ended));
        }
        let timed = Arc::new(TimedWaker {
            waker: context.waker().clone(),
            at: OnceLock::new(),
        });
        let waker = Waker::from(Arc::clone(&timed));
        // What it opens and waits for belongs to the runtime that it came from.
        let home = is_away.then(|| home.enter());
        let result = body.as_mut().poll(&mut Context::from_waker(&waker));
        drop(home);
        *last_poll = Some((timed, Instant::now()));
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
