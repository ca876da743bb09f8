//! Wakes tasks of one instance; the tasks look at the state themselves.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts its raises, so that none is missed between two waits.
#[derive(Default)]
pub struct Signal {
    raised: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Wakes everybody who waits.
    pub fn raise(&self) {
        self.raised.set(self.raised.get() + 1);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// How often it was raised: take it before looking at the state, and wait with it after.
    pub fn count(&self) -> u64 {
        self.raised.get()
    }

    /// Waits until it was raised more often than `seen`.
    pub async fn wait(&self, seen: u64) {
        poll_fn(|context| {
            if self.raised.get() > seen {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
