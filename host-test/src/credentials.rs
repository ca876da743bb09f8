//! The credentials of logins: kept private, replaced as a whole.
//!
//! Promises: a change is there as a whole or not at all, also after a crash; a token that a login
//! replaced is known as such for ever, and not used again; other processes' changes are noticed within
//! a second. They are beside the store, not in it, so that a login can be made while another process
//! runs the accounts.

mod directory;
mod redis;
mod watching;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use self::directory::Directory;
use self::redis::Server;
use crate::state::StateSpec;

/// Replaced tokens that are remembered.
const MAX_REPLACED: usize = 1000;

/// What a login brought.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The account's id.
    pub account: String,
    /// Credentials by name, such as `bot-token`.
    pub secrets: BTreeMap<String, String>,
    /// Who logged in.
    #[serde(default)]
    pub owner: Option<String>,
    /// Configuration that belongs to it, by the component's keys.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// When, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub saved_ms: u64,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// As it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    /// Newest first.
    #[serde(default)]
    credentials: Vec<Credential>,
    /// SHA-256 of tokens that are not to be used again, newest first.
    #[serde(default)]
    replaced: Vec<String>,
}

/// Why they can't be read or stored.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct CredentialsError {
    place: String,
    what: String,
}

/// The credentials of a state. Clones share them.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    changed: watch::Sender<()>,
}

enum Place {
    Directory(Directory),
    Memory(Mutex<Stored>),
    Redis(Box<Server>),
}

impl Credentials {
    /// Those of a state; the state itself may be in use by another process.
    pub fn of(spec: &StateSpec) -> Credentials {
        let place = match spec {
            StateSpec::Directory(path) => Place::Directory(Directory::new(path)),
            StateSpec::Memory => Place::Memory(Mutex::default()),
            StateSpec::Redis(address) => Place::Redis(Box::new(Server::new(address))),
        };
        Credentials {
            shared: Arc::new(Shared {
                place,
                changed: watch::channel(()).0,
            }),
        }
    }

    /// The credential of the last login.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn latest(&self) -> Result<Option<Credential>, CredentialsError> {
        Ok(self.read()?.credentials.into_iter().next())
    }

    /// The credential of an account.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn get(&self, account: &str) -> Result<Option<Credential>, CredentialsError> {
        let mut credentials = self.read()?.credentials.into_iter();
        Ok(credentials.find(|credential| credential.account == account))
    }

    /// The values of one secret of all credentials, newest first.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn values(&self, secret: &str) -> Result<Vec<String>, CredentialsError> {
        let credentials = self.read()?.credentials.into_iter();
        Ok(credentials
            .filter_map(|mut credential| credential.secrets.remove(secret))
            .collect())
    }

    /// Whether a login replaced this value of a secret.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn is_replaced(&self, value: &str) -> Result<bool, CredentialsError> {
        Ok(self.read()?.replaced.contains(&digest(value)))
    }

    /// Stores a credential as the newest, in place of those of the same account and of the same
    /// person, who has but one. `replaces` are values that are not to be used again, besides theirs.
    ///
    /// # Errors
    /// When they can't be read or written; then nothing has changed, unless a server did not answer.
    pub fn store(
        &self,
        credential: Credential,
        replaces: &[String],
    ) -> Result<(), CredentialsError> {
        self.change(|stored| {
            let is_replaced = |other: &Credential| {
                other.account == credential.account
                    || (other.owner.is_some() && other.owner == credential.owner)
            };
            let (old, kept): (Vec<Credential>, Vec<Credential>) =
                stored.credentials.drain(..).partition(is_replaced);
            let old = old
                .iter()
                .flat_map(|credential| credential.secrets.values());
            let new: Vec<&String> = credential.secrets.values().collect();
            let mut replaced: Vec<String> = old
                .chain(replaces)
                .filter(|value| !new.contains(value))
                .map(|value| digest(value))
                .collect();
            replaced.append(&mut stored.replaced);
            let new: Vec<String> = new.into_iter().map(|value| digest(value)).collect();
            replaced.retain(|digest| !new.contains(digest));
            replaced.truncate(MAX_REPLACED);
            stored.replaced = replaced;
            stored.credentials = kept;
            stored.credentials.insert(0, credential.clone());
        })?;
        self.shared.changed.send_replace(());
        Ok(())
    }

    /// Signals each change, of this process and of others. Must be called within a tokio runtime.
    pub fn watch(&self) -> watch::Receiver<()> {
        watching::start(&self.shared);
        self.shared.changed.subscribe()
    }

    fn read(&self) -> Result<Stored, CredentialsError> {
        match &self.shared.place {
            Place::Memory(stored) => {
                let stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(stored.clone())
            }
            Place::Directory(directory) => directory.read(),
            Place::Redis(server) => server.read(),
        }
    }

    fn change(&self, change: impl Fn(&mut Stored)) -> Result<(), CredentialsError> {
        match &self.shared.place {
            Place::Memory(stored) => {
                change(&mut stored.lock().unwrap_or_else(PoisonError::into_inner));
                Ok(())
            }
            Place::Directory(directory) => directory.change(change),
            Place::Redis(server) => server.change(change),
        }
    }
}

