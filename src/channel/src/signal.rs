//! Wakes tasks of one instance. What has changed they find out themselves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts its raises, so that none is missed between two waits.
#[derive(Default, Debug)]
pub struct Signal {
    raised: Cell<u64>,
    next_wait: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

impl Signal {
    /// Wakes everybody who waits.
    pub fn raise(&self) {
        self.raised.set(self.raised.get() + 1);
        for waker in self.waiting.take().into_values() {
            waker.wake();
        }
    }

    /// How often it was raised: take it before looking at the state, and wait with it after.
    pub fn count(&self) -> u64 {
        self.raised.get()
    }

    /// Waits until it was raised more often than `seen`.
    pub async fn wait(&self, seen: u64) {
        let number = self.next_wait.get();
        self.next_wait.set(number + 1);
        let _waiting = Waiting {
            signal: self,
            number,
        };
        poll_fn(|context| {
            if self.raised.get() > seen {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            waiting.insert(number, context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A wait that is given up leaves nothing behind.
struct Waiting<'a> {
    signal: &'a Signal,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.signal.waiting.borrow_mut().remove(&self.number);
    }
}
