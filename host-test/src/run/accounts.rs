//! The accounts of a run: one list of those that are wanted, whoever wants them, and the one place where
//! the running ones are made to follow it. Those that did not change are not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use futures::future::{join_all, select_all};
use tokio::sync::watch;

use super::agents::Agents;
use super::components::Components;
use super::error::{RunError, other};
use super::wanted::{Source, WantedAccount};
use crate::cli::ConfiguredAccount;
use gateway_host::account::AccountOptions;
use gateway_host::agent::AgentSpec;
use gateway_host::credentials::{Credentials, CredentialsError, Home};
use gateway_host::gateway::Gateway;
use gateway_host::login::account_of;
use gateway_host::media::MediaRules;

/// An account that did not start is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);
/// Accounts that start side by side.
const AT_ONCE: usize = 64;

/// What accounts are started with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Runs them.
    pub gateway: &'a Gateway,
    /// Answer their messages.
    pub agents: &'a Agents,
    /// Are found by their platforms.
    pub components: &'a Components,
    /// What agents may send and get.
    pub media: &'a MediaRules,
    /// Whether callbacks of platforms are listened for.
    pub has_webhooks: bool,
}

/// The list of wanted accounts, and what runs of it.
pub struct AccountList<'a> {
    context: Context<'a>,
    sources: Vec<AskedSource<'a>>,
    running: BTreeMap<String, Plan>,
    /// The ids of those that run, for whoever waits for one.
    ids: watch::Sender<BTreeSet<String>>,
}

struct AskedSource<'a> {
    source: Box<dyn Source + 'a>,
    /// What it said last.
    wanted: Vec<WantedAccount>,
}

/// What an account is started with.
struct Plan {
    platform: String,
    agent: Option<AgentSpec>,
    options: AccountOptions,
}

impl Plan {
    fn is_same(&self, other: &Plan) -> bool {
        self.platform == other.platform
            && self.agent == other.agent
            && self.options.secrets == other.options.secrets
            && self.options.config == other.options.config
    }
}

