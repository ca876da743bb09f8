//! The attacks, one for each word of the configuration.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{FuturesUnordered, StreamExt};

use crate::guest::wasi::clocks::monotonic_clock;
use crate::guest::wasi::config::store as settings;
use crate::guest::wasi::http::client;
use crate::guest::wasi::http::types::{
    Fields, HeaderError, Method, Request, RequestOptions, Response, Scheme,
};
use crate::guest::wasi::keyvalue::store;
use crate::guest::wasi::logging::logging::{self, Level};
use crate::guest::wasi::random::random;
use crate::guest::{Event, album, event, message, settled, wit_future, wit_stream};

/// A configuration value.
pub fn config(key: &str) -> Option<String> {
    settings::get(key).ok().flatten()
}

/// Performs the attack with this name.
pub async fn perform(attack: &str) {
    match attack {
        "spin" => spin(),
        "yield" => loop {
            work(100_000);
            wit_bindgen::yield_async().await;
        },
        "sleep" => std::future::pending().await,
        // Within a call of the host, so that no other call of the instance goes on either.
        "block" => std::thread::sleep(std::time::Duration::from_secs(u64::MAX / 2)),
        "allocate" => allocate(),
        "recurse" => {
            black_box(recurse(black_box(0)));
        }
        "deep" => {
            black_box(deep(black_box(1)));
        }
        "panic" => innermost("a reason\nof \x1b[31mtwo lines"),
        "exit" => std::process::exit(3),
        "print" => loop {
            eprintln!("{}", "printed ".repeat(1000));
        },
        "log" => loop {
            logging::log(Level::Error, "hostile", &"x".repeat(100));
            monotonic_clock::wait_for(0).await;
        },
        "forge" => {
            let line = format!("a line\n2026-11-24 ERROR forged{}", "y".repeat(100_000));
            logging::log(Level::Error, "hostile", &line);
            std::future::pending().await
        }
        "keys" => write(|number| (number.to_string(), 1)),
        "values" => write(|number| ((number % 4).to_string(), 100 * 1024)),
        "key" => write(|_| ("k".repeat(100_000), 1)),
        "value" => write(|_| ("k".to_owned(), 20 * 1024 * 1024)),
        "requests" => requests().await,
        "denied" => loop {
            let _ = request_to("elsewhere.example", "/", 0).await;
        },
        "body" => told(request("/api/sink", 64 * 1024 * 1024).await),
        "media" => told(request("/media/sink", 64 * 1024 * 1024).await),
        "answer" => told(request("/api/flood", 0).await),
        "streams" => {
            let mut held = Vec::new();
            loop {
                held.push(wit_stream::new::<u8>());
            }
        }
        "buckets" => {
            let mut held = Vec::new();
            loop {
                held.push(store::open("state").unwrap());
            }
        }
        "tasks" => {
            let mut held = FuturesUnordered::new();
            loop {
                held.push(Box::pin(monotonic_clock::wait_for(u64::MAX)));
                let _ = futures::poll!(held.next());
            }
        }
        "pass" | "work" | "" | "list" | "messages" | "garbage" | "large" | "ids" | "errors"
        | "settled" | "albums" | "json" => {}
        "texts" => texts(),
        "fields" => fields(),
        "appended" => appended(),
        "clones" => clones(),
        "options" => {
            let mut held = Vec::new();
            loop {
                held.push(RequestOptions::new());
            }
        }
        "composed" => {
            let mut held = Vec::new();
            loop {
                held.push(composed("127.0.0.1", "/"));
            }
        }
        "futures" => {
            let mut held = Vec::new();
            loop {
                held.push(wit_future::new::<
                    Result<(), crate::guest::wasi::http::types::ErrorCode>,
                >(|| Ok(())));
            }
        }
        "unread" => unread().await,
        "uploads" => uploads().await,
        "trailers" => trailers().await,
        "cursors" => cursors(),
        "writes" => loop {
            let bucket = store::open("state").unwrap();
            for number in 0..16_u8 {
                bucket
                    .set(&number.to_string(), &vec![number; 64 * 1024])
                    .unwrap();
            }
            monotonic_clock::wait_for(0).await;
        },
        "lookups" => lookups().await,
        "random" => loop {
            black_box(random::get_random_bytes(64 * 1024));
        },
        "much-random" => {
            let bytes = random::get_random_bytes(1 << 30).len();
            panic!("{bytes} bytes of a gibibyte");
        }
        "settings" => loop {
            black_box(settings::get(&"k".repeat(1024 * 1024)).unwrap());
            black_box(settings::get_all().unwrap());
        },
        other => panic!("there is no attack {other:?}"),
    }
}

