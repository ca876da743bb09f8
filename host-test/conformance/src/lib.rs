//! Judges a component: whether it keeps the contract.
//!
//! [`Suite`] runs the contract against any
//! component of the world: each [`Check`] has a store, a clock and a simulated server of its own, and
//! drives instances directly, as a host may at its worst: it kills them, holds their writes, starts a
//! second one beside the first. Time is moved, so that a day takes a moment.
//!
//! - A check fails with a sentence; it never waits for ever, whatever the component does.
//! - The server can be told to have faults, and the store can be the caller's own: a gateway's author
//!   tests a store with it, and the tests of this crate see that the suite can fail.
//! - There is a simulated server for `weixin` alone. What needs one is not run for another platform.

mod fixture;
mod held;
mod inbound;
mod ledger;
mod lifecycle;
mod login;
mod media;
mod odd;
mod outbound;
mod queue;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber;

use fixture::{Fixture, Outcome};
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::State;
use gateway_host::state::memory::MemoryState;
use ledger::Ledger;

/// The platform that the simulated server plays.
pub const PLATFORM: &str = "weixin";

/// One promise of the contract.
pub struct Check {
    /// The promise.
    pub name: &'static str,
    /// Whether it needs the platform's server.
    pub needs_server: bool,
    run: for<'a> fn(&'a Fixture) -> LocalBoxFuture<'a, Outcome>,
}

macro_rules! checks {
    ($($name:literal $needs:ident $run:path;)*) => {
        &[$(Check {
            name: $name,
            needs_server: checks!(@$needs),
            run: |fixture| Box::pin($run(fixture)),
        }),*]
    };
    (@alone) => { false };
    (@server) => { true };
}

/// All checks, in the order in which they are to be run: the last three judge what all did.
pub const CHECKS: &[Check] = checks! {
    "the description is the same twice, and complete" alone lifecycle::description;
    "calls before the start are refused, and no trap" alone lifecycle::too_early;
    "a wrong configuration is refused with its key" server lifecycle::wrong_configuration;
    "a second start is refused, and the instance goes on" server lifecycle::second_start;
    "start and stop are announced once, and a stop may be repeated" server lifecycle::announcements;
    "health is told at once, while a poll hangs" server lifecycle::health;
    "drain ends receive and run at once" server lifecycle::drain;
    "drain keeps its grace while a request hangs" server lifecycle::drain_in_time;
    "an older instance is fenced by a newer one, and loses nothing" server lifecycle::fence;

    "a message arrives with all its members" server inbound::members;
    "a message is returned until it is acknowledged" server inbound::until_acknowledged;
    "a batch is stored before it is handed out and before the next poll" server inbound::store_first;
    "a kill right after the write loses nothing" server inbound::killed_after_the_write;
    "a failed write loses nothing" server inbound::failed_write;
    "what the platform says again is dropped" server inbound::repeats;
    "a backlog arrives whole and in order" server inbound::backlog;
    "a second receive at the same time is refused" server inbound::second_receive;
    "polls that fail are repeated" server inbound::bad_polls;
    "polling pauses at ten thousand messages, and goes on" server inbound::pause;
    "unknown fields and ids of any kind change nothing" server odd::ids_and_fields;
    "a message that can't be read stops no other" server odd::poison;
    "redirects are not followed" server odd::redirects;

    "an answer acknowledges" server outbound::answer_acknowledges;
    "an answer that a kill interrupted goes out, and nobody is asked again" server outbound::interrupted;
    "an answer that was stored and not sent goes out after a kill" server outbound::stored;
    "a key is sent once" server outbound::key_once;
    "another content of a key is a conflict" server outbound::key_conflict;
    "the receipt of a key is found, also later" server outbound::receipts;
    "a send does not wait for a poll that hangs" server outbound::beside_a_poll;
    "a long text goes in parts that the platform takes" server outbound::parts;
    "what the platform can't take now is tried again" server outbound::try_again;
    "an answer without an id is unconfirmed, and not repeated" server outbound::unconfirmed;
    "a lost answer is sent once more, with the same id" server outbound::lost_answer;
    "progress leaves room for the answer" server outbound::progress;
    "typing shows and ends" server outbound::typing;
    "a refused credential is told, and heals" server outbound::login_required;

    "a closed window is told without a request" server queue::window;
    "what is queued goes out when the person writes, also after a kill" server queue::queued;
    "what became of it is told until that is acknowledged" server queue::settled;
    "what is queued for too long is told as failed" server queue::expired;

    "a file comes out byte for byte, also by a later instance" server media::fetched;
    "a content that is broken is told as broken" server media::broken;
    "a handle that leads elsewhere is not followed" server media::elsewhere;
    "a file goes in byte for byte" server media::put;
    "a content of another length is refused" server media::wrong_length;

    "a login shows a code and brings a credential, which the host keeps" server login::steps;
    "a login asks for digits, and again when they are wrong" server login::digits;
    "a login to elsewhere fails" server login::elsewhere;
    "login steps without a login are refused" server login::nothing_begun;

    "nothing outside of its egress was asked" server ledger::no_refusals;
    "nothing was done on the wire that a client must not do" server ledger::no_violations;
    "no token and no text was in its log" server ledger::no_secrets;
};

/// Runs checks against a component.
pub struct Suite {
    pub(crate) runtime: Runtime,
    pub(crate) plugin: Plugin,
    store: Arc<dyn Fn() -> Arc<dyn State> + Send + Sync>,
    faults: Value,
    ledger: Ledger,
}

impl Suite {
    /// A suite whose stores are in memory, and whose server has no faults but those of the checks.
    pub fn new(runtime: &Runtime, plugin: &Plugin) -> Suite {
        Suite {
            runtime: runtime.clone(),
            plugin: plugin.clone(),
            store: Arc::new(|| Arc::new(MemoryState::default())),
            faults: json!({}),
            ledger: Ledger::default(),
        }
    }

    /// The same with other stores; each check wants an empty one.
    pub fn with_store(
        mut self,
        store: impl Fn() -> Arc<dyn State> + Send + Sync + 'static,
    ) -> Suite {
        self.store = Arc::new(store);
        self
    }

    /// The same with a server that has these faults from the start of each check, see
    /// [`gateway_simulator::ilink::rules`].
    pub fn with_faults(mut self, faults: Value) -> Suite {
        self.faults = faults;
        self
    }

    /// Whether there is a server for what this check needs.
    pub fn can_run(&self, check: &Check) -> bool {
        !check.needs_server || self.plugin.descriptor.platform == PLATFORM
    }

    /// Runs a check.
    ///
    /// # Errors
    /// A sentence that says which promise is not kept.
    pub async fn run(&self, check: &Check) -> Result<(), String> {
        let running = async {
            let fixture = Fixture::new(self).await?;
            // A mistake of this suite must not end the other checks.
            let outcome = AssertUnwindSafe((check.run)(&fixture)).catch_unwind().await;
            self.ledger.note(&fixture);
            outcome.unwrap_or_else(|_| Err("the check itself failed".to_owned()))
        };
        running.with_subscriber(self.ledger.subscriber()).await
    }
}
