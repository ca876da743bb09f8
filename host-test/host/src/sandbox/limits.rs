//! What one account may use of the process that it shares with others.
//!
//! The host enforces every limit, whatever the component does. It refuses what is over a limit, or
//! ends the instance, and says which limit it was, its value, and where to raise it.

use std::time::Duration;

use crate::egress::limits::Limits as EgressLimits;
use crate::state::MAX_VALUE_BYTES;

const MIB: usize = 1024 * 1024;

/// The limits of an account. The defaults are far above what the WeChat component takes at its best.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Linear memory of an instance, all its memories together.
    pub memory_bytes: usize,
    /// Elements of an instance's tables, all together.
    pub table_elements: usize,
    /// Core instances that a component may be made of.
    pub core_instances: u32,
    /// Linear memories that it may have.
    pub memories: u32,
    /// Tables that it may have.
    pub tables: u32,
    /// Host memory for the account, all instances together, in bytes: requests and their parts, handles,
    /// bodies under way, waiting messages, links to media. What is not measured has a fixed price; see
    /// [`budget`](super::budget).
    pub host_bytes: usize,
    /// Handles that an instance may hold: requests, bodies, buckets, streams, futures.
    pub handles: usize,
    /// What an instance may have under way: tasks, subtasks, streams and futures together.
    pub tasks: usize,
    /// What it may hand to the host in one call, as arguments or as a result.
    pub call_bytes: usize,
    /// CPU time that it may take without a return to the host's event loop.
    pub cpu_slice: Duration,
    /// Percent of one core that it may take in the long run; what takes more is slowed down.
    pub cpu_share: u32,
    /// CPU time that it may take at once above its share.
    pub cpu_burst: Duration,
    /// How long calls may take, what they wait for included.
    pub calls: CallLimits,
    /// Requests that it may have open, all instances together, until the end of the answer's body.
    pub requests: usize,
    /// What each request may take.
    pub egress: EgressLimits,
    /// What it may log in a second, and eight times that at once; lines above that are dropped and
    /// counted.
    pub log_bytes_per_second: usize,
    /// Longest line; the rest is cut off.
    pub log_line_bytes: usize,
    /// Longest key of its store.
    pub key_bytes: usize,
    /// Largest value of its store.
    pub value_bytes: usize,
    /// Keys of its store. They are counted now and then, so there may be some more.
    pub keys: u64,
    /// Keys and values of its store together, counted with the keys.
    pub stored_bytes: u64,
    /// Bytes of keys and values that it may write in a second in the long run; what is above that
    /// waits.
    pub store_bytes_per_second: u64,
    /// What it may write at once above that.
    pub store_burst_bytes: u64,
    /// Messages of it that may wait for the agent; with more it is not asked for others.
    pub waiting_messages: usize,
    /// What those messages may hold together.
    pub waiting_bytes: usize,
    /// Media of it that agents may fetch at the same time; the oldest go first.
    pub media_links: usize,
}

/// How long a call may take, in real time. `receive`, `run` and the steps of a login are open-ended by
/// the contract.
#[derive(Debug, Clone)]
pub struct CallLimits {
    /// Making an instance.
    pub instantiate: Duration,
    /// `meta.describe`, which does no I/O.
    pub describe: Duration,
    /// `lifecycle.start`, which reads the store and announces the start.
    pub start: Duration,
    /// `lifecycle.check`, which answers from memory.
    pub check: Duration,
    /// `lifecycle.drain`, beyond the grace that it is given.
    pub drain: Duration,
    /// `lifecycle.stop`.
    pub stop: Duration,
    /// `outbound.send`, which returns after 15 s by the contract.
    pub send: Duration,
    /// `outbound.find`.
    pub find: Duration,
    /// `outbound.typing`.
    pub typing: Duration,
    /// `inbound.ack`.
    pub ack: Duration,
    /// `media-transfer.fetch`, until the content begins.
    pub fetch: Duration,
    /// `media-transfer.put`, with the whole content.
    pub put: Duration,
    /// `login.begin`.
    pub begin_login: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 256 * MIB,
            host_bytes: 128 * MIB,
            table_elements: 20_000,
            core_instances: 64,
            memories: 2,
            tables: 16,
            handles: 20_000,
            tasks: 20_000,
            call_bytes: 2 * MAX_VALUE_BYTES,
            cpu_slice: Duration::from_secs(5),
            cpu_share: 25,
            cpu_burst: Duration::from_secs(10),
            calls: CallLimits::default(),
            requests: 512,
            egress: EgressLimits::default(),
            log_bytes_per_second: 16 * 1024,
            log_line_bytes: 4096,
            key_bytes: 512,
            value_bytes: MAX_VALUE_BYTES,
            keys: 1_000_000,
            stored_bytes: 1024 * MIB as u64,
            store_bytes_per_second: 4 * MIB as u64,
            store_burst_bytes: 32 * MIB as u64,
            waiting_messages: 20_000,
            waiting_bytes: 64 * MIB,
            media_links: 10_000,
        }
    }
}

impl Default for CallLimits {
    fn default() -> CallLimits {
        let seconds = Duration::from_secs;
        CallLimits {
            instantiate: seconds(10),
            describe: seconds(10),
            start: seconds(60),
            check: seconds(30),
            drain: seconds(10),
            stop: seconds(30),
            send: seconds(60),
            find: seconds(60),
            typing: seconds(60),
            ack: seconds(60),
            fetch: seconds(180),
            // A request may take half an hour, and is preceded by one for the place.
            put: seconds(40 * 60),
            begin_login: seconds(180),
        }
    }
}

/// A limit that was hit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: at most {limit} (`{name}` of the host's `sandbox::limits::Limits`, where it is raised)"
)]
pub struct Exceeded {
    what: &'static str,
    limit: String,
    name: &'static str,
}

impl Exceeded {
    /// `what` was wanted above `limit`, the value of the field `name`.
    pub(crate) fn new(
        name: &'static str,
        what: &'static str,
        limit: impl Into<String>,
    ) -> Exceeded {
        Exceeded {
            what,
            limit: limit.into(),
            name,
        }
    }

    /// The same for a number of things.
    pub(crate) fn count(
        name: &'static str,
        what: &'static str,
        limit: impl std::fmt::Display,
        unit: &str,
    ) -> Exceeded {
        Exceeded::new(name, what, format!("{limit} {unit}"))
    }

    /// The same for a call that took too long.
    pub(crate) fn call(name: &'static str, what: &'static str, limit: Duration) -> Exceeded {
        Exceeded::new(name, what, format!("{limit:?}"))
    }

    /// The field's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}
