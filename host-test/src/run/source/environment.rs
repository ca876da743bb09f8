//! The accounts that the environment's variables mean: one of WeChat, which may be that of a stored
//! login, and an app of WeCom.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::watch;

use crate::cli::{ConfiguredAccount, Selection, WEIXIN, weixin_account};
use crate::run::components::Components;
use crate::run::error::{RunError, other};
use crate::run::person_stage::{self, PersonStage};
use crate::run::wanted::{Source, WantedAccount};
use gateway_host::account::Phase;
use gateway_host::credentials::{Credentials, CredentialsError, Home};
use gateway_host::gateway::Gateway;

/// The setting that says where WeChat's API is.
const BASE_URL: &str = "base-url";

/// What can be run of WeChat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This account.
    Account(ConfiguredAccount),
    /// None is known, and a login would bring one.
    Login,
    /// None is known, and there is no server but the simulated one.
    Simulator,
}

/// What the variables say, and what it is looked up with.
pub struct Environment<'a> {
    /// Which account of WeChat is meant.
    pub selection: Selection,
    /// Its settings.
    pub config: BTreeMap<String, String>,
    /// The app of WeCom.
    pub wecom: Option<ConfiguredAccount>,
    /// Has the credentials of logins.
    pub gateway: &'a Gateway,
    /// Know where a login of a platform is good.
    pub components: &'a Components,
}

impl Environment<'_> {
    /// What is to be run of WeChat now.
    ///
    /// # Errors
    /// When the component can't be used, or the stored credentials can't be read.
    pub async fn choose(&self) -> Result<Choice, RunError> {
        let credentials = self.gateway.credentials();
        // Without any login the component is not needed to know that none is good: who has an app of
        // WeCom alone needs no other component.
        if self.selection == Selection::Latest && credentials.all().map_err(other)?.is_empty() {
            return Ok(without_account(&self.selection, &self.config));
        }
        let home = self.home().await?;
        choose(&self.selection, credentials, &home, &self.config).map_err(other)
    }

    async fn home(&self) -> Result<Home, RunError> {
        let plugin = self.components.ensure(self.gateway, WEIXIN).await?;
        Ok(Home::of(plugin.descriptor(), &self.config))
    }
}

/// Chooses among what is good there.
///
/// # Errors
/// When the stored credentials can't be read.
fn choose(
    selection: &Selection,
    credentials: &Credentials,
    home: &Home,
    config: &BTreeMap<String, String>,
) -> Result<Choice, CredentialsError> {
    let stored = match selection {
        Selection::Given { id, token } => {
            if !credentials.is_replaced(id, home, token)? {
                let account = weixin_account(id.clone(), token, config.clone());
                return Ok(Choice::Account(account));
            }
            match credentials.find(id, home)? {
                Some(credential) => Some(credential),
                None => credentials.latest(home)?,
            }
        }
        Selection::Stored(id) => credentials.find(id, home)?,
        Selection::Latest => credentials.latest(home)?,
    };
    Ok(match stored {
        Some(credential) => Choice::Account(ConfiguredAccount {
            id: credential.account,
            platform: WEIXIN.to_owned(),
            secrets: BTreeMap::new(),
            config: config.clone(),
            agent: None,
        }),
        None => without_account(selection, config),
    })
}

/// What there is to do when no account is known.
pub fn without_account(selection: &Selection, config: &BTreeMap<String, String>) -> Choice {
    match *selection == Selection::Latest && !config.contains_key(BASE_URL) {
        true => Choice::Simulator,
        false => Choice::Login,
    }
}

/// Wants the accounts of the environment: that of WeChat when it is its turn.
pub struct EnvironmentSource<'a> {
    environment: &'a Environment<'a>,
    stage: watch::Receiver<PersonStage>,
    /// The account of WeChat that was chosen last, and when.
    chosen: Option<(ConfiguredAccount, u64)>,
}

impl<'a> EnvironmentSource<'a> {
    /// Goes by the stage.
    pub fn new(
        environment: &'a Environment<'a>,
        stage: watch::Receiver<PersonStage>,
    ) -> EnvironmentSource<'a> {
        EnvironmentSource {
            environment,
            stage,
            chosen: None,
        }
    }

    async fn wanted(&mut self) -> Result<Vec<WantedAccount>, RunError> {
        let mut accounts: Vec<ConfiguredAccount> =
            self.environment.wecom.clone().into_iter().collect();
        let is_its_turn = matches!(&*self.stage.borrow_and_update(), PersonStage::Chosen);
        if is_its_turn {
            self.choose().await?;
            accounts.extend(self.chosen.iter().map(|(account, _)| account.clone()));
        }
        let wanted = |account| WantedAccount {
            account,
            is_required: true,
        };
        Ok(accounts.into_iter().map(wanted).collect())
    }

    /// Chooses again. Where nothing can be chosen any more, the last choice holds.
    async fn choose(&mut self) -> Result<(), RunError> {
        let mut choice = self.environment.choose().await?;
        if self.is_last(&choice) && self.retire().await? {
            choice = self.environment.choose().await?;
        }
        if let Choice::Account(account) = &choice
            && !self.is_last(&choice)
        {
            let now_ms = self.environment.gateway.runtime().clock.unix_ms();
            self.chosen = Some((account.clone(), now_ms));
        }
        Ok(())
    }

    fn is_last(&self, choice: &Choice) -> bool {
        let last = self.chosen.as_ref().map(|(account, _)| account);
        matches!(choice, Choice::Account(account) if Some(account) == last)
    }

    /// Notes that the variable's token is not used again, where it is of no use any more and somebody
    /// has logged in for that; true when that is new.
    async fn retire(&self) -> Result<bool, RunError> {
        let (Selection::Given { id, token }, Some((_, since_ms))) =
            (&self.environment.selection, &self.chosen)
        else {
            return Ok(false);
        };
        let gateway = self.environment.gateway;
        let credentials = gateway.credentials();
        let home = self.environment.home().await?;
        let is_replaced = |id| credentials.is_replaced(id, &home, token).map_err(other);
        let latest = credentials.latest(&home).map_err(other)?;
        let has_login = latest.is_some_and(|latest| latest.saved_ms >= *since_ms);
        let Some(account) = gateway.account(id).filter(|_| has_login) else {
            return Ok(false);
        };
        if is_replaced(id)? || account.status().await.phase != Phase::LoginRequired {
            return Ok(false);
        }
        let replaced = std::slice::from_ref(token);
        credentials.replace(id, &home, replaced).map_err(other)?;
        Ok(true)
    }
}

