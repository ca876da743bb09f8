//! The person who starts the runner at a terminal: talks with the simulated server first, or logs in.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use tokio::sync::watch;

use super::error::{RunError, other};
use super::login;
use super::person_stage::PersonStage;
use super::prompt::{self, Ended};
use super::simulator;
use super::source::environment::{Choice, Environment, without_account};
use crate::cli::{RunOptions, Selection, WEIXIN, weixin_account};
use crate::terminal;
use gateway_host::credentials::{Credentials, Home};
use gateway_host::egress::credential::Secret;
use gateway_simulator::Simulator;

/// Whether a person will talk to the simulated server at the terminal: then the log is quieter.
pub fn talks_to_a_person(options: &RunOptions) -> bool {
    let is_simulated = || {
        let choice = without_account(&options.selection, &options.defaults.weixin);
        // No server is configured, so a login is one of the platform's own.
        let latest = || Credentials::of(&options.state).latest(&Home::at(WEIXIN, []));
        options.wecom.is_none() && choice == Choice::Simulator && matches!(latest(), Ok(None))
    };
    std::io::stdin().is_terminal()
        && options.accounts.is_none()
        && (options.simulator || is_simulated())
}

/// The person, and the simulated server where one is talked with.
pub struct Person<'a> {
    environment: &'a Environment<'a>,
    simulator: Option<Simulator>,
    stage: watch::Sender<PersonStage>,
}

impl<'a> Person<'a> {
    /// Finds out what is to be done first. `wants_simulator`: the simulated server, whatever account is
    /// known; it is started here.
    ///
    /// # Errors
    /// When somebody has to log in, and nobody is there.
    pub async fn new(
        environment: &'a Environment<'a>,
        wants_simulator: bool,
        simulator_token: Option<Secret>,
    ) -> Result<Person<'a>, RunError> {
        let choice = match wants_simulator {
            true => Choice::Simulator,
            false => environment.choose().await?,
        };
        // An app of WeCom runs meanwhile, and a login may come.
        let may_wait = environment.wecom.is_some()
            && environment.selection == Selection::Latest
            && !wants_simulator;
        let (stage, simulator) = match choice {
            Choice::Account(_) => (PersonStage::Chosen, None),
            Choice::Login | Choice::Simulator if may_wait => (PersonStage::Chosen, None),
            Choice::Simulator => {
                let clock = &environment.gateway.runtime().clock;
                let simulator = simulator::built_in(clock, simulator_token).await?;
                let mut config = environment.config.clone();
                config.insert("base-url".to_owned(), simulator.base_url());
                config.insert("cdn-base-url".to_owned(), simulator.cdn_base_url());
                let account = weixin_account(simulator.account_id(), &simulator.token(), config);
                (PersonStage::Simulated(account), Some(simulator))
            }
            Choice::Login if std::io::stdin().is_terminal() => (PersonStage::LoggingIn, None),
            Choice::Login => return Err(nobody_logged_in(&environment.selection)),
        };
        Ok(Person {
            environment,
            simulator,
            stage: watch::channel(stage).0,
        })
    }

    /// How far the person has come.
    pub fn stage(&self) -> watch::Receiver<PersonStage> {
        self.stage.subscribe()
    }

    /// Does it until the person has had enough; `running` are the ids of the accounts that run.
    ///
    /// # Errors
    /// When the terminal fails, or a login does.
    pub async fn attend(
        mut self,
        mut running: watch::Receiver<BTreeSet<String>>,
    ) -> Result<(), RunError> {
        if let Some(simulator) = self.simulator.take() {
            if self.talk(&simulator, &mut running).await? == Ended::Quit {
                return Ok(());
            }
            self.stage.send_replace(PersonStage::LoggingIn);
            let id = simulator.account_id();
            // While the account is there it says goodbye to its server.
            until(&mut running, |ids| !ids.contains(&id)).await;
            drop(simulator);
            self.log_in().await?;
            terminal::say("The agent answers there now. Ctrl-C ends.").map_err(other)?;
        }
        let is_login = matches!(&*self.stage.borrow(), PersonStage::LoggingIn);
        if is_login {
            self.log_in().await?;
        }
        // What a login brings later is for the list of accounts.
        std::future::pending().await
    }

    async fn talk(
        &self,
        simulator: &Simulator,
        running: &mut watch::Receiver<BTreeSet<String>>,
    ) -> Result<Ended, RunError> {
        let id = simulator.account_id();
        until(running, |ids| ids.contains(&id)).await;
        if std::io::stdin().is_terminal() {
            return prompt::terminal(simulator).await.map_err(other);
        }
        let account = self.environment.gateway.account(&id);
        let account = account.ok_or_else(|| other("the simulated account has ended"))?;
        prompt::lines(simulator, &account).await.map_err(other)?;
        Ok(Ended::Quit)
    }

    /// Goes through a login, after which its account runs.
    async fn log_in(&self) -> Result<(), RunError> {
        let Environment {
            selection,
            config,
            gateway,
            components,
            ..
        } = self.environment;
        let plugin = components.ensure(gateway, WEIXIN).await?;
        let logins = login::logins(
            gateway.runtime().clone(),
            plugin,
            selection,
            config.clone(),
            gateway.credentials().clone(),
        );
        login::show(&logins).await?;
        match self.environment.choose().await? {
            Choice::Account(_) => {
                self.stage.send_replace(PersonStage::Chosen);
                Ok(())
            }
            Choice::Login | Choice::Simulator => Err(nobody_logged_in(selection)),
        }
    }
}

/// Waits until the ids of the running accounts are so.
async fn until(
    running: &mut watch::Receiver<BTreeSet<String>>,
    are_so: impl FnMut(&BTreeSet<String>) -> bool,
) {
    if running.wait_for(are_so).await.is_err() {
        std::future::pending().await
    }
}

fn nobody_logged_in(selection: &Selection) -> RunError {
    let whom = match selection {
        Selection::Stored(_) => "WEIXIN_ACCOUNT_ID names an account without a stored credential",
        Selection::Given { .. } => "WEIXIN_TOKEN was replaced by a login that is not stored",
        Selection::Latest => "WEIXIN_BASE_URL is set, and nobody has logged in",
    };
    RunError::Usage(format!(
        "{whom}: run `host-test login`, or set WEIXIN_TOKEN and WEIXIN_ACCOUNT_ID"
    ))
}
