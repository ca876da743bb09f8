//! What components make the host hold, spend and write, beside two neighbours who go on being answered.
//!
//! Memory is that of a whole process, so those attacks have one of their own.

use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use futures::FutureExt;
use gateway_host::agent::message::{Message, Reply};
use gateway_host::egress::client::HttpClient;
use gateway_host::egress::proxy::Proxies;
use gateway_host::egress::resolver::SystemResolver;
use gateway_host::sandbox::limits::Limits;
use gateway_host::state::Durability;
use gateway_host::state::directory::DirectoryState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{SharedHost, log};
use crate::harness::{Harness, Recorder};

const MIB: usize = 1024 * 1024;
/// What the host may hold in these tests.
const HOST_BYTES: usize = 32 * MIB;
/// What a component may have of its own.
const MEMORY_BYTES: usize = 192 * MIB;
/// What the process may take besides: buffers of both neighbours and the simulated servers, and what
/// the allocator does not give back.
const REST: usize = 128 * MIB;

fn limits() -> Limits {
    Limits {
        host_bytes: HOST_BYTES,
        memory_bytes: MEMORY_BYTES,
        waiting_bytes: 8 * MIB,
        handles: 100_000,
        tasks: 20_000,
        log_bytes_per_second: 1000,
        ..Limits::default()
    }
}

/// Memory of this process that is in use.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1024
}

#[test]
fn the_process_grows_by_no_more_than_the_budget() {
    let alone = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "hostile::budget::alone",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    let errors = String::from_utf8_lossy(&alone.stderr);
    assert!(alone.status.success(), "{said}\n{errors}");
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "the test above runs it in a process of its own"]
async fn alone() {
    let mut host = SharedHost::new().await;
    host.answers().await;
    let before = resident();
    for (attack, words) in [
        ("texts", "refused after"),
        ("fields", "`host_bytes`"),
        ("appended", "`host_bytes`"),
        ("clones", "`host_bytes`"),
        ("options", "`host_bytes`"),
        ("composed", "`"),
        ("cursors", "`host_bytes`"),
        ("streams", "`handles"),
        ("futures", "`handles"),
        ("buckets", "`host_bytes`"),
    ] {
        let limits = Limits {
            host_bytes: match attack {
                // Each of its calls lists a thousand keys.
                "cursors" => MIB / 2,
                _ => HOST_BYTES,
            },
            ..limits()
        };
        let account = host.try_start(attack, "receive", limits).await.unwrap();
        loop {
            let used = account.tenant().budget().used();
            // The last answer of a store, and what each instance has, are counted and not asked for.
            assert!(used <= HOST_BYTES + MIB, "{attack}: {used} bytes are held");
            let grown = resident().saturating_sub(before);
            let most = HOST_BYTES + MEMORY_BYTES + REST;
            assert!(grown <= most, "{attack}: {} MiB more", grown / MIB);
            let reason = account.status().await.reason.unwrap_or_default();
            if reason.contains(words) {
                break;
            }
            host.answers().await;
        }
        host.answers().await;
    }
    for attack in ["unread", "uploads", "albums", "ids", "json"] {
        holds(&mut host, attack, before).await;
    }
    host.end().await;
}

/// An attack that goes on: what it holds stays within the budget, and so does the process.
async fn holds(host: &mut SharedHost, attack: &str, before: usize) {
    let never = |_: &Message, _| std::future::pending::<Result<Option<Reply>, _>>().boxed();
    let agent = Recorder::new(never);
    let account = host.start_with(agent, attack, "receive", limits()).await;
    let account = account.unwrap();
    let mut most_used = 0;
    for _ in 0..60 {
        let used = account.tenant().budget().used();
        most_used = used.max(most_used);
        // Messages are counted when they are there already, and bounded by `waiting_bytes`.
        assert!(
            used <= HOST_BYTES + 10 * MIB,
            "{attack}: {used} bytes are held"
        );
        let grown = resident().saturating_sub(before);
        let most = HOST_BYTES + MEMORY_BYTES + REST;
        assert!(grown <= most, "{attack}: {} MiB more", grown / MIB);
        host.answers().await;
    }
    // Those two are refused at once, and hold nothing.
    let holds_nothing = ["ids", "json"].contains(&attack);
    assert!(
        holds_nothing || most_used > 4 * MIB,
        "{attack}: {most_used} bytes were counted"
    );
    drop(account);
    host.answers().await;
}

#[tokio::test]
async fn trailers_count_although_nobody_asked_for_them() {
    let mut host = SharedHost::new().await;
    host.server = server_with_trailers().await;
    let log = log::Captured::new();
    let limits = Limits {
        host_bytes: MIB,
        ..limits()
    };
    let account = host.try_start("trailers", "receive", limits).await;
    let account = account.unwrap();
    // Whatever it asks for next has no room.
    while !log.text().contains("`host_bytes`") {
        host.answers().await;
    }
    drop(account);
    host.end().await;
}

