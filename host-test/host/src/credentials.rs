//! Stores the credentials of logins.
//!
//! Promises:
//! - A credential belongs to an account, a platform and an origin ([`Home`]). A login changes only the
//!   credentials of its own holder.
//! - A change is stored as a whole or not at all, even if the process crashes.
//! - A token that a login replaced is remembered, and is not used again.
//! - Changes of other processes are noticed within a second.
//!
//! Credentials are beside the store and not in it, so that a login can be made while another process
//! runs the accounts.

#[cfg(feature = "dir")]
mod directory;
#[cfg(feature = "redis")]
mod redis;
mod stored;
#[cfg(any(feature = "dir", feature = "redis"))]
mod watching;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

#[cfg(feature = "dir")]
use self::directory::Directory;
#[cfg(feature = "redis")]
use self::redis::Server;
use self::stored::Stored;
use crate::state::StateSpec;

pub use stored::{Brought, Conflict, Credential, Holder, Home};

/// Why they can't be read or stored.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct CredentialsError {
    place: String,
    what: String,
}

/// Why a login is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It would change another holder's credential.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// It can't be stored.
    #[error(transparent)]
    Failed(#[from] CredentialsError),
}

/// The credentials of a state. Clones share them.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
    are_own: bool,
}

debug_by_name!(Credentials);

struct Shared {
    backend: Backend,
    changed: watch::Sender<()>,
}

enum Backend {
    #[cfg(feature = "dir")]
    Directory(Directory),
    Memory(Mutex<Stored>),
    #[cfg(feature = "redis")]
    Redis(Box<Server>),
}

impl Credentials {
    /// Those of a state; the state itself may be in use by another process.
    pub fn of(spec: &StateSpec) -> Credentials {
        let backend = match spec {
            #[cfg(feature = "dir")]
            StateSpec::Directory(path) => Backend::Directory(Directory::new(path)),
            StateSpec::Memory => Backend::Memory(Mutex::default()),
            #[cfg(feature = "redis")]
            StateSpec::Redis(address) => Backend::Redis(Box::new(Server::new(address))),
        };
        Credentials {
            shared: Arc::new(Shared {
                backend,
                changed: watch::channel(()).0,
            }),
            are_own: false,
        }
    }

    /// The same for a gateway whose accounts are all the operator's own: their logins are held by
    /// the operator, as those are that are made without an account.
    pub fn of_operator(self) -> Credentials {
        Credentials {
            are_own: true,
            ..self
        }
    }

    /// Who holds the credential that a login for this account brings.
    pub fn holder(&self, account: &str) -> Holder {
        match self.are_own {
            true => Holder::Operator(Some(account.to_owned())),
            false => Holder::Account(account.to_owned()),
        }
    }

    /// The credential of the operator's last login at this home. One that is older than the member
    /// which says the origin stands in where there is no other.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn latest(&self, home: &Home) -> Result<Option<Credential>, CredentialsError> {
        Ok(self.read()?.latest(home).cloned())
    }

    /// The credential of an account at this home, the same way.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn find(&self, account: &str, home: &Home) -> Result<Option<Credential>, CredentialsError> {
        Ok(self.read()?.find(account, home).cloned())
    }

    /// All of them, newest first.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn all(&self) -> Result<Vec<Credential>, CredentialsError> {
        Ok(self.read()?.credentials)
    }

    /// The values of one secret that a holder has got at this home, newest first.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn values(
        &self,
        holder: &Holder,
        home: &Home,
        secret: &str,
    ) -> Result<Vec<String>, CredentialsError> {
        Ok(self.read()?.values(holder, home, secret))
    }

    /// Whether a login replaced this value of an account's secret.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn is_replaced(
        &self,
        account: &str,
        home: &Home,
        value: &str,
    ) -> Result<bool, CredentialsError> {
        Ok(self.read()?.is_replaced(account, home, value))
    }

    /// Keeps what a login brought as the newest, in place of what its holder had at this home, and
    /// returns the account's id. `in_use` are values of the same account that are not to be used
    /// again, besides those. Nothing of another holder, platform or origin is touched.
    ///
    /// # Errors
    /// When the server says an id that is somebody else's, and when they can't be read or written;
    /// then nothing has changed, unless a server did not answer.
    pub fn keep(
        &self,
        holder: &Holder,
        home: &Home,
        brought: &Brought,
        in_use: &[String],
    ) -> Result<String, KeepError> {
        self.change(|stored| Ok(stored.keep(holder, home, brought, in_use)?))
    }

    /// Notes that values of one of the operator's own accounts are not to be used again.
    ///
    /// # Errors
    /// The same.
    pub fn replace(
        &self,
        account: &str,
        home: &Home,
        values: &[String],
    ) -> Result<(), CredentialsError> {
        self.change(|stored| {
            stored.replace(account, true, home, values);
            Ok(())
        })
    }

    /// Signals each change, of this process and of others. Must be called within a tokio runtime.
    pub fn watch(&self) -> watch::Receiver<()> {
        #[cfg(any(feature = "dir", feature = "redis"))]
        watching::start(&self.shared);
        self.shared.changed.subscribe()
    }

    fn read(&self) -> Result<Stored, CredentialsError> {
        match &self.shared.backend {
            Backend::Memory(stored) => {
                let stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(stored.clone())
            }
            #[cfg(feature = "dir")]
            Backend::Directory(directory) => directory.read(),
            #[cfg(feature = "redis")]
            Backend::Redis(server) => server.read(),
        }
    }

    /// Applies a change as a whole, unless the change itself refuses.
    fn change<T, E: From<CredentialsError>>(
        &self,
        change: impl Fn(&mut Stored) -> Result<T, E>,
    ) -> Result<T, E> {
        let changed = match &self.shared.backend {
            Backend::Memory(stored) => {
                change(&mut stored.lock().unwrap_or_else(PoisonError::into_inner))
            }
            #[cfg(feature = "dir")]
            Backend::Directory(directory) => directory.change(change),
            #[cfg(feature = "redis")]
            Backend::Redis(server) => server.change(change),
        }?;
        self.shared.changed.send_replace(());
        Ok(changed)
    }
}

#[cfg(all(test, feature = "dir", feature = "redis"))]
mod tests;