impl<'a> AccountList<'a> {
    /// A list of what these sources want, none of which runs yet.
    pub fn new(context: Context<'a>, sources: Vec<Box<dyn Source + 'a>>) -> AccountList<'a> {
        let sources = sources.into_iter().map(|source| AskedSource {
            source,
            wanted: Vec::new(),
        });
        AccountList {
            context,
            sources: sources.collect(),
            running: BTreeMap::new(),
            ids: watch::channel(BTreeSet::new()).0,
        }
    }

    /// The ids of the accounts that run.
    pub fn running(&self) -> watch::Receiver<BTreeSet<String>> {
        self.ids.subscribe()
    }

    /// Runs what is wanted until it is dropped.
    ///
    /// # Errors
    /// At the start when a source can't say what it wants, and when a required account, or every
    /// account, lacks a component that can be used. When a required account does not start. When other
    /// gateways have taken over every account that ran.
    pub async fn serve(&mut self) -> Result<Infallible, RunError> {
        let gateway = self.context.gateway;
        // Before the sources are asked: what changes from here on is noticed.
        let mut logins = gateway.credentials().watch();
        for asked in &mut self.sources {
            asked.wanted = asked.source.accounts().await?;
        }
        self.load_components().await?;
        loop {
            let is_whole = self.reconcile().await?;
            let again = async {
                match is_whole {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(AGAIN).await,
                }
            };
            tokio::select! {
                () = any_changed(&mut self.sources) => {}
                // The credentials hold a sender.
                _ = logins.changed() => {}
                () = again => {}
                taken = gateway.superseded() => return Err(RunError::superseded(&taken)),
            }
            for asked in &mut self.sources {
                match asked.source.accounts().await {
                    Ok(wanted) => asked.wanted = wanted,
                    Err(error) => tracing::error!("{error}; the accounts stay as they were"),
                }
            }
        }
    }

    /// Loads the components that the wanted accounts need. A missing one does not keep the accounts of
    /// other platforms from running: [`AccountList::reconcile`] tells it in the log, and it is tried
    /// again.
    ///
    /// # Errors
    /// When a component that a required account needs can't be used, and when none can.
    async fn load_components(&self) -> Result<(), RunError> {
        let Context {
            gateway,
            components,
            ..
        } = self.context;
        let mut failure = None;
        let mut has_one = false;
        for (platform, is_required) in self.platforms() {
            match components.ensure(gateway, &platform).await {
                Ok(_) => has_one = true,
                Err(error) if is_required => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !has_one => Err(error),
            _ => Ok(()),
        }
    }

    /// The platforms of the wanted accounts, and whether a required one is among a platform's.
    fn platforms(&self) -> BTreeMap<String, bool> {
        let mut platforms = BTreeMap::new();
        for wanted in self.sources.iter().flat_map(|asked| &asked.wanted) {
            let platform = wanted.account.platform.clone();
            *platforms.entry(platform).or_default() |= wanted.is_required;
        }
        platforms
    }

    /// What the sources want, by the accounts' ids.
    ///
    /// # Errors
    /// When two accounts have one id, and one of them is required.
    fn wanted(&self) -> Result<BTreeMap<String, WantedAccount>, RunError> {
        let mut list: BTreeMap<String, WantedAccount> = BTreeMap::new();
        for wanted in self.sources.iter().flat_map(|asked| &asked.wanted) {
            let (id, platform) = (&wanted.account.id, &wanted.account.platform);
            let Some(first) = list.get(id) else {
                list.insert(id.clone(), wanted.clone());
                continue;
            };
            let why = format!(
                "the id {id} is that of an account on the platform {}: give the one on {platform} \
                 another id",
                first.account.platform
            );
            match wanted.is_required || first.is_required {
                true => return Err(RunError::Usage(why)),
                false => tracing::error!(account = %id, "{why}"),
            }
        }
        Ok(list)
    }

    /// Makes the running accounts those that are wanted; false when one could not be started, and is to
    /// be tried again.
    async fn reconcile(&mut self) -> Result<bool, RunError> {
        let wanted = self.wanted()?;
        let mut is_whole = true;
        let mut changed = Vec::new();
        for (id, one) in &wanted {
            match self.plan(&one.account).await {
                Ok(plan) if self.running.get(id).is_some_and(|old| old.is_same(&plan)) => {}
                Ok(plan) => changed.push((plan, one.is_required)),
                // At the start it is the user's to correct. Later another process may be changing the
                // stored logins, and what it does next makes the account whole.
                Err(error) if one.is_required && self.running.is_empty() => return Err(error),
                // What runs of it goes on.
                Err(error) => {
                    is_whole = false;
                    tracing::error!(account = %id, "{error}");
                }
            }
        }
        self.remove_all_but(&wanted).await;
        self.remove_of_other_platforms(&changed).await;
        self.tell();
        while !changed.is_empty() {
            let rest = changed.split_off(changed.len().min(AT_ONCE));
            is_whole &= self.start(changed).await?;
            changed = rest;
        }
        self.tell();
        Ok(is_whole)
    }

    /// What an account is started with, and the component that it needs.
    async fn plan(&self, account: &ConfiguredAccount) -> Result<Plan, RunError> {
        let Context {
            gateway,
            components,
            media,
            ..
        } = self.context;
        let plugin = components.ensure(gateway, &account.platform).await?;
        let home = Home::of(plugin.descriptor(), &account.config);
        let options = resolve(account, &home, gateway.credentials(), media).map_err(other)?;
        let options = options.ok_or_else(|| {
            RunError::Usage(
                "it has no token, and no login of its server is stored for it: set `token`, or log \
                 in with the same base_url and name the account that the login brings"
                    .to_owned(),
            )
        })?;
        Ok(Plan {
            platform: account.platform.clone(),
            agent: account.agent.clone(),
            options,
        })
    }

    async fn remove_all_but(&mut self, wanted: &BTreeMap<String, WantedAccount>) {
        let gone = self.running.keys().filter(|id| !wanted.contains_key(*id));
        let gone: Vec<String> = gone.cloned().collect();
        for id in gone {
            self.remove(&id).await;
        }
    }

    /// Removes what runs under the ids of these on another platform: an account keeps its platform for
    /// as long as it runs, and nobody wants the old one any more.
    async fn remove_of_other_platforms(&mut self, plans: &[(Plan, bool)]) {
        for (plan, _) in plans {
            let id = &plan.options.id;
            let old = self.running.get(id);
            if old.is_some_and(|old| old.platform != plan.platform) {
                self.remove(id).await;
            }
        }
    }

    async fn remove(&mut self, id: &str) {
        self.context.gateway.remove(id).await;
        self.running.remove(id);
        tracing::info!(account = %id, "removed");
    }

    /// Starts accounts side by side; false when one that is not required did not start.
    async fn start(&mut self, plans: Vec<(Plan, bool)>) -> Result<bool, RunError> {
        let Context {
            gateway,
            agents,
            has_webhooks,
            ..
        } = self.context;
        let starting = plans.iter().map(|(plan, _)| {
            let agent = match &plan.agent {
                Some(spec) => agents.of(spec),
                None => agents.default(),
            };
            gateway.add(&plan.platform, plan.options.clone(), agent)
        });
        let started = join_all(starting).await;
        let mut is_whole = true;
        for (started, (plan, is_required)) in started.into_iter().zip(plans) {
            let id = plan.options.id.clone();
            match started {
                Ok(_) => {
                    match self.running.contains_key(&id) {
                        true => tracing::info!(account = %id, "started again with what changed"),
                        false => tracing::info!(account = %id, "started"),
                    }
                    let plugin = gateway.plugin(&plan.platform);
                    if !has_webhooks && plugin.is_some_and(|plugin| plugin.has_handler()) {
                        tracing::warn!(
                            account = %id,
                            "its messages come as callbacks, and nothing listens for them: add \
                             --webhooks ADDR"
                        );
                    }
                    self.running.insert(id, plan);
                }
                Err(error) if is_required => return Err(error.into()),
                Err(error) => {
                    is_whole = false;
                    // One that the gateway still has is known here, so that it can be removed.
                    if gateway.account(&id).is_none() {
                        self.running.remove(&id);
                    }
                    tracing::error!(account = %id, "not started: {error}");
                }
            }
        }
        Ok(is_whole)
    }

    fn tell(&self) {
        self.ids
            .send_replace(self.running.keys().cloned().collect());
    }
}

/// Waits until one of the sources may say something else.
async fn any_changed(sources: &mut [AskedSource<'_>]) {
    if sources.is_empty() {
        return std::future::pending().await;
    }
    select_all(sources.iter_mut().map(|asked| asked.source.changed())).await;
}

/// What an account is let in with: what it was configured with, until a login replaced that, else the
/// login that is stored for it; none: it has neither.
pub fn resolve(
    account: &ConfiguredAccount,
    home: &Home,
    credentials: &Credentials,
    media: &MediaRules,
) -> Result<Option<AccountOptions>, CredentialsError> {
    let mut is_of_a_login = account.secrets.is_empty();
    for value in account.secrets.values() {
        is_of_a_login |= credentials.is_replaced(&account.id, home, value)?;
    }
    if !is_of_a_login {
        return Ok(Some(AccountOptions {
            id: account.id.clone(),
            secrets: account.secrets.clone(),
            config: account.config.clone(),
            media: media.clone(),
        }));
    }
    let stored = credentials.find(&account.id, home)?;
    Ok(stored.map(|stored| account_of(stored, &account.config, media.clone())))
}
