//! Swaps the component under a running account. The successor is made while the old instance serves. It
//! takes over when the old one has drained, and goes away again if it does not connect.
//!
//! Promises: a component that does not fit is refused, and the old instance goes on. Nothing under way is
//! lost, because all of it is stored. The time without a poll is as short as possible.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::handle::Handle;
use super::stage::Stage;
use super::{Phase, Setup, Shared, StartError, changes};
use crate::instance::{CallError, Instance};
use crate::runtime::Plugin;

/// How often it is looked whether the successor is connected.
const LOOK: Duration = Duration::from_millis(10);

/// Why a component did not take over.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// It does not fit the account; the old one was not touched.
    #[error("{0}")]
    Misfit(String),
    /// It would change what the operator trusts, and nobody confirmed that; the old one was not
    /// touched.
    #[error("{0}")]
    Unconfirmed(String),
    /// It did not start or not connect, and the old one serves again.
    #[error("{0}; the old component serves again")]
    RolledBack(String),
    /// The account has ended.
    #[error("the account has ended")]
    Ended,
}

impl From<StartError> for SwapError {
    fn from(error: StartError) -> SwapError {
        SwapError::Misfit(error.to_string())
    }
}

/// An instance that waits to take over.
pub(super) struct Swap {
    setup: Arc<Setup>,
    instance: Instance,
    done: oneshot::Sender<Handover>,
}

/// What became of an instance that was to take over.
enum Handover {
    /// It serves.
    Done,
    /// It did not start, for this reason. The setup is the one from before.
    NotStarted(String),
}

/// Whether what a component changes of what the operator trusts was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// A component that reaches more, or hides or sends credentials in another way, is refused.
    Refused,
    /// The operator has seen them, and wants them.
    Confirmed,
}

/// Whether a component may follow another.
///
/// # Errors
/// Why not.
pub fn check(new: &Plugin, old: &Plugin, allowed: Changes) -> Result<(), SwapError> {
    let (new, old) = (new.descriptor(), old.descriptor());
    if new.platform != old.platform {
        return Err(SwapError::Misfit(format!(
            "it is for the platform {}, and the one that serves for {}",
            new.platform, old.platform
        )));
    }
    if new.state_reads_from > old.state_version || new.state_version < old.state_version {
        return Err(SwapError::Misfit(format!(
            "it reads stored state from version {} to {}, and what is stored has version {}",
            new.state_reads_from, new.state_version, old.state_version
        )));
    }
    let changes = match allowed {
        Changes::Refused => changes::of(new, old),
        Changes::Confirmed => Vec::new(),
    };
    match changes.is_empty() {
        true => Ok(()),
        false => Err(SwapError::Unconfirmed(format!(
            "it changes what the operator trusts ({}): confirm that to have it",
            changes.join("; ")
        ))),
    }
}

impl Handle {
    /// Swaps the component. Where the account was connected, the new one has to be so within
    /// `deadline`, or the old one comes back.
    ///
    /// # Errors
    /// All of [`SwapError`].
    pub async fn swap(
        &self,
        plugin: &Plugin,
        deadline: Duration,
        changes: Changes,
    ) -> Result<(), SwapError> {
        let shared = &self.shared;
        let old = shared.setup();
        check(plugin, &old.plugin, changes)?;
        let new = Arc::new(old.with_plugin(plugin)?);
        let has_to_connect = self.status().await.phase == Phase::Connected;
        match shared.replace(Arc::clone(&new)).await? {
            Handover::Done => {}
            Handover::NotStarted(why) => return Err(SwapError::RolledBack(why)),
        }
        if !has_to_connect {
            return Ok(());
        }
        let end = shared.clock().elapsed() + deadline;
        let why = loop {
            let status = self.status().await;
            if status.phase == Phase::Connected {
                shared.metrics.swaps.add();
                return Ok(());
            }
            if shared.clock().elapsed() >= end {
                let seconds = deadline.as_secs();
                let reason = status.reason.unwrap_or_default();
                break format!("the new component is not connected after {seconds} s ({reason})");
            }
            shared.clock().sleep(LOOK).await;
        };
        tracing::error!(
            account = &*shared.id,
            instance = shared.instance_number(),
            "{why}: the old component comes back"
        );
        match shared.replace(old).await? {
            Handover::Done => Err(SwapError::RolledBack(why)),
            Handover::NotStarted(error) => Err(SwapError::RolledBack(format!("{why}; {error}"))),
        }
    }
}

impl Shared {
    /// Makes an instance and has it take over.
    async fn replace(&self, setup: Arc<Setup>) -> Result<Handover, SwapError> {
        let instance = setup.instance().await?;
        // Few at once: while one hands over nothing polls for it, and those that wait are served by
        // their old instance.
        let turn = Arc::clone(&setup.runtime.handovers).acquire_owned().await;
        let _turn = turn.map_err(|_| SwapError::Ended)?;
        let (done, result) = oneshot::channel();
        let swap = Swap {
            setup,
            instance,
            done,
        };
        // The account's task takes it, unless it has ended.
        let taken = tokio::select! {
            sent = self.swaps.send(swap) => sent.is_ok(),
            () = self.stopped() => false,
        };
        if !taken {
            return Err(SwapError::Ended);
        }
        tokio::select! {
            result = result => result.map_err(|_| SwapError::Ended),
            () = self.stopped() => Err(SwapError::Ended),
        }
    }

    /// Starts a successor where none serves. If it does not start, none serves until another instance
    /// of the component from before is made.
    pub(super) async fn take_over(&self, swap: Swap) -> Option<Instance> {
        match swap.instance.start().await {
            Ok(()) => {
                let mut setup = self.setup.write().unwrap_or_else(PoisonError::into_inner);
                *setup = swap.setup;
                drop(setup);
                // Whoever asked may have gone.
                let _ = swap.done.send(Handover::Done);
                Some(swap.instance)
            }
            Err(error) => {
                let why = match error {
                    CallError::Channel(error) => error.message,
                    error @ CallError::Ended(_) => error.to_string(),
                };
                let why = format!("the new component does not start ({why})");
                tracing::error!(
                    account = &*self.id,
                    instance = self.instance_number(),
                    "{why}"
                );
                self.stages.enter(Stage::BackingOff(why.clone()));
                let _ = swap.done.send(Handover::NotStarted(why));
                None
            }
        }
    }
}
