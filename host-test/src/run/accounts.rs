//! The accounts of a file: those that came, went or changed in it do so here, within a second, and the
//! others are not touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::Failure;
use super::account::TOKEN;
use super::agents::Agents;
use super::component::Components;
use crate::cli::{Access, AllowEgress, Defaults, FileAccount, WECOM, WEIXIN, read_accounts};
use gateway_host::account::{AccountOptions, Handle};
use gateway_host::agent::Agent;
use gateway_host::credentials::Home;
use gateway_host::gateway::Gateway;
use gateway_host::login::account_of;
use gateway_host::media::MediaRules;
use gateway_host::watch::FileWatch;

/// The file is read when it has not changed for so long: an editor writes in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// An account that did not start is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);
/// Accounts that start side by side.
const AT_ONCE: usize = 64;

/// What the command line and the environment give to each account.
pub struct Given<'a> {
    /// Settings where an account has none of its own.
    pub defaults: &'a Defaults,
    /// Origins that are pinned, besides those of the file.
    pub allow_egress: &'a AllowEgress,
    /// What agents may send and get.
    pub media: &'a MediaRules,
}

impl Given<'_> {
    /// Reads the file, and pins its origins.
    fn read(&self, gateway: &Gateway, path: &Path) -> Result<Vec<FileAccount>, String> {
        let file = read_accounts(path, self.defaults)?;
        let mut pinned = self.allow_egress.clone();
        for (platform, origins) in file.allow_egress {
            pinned.entry(platform).or_default().extend(origins);
        }
        let pins = &gateway.runtime().pins;
        pins.set(&pinned).map_err(|error| error.to_string())?;
        Ok(file.accounts)
    }
}

/// Serves the accounts of a file until it is dropped.
///
/// # Errors
/// When the file can't be read at the start; later it is told in the log, and what was goes on. When
/// other gateways have taken over every account that this one ran.
pub async fn serve(
    gateway: &Gateway,
    agents: &Agents,
    components: &Components,
    path: &Path,
    given: &Given<'_>,
) -> Result<(), Failure> {
    let media = given.media;
    // Before it is read: what changes from here on is read again.
    let mut file = FileWatch::new(path);
    let mut wanted = given.read(gateway, path).map_err(Failure::Usage)?;
    let mut logins = gateway.credentials().watch();
    let mut running: BTreeMap<String, (FileAccount, AccountOptions)> = BTreeMap::new();
    loop {
        let is_whole = follow(gateway, agents, components, &wanted, &mut running, media).await;
        let again = async {
            match is_whole {
                true => std::future::pending().await,
                false => tokio::time::sleep(AGAIN).await,
            }
        };
        tokio::select! {
            () = file.changed(QUIET) => {
                match given.read(gateway, path) {
                    Ok(accounts) => wanted = accounts,
                    Err(why) => tracing::error!("{why}; the accounts stay as they were"),
                }
            }
            // The credentials hold a sender.
            _ = logins.changed() => {}
            () = again => {}
            taken = gateway.superseded() => return Err(Failure::superseded(&taken)),
        }
    }
}

/// Makes the accounts those that are wanted; false when one could not be started.
async fn follow(
    gateway: &Gateway,
    agents: &Agents,
    components: &Components,
    wanted: &[FileAccount],
    running: &mut BTreeMap<String, (FileAccount, AccountOptions)>,
    media: &MediaRules,
) -> bool {
    let mut is_whole = true;
    let mut options = BTreeMap::new();
    for account in wanted {
        match options_of(gateway, components, account, media).await {
            Ok(found) => {
                options.insert(account.id.clone(), (account.clone(), found));
            }
            Err(why) => {
                is_whole = false;
                tracing::error!(account = %account.id, "{why}");
            }
        }
    }
    let gone: Vec<String> = running
        .keys()
        .filter(|id| !wanted.iter().any(|account| account.id == **id))
        .cloned()
        .collect();
    for id in gone {
        gateway.remove(&id).await;
        running.remove(&id);
        tracing::info!(account = %id, "removed");
    }
    let is_same = |id: &String, (account, options): &(FileAccount, AccountOptions)| {
        running.get(id).is_some_and(|(before, started)| {
            before == account
                && started.secrets == options.secrets
                && started.config == options.config
        })
    };
    let changed: Vec<(String, (FileAccount, AccountOptions))> = options
        .into_iter()
        .filter(|(id, wanted)| !is_same(id, wanted))
        .collect();
    for some in changed.chunks(AT_ONCE) {
        let starting = some.iter().map(|(id, (account, options))| async move {
            let agent = match &account.agent {
                Some(spec) => agents.of(spec),
                None => agents.default(),
            };
            (
                id,
                start(gateway, components, account, options, agent).await,
            )
        });
        for ((id, started), (_, wanted)) in join_all(starting).await.into_iter().zip(some) {
            match started {
                Ok(_) => {
                    tracing::info!(account = %id, "started");
                    running.insert(id.clone(), wanted.clone());
                }
                Err(error) => {
                    is_whole = false;
                    running.remove(id);
                    tracing::error!(account = %id, "not started: {error}");
                }
            }
        }
    }
    is_whole
}

async fn start(
    gateway: &Gateway,
    components: &Components,
    account: &FileAccount,
    options: &AccountOptions,
    agent: Arc<dyn Agent>,
) -> Result<Handle, Failure> {
    let platform = match account.access {
        Access::Weixin(_) => WEIXIN,
        Access::Wecom(_) => WECOM,
    };
    components.ensure(gateway, platform).await?;
    let started = gateway.add(platform, options.clone(), agent).await;
    started.map_err(super::other)
}

/// What an account of the file is started with: its token, or the credential of a login.
async fn options_of(
    gateway: &Gateway,
    components: &Components,
    account: &FileAccount,
    media: &MediaRules,
) -> Result<AccountOptions, String> {
    let credentials = gateway.credentials();
    let failed = |error: gateway_host::credentials::CredentialsError| error.to_string();
    let token = match &account.access {
        Access::Weixin(token) => token,
        Access::Wecom(secrets) => {
            return Ok(AccountOptions {
                id: account.id.clone(),
                secrets: secrets.clone(),
                config: account.config.clone(),
                media: media.clone(),
            });
        }
    };
    let plugin = components.ensure(gateway, WEIXIN).await;
    let plugin = plugin.map_err(|error| error.to_string())?;
    let home = Home::of(&plugin.descriptor, &account.config);
    if let Some(token) = token
        && !credentials
            .is_replaced(&account.id, &home, token)
            .map_err(failed)?
    {
        return Ok(AccountOptions {
            id: account.id.clone(),
            secrets: BTreeMap::from([(TOKEN.to_owned(), token.clone())]),
            config: account.config.clone(),
            media: media.clone(),
        });
    }
    let stored = credentials.find(&account.id, &home).map_err(failed)?;
    let stored = stored.ok_or(
        "it has no token, and no login of its server is stored for it: set `token`, or log in with \
         the same base_url and name the account that the login brings",
    )?;
    Ok(account_of(stored, &account.config, media.clone()))
}
