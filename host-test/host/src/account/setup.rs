//! What an account is made of: its options, and from them each of its instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::rules;
use crate::egress::Egress;
use crate::egress::credential::{Secret, Secrets};
use crate::instance::Instance;
use crate::media::MediaRules;
use crate::runtime::{Plugin, Runtime, captured_by_logins};
use crate::sandbox::Sandbox;
use crate::sandbox::keyvalue::first_bucket;
use crate::sandbox::tenant::Tenant;
use crate::state::State;
use crate::state::owner::{self, ClaimError};

/// What an account needs.
#[derive(Clone)]
pub struct AccountOptions {
    /// The account's id, also the name of its part of the store.
    pub id: String,
    /// Credentials by name, such as `bot-token`; the component never sees them.
    pub secrets: BTreeMap<String, String>,
    /// The component's configuration, by the keys of its schema; `account-id` is added.
    pub config: BTreeMap<String, String>,
    /// What the agent may send and get.
    pub media: MediaRules,
}

impl AccountOptions {
    /// An account with this id, without credentials and configuration.
    pub fn new(id: impl Into<String>) -> AccountOptions {
        AccountOptions {
            id: id.into(),
            secrets: BTreeMap::new(),
            config: BTreeMap::new(),
            media: MediaRules::default(),
        }
    }

    /// The same with a credential.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> AccountOptions {
        self.secrets.insert(name.into(), value.into());
        self
    }

    /// The same with a value of the component's configuration.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> AccountOptions {
        self.config.insert(key.into(), value.into());
        self
    }

    /// The same with other rules for media.
    pub fn media(self, media: MediaRules) -> AccountOptions {
        AccountOptions { media, ..self }
    }
}

impl std::fmt::Debug for AccountOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountOptions")
            .field("id", &self.id)
            // Of some keys the value is a secret.
            .field("config", &self.config.keys())
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}

/// Why an account can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong; trying again does not help.
    #[error("{0}")]
    Invalid(String),
    /// The instance did not start.
    #[error("{0}")]
    Failed(String),
}

/// What each instance of an account is made of.
pub struct Setup {
    pub(crate) runtime: Runtime,
    pub(crate) plugin: Plugin,
    state: Arc<dyn State>,
    pub(super) id: Arc<str>,
    pub(super) tenant: Arc<Tenant>,
    pub(crate) config: Arc<BTreeMap<String, String>>,
    secrets: Secrets,
    pub(crate) egress: Egress,
    pub(super) media: MediaRules,
    /// The store is this platform's.
    claimed: OnceCell<()>,
}

debug_by_name!(Setup);

impl Setup {
    /// Checks what the account may reach.
    ///
    /// # Errors
    /// When a rule or an origin is wrong.
    pub fn new(
        runtime: &Runtime,
        plugin: &Plugin,
        state: Arc<dyn State>,
        options: AccountOptions,
    ) -> Result<Setup, StartError> {
        let AccountOptions {
            id,
            secrets,
            config,
            media,
        } = options;
        let held = Secrets::default();
        for (name, value) in &secrets {
            held.set(name, value);
        }
        Setup::with_secrets(runtime, plugin, state, id, held, config, media)
    }

    /// The same with secrets that may change, and of which there may be several values.
    pub fn with_secrets(
        runtime: &Runtime,
        plugin: &Plugin,
        state: Arc<dyn State>,
        id: String,
        held: Secrets,
        mut config: BTreeMap<String, String>,
        media: MediaRules,
    ) -> Result<Setup, StartError> {
        let rules = rules::of(plugin.descriptor(), &config).map_err(StartError::Invalid)?;
        config.insert("account-id".to_owned(), id.clone());
        let (client, clock) = (runtime.client.clone(), runtime.clock.clone());
        let id: Arc<str> = id.into();
        let mut limits = runtime.limits().clone();
        // What the operator allows to agents passes, encrypted.
        let largest = media.max_in.max(media.max_out).saturating_add(1024);
        limits.egress.media_bytes = limits.egress.media_bytes.max(largest);
        let egress = Egress::new(client, rules, held.clone(), limits.egress, clock);
        let egress = egress.pinned(&runtime.pins, plugin.platform());
        let tenant = Tenant::new(Arc::clone(&id), limits);
        Ok(Setup {
            runtime: runtime.clone(),
            plugin: plugin.clone(),
            state,
            egress: egress.within(Arc::clone(&tenant.share)),
            tenant,
            id,
            config: Arc::new(config),
            secrets: held,
            media,
            claimed: OnceCell::new(),
        })
    }

    /// The newest value of a credential that an answer brought and the host put aside, once; see
    /// [`Egress::take_captured`].
    pub fn take_captured(&self, credential: &str) -> Option<Secret> {
        self.egress.take_captured(credential)
    }

    /// The same account with another component.
    ///
    /// # Errors
    /// When a rule or an origin of the component is wrong.
    pub(super) fn with_plugin(&self, plugin: &Plugin) -> Result<Setup, StartError> {
        let mut config = self.config.as_ref().clone();
        config.remove("account-id");
        let setup = Setup::with_secrets(
            &self.runtime,
            plugin,
            Arc::clone(&self.state),
            self.id.to_string(),
            self.secrets.clone(),
            config,
            self.media.clone(),
        )?;
        Ok(Setup {
            // What it has used stays used.
            egress: setup.egress.within(Arc::clone(&self.tenant.share)),
            tenant: Arc::clone(&self.tenant),
            ..setup
        })
    }

    /// Why the store does not work right now.
    pub(super) fn store_trouble(&self) -> Option<String> {
        self.state.trouble()
    }

    /// Its credentials that a login replaces, by their names.
    pub(crate) fn login_secrets(&self) -> BTreeMap<String, String> {
        captured_by_logins(self.plugin.descriptor())
            .filter_map(|name| {
                let value = self.secrets.values(name).into_iter().next()?;
                Some((name.to_owned(), value.expose().to_owned()))
            })
            .collect()
    }

    /// Sees that what is stored of the account belongs to the component's platform.
    async fn claim(&self) -> Result<(), StartError> {
        let bucket = first_bucket(&self.id);
        let claimed = owner::claim(&*self.state, &self.id, &bucket, self.plugin.platform()).await;
        claimed.map_err(|error| match error {
            error @ ClaimError::Foreign { .. } => StartError::Invalid(error.to_string()),
            error @ ClaimError::Failed(_) => StartError::Failed(error.to_string()),
        })
    }

    /// A new instance; its `start` is still to be called.
    ///
    /// # Errors
    /// When it can't be made, and when what is stored belongs to another platform.
    pub async fn instance(&self) -> Result<Instance, StartError> {
        self.claimed.get_or_try_init(|| self.claim()).await?;
        let sandbox = Sandbox::new(
            Arc::clone(&self.tenant),
            Arc::clone(&self.config),
            Arc::clone(&self.state),
            self.egress.clone(),
            self.runtime.clock.clone(),
        );
        Instance::new(&self.runtime, &self.plugin, sandbox)
            .await
            .map_err(|error| StartError::Failed(format!("{error:#}")))
    }
}
