//! Servers that are wrong, away, or slow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::redis_server::{self, RedisServer};

async fn open(url: &str) -> Result<RedisState, StateError> {
    RedisState::open(&url.parse().unwrap(), Durability::Process).await
}

async fn refusal(url: &str) -> String {
    let error = open(url).await.err().unwrap().to_string();
    assert!(
        !error.contains('\n') && !error.contains("hunter2"),
        "{error}"
    );
    error
}

/// Tries, and gives up after twice as many pauses as the longest one between two connections has.
async fn soon(works: impl AsyncFn() -> bool) {
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..2 * link::LONGEST_PAUSE.as_millis() / PAUSE.as_millis() {
        if works().await {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("it is not back");
}

fn with_access(server: &RedisServer, access: &str) -> String {
    format!("redis://{access}@127.0.0.1:{}", server.port())
}

#[tokio::test]
async fn a_server_that_can_not_be_used_is_one_line_that_says_why() {
    if redis_server::is_missing() {
        return;
    }
    let plain = RedisServer::start_with(&[]);
    let locked = RedisServer::start_with(&["--requirepass", "right"]);
    let port = plain.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let full = RedisServer::start_with(&["--maxmemory", "1"]);
    let cluster = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobodys = nobody.local_addr().unwrap();
    drop(nobody);
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webs = web.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(web, axum::Router::new()).await });

    for (url, expected) in [
        (
            format!("redis://:hunter2@{nobodys}"),
            "nothing listens there",
        ),
        (
            format!("redis://:hunter2@{}", silent.local_addr().unwrap()),
            "does not answer for 2 s",
        ),
        (format!("redis://{webs}"), "no Redis server"),
        (locked.url(), "wants a password"),
        (
            with_access(&locked, ":hunter2"),
            "refuses the user or the password",
        ),
        (
            with_access(&locked, "eve:hunter2"),
            "refuses the user or the password",
        ),
        (with_access(&plain, ":hunter2"), "or has none"),
        (format!("{}/99", plain.url()), "no database of that number"),
        (replica.url(), "read-only replica"),
        (full.url(), "memory is full"),
        (cluster.url(), "part of a cluster"),
    ] {
        let error = refusal(&url).await;
        assert!(error.contains(expected), "{url}: {error}");
    }
    assert!(open(&with_access(&locked, ":right")).await.is_ok());
    assert!(open(&with_access(&locked, "default:right")).await.is_ok());
}

#[tokio::test]
async fn durability_is_asked_for_and_told() {
    let full = async |server: &RedisServer| {
        let address = server.url().parse().unwrap();
        RedisState::open(&address, Durability::Full).await.err()
    };
    if redis_server::is_missing() {
        return;
    }
    let never = RedisServer::start_with(&[]);
    let sometimes = RedisServer::start_with(&["--appendonly", "yes"]);
    let always = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    for server in [&never, &sometimes] {
        let error = full(server).await.unwrap().to_string();
        assert!(error.contains("appendfsync always"), "{error}");
    }
    assert!(full(&always).await.is_none());

    for (server, expected) in [
        (never, Some("keeps nothing on its disk")),
        (
            RedisServer::start_with(&["--save", "3600 1"]),
            Some("now and then only"),
        ),
        (sometimes, None),
        (
            RedisServer::start_with(&[
                "--appendonly",
                "yes",
                "--maxmemory",
                "100mb",
                "--maxmemory-policy",
                "allkeys-lru",
            ]),
            Some("noeviction"),
        ),
    ] {
        let (link, about) = Link::open(&server.url().parse().unwrap()).await.unwrap();
        let warnings = link
            .ask(async |mut connection| {
                Ok(about.durability(&mut connection, Durability::Process).await)
            })
            .await
            .unwrap()
            .unwrap();
        match expected {
            Some(expected) => assert!(warnings.iter().any(|one| one.contains(expected))),
            None => assert!(warnings.is_empty(), "{warnings:?}"),
        }
    }
}

