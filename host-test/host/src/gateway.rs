//! Many accounts in one process. Each has its own instance, its own part of the store, its own
//! credentials and rules. All accounts of a platform use the same component.
//!
//! Promises: an account that is added, removed or changed does not disturb the others. A component is
//! swapped in waves under the accounts of its platform. If one account does not connect with it, all of
//! them go back to the old component.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use gateway_host::account::AccountOptions;
//! use gateway_host::agent;
//! use gateway_host::agent::message::Reply;
//! use gateway_host::clock::Clock;
//! use gateway_host::gateway::Gateway;
//! use gateway_host::runtime::Runtime;
//! use gateway_host::state::memory::MemoryState;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let runtime = Runtime::new(Clock::new())?;
//! let gateway = Gateway::new(&runtime, Arc::new(MemoryState::default()));
//! gateway.install(runtime.load(Path::new("weixin.wasm")).await?);
//! let agent = agent::from_fn(|message, _| async move { Ok(Reply::of_text(message.text)) });
//! let options = AccountOptions::new("my-bot").secret("bot-token", std::env::var("WEIXIN_TOKEN")?);
//! let account = gateway.add("weixin", options, Arc::new(agent)).await?;
//! println!("{:?}", account.status().await.phase);
//! gateway.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Mutex, Notify};

use crate::account::{Account, AccountOptions, Changes, Handle, StartError, SwapError};
use crate::agent::Agent;
use crate::credentials::Credentials;
use crate::runtime::{Plugin, Runtime};
use crate::state::{State, StateSpec};

/// A swapped component has to be connected within this.
pub const SWAP_DEADLINE: Duration = Duration::from_secs(10);
/// Accounts of the first wave of a swap; each next wave has four times as many.
const FIRST_WAVE: usize = 1;
const LARGEST_WAVE: usize = 64;

/// The accounts of a process. Clones share them; they stop with the last one.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

debug_by_name!(Gateway);

struct Shared {
    runtime: Runtime,
    /// The components, by their platforms.
    plugins: RwLock<BTreeMap<String, Plugin>>,
    state: Arc<dyn State>,
    credentials: Credentials,
    accounts: RwLock<BTreeMap<String, Account>>,
    /// One change of the accounts or of the component at a time.
    changing: Mutex<()>,
    /// Told when another gateway takes one of the accounts over, and when one is removed.
    taken: Arc<Notify>,
}

impl Gateway {
    /// A gateway without components and accounts, whose accounts keep what they know in `state`.
    pub fn new(runtime: &Runtime, state: Arc<dyn State>) -> Gateway {
        Gateway::with_credentials(runtime, state, Credentials::of(&StateSpec::Memory))
    }

    /// The same, with the place where logins are kept.
    pub fn with_credentials(
        runtime: &Runtime,
        state: Arc<dyn State>,
        credentials: Credentials,
    ) -> Gateway {
        Gateway {
            shared: Arc::new(Shared {
                runtime: runtime.clone(),
                plugins: RwLock::default(),
                state,
                credentials,
                accounts: RwLock::default(),
                changing: Mutex::default(),
                taken: Arc::default(),
            }),
        }
    }

