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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use sha2::{Digest, Sha256};

    use super::directory::FILE;
    use super::*;
    use crate::redis_server::{self, RedisServer};

    fn brought(bot: &str, token: &str, owner: &str) -> Brought {
        Brought {
            bot: bot.into(),
            secrets: [("bot-token".into(), token.into())].into(),
            owner: Some(owner.into()),
            config: [].into(),
            saved_ms: 1,
        }
    }

    fn home() -> Home {
        Home::at("weixin", ["http://127.0.0.1:1"])
    }

    const ANYBODY: Holder = Holder::Operator(None);

    fn keep(credentials: &Credentials, bot: &str, token: &str, owner: &str) {
        let brought = brought(bot, token, owner);
        let kept = credentials.keep(&ANYBODY, &home(), &brought, &[]);
        assert_eq!(kept.unwrap(), bot);
    }

    fn latest(credentials: &Credentials) -> Option<String> {
        let latest = credentials.latest(&home()).unwrap();
        latest.map(|credential| credential.account)
    }

    fn tokens(credentials: &Credentials) -> Vec<String> {
        credentials.values(&ANYBODY, &home(), "bot-token").unwrap()
    }

    fn check(open: impl Fn() -> Credentials) {
        let credentials = open();
        let is_replaced = |account: &str, token: &str| {
            let replaced = credentials.is_replaced(account, &home(), token);
            replaced.unwrap()
        };
        assert_eq!(latest(&credentials), None);
        keep(&credentials, "a", "t1", "alice");
        let env = Holder::Operator(Some("env".into()));
        let second = brought("b", "t2", "bob");
        let kept = credentials.keep(&env, &home(), &second, &["t0".into()]);
        assert_eq!(kept.unwrap(), "env");
        let credentials = open();
        assert_eq!(latest(&credentials).as_deref(), Some("env"));
        let found = credentials.find("a", &home()).unwrap().unwrap();
        assert_eq!(found.secrets["bot-token"], "t1");
        assert_eq!(found.bot.as_deref(), Some("a"));
        assert_eq!(tokens(&credentials), ["t2", "t1"]);
        assert!(is_replaced("env", "t0") && !is_replaced("a", "t0"));
        assert!(!is_replaced("a", "t1"));

        // Alice binds another bot, and then the first one once more.
        keep(&credentials, "c", "t3", "alice");
        assert_eq!(credentials.find("a", &home()).unwrap(), None);
        assert!(is_replaced("a", "t1"));
        keep(&credentials, "a", "t1", "alice");
        assert!(!is_replaced("a", "t1") && is_replaced("c", "t3"));
        assert_eq!(tokens(&credentials), ["t1", "t2"]);
        assert_eq!(credentials.all().unwrap().len(), 2);

        // An id of somebody else is refused, and nothing is written.
        let before = credentials.all().unwrap();
        let tenant = Holder::Account("tenant".into());
        credentials
            .keep(&tenant, &home(), &brought("d", "t4", "dora"), &[])
            .unwrap();
        let claim = brought("tenant", "t5", "alice");
        let refused = credentials.keep(&ANYBODY, &home(), &claim, &[]);
        assert!(
            matches!(refused, Err(KeepError::Conflict(_))),
            "{refused:?}"
        );
        assert_eq!(credentials.all().unwrap()[1..], before);
        assert!(!is_replaced("a", "t1"));
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
        if redis_server::is_missing() {
            return;
        }
        let server = RedisServer::start();
        check(|| Credentials::of(&server.url().parse().unwrap()));
    }

    #[test]
    fn logins_on_a_server_at_the_same_time_lose_none() {
        if redis_server::is_missing() {
            return;
        }
        let server = RedisServer::start();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let credentials = Credentials::of(&server.url().parse().unwrap());
                scope.spawn(move || {
                    let (id, owner) = (format!("bot{number}"), format!("person{number}"));
                    keep(&credentials, &id, &id, &owner);
                });
            }
        });
        let credentials = Credentials::of(&server.url().parse().unwrap());
        assert_eq!(tokens(&credentials).len(), 8);
    }

    #[test]
    fn a_server_that_is_away_is_an_error_until_it_is_back() {
        if redis_server::is_missing() {
            return;
        }
        let server = RedisServer::start();
        let credentials = Credentials::of(&server.url().parse().unwrap());
        keep(&credentials, "a", "s3cret", "alice");
        server.kill();
        let error = credentials.all().unwrap_err().to_string();
        assert!(error.contains("nothing listens there"), "{error}");
        let bob = brought("b", "t", "bob");
        assert!(credentials.keep(&ANYBODY, &home(), &bob, &[]).is_err());
        assert!(server.run());
        assert_eq!(latest(&credentials).as_deref(), Some("a"));

        server
            .ask(&["HSET", "weixin:credentials", "json", r#"["s3cret"]"#])
            .unwrap();
        let error = credentials.all().unwrap_err().to_string();
        assert!(error.contains("restore or remove it"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_tells_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), r#"{"credentials": ["s3cret"]}"#).unwrap();
        let credentials = Credentials::of(&StateSpec::Directory(folder.path().to_owned()));
        let error = credentials.all().unwrap_err().to_string();
        assert!(error.contains(FILE) && !error.contains("s3cret"), "{error}");
        let alice = brought("a", "t", "alice");
        assert!(credentials.keep(&ANYBODY, &home(), &alice, &[]).is_err());
    }

    /// As the versions before it wrote it.
    const OLD: &str = r#"{
        "credentials": [
            {"account": "new@im.bot", "secrets": {"bot-token": "t2"}, "owner": "alice",
             "config": {"login-base-url": "https://x", "base-url": "http://169.254.169.254"},
             "saved_ms": 2},
            {"account": "old@im.bot", "secrets": {"bot-token": "t1"}}
        ],
        "replaced": ["DIGEST"]
    }"#;

    fn check_old(credentials: &Credentials) {
        let elsewhere = Home::at("weixin", ["http://127.0.0.1:2"]);
        let another = Home::at("wecom", []);
        // They are used as before, and told to no login's server.
        for home in [&home(), &elsewhere] {
            let latest = credentials.latest(home).unwrap().unwrap();
            assert_eq!(latest.account, "new@im.bot");
            let old = credentials.find("old@im.bot", home).unwrap().unwrap();
            assert_eq!(old.secrets["bot-token"], "t1");
            assert!(credentials.is_replaced("any", home, "t0").unwrap());
            let told = credentials.values(&ANYBODY, home, "bot-token").unwrap();
            assert_eq!(told, [""; 0]);
        }
        assert_eq!(credentials.latest(&another).unwrap(), None);
        assert_eq!(credentials.find("old@im.bot", &another).unwrap(), None);
        // A login leaves them as they are, and comes before them where it was made.
        let before = credentials.all().unwrap();
        keep(credentials, "newest", "t3", "alice");
        assert_eq!(credentials.all().unwrap()[1..], before);
        assert_eq!(latest(credentials).as_deref(), Some("newest"));
        assert!(credentials.is_replaced("any", &home(), "t0").unwrap());
        let other = credentials.latest(&elsewhere).unwrap().unwrap();
        assert_eq!(other.account, "new@im.bot");
        keep(credentials, "old@im.bot", "t4", "bob");
        let found = credentials.find("old@im.bot", &home()).unwrap().unwrap();
        assert_eq!(found.secrets["bot-token"], "t4");
        let found = credentials.find("old@im.bot", &elsewhere).unwrap().unwrap();
        assert_eq!(found.secrets["bot-token"], "t1");
    }

    #[test]
    fn what_earlier_versions_stored_is_read() {
        let digest = base16ct::lower::encode_string(&Sha256::digest("t0"));
        let old = OLD.replace("DIGEST", &digest);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), &old).unwrap();
        check_old(&Credentials::of(&StateSpec::Directory(
            folder.path().to_owned(),
        )));
        if redis_server::is_missing() {
            return;
        }
        let server = RedisServer::start();
        server
            .ask(&["HSET", "weixin:credentials", "json", &old, "version", "1"])
            .unwrap();
        check_old(&Credentials::of(&server.url().parse().unwrap()));
    }

    #[tokio::test]
    async fn the_user_of_the_manual_listens_and_tells() {
        let page = include_str!("../../../docs/en/operate.md");
        let rules = page.split('`').find(|code| code.starts_with("~weixin:*"));
        let rules: Vec<&str> = rules.unwrap().split(' ').collect();
        if redis_server::is_missing() {
            return;
        }
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
            keep(&other, &id, &id, "alice");
            changes.changed().await.unwrap();
            while latest(&credentials).as_deref() != Some(&*id) {
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
        if redis_server::is_missing() {
            return;
        }
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
                keep(&other, &id, &token, "alice");
                while latest(&credentials).as_deref() != Some(&*id) {
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