#[tokio::test]
async fn the_user_of_the_manual_suffices() {
    let page = include_str!("../../../../../docs/en/operate.md");
    let rules = page.split('`').find(|code| code.starts_with("~weixin:*"));
    let rules: Vec<&str> = rules.unwrap().split(' ').collect();
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    server
        .ask(&[&["ACL", "SETUSER", "bot", "on", ">hunter2"], &rules[..]].concat())
        .unwrap();
    let state = open(&format!("{}/1", with_access(&server, "bot:hunter2")))
        .await
        .unwrap();
    let bucket = state.bucket("alice").unwrap();
    bucket.set("key", b"value".to_vec()).await.unwrap();
    assert_eq!(bucket.increment("n", 2).await.unwrap(), 2);
    assert_eq!(bucket.list_keys(None).await.unwrap().keys, ["key", "n"]);
    bucket.delete("key").await.unwrap();

    server.ask(&["ACL", "SETUSER", "bot", "-hset"]).unwrap();
    let error = bucket.set("key", Vec::new()).await.unwrap_err().to_string();
    assert!(error.contains("permission"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_server_that_crashes_is_an_error_until_it_is_back() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let state = open(&server.url()).await.unwrap();
    let bucket = state.bucket("alice").unwrap();
    bucket.set("before", b"1".to_vec()).await.unwrap();
    server.kill();
    for _ in 0..20 {
        assert!(bucket.get("before").await.is_err());
    }
    assert!(server.run());
    soon(async || bucket.get("before").await.is_ok()).await;
    assert_eq!(bucket.get("before").await.unwrap().unwrap(), b"1");
    bucket.set("after", b"2".to_vec()).await.unwrap();
}

#[tokio::test]
async fn a_full_memory_or_a_demoted_primary_is_told_and_heals() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let state = open(&server.url()).await.unwrap();
    let bucket = state.bucket("alice").unwrap();
    bucket.set("key", b"1".to_vec()).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let error = bucket.set("key", b"2".to_vec()).await.unwrap_err();
    assert!(error.to_string().contains("memory is full"), "{error}");
    assert_eq!(bucket.get("key").await.unwrap().unwrap(), b"1");
    bucket.delete("key").await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    bucket.set("key", b"3".to_vec()).await.unwrap();

    server.ask(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let error = bucket.set("key", b"4".to_vec()).await.unwrap_err();
    assert!(error.to_string().contains("read-only replica"), "{error}");
    // From then on it is asked no more, but looked at.
    assert!(bucket.get("key").await.is_err());
    server.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    soon(async || bucket.set("key", b"5".to_vec()).await.is_ok()).await;
}

/// Between the client and the server; keeps back what a client says from when it is told to.
async fn slow_network(port: u16, holds: Arc<AtomicBool>) -> (u16, Arc<tokio::sync::Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let release = Arc::new(tokio::sync::Notify::new());
    let released = Arc::clone(&release);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let (holds, released) = (Arc::clone(&holds), Arc::clone(&released));
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                let mut held = Vec::new();
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    if holds.load(Ordering::SeqCst) || !held.is_empty() {
                        held.extend_from_slice(&buffer[..length]);
                    } else if to_server.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
                // The client has gone; what it said is still under way.
                if !held.is_empty() {
                    released.notified().await;
                    let _ = to_server.write_all(&held).await;
                    released.notify_one();
                    // The end of the connection must not overtake what was said.
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (own_port, release)
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_does_not_come_late() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let holds = Arc::new(AtomicBool::new(false));
    let (port, release) = slow_network(server.port(), Arc::clone(&holds)).await;
    let state = open(&format!("redis://127.0.0.1:{port}")).await.unwrap();
    let bucket = state.bucket("alice").unwrap();
    bucket.set("key", b"1".to_vec()).await.unwrap();
    holds.store(true, Ordering::SeqCst);
    let error = bucket.set("key", b"2".to_vec()).await.unwrap_err();
    assert!(
        error.to_string().contains("does not answer for 5 s"),
        "{error}"
    );
    holds.store(false, Ordering::SeqCst);
    assert_eq!(bucket.get("key").await.unwrap().unwrap(), b"1");
    bucket.set("key", b"3".to_vec()).await.unwrap();
    // Only now does the network bring what was said first.
    release.notify_one();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    release.notified().await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(bucket.get("key").await.unwrap().unwrap(), b"3");
}