/// What `receive` returns.
pub async fn events() -> Vec<Event> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    match config("attack").unwrap_or_default().as_str() {
        "list" => {
            // The same memory, said to be many.
            let json = "x".repeat(1024 * 1024);
            (0..100)
                .map(|n| event(n.to_string(), json.clone()))
                .collect()
        }
        "large" => vec![message(
            call.to_string(),
            "one".to_owned(),
            "x".repeat(1024 * 1024),
        )],
        "messages" => (0..100)
            .map(|n| message(format!("{call}-{n}"), format!("{call}-{n}"), "x".to_owned()))
            .collect(),
        "garbage" => garbage(call),
        "ids" => (0..4)
            .map(|n| {
                let id = format!("{call}-{n}{}", "i".repeat(1024 * 1024));
                match n % 2 {
                    0 => event(id, String::new()),
                    _ => message("1\n2".to_owned(), id, String::new()),
                }
            })
            .collect(),
        "settled" => (0..100)
            .map(|n| match n % 2 {
                0 => settled(format!("{call}-{n}"), format!("key-{n}")),
                _ => settled(format!("{call}-{n}"), "a\nkey".to_owned()),
            })
            .collect(),
        "albums" => vec![album(call.to_string())],
        "json" => vec![event(
            call.to_string(),
            format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000)),
        )],
        _ => std::future::pending().await,
    }
}

/// Events of random bytes.
fn garbage(seed: u64) -> Vec<Event> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let count = random(20) + 1;
    let mut events = Vec::new();
    for _ in 0..count {
        let mut text = || -> String {
            let length = random(40);
            (0..length)
                .map(|_| char::from_u32(random(0x11_0000) as u32).unwrap_or('\0'))
                .collect()
        };
        let (id, person, words) = (text(), text(), text());
        match random(2) {
            0 => events.push(event(id, words)),
            _ => events.push(message(id, person, words)),
        }
    }
    events
}

/// A request of no content.
fn composed(authority: &str, path: &str) -> Request {
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, transmitted) = Request::new(Fields::new(), None, trailers_reader, None);
    drop(transmitted);
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    request
}

/// Sets what is too long, and keeps what is as long as it may be.
fn texts() {
    let mut held = Vec::new();
    loop {
        let request = composed("127.0.0.1", "/");
        if held.len() < 3 {
            let long = "A".repeat(30 * 1024 * 1024);
            let method = request.set_method(&Method::Other(long.clone()));
            method.expect_err("a method of 30 MB");
            let scheme = request.set_scheme(Some(&Scheme::Other(long)));
            scheme.expect_err("a scheme of 30 MB");
        }
        let long = "a".repeat(60 * 1024);
        let authority = request.set_authority(Some(&long));
        authority.expect_err("an authority of 60 KiB");
        let path = request.set_path_with_query(Some(&format!("/{long}")));
        path.expect_err("a path of 60 KiB");
        let token = "A".repeat(64);
        let path = format!("/{}", "p".repeat(16 * 1024 - 1));
        let is_set = request.set_method(&Method::Other(token)).is_ok()
            && request.set_path_with_query(Some(&path)).is_ok();
        if !is_set {
            panic!("refused after {} requests", held.len());
        }
        held.push(request);
    }
}

/// About 100 KiB of fields.
fn many_fields() -> Vec<(String, Vec<u8>)> {
    (0..100)
        .map(|number| (format!("x-{number}"), vec![b'x'; 1000]))
        .collect()
}

