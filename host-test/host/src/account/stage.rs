//! What an account is doing, as one value that others can wait for.

use tokio::sync::watch;

use super::Phase;
use crate::clock::Clock;
use crate::instance::Instance;

/// What is told of an account that a newer gateway has taken over.
pub(super) const SUPERSEDED: &str = "another gateway that was started later on the same store runs this account now, and this one \
     has stopped it: let one of them run it";

/// What an account is doing.
#[derive(Clone)]
pub(super) enum Stage {
    /// Its first instance is being made.
    Starting,
    /// This instance serves.
    Serving(Instance),
    /// This instance drains, and its successor is about to take over. Calls still go to it.
    HandingOver(Instance),
    /// The last instance failed for this reason. Another one follows after a pause.
    BackingOff(String),
    /// A newer instance, mostly another process's, owns the account. This stage is the last one.
    Superseded,
    /// The account was stopped. This stage is the last one.
    Stopped,
}

impl Stage {
    /// The instance to which calls go.
    pub fn instance(&self) -> Option<&Instance> {
        match self {
            Stage::Serving(instance) | Stage::HandingOver(instance) => Some(instance),
            Stage::Starting | Stage::BackingOff(_) | Stage::Superseded | Stage::Stopped => None,
        }
    }

    /// The instance that serves, and is to go on doing so.
    pub fn serving(&self) -> Option<&Instance> {
        match self {
            Stage::Serving(instance) => Some(instance),
            _ => None,
        }
    }

    /// How an account without an instance does, and why.
    pub fn absence(&self) -> (Phase, Option<&str>) {
        match self {
            Stage::BackingOff(why) => (Phase::Starting, Some(why)),
            Stage::Superseded => (Phase::Stopped, Some(SUPERSEDED)),
            Stage::Stopped => (Phase::Stopped, None),
            Stage::Starting | Stage::Serving(_) | Stage::HandingOver(_) => (Phase::Starting, None),
        }
    }

    pub fn is_superseded(&self) -> bool {
        matches!(self, Stage::Superseded)
    }

    fn is_last(&self) -> bool {
        matches!(self, Stage::Superseded | Stage::Stopped)
    }
}

/// A stage, and since when it lasts in milliseconds since the Unix epoch.
#[derive(Clone)]
pub(super) struct Entered {
    pub stage: Stage,
    pub since_ms: u64,
}

/// The stages of an account, one after the other.
pub(super) struct Stages {
    now: watch::Sender<Entered>,
    clock: Clock,
}

impl Stages {
    /// Those of an account that starts.
    pub fn new(clock: Clock) -> Stages {
        let starting = Entered {
            stage: Stage::Starting,
            since_ms: clock.unix_ms(),
        };
        Stages {
            now: watch::channel(starting).0,
            clock,
        }
    }

    /// Goes on to a stage. After the last one nothing changes any more, and an instance that serves
    /// already has served since it began.
    pub fn enter(&self, stage: Stage) {
        let since_ms = self.clock.unix_ms();
        self.now.send_if_modified(|now| {
            let serves_already = match (now.stage.serving(), stage.serving()) {
                (Some(now), Some(next)) => now.is_same(next),
                _ => false,
            };
            let goes_on = !now.stage.is_last() && !serves_already;
            if goes_on {
                *now = Entered { stage, since_ms };
            }
            goes_on
        });
    }

    /// The stage of this moment.
    pub fn now(&self) -> Entered {
        self.now.borrow().clone()
    }

    /// The instance to which calls go.
    pub fn instance(&self) -> Option<Instance> {
        self.now.borrow().stage.instance().cloned()
    }

    /// Whether this instance serves and is to go on doing so.
    pub fn is_serving(&self, instance: &Instance) -> bool {
        let now = self.now.borrow();
        now.stage.serving().is_some_and(|now| now.is_same(instance))
    }

    /// Follows the stages from now on. It holds the instance as long as the account has it.
    pub fn follow(&self) -> Follower {
        Follower(self.now.subscribe())
    }
}

/// Follows the stages of an account.
pub(super) struct Follower(watch::Receiver<Entered>);

impl Follower {
    /// What `pick` takes of the stage of this moment.
    pub fn peek<T>(&self, pick: impl Fn(&Stage) -> Option<T>) -> Option<T> {
        pick(&self.0.borrow().stage)
    }

    /// Waits for a stage of which `pick` takes something. Without the account it waits for ever.
    pub async fn find<T>(&mut self, pick: impl Fn(&Stage) -> Option<T>) -> T {
        loop {
            let found = pick(&self.0.borrow_and_update().stage);
            if let Some(found) = found {
                return found;
            }
            self.changed().await;
        }
    }

    /// Waits for a stage that was not looked at. Without the account it waits for ever.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_follows_the_last_stage() {
        for last in [Stage::Superseded, Stage::Stopped] {
            let stages = Stages::new(Clock::new());
            let mut follower = stages.follow();
            stages.enter(Stage::BackingOff("it ended".to_owned()));
            let why = |stage: &Stage| stage.absence().1.map(str::to_owned);
            assert_eq!(follower.find(why).await, "it ended");
            stages.enter(last);
            let end = stages.now().stage.absence().1.map(str::to_owned);
            stages.enter(Stage::Starting);
            stages.enter(Stage::Stopped);
            assert!(
                follower
                    .peek(|stage| stage.is_last().then_some(()))
                    .is_some()
            );
            assert_eq!(follower.peek(why), end);
        }
    }
}