/// A server whose answers are all trailers.
async fn server_with_trailers() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut buffer, mut seen) = ([0; 4096], Vec::new());
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close";
                let trailer = "t".repeat(12_000);
                let answer = format!("{head}\r\n\r\n0\r\nx-trailer: {trailer}\r\n\r\n");
                // A head, and perhaps the end of a body in chunks that is empty.
                while !seen.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(count @ 1..) => seen.extend_from_slice(&buffer[..count]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(answer.as_bytes()).await;
                // Until the client closes, so that nothing of it is lost.
                while let Ok(1..) = stream.read(&mut buffer).await {}
            });
        }
    });
    url
}

#[tokio::test]
async fn what_a_component_says_can_neither_fill_nor_forge_the_log() {
    let mut host = SharedHost::new().await;
    for (attack, words) in [
        ("errors", "transient"),
        ("settled", "a post that had waited is failed"),
        ("settled", "the key of a settled post is refused"),
        ("ids", "the id of an event is refused: it has"),
    ] {
        let log = log::Captured::new();
        let begun = Instant::now();
        let account = host.try_start(attack, "receive", limits()).await.unwrap();
        for _ in 0..20 {
            host.answers().await;
        }
        drop(account);
        let text = log.text();
        assert!(text.contains(words), "{attack}: {text}");
        let forged = |line: &str| line.trim_start().starts_with("2026-11-28T00:00:00Z");
        assert!(!text.lines().any(forged), "{attack}: {text}");
        assert!(!text.contains(['\u{2028}', '\x1b']), "{attack}: {text}");
        let own = text.lines().filter(|line| line.contains("hostile@im.bot"));
        // Eight seconds' worth at once, then as it comes; a line has as much again beside its text.
        let most = 5 * 1000 * (10 + begun.elapsed().as_secs() as usize);
        let bytes: usize = own.map(str::len).sum();
        assert!(bytes <= most, "{attack}: {bytes} bytes");
    }
    host.end().await;
}

#[tokio::test]
async fn names_that_take_for_ever_are_their_accounts_own_trouble() {
    let mut host = SharedHost::new().await;
    let (release, gate) = mpsc::channel::<()>();
    let (gate, hanging) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&hanging);
    let resolver = SystemResolver::with_lookup(move |host| {
        if host.ends_with(".slow.example") {
            counted.fetch_add(1, Ordering::SeqCst);
            // Until the other end is gone.
            let _ = gate.lock().unwrap().recv();
        }
        Ok(vec![IpAddr::from([192, 0, 2, 1])])
    });
    host.harness.runtime.client = HttpClient::with_resolver(Arc::new(resolver), Proxies::none());
    let mut limits = limits();
    limits.egress.lookups = 4;
    let account = host.try_start("lookups", "receive", limits).await.unwrap();
    while hanging.load(Ordering::SeqCst) < 4 {
        host.answers().await;
    }
    // What all share is free: the threads for files, and for everything that blocks.
    for _ in 0..5 {
        host.answers().await;
        let read = tokio::fs::read("/proc/self/statm").await;
        assert!(read.is_ok());
    }
    assert_eq!(hanging.load(Ordering::SeqCst), 4);
    drop((account, release));
    host.end().await;
}

#[tokio::test]
async fn who_writes_without_end_waits_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = DirectoryState::open(folder.path(), Durability::Process).unwrap();
    let mut host = SharedHost::of(Harness::with_state(Arc::new(state)).await).await;
    let log = log::Captured::new();
    let limits = Limits {
        store_bytes_per_second: MIB as u64,
        store_burst_bytes: 24 * MIB as u64,
        ..limits()
    };
    let account = host.try_start("writes", "receive", limits).await.unwrap();
    while !log.text().contains("`store_bytes_per_second`") {
        host.answers().await;
    }
    for _ in 0..20 {
        host.answers().await;
    }
    assert_eq!(account.metrics().restarts.get(), 0);
    drop(account);
    host.end().await;
}

#[tokio::test]
async fn what_spends_the_hosts_time_is_bounded_for_each_call() {
    let mut host = SharedHost::new().await;
    for attack in ["random", "settings"] {
        let account = host.try_start(attack, "receive", limits()).await.unwrap();
        for _ in 0..10 {
            host.answers().await;
        }
        drop(account);
    }
    let words = ["65536 bytes of a gibibyte"];
    host.down("much-random", limits(), &words).await;
    host.end().await;
}

#[tokio::test]
async fn a_description_of_megabytes_is_refused() {
    let mut component = std::fs::read(env!("HOSTILE")).unwrap();
    let (no, big) = (b"hostile at describe: no ", b"hostile at describe: big");
    let place = component.windows(no.len()).position(|bytes| bytes == no);
    component[place.unwrap()..][..big.len()].copy_from_slice(big);
    let mut host = SharedHost::new().await;
    let path = std::path::Path::new("large.wasm");
    let error = host.harness.runtime.load_bytes(path, component).await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("`platform` is refused"), "{error}");
    assert!(
        error.len() < 500 && error.contains("7340032 bytes"),
        "{error}"
    );
    host.answers().await;
    host.end().await;
}
