//! Judges a component: whether it keeps the contract.
//!
//! [`Suite`] runs the contract against any component of the world. Each [`Check`] has a store, a clock
//! and a simulated server of its own. It drives instances directly, as a host may at its worst: it kills
//! them, holds their writes, and starts a second one beside the first. The clock is virtual, so a day
//! takes a moment.
//!
//! - A check fails with a sentence. It never waits for ever, whatever the component does.
//! - The store and the platform can be the caller's own: a gateway's author tests a store, a channel's
//!   author tests a channel with the fake server of the platform, see [`platform`].
//! - A check says what it needs. Most checks are neutral: they fit any platform. A check that needs a
//!   simulated platform is not run without one.
//! - The feature `weixin` brings the simulator of iLink, and the checks for iLink alone.

#![warn(missing_debug_implementations)]

mod fixture;
mod held;
mod inbound;
mod ledger;
mod lifecycle;
mod media;
mod nowhere;
mod outbound;
pub mod platform;
mod queue;
#[cfg(feature = "weixin")]
pub mod weixin;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tracing::instrument::WithSubscriber;

use fixture::{Fixture, Outcome};
use gateway_host::clock::Clock;
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::State;
use gateway_host::state::memory::MemoryState;
use ledger::Ledger;
use nowhere::Nowhere;
use platform::{Ability, PlatformServer, SimulatedPlatform};

/// One promise of the contract.
#[derive(Debug)]
pub struct Check {
    /// The promise.
    pub name: &'static str,
    /// What it can't be tried without.
    pub needs: Needs,
    run: for<'a> fn(&'a Fixture) -> LocalBoxFuture<'a, Outcome>,
}