    /// Gives the gateway the component of a platform; false when the platform has one, which stays:
    /// [`Gateway::swap`] puts another one in its place.
    pub fn install(&self, plugin: Plugin) -> bool {
        match self.plugins_mut().entry(plugin.platform().to_owned()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(plugin);
                true
            }
        }
    }

    /// Adds an account on a platform, in place of one with the same id, and waits until it has
    /// started.
    ///
    /// # Errors
    /// When the platform has no component here, when its configuration or the store is wrong, and when
    /// the id is that of an account on another platform; then it is not there.
    pub async fn add(
        &self,
        platform: &str,
        options: AccountOptions,
        agent: Arc<dyn Agent>,
    ) -> Result<Handle, StartError> {
        let _changing = self.shared.changing.lock().await;
        let plugin = self.plugin(platform).ok_or_else(|| {
            StartError::Invalid(format!("there is no component of the platform {platform}"))
        })?;
        let id = options.id.clone();
        if let Some(other) = self.account(&id)
            && other.platform() != platform
        {
            return Err(StartError::Invalid(format!(
                "the id {id} is that of an account on the platform {}: give the one on {platform} \
                 another id",
                other.platform()
            )));
        }
        self.take(&id).await;
        let state = Arc::clone(&self.shared.state);
        let runtime = &self.shared.runtime;
        let taken = Arc::clone(&self.shared.taken);
        let account = Account::start_among(runtime, &plugin, state, agent, options, taken).await?;
        let handle = account.handle();
        self.accounts_mut().insert(id, account);
        Ok(handle)
    }

    /// Stops an account in an orderly way; true when there was one. What it knows is kept.
    pub async fn remove(&self, id: &str) -> bool {
        let _changing = self.shared.changing.lock().await;
        self.take(id).await
    }

    async fn take(&self, id: &str) -> bool {
        let account = self.accounts_mut().remove(id);
        match account {
            Some(account) => {
                account.stop().await;
                self.shared.taken.notify_waiters();
                true
            }
            None => false,
        }
    }

    /// Waits until newer gateways on the same store have taken over all accounts of this one, and at least
    /// one. Returns the ids of the accounts. Accounts that did not start do not count.
    pub async fn superseded(&self) -> Vec<String> {
        loop {
            let mut taken = std::pin::pin!(self.shared.taken.notified());
            // What happens from here on is told.
            taken.as_mut().enable();
            let accounts = self.accounts();
            if !accounts.is_empty() && accounts.iter().all(Handle::is_superseded) {
                return accounts.iter().map(|one| one.id().to_owned()).collect();
            }
            taken.await;
        }
    }

    /// Stops all accounts, side by side.
    pub async fn stop(&self) {
        let _changing = self.shared.changing.lock().await;
        let accounts = std::mem::take(&mut *self.accounts_mut());
        join_all(accounts.into_values().map(Account::stop)).await;
    }

    fn accounts_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Account>> {
        let accounts = self.shared.accounts.write();
        accounts.unwrap_or_else(PoisonError::into_inner)
    }

    /// A running account.
    pub fn account(&self, id: &str) -> Option<Handle> {
        let accounts = self.shared.accounts.read();
        let accounts = accounts.unwrap_or_else(PoisonError::into_inner);
        accounts.get(id).map(Account::handle)
    }

    /// All of them, by their ids.
    pub fn accounts(&self) -> Vec<Handle> {
        let accounts = self.shared.accounts.read();
        let accounts = accounts.unwrap_or_else(PoisonError::into_inner);
        accounts.values().map(Account::handle).collect()
    }

    /// The component of a platform.
    pub fn plugin(&self, platform: &str) -> Option<Plugin> {
        let plugins = self.shared.plugins.read();
        let plugins = plugins.unwrap_or_else(PoisonError::into_inner);
        plugins.get(platform).cloned()
    }

    fn plugins_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Plugin>> {
        let plugins = self.shared.plugins.write();
        plugins.unwrap_or_else(PoisonError::into_inner)
    }

    /// What the accounts have in common.
    pub fn runtime(&self) -> &Runtime {
        &self.shared.runtime
    }

    /// Where logins are kept.
    pub fn credentials(&self) -> &Credentials {
        &self.shared.credentials
    }

    /// Swaps the component of all accounts of its platform: one first, then more and more at once. An
    /// account that was connected has to be so again within `deadline`.
    ///
    /// A component that reaches more than the one that serves, or hides or sends credentials in another
    /// way, is refused: see [`Gateway::swap_confirmed`].
    ///
    /// # Errors
    /// When the platform has no component here. The first account's reason; the old component serves
    /// all of them again.
    pub async fn swap(&self, plugin: &Plugin, deadline: Duration) -> Result<(), SwapError> {
        self.swap_with(plugin, deadline, Changes::Refused).await
    }

    /// The same, after the operator has seen and confirmed what the component changes.
    ///
    /// # Errors
    /// The same.
    pub async fn swap_confirmed(
        &self,
        plugin: &Plugin,
        deadline: Duration,
    ) -> Result<(), SwapError> {
        self.swap_with(plugin, deadline, Changes::Confirmed).await
    }

    async fn swap_with(
        &self,
        plugin: &Plugin,
        deadline: Duration,
        changes: Changes,
    ) -> Result<(), SwapError> {
        let _changing = self.shared.changing.lock().await;
        let platform = plugin.platform();
        let old = self.plugin(platform).ok_or_else(|| {
            SwapError::Misfit(format!(
                "it is for the platform {platform:?}, which has no component here"
            ))
        })?;
        crate::account::check_swap(plugin, &old, changes)?;
        let mut waiting = self.accounts();
        waiting.retain(|account| account.platform() == platform);
        let mut swapped: Vec<Handle> = Vec::new();
        let mut wave = FIRST_WAVE;
        while !waiting.is_empty() {
            let rest = waiting.split_off(wave.min(waiting.len()));
            let swaps = waiting.iter();
            let swaps = swaps.map(|account| account.swap(plugin, deadline, changes));
            let results = join_all(swaps);
            let mut failed = None;
            for (account, result) in waiting.iter().zip(results.await) {
                match result {
                    Ok(()) => swapped.push(account.clone()),
                    // One that goes meanwhile needs none.
                    Err(SwapError::Ended) => {}
                    Err(error) => failed = Some((account.id().to_owned(), error)),
                }
            }
            if let Some((id, error)) = failed {
                // What served before needs no word.
                let back = swapped.iter();
                let back = back.map(|account| account.swap(&old, deadline, Changes::Confirmed));
                let back = join_all(back);
                for (account, result) in swapped.iter().zip(back.await) {
                    if let Err(error) = result {
                        tracing::error!(account = account.id(), "going back: {error}");
                    }
                }
                return Err(match error {
                    SwapError::Misfit(why) => SwapError::Misfit(format!("account {id}: {why}")),
                    SwapError::Unconfirmed(why) => {
                        SwapError::Unconfirmed(format!("account {id}: {why}"))
                    }
                    SwapError::RolledBack(why) => {
                        SwapError::RolledBack(format!("account {id}: {why}"))
                    }
                    SwapError::Ended => SwapError::Ended,
                });
            }
            waiting = rest;
            wave = (wave * 4).min(LARGEST_WAVE);
        }
        self.plugins_mut()
            .insert(platform.to_owned(), plugin.clone());
        tracing::info!(
            component = &*plugin.digest(),
            accounts = swapped.len(),
            "swapped"
        );
        Ok(())
    }
}