impl Source for EnvironmentSource<'_> {
    fn accounts(&mut self) -> LocalBoxFuture<'_, Result<Vec<WantedAccount>, RunError>> {
        self.wanted().boxed_local()
    }

    fn changed(&mut self) -> LocalBoxFuture<'_, ()> {
        person_stage::next(&mut self.stage).boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::accounts::resolve;
    use gateway_host::credentials::{Brought, Holder};
    use gateway_host::media::MediaRules;
    use gateway_host::state::StateSpec;

    const TOKEN: &str = "bot-token";

    const BASE: [(&str, &str); 1] = [("base-url", "http://127.0.0.1:1/")];

    fn map(config: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = config.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// Where a component with `base-url` among its origins says that these settings lead.
    fn home(config: &BTreeMap<String, String>) -> Home {
        Home::at(WEIXIN, config.get(BASE_URL).map(String::as_str))
    }

    /// The account that is chosen, and the token that it is started with.
    fn chosen(selection: &Selection, credentials: &Credentials, config: &[(&str, &str)]) -> String {
        let config = map(config);
        let home = home(&config);
        match choose(selection, credentials, &home, &config).unwrap() {
            Choice::Account(account) => {
                let media = MediaRules::default();
                let started = resolve(&account, &home, credentials, &media).unwrap();
                let started = started.unwrap();
                format!("{} {}", started.id, started.secrets[TOKEN])
            }
            Choice::Login => "login".to_owned(),
            Choice::Simulator => "simulator".to_owned(),
        }
    }

    fn brought(bot: &str, token: &str) -> Brought {
        Brought {
            bot: bot.into(),
            secrets: BTreeMap::from([(TOKEN.into(), token.into())]),
            owner: None,
            config: BTreeMap::new(),
            saved_ms: 0,
        }
    }

    #[test]
    fn the_environment_wins_until_a_login_replaces_its_token() {
        let credentials = Credentials::of(&StateSpec::Memory).of_operator();
        let given = Selection::Given {
            id: "env".into(),
            token: "t0".into(),
        };
        let stored = |id: &str| Selection::Stored(id.into());
        let here = home(&map(&BASE));
        assert_eq!(chosen(&Selection::Latest, &credentials, &[]), "simulator");
        assert_eq!(chosen(&Selection::Latest, &credentials, &BASE), "login");
        assert_eq!(chosen(&stored("a"), &credentials, &BASE), "login");
        assert_eq!(chosen(&given, &credentials, &BASE), "env t0");
        let anybody = Holder::Operator(None);
        credentials
            .keep(&anybody, &here, &brought("a", "t1"), &[])
            .unwrap();
        assert_eq!(chosen(&Selection::Latest, &credentials, &BASE), "a t1");
        assert_eq!(chosen(&stored("a"), &credentials, &BASE), "a t1");
        assert_eq!(chosen(&stored("b"), &credentials, &BASE), "login");
        assert_eq!(chosen(&given, &credentials, &BASE), "env t0");
        // A token is of use where it came from, and nowhere else.
        for elsewhere in [
            "http://127.0.0.1:2",
            "https://127.0.0.1:1",
            "http://localhost:1",
        ] {
            let elsewhere = [("base-url", elsewhere)];
            assert_eq!(
                chosen(&Selection::Latest, &credentials, &elsewhere),
                "login"
            );
            assert_eq!(chosen(&stored("a"), &credentials, &elsewhere), "login");
        }
        assert_eq!(chosen(&Selection::Latest, &credentials, &[]), "simulator");

        // The runner noticed that the environment's token is of no use any more.
        credentials.replace("env", &here, &["t0".into()]).unwrap();
        assert_eq!(chosen(&given, &credentials, &BASE), "a t1");
        // A login for the environment's account keeps its id.
        let holder = credentials.holder("env");
        credentials
            .keep(&holder, &here, &brought("b", "t2"), &["t0".into()])
            .unwrap();
        assert_eq!(chosen(&given, &credentials, &BASE), "env t2");
        assert_eq!(chosen(&stored("env"), &credentials, &BASE), "env t2");
        assert_eq!(chosen(&Selection::Latest, &credentials, &BASE), "env t2");
        assert_eq!(chosen(&stored("b"), &credentials, &BASE), "login");
    }

    #[test]
    fn a_configured_accounts_login_is_not_the_operators_own() {
        let credentials = Credentials::of(&StateSpec::Memory);
        let here = home(&map(&BASE));
        let holder = credentials.holder("tenant");
        credentials
            .keep(&holder, &here, &brought("b", "t"), &[])
            .unwrap();
        assert_eq!(chosen(&Selection::Latest, &credentials, &BASE), "login");
        let named = Selection::Stored("tenant".into());
        assert_eq!(chosen(&named, &credentials, &BASE), "tenant t");
    }
}