/// What a check can't be tried without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The component alone.
    Nothing,
    /// A simulated platform of any kind that can do this.
    Platform(&'static [Ability]),
    /// The simulated platform of this name: it is about what that one alone has.
    Own(&'static str),
}

macro_rules! checks {
    ($($(#[$attribute:meta])* $name:literal $needs:ident $run:path;)*) => {
        &[$($(#[$attribute])* Check {
            name: $name,
            needs: checks!(@$needs),
            run: |fixture| Box::pin($run(fixture)),
        }),*]
    };
    (@alone) => { Needs::Nothing };
    (@server) => { Needs::Platform(&[]) };
    (@media) => { Needs::Platform(&[Ability::Media]) };
    (@repeats) => { Needs::Platform(&[Ability::Repeats]) };
    (@typing) => { Needs::Platform(&[Ability::Typing]) };
    (@window) => { Needs::Platform(&[Ability::ReplyWindow]) };
    (@weixin) => { Needs::Own(weixin::PLATFORM) };
}

/// All checks, in the order in which they are to be run: the last three judge what all did.
pub const CHECKS: &[Check] = checks! {
    "the description is the same twice, and complete" alone lifecycle::description;
    "calls before the start are refused, and no trap" alone lifecycle::too_early;
    "a wrong configuration is refused with its key" server lifecycle::wrong_configuration;
    "a second start is refused, and the instance goes on" server lifecycle::second_start;
    #[cfg(feature = "weixin")]
    "start and stop are announced once, and a stop may be repeated" weixin weixin::lifecycle::announcements;
    "health is told at once, while a poll hangs" server lifecycle::health;
    "drain ends receive and run at once" server lifecycle::drain;
    "drain keeps its grace while a request hangs" server lifecycle::drain_in_time;
    "an older instance is fenced by a newer one, and loses nothing" server lifecycle::fence;

    "a message arrives with all its members" server inbound::members;
    "a message is returned until it is acknowledged" server inbound::until_acknowledged;
    "a batch is stored before it is handed out and before the next poll" server inbound::store_first;
    "a kill right after the write loses nothing" server inbound::killed_after_the_write;
    "a failed write loses nothing" server inbound::failed_write;
    "what the platform says again is dropped" repeats inbound::repeats;
    "a backlog arrives whole and in order" server inbound::backlog;
    "a second receive at the same time is refused" server inbound::second_receive;
    "polls that fail are repeated" server inbound::bad_polls;
    "polling pauses at ten thousand messages, and goes on" server inbound::pause;
    #[cfg(feature = "weixin")]
    "unknown fields and ids of any kind change nothing" weixin weixin::odd::ids_and_fields;
    #[cfg(feature = "weixin")]
    "a message that can't be read stops no other" weixin weixin::odd::poison;
    "redirects are not followed" server inbound::redirects;

    "an answer acknowledges" server outbound::answer_acknowledges;
    "an answer that a kill interrupted goes out, and nobody is asked again" server outbound::interrupted;
    "an answer that was stored and not sent goes out after a kill" server outbound::stored;
    "a key is sent once" server outbound::key_once;
    "another content of a key is a conflict" server outbound::key_conflict;
    "the receipt of a key is found, also later" server outbound::receipts;
    "a send does not wait for a poll that hangs" server outbound::beside_a_poll;
    "a long text goes in parts that the platform takes" server outbound::parts;
    "what the platform can't take now is tried again" server outbound::try_again;
    #[cfg(feature = "weixin")]
    "an answer without an id is unconfirmed, and not repeated" weixin weixin::outbound::unconfirmed;
    #[cfg(feature = "weixin")]
    "a lost answer is sent once more, with the same id" weixin weixin::outbound::lost_answer;
    #[cfg(feature = "weixin")]
    "progress leaves room for the answer" weixin weixin::outbound::progress;
    "typing shows and ends" typing outbound::typing;
    "a refused credential is told, and heals" server outbound::login_required;

    "a closed window is told without a request" window queue::window;
    "what is queued goes out when the person writes, also after a kill" window queue::queued;
    "what became of it is told until that is acknowledged" window queue::settled;
    "what is queued for too long is told as failed" window queue::expired;

    "a file comes out byte for byte, also by a later instance" media media::fetched;
    #[cfg(feature = "weixin")]
    "a content that is broken is told as broken" weixin weixin::media::broken;
    #[cfg(feature = "weixin")]
    "a handle that leads elsewhere is not followed" weixin weixin::media::elsewhere;
    "a file goes in byte for byte" media media::put;
    "a content of another length is refused" media media::wrong_length;

    #[cfg(feature = "weixin")]
    "a login shows a code and brings a credential, which the host keeps" weixin weixin::login::steps;
    #[cfg(feature = "weixin")]
    "a login asks for digits, and again when they are wrong" weixin weixin::login::digits;
    #[cfg(feature = "weixin")]
    "a login to elsewhere fails" weixin weixin::login::elsewhere;
    #[cfg(feature = "weixin")]
    "login steps without a login are refused" weixin weixin::login::nothing_begun;

    "nothing outside of its egress was asked" server ledger::no_refusals;
    "nothing was done on the wire that a client must not do" server ledger::no_violations;
    "no token and no text was in its log" server ledger::no_secrets;
};

/// Runs checks against a component.
pub struct Suite {
    pub(crate) runtime: Runtime,
    pub(crate) plugin: Plugin,
    store: Arc<dyn Fn() -> Arc<dyn State> + Send + Sync>,
    platform: Option<Arc<dyn SimulatedPlatform>>,
    ledger: Ledger,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let platform = self.platform.as_ref().map(|platform| platform.name());
        f.debug_struct("Suite")
            .field("platform", &platform)
            .finish_non_exhaustive()
    }
}

impl Suite {
    /// A suite whose stores are in memory, without a simulated platform.
    pub fn new(runtime: &Runtime, plugin: &Plugin) -> Suite {
        Suite {
            runtime: runtime.clone(),
            plugin: plugin.clone(),
            store: Arc::new(|| Arc::new(MemoryState::default())),
            platform: None,
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

    /// The same with servers of this platform, one for each check. A component of another platform is
    /// not judged by them.
    pub fn with_platform(mut self, platform: impl SimulatedPlatform + 'static) -> Suite {
        self.platform = Some(Arc::new(platform));
        self
    }

    /// The simulated platform, where it is the component's.
    fn platform(&self) -> Option<&dyn SimulatedPlatform> {
        let platform = self.platform.as_deref()?;
        (platform.name() == self.plugin.descriptor().platform).then_some(platform)
    }

    /// A server for one check.
    async fn server(&self, clock: Clock) -> Result<Box<dyn PlatformServer>, String> {
        match self.platform() {
            Some(platform) => platform.start(clock).await,
            None => Ok(Box::new(Nowhere::of(&self.plugin))),
        }
    }

    /// Whether there is what this check needs.
    pub fn can_run(&self, check: &Check) -> bool {
        match (check.needs, self.platform()) {
            (Needs::Nothing, _) => true,
            (_, None) => false,
            (Needs::Platform(abilities), Some(platform)) => {
                abilities.iter().all(|ability| platform.can(*ability))
            }
            (Needs::Own(name), Some(platform)) => platform.name() == name,
        }
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