fn fields() {
    let mut held = Vec::new();
    loop {
        match Fields::from_list(&many_fields()) {
            Ok(fields) => held.push(fields),
            Err(HeaderError::SizeExceeded) => continue,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn appended() {
    let mut held = Vec::new();
    loop {
        let fields = Fields::new();
        while fields.append("x-x", &[b'x'; 10_000]).is_ok() {}
        held.push(fields);
    }
}

/// Copies of a map share it, until each is changed.
fn clones() {
    let first = Fields::from_list(&many_fields()).unwrap();
    let mut held = Vec::new();
    loop {
        let copy = first.clone();
        let _ = copy.append("x-own", b"x");
        held.push(copy);
    }
}

/// Answers without end whose bodies nobody reads, half of them as streams.
async fn unread() {
    let base = config("base-url").unwrap_or_default();
    let authority = base.strip_prefix("http://").unwrap_or_default();
    let mut open = FuturesUnordered::new();
    for _ in 0..500 {
        let request = composed(authority, "/api/flood");
        request.set_method(&Method::Post).unwrap();
        open.push(Box::pin(client::send(request)));
    }
    let (mut responses, mut streams) = (Vec::new(), Vec::new());
    while let Some(result) = open.next().await {
        let Ok(response) = result else { continue };
        if responses.len() < streams.len() {
            responses.push(response);
            continue;
        }
        let (verdict, verdict_reader) = wit_future::new(|| Ok(()));
        let (content, end) = Response::consume_body(response, verdict_reader);
        streams.push((content, end, verdict));
    }
    for (content, ..) in &mut streams {
        // Some of each, and then no more.
        let _ = content.read(Vec::with_capacity(16)).await;
    }
    let count = responses.len() + streams.len();
    logging::log(Level::Error, "hostile", &format!("{count} answers held"));
    std::future::pending().await
}

/// Bodies without end to a server that does not read them.
async fn uploads() {
    let mut open = FuturesUnordered::new();
    for _ in 0..500 {
        open.push(Box::pin(request("/media/hang", 1024 * 1024 * 1024)));
    }
    while let Some(result) = open.next().await {
        black_box(result.is_ok());
    }
    std::future::pending().await
}

/// Trailers of answers, of which only the handles are kept.
async fn trailers() {
    let base = config("base-url").unwrap_or_default();
    let authority = base.strip_prefix("http://").unwrap_or_default();
    let mut held = Vec::new();
    loop {
        let request = composed(authority, "/api/trailers");
        request.set_method(&Method::Post).unwrap();
        let response = client::send(request).await.unwrap();
        let (_verdict, verdict_reader) = wit_future::new(|| Ok(()));
        let (mut content, end) = Response::consume_body(response, verdict_reader);
        let _ = content.read(Vec::with_capacity(16)).await;
        let trailers = end.await.unwrap();
        held.push(trailers.expect("the server sends some"));
    }
}

/// Listings that are never gone on with.
fn cursors() {
    let bucket = store::open("messages").unwrap();
    for number in 0..1100 {
        let key = format!("{number:04}{}", "k".repeat(500));
        bucket.set(&key, b"").unwrap();
    }
    let mut held = Vec::new();
    loop {
        let bucket = store::open("messages").unwrap();
        for _ in 0..16 {
            bucket.list_keys(None).unwrap();
        }
        held.push(bucket);
    }
}

/// Names that nobody has looked up before.
async fn lookups() {
    let mut open = FuturesUnordered::new();
    for number in 0..400 {
        let request = composed(&format!("n{number}.slow.example"), "/");
        request.set_scheme(Some(&Scheme::Https)).unwrap();
        open.push(Box::pin(client::send(request)));
    }
    while let Some(result) = open.next().await {
        black_box(result.is_ok());
    }
    std::future::pending().await
}

/// Computes without end.
#[inline(never)]
pub fn spin() {
    loop {
        work(1_000_000);
    }
}

/// Honest work: a digest of some mebibytes.
#[inline(never)]
pub fn digest() {
    let mut window: Vec<u32> = (0..64 * 1024).collect();
    for round in 0..200 {
        let mut state = round;
        for word in &mut window {
            state = (state ^ *word).rotate_left(7).wrapping_mul(0x9e37_79b9);
            *word ^= state;
        }
    }
    black_box(window);
}

fn work(rounds: u64) {
    let mut sum = 0_u64;
    for round in 0..rounds {
        sum = black_box(sum.wrapping_mul(31).wrapping_add(round));
    }
    black_box(sum);
}

#[inline(never)]
fn allocate() {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1024 * 1024]));
    }
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the attack")]
fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 16]);
    black_box(recurse(depth + 1)) + here[3]
}

/// Without anything in memory, so that it is the host's stack that ends.
#[inline(never)]
fn deep(depth: u64) -> u64 {
    match depth {
        0 => 0,
        depth => (deep(depth.wrapping_add(1)) ^ depth).rotate_left(5),
    }
}

#[inline(never)]
fn innermost(reason: &str) {
    panic!("{reason}");
}

/// Writes until that is refused, and says why.
fn write(mut entry: impl FnMut(u64) -> (String, usize)) {
    let bucket = store::open("state").unwrap();
    for number in 0.. {
        let (key, length) = entry(number);
        if let Err(error) = bucket.set(&key, &vec![0; length]) {
            panic!("{error:?}");
        }
    }
}

async fn requests() {
    let mut open = FuturesUnordered::new();
    for _ in 0..10_000 {
        open.push(Box::pin(request("/api/hang", 0)));
    }
    while let Some(result) = open.next().await {
        told(result);
    }
}

fn told(result: Result<usize, String>) {
    panic!("{result:?}");
}

/// Posts a body of that many bytes, and reads the answer.
async fn request(path: &str, length: usize) -> Result<usize, String> {
    let base = config("base-url").unwrap_or_default();
    request_to(
        base.strip_prefix("http://").unwrap_or_default(),
        path,
        length,
    )
    .await
}

async fn request_to(authority: &str, path: &str, length: usize) -> Result<usize, String> {
    let (mut content, content_reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (request, transmitted) =
        Request::new(Fields::new(), Some(content_reader), trailers_reader, None);
    drop(transmitted);
    request.set_method(&Method::Post).unwrap();
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    let sending = async {
        let window = 64 * 1024;
        let mut left = length;
        while left > 0 {
            let rest = content.write_all(vec![1; left.min(window)]).await;
            if !rest.is_empty() {
                break;
            }
            left -= left.min(window);
        }
        drop(content);
        let _ = trailers.write(Ok(None)).await;
    };
    let (response, ()) = futures::join!(client::send(request), sending);
    let response = response.map_err(|error| format!("{error:?}"))?;
    let (_verdict, verdict_reader) = wit_future::new(|| Ok(()));
    let (mut content, end) = Response::consume_body(response, verdict_reader);
    let mut read = 0;
    loop {
        let (result, window) = content.read(Vec::with_capacity(64 * 1024)).await;
        read += window.len();
        if !matches!(result, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    end.await.map_err(|error| format!("{error:?}"))?;
    Ok(read)
}
