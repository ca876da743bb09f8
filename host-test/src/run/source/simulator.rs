//! The account of the built-in simulator, while a person talks with it.

use futures::FutureExt;
use futures::future::{LocalBoxFuture, ready};
use tokio::sync::watch;

use crate::run::error::RunError;
use crate::run::person_stage::{self, PersonStage};
use crate::run::wanted::{Source, WantedAccount};

/// Wants that account.
pub struct SimulatorSource {
    stage: watch::Receiver<PersonStage>,
}

impl SimulatorSource {
    /// Goes by the stage.
    pub fn new(stage: watch::Receiver<PersonStage>) -> SimulatorSource {
        SimulatorSource { stage }
    }
}

impl Source for SimulatorSource {
    fn accounts(&mut self) -> LocalBoxFuture<'_, Result<Vec<WantedAccount>, RunError>> {
        let accounts = match &*self.stage.borrow_and_update() {
            PersonStage::Simulated(account) => vec![WantedAccount {
                account: account.clone(),
                is_required: true,
            }],
            PersonStage::LoggingIn | PersonStage::Chosen => Vec::new(),
        };
        ready(Ok(accounts)).boxed_local()
    }

    fn changed(&mut self) -> LocalBoxFuture<'_, ()> {
        person_stage::next(&mut self.stage).boxed_local()
    }
}
