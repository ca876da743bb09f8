//! Credentials in each backend: in a directory, in memory, on a Redis server.

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
    let page = include_str!("../../../../docs/en/operate.md");
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
