//! Whose turn it is: the conversations that have posts to send, and what each of them does now.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::record::Record;

/// What a conversation with unsettled posts does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits for its turn, or has it.
    Ready,
    /// It is not tried before this time.
    Delayed(Duration),
    /// It waits for its peer to write, or for its posts to expire.
    Held,
    /// The request of this post is under way.
    InFlight(u64),
}

/// A conversation with posts that are not settled.
#[derive(Debug)]
struct Queue {
    state: State,
    /// The posts in their order.
    orders: VecDeque<u64>,
    /// How many of them are answers.
    answers: usize,
}

/// The conversations of an account; times are on one monotonic clock.
#[derive(Debug, Default)]
pub struct Schedule {
    queues: HashMap<String, Queue>,
    /// Conversations by their turn. All that are [`State::Ready`] are among them. Others are leftovers,
    /// and are skipped.
    turns: VecDeque<String>,
    /// All conversations that are [`State::Delayed`].
    delayed: BTreeSet<(Duration, String)>,
    /// How many conversations are [`State::InFlight`].
    in_flight: usize,
}

impl Schedule {
    /// Adds a post that is not settled. A conversation that had none gets its turn after the others.
    pub fn add(&mut self, record: &Record) {
        let (conversation, order) = (&record.conversation, record.order);
        if !self.queues.contains_key(conversation) {
            self.turns.push_back(conversation.clone());
        }
        let queue = self
            .queues
            .entry(conversation.clone())
            .or_insert_with(|| Queue {
                state: State::Ready,
                orders: VecDeque::new(),
                answers: 0,
            });
        queue.answers += usize::from(record.answers.is_some());
        // Stored posts are loaded in the order of their keys.
        let index = queue.orders.partition_point(|other| *other < order);
        queue.orders.insert(index, order);
    }

    /// Removes a post that is settled.
    pub fn remove(&mut self, record: &Record) {
        let (conversation, order) = (&record.conversation, record.order);
        let Some(queue) = self.queues.get_mut(conversation) else {
            return;
        };
        queue.answers -= usize::from(record.answers.is_some());
        match queue.orders.front() == Some(&order) {
            true => drop(queue.orders.pop_front()),
            false => queue.orders.retain(|other| *other != order),
        }
        if queue.orders.is_empty() {
            let state = queue.state;
            self.queues.remove(conversation);
            self.leave(conversation, state);
        }
    }

    /// Undoes what came with a state.
    fn leave(&mut self, conversation: &str, state: State) {
        match state {
            State::Delayed(until) => {
                self.delayed.remove(&(until, conversation.to_owned()));
            }
            State::InFlight(_) => self.in_flight -= 1,
            State::Ready | State::Held => {}
        }
    }

    fn enter(&mut self, conversation: &str, state: State) {
        let Some(queue) = self.queues.get_mut(conversation) else {
            return;
        };
        let before = std::mem::replace(&mut queue.state, state);
        self.leave(conversation, before);
        match state {
            State::Ready => self.turns.push_back(conversation.to_owned()),
            State::Delayed(until) => {
                self.delayed.insert((until, conversation.to_owned()));
            }
            State::InFlight(_) => self.in_flight += 1,
            State::Held => {}
        }
    }

    fn state(&self, conversation: &str) -> Option<State> {
        self.queues.get(conversation).map(|queue| queue.state)
    }

    /// The next conversation in turn.
    pub fn next(&mut self) -> Option<String> {
        while let Some(conversation) = self.turns.pop_front() {
            if self.state(&conversation) == Some(State::Ready) {
                return Some(conversation);
            }
        }
        None
    }

    /// Gives the conversations their turn whose delay is over.
    pub fn wake(&mut self, now: Duration) {
        while let Some((due, conversation)) = self.delayed.first()
            && *due <= now
        {
            let conversation = conversation.clone();
            self.enter(&conversation, State::Ready);
        }
    }

    /// The request of a post begins.
    pub fn begin(&mut self, conversation: &str, order: u64) {
        self.enter(conversation, State::InFlight(order));
    }

    /// The request of a conversation has ended. It goes on at `until`, or in its turn.
    pub fn finish(&mut self, conversation: &str, until: Option<Duration>) {
        self.enter(conversation, until.map_or(State::Ready, State::Delayed));
    }

    /// A conversation waits for its peer.
    pub fn hold(&mut self, conversation: &str) {
        self.enter(conversation, State::Held);
    }

    /// A conversation whose turn has not come yet is not tried before `until`.
    pub fn delay(&mut self, conversation: &str, until: Duration) {
        if self.state(conversation) == Some(State::Ready) {
            self.enter(conversation, State::Delayed(until));
        }
    }

    /// A conversation need not wait for its peer any more. True if it did.
    pub fn release(&mut self, conversation: &str) -> bool {
        let is_held = self.is_held(conversation);
        if is_held {
            self.enter(conversation, State::Ready);
        }
        is_held
    }

    /// A conversation need not wait for anything any more.
    pub fn hurry(&mut self, conversation: &str) {
        if let Some(State::Held | State::Delayed(_)) = self.state(conversation) {
            self.enter(conversation, State::Ready);
        }
    }

    /// Takes over the requests that were under way before the posts were loaded again.
    pub fn follow(&mut self, before: &Schedule) {
        for (conversation, queue) in &before.queues {
            if let State::InFlight(order) = queue.state {
                self.begin(conversation, order);
            }
        }
    }

    /// The requests under way are given up.
    pub fn forget_requests(&mut self) {
        for queue in self.queues.values_mut() {
            if let State::InFlight(_) = queue.state {
                queue.state = State::Ready;
            }
        }
        self.in_flight = 0;
    }

    /// Whether a conversation has posts that are not settled.
    pub fn contains(&self, conversation: &str) -> bool {
        self.queues.contains_key(conversation)
    }

    /// Whether a conversation waits for its peer.
    pub fn is_held(&self, conversation: &str) -> bool {
        self.state(conversation) == Some(State::Held)
    }

    /// The post of a conversation whose request is under way.
    pub fn sending(&self, conversation: &str) -> Option<u64> {
        match self.state(conversation)? {
            State::InFlight(order) => Some(order),
            State::Ready | State::Delayed(_) | State::Held => None,
        }
    }

    /// How many requests are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a conversation may be in turn.
    pub fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// When the next delay is over.
    pub fn next_delay(&self) -> Option<Duration> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// The posts of a conversation, in their order.
    pub fn orders(&self, conversation: &str) -> impl Iterator<Item = u64> {
        let queue = self.queues.get(conversation);
        queue.into_iter().flat_map(|queue| &queue.orders).copied()
    }

    /// Whether a conversation has answers among its posts.
    pub fn has_answers(&self, conversation: &str) -> bool {
        let queue = self.queues.get(conversation);
        queue.is_some_and(|queue| queue.answers > 0)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.delayed.is_empty() && self.in_flight == 0
    }
}