fn digest(value: &str) -> String {
    let digest = Sha256::digest(value);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::directory::FILE;
    use super::*;
    use crate::redis_server::RedisServer;

    fn credential(account: &str, token: &str, owner: &str) -> Credential {
        Credential {
            account: account.into(),
            secrets: BTreeMap::from([("bot-token".into(), token.into())]),
            owner: Some(owner.into()),
            config: BTreeMap::new(),
            saved_ms: 1,
        }
    }

    fn check(open: impl Fn() -> Credentials) {
        let credentials = open();
        assert_eq!(credentials.latest().unwrap(), None);
        let (first, second) = (credential("a", "t1", "alice"), credential("b", "t2", "bob"));
        credentials.store(first.clone(), &[]).unwrap();
        credentials.store(second.clone(), &["env".into()]).unwrap();
        let credentials = open();
        assert_eq!(credentials.latest().unwrap(), Some(second));
        assert_eq!(credentials.get("a").unwrap(), Some(first));
        assert_eq!(credentials.values("bot-token").unwrap(), ["t2", "t1"]);
        assert!(credentials.is_replaced("env").unwrap());
        assert!(!credentials.is_replaced("t1").unwrap());

        // Alice binds another bot, and then the first one once more.
        credentials
            .store(credential("c", "t3", "alice"), &[])
            .unwrap();
        assert_eq!(credentials.get("a").unwrap(), None);
        assert!(credentials.is_replaced("t1").unwrap());
        credentials
            .store(credential("a", "t1", "alice"), &[])
            .unwrap();
        assert!(!credentials.is_replaced("t1").unwrap());
        assert!(credentials.is_replaced("t3").unwrap());
        assert_eq!(credentials.values("bot-token").unwrap(), ["t1", "t2"]);
    }

    #[test]
    fn a_login_replaces_what_the_person_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state");
        check(|| Credentials::of(&StateSpec::Directory(path.clone())));
        for entry in std::fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{entry:?}");
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let memory = Credentials::of(&StateSpec::Memory);
        check(|| memory.clone());
        let server = RedisServer::start();
        check(|| Credentials::of(&server.url().parse().unwrap()));
    }

    #[test]
    fn logins_on_a_server_at_the_same_time_lose_none() {
        let server = RedisServer::start();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let credentials = Credentials::of(&server.url().parse().unwrap());
                scope.spawn(move || {
                    let (id, owner) = (format!("bot{number}"), format!("person{number}"));
                    credentials
                        .store(credential(&id, &id, &owner), &[])
                        .unwrap();
                });
            }
        });
        let credentials = Credentials::of(&server.url().parse().unwrap());
        assert_eq!(credentials.values("bot-token").unwrap().len(), 8);
    }

    #[test]
    fn a_server_that_is_away_is_an_error_until_it_is_back() {
        let server = RedisServer::start();
        let credentials = Credentials::of(&server.url().parse().unwrap());
        credentials
            .store(credential("a", "s3cret", "alice"), &[])
            .unwrap();
        server.kill();
        let error = credentials.latest().unwrap_err().to_string();
        assert!(error.contains("nothing listens there"), "{error}");
        assert!(credentials.store(credential("b", "t", "bob"), &[]).is_err());
        assert!(server.run());
        assert_eq!(credentials.latest().unwrap().unwrap().account, "a");

        server
            .ask(&["HSET", "weixin:credentials", "json", r#"["s3cret"]"#])
            .unwrap();
        let error = credentials.latest().unwrap_err().to_string();
        assert!(error.contains("restore or remove it"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_tells_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), r#"{"credentials": ["s3cret"]}"#).unwrap();
        let credentials = Credentials::of(&StateSpec::Directory(folder.path().to_owned()));
        let error = credentials.latest().unwrap_err().to_string();
        assert!(error.contains(FILE) && !error.contains("s3cret"), "{error}");
        assert!(
            credentials
                .store(credential("a", "t", "alice"), &[])
                .is_err()
        );
        assert!(!format!("{:?}", credential("a", "s3cret", "b")).contains("s3cret"));
    }

    #[tokio::test]
    async fn the_user_of_the_readme_listens_and_tells() {
        let readme = include_str!("../../README.md");
        let rules = readme.split('`').find(|code| code.starts_with("~weixin:*"));
        let rules: Vec<&str> = rules.unwrap().split(' ').collect();
        let server = RedisServer::start();
        let user = ["ACL", "SETUSER", "bot", "on", ">hunter2"];
        server.ask(&[&user, &rules[..]].concat()).unwrap();
        let url = format!("redis://bot:hunter2@127.0.0.1:{}", server.port());
        let credentials = Credentials::of(&url.parse().unwrap());
        let mut changes = credentials.watch();
        // The first signal is that it listens.
        changes.changed().await.unwrap();
        let listening = server.ask(&["PUBSUB", "NUMSUB", "weixin:credentials"]);
        let listening: (String, u64) = ::redis::from_redis_value(listening.unwrap()).unwrap();
        assert_eq!(listening.1, 1);
        // Two logins, one after the other, and a loss of the server in between.
        for number in 0..2 {
            let other = Credentials::of(&url.parse().unwrap());
            let id = format!("a{number}");
            other.store(credential(&id, &id, "alice"), &[]).unwrap();
            changes.changed().await.unwrap();
            while credentials.latest().unwrap().unwrap().account != id {
                changes.changed().await.unwrap();
            }
            server.kill();
            assert!(server.run());
            server.ask(&[&user, &rules[..]].concat()).unwrap();
            changes.changed().await.unwrap();
        }
    }

    #[tokio::test]
    async fn changes_of_another_process_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let server = RedisServer::start();
        for spec in [
            StateSpec::Directory(folder.path().to_owned()),
            server.url().parse().unwrap(),
        ] {
            let credentials = Credentials::of(&spec);
            let mut changes = credentials.watch();
            for number in 0..6 {
                // There may be signals of changes that are none, and one for several.
                let (id, token) = (format!("a{number}"), format!("t{number}"));
                let other = Credentials::of(&spec);
                other.store(credential(&id, &token, "alice"), &[]).unwrap();
                while credentials.latest().unwrap().unwrap().account != id {
                    changes.changed().await.unwrap();
                }
                tokio::time::timeout(std::time::Duration::from_secs(60), changes.changed())
                    .await
                    .expect("it is told")
                    .unwrap();
            }
        }
    }
}
