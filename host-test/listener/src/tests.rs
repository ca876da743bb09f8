//! Hostile connections beside honest ones, on a clock that the tests move.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::*;

/// How long a condition may take to come true: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(120);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A server: `/` says `ok` when it has the whole body, `/hang` nothing until it is told, `/large` more
/// than any buffer holds.
struct Served {
    address: SocketAddr,
    clock: Clock,
    /// Requests to `/hang` that are open.
    hanging: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
    /// Bodies of `/large` that have ended.
    ended: Arc<AtomicUsize>,
}

/// Counts up when it goes.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Served {
    async fn start(connections: usize, tls: Option<Arc<Tls>>) -> Served {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = Served {
            address: tcp.local_addr().unwrap(),
            clock: Clock::new(),
            hanging: Arc::default(),
            go_on: Arc::default(),
            ended: Arc::default(),
        };
        let mut listener = Listener::from(tcp).limited(ListenerLimits {
            connections,
            clock: served.clock.clone(),
            ..ListenerLimits::default()
        });
        listener.tls = tls;
        let (hanging, go_on) = (served.hanging.clone(), served.go_on.clone());
        let ended = served.ended.clone();
        let answer = move |request: Request<Received>, _| {
            let (hanging, go_on) = (hanging.clone(), go_on.clone());
            let ended = ended.clone();
            async move { answer(request, &hanging, &go_on, ended).await }
        };
        tokio::spawn(listener.serve("a test", answer));
        served
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection that has sent this.
    async fn sent(&self, bytes: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    /// Whether a new client is served.
    async fn serves(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address).await else {
            return false;
        };
        ask(&mut stream, "/").await.is_ok()
    }

    /// Moves the clock on until a connection is closed.
    async fn moved_until_closed(&self, stream: &mut TcpStream, step: Duration) {
        let mut left = Vec::new();
        let closing = stream.read_to_end(&mut left);
        let moving = async {
            loop {
                self.clock.advance(step);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            // A reset is an end as well.
            _ = tokio::time::timeout(PATIENCE, closing) => {}
            () = moving => {}
        }
    }
}

async fn answer(
    request: Request<Received>,
    hanging: &AtomicUsize,
    go_on: &Notify,
    ended: Arc<AtomicUsize>,
) -> Result<Answer, hyper::Error> {
    let path = request.uri().path().to_owned();
    if path == "/large" {
        let counted = Counted(ended);
        let pieces = stream::unfold((0, counted), |(number, counted)| async move {
            let piece = Bytes::from_static(&[7; 64 * 1024]);
            (number < 1024).then_some((Ok(Frame::data(piece)), (number + 1, counted)))
        });
        return Ok(Response::new(StreamBody::new(pieces).boxed_unsync()));
    }
    request.into_body().collect().await?;
    if path == "/hang" {
        hanging.fetch_add(1, Ordering::SeqCst);
        go_on.notified().await;
    }
    Ok(Response::new(Full::from("ok").boxed_unsync()))
}

/// Asks on an open connection, which stays open.
async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
) -> std::io::Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    answered(stream).await
}

async fn answered(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    Ok(())
}

async fn eventually(what: impl AsyncFn() -> bool) {
    let waiting = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.expect("the condition did not come true");
}

const HEADS: [&str; 6] = [
    "",
    "G",
    "GET / HTTP/1.1",
    "GET / HTTP/1.1\r\nhost: localhost\r\n",
    "GET / HTTP/1.1\r\nhost: localhost\r\nx: yyyyyyyyyyyyy",
    "POST / HTTP/1.1\r\ncontent-length: 3\r\n",
];

#[tokio::test]
async fn half_requests_end_and_honest_ones_go_on_beside_them() {
    let served = Served::start(512, None).await;
    let mut halves = Vec::new();
    for number in 0..300 {
        halves.push(served.sent(HEADS[number % HEADS.len()]).await);
    }
    let mut honest = served.connect().await;
    ask(&mut honest, "/").await.unwrap();
    // All were taken before the honest one; nothing is due yet, and what is sent later is no new time.
    served.clock.advance(Duration::from_secs(9));
    ask(&mut honest, "/").await.unwrap();
    for half in halves.iter_mut().skip(1).step_by(HEADS.len()) {
        half.write_all(b"E").await.unwrap();
    }
    served.clock.advance(Duration::from_secs(1));
    for mut half in halves {
        let mut nothing = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, half.read_to_end(&mut nothing)).await;
        // A reset is an end as well.
        let _ = ended.expect("it is closed");
        assert!(nothing.is_empty(), "{}", String::from_utf8_lossy(&nothing));
    }
    ask(&mut honest, "/").await.unwrap();
    assert!(served.serves().await);
}

#[tokio::test]
async fn a_head_has_its_time_also_after_another_request() {
    let served = Served::start(512, None).await;
    let mut stream = served.connect().await;
    ask(&mut stream, "/").await.unwrap();
    stream.write_all(b"GET / HT").await.unwrap();
    let mut beside = served.connect().await;
    ask(&mut beside, "/").await.unwrap();
    served
        .moved_until_closed(&mut stream, Duration::from_secs(1))
        .await;
}

#[tokio::test]
async fn a_connection_may_rest_for_a_while() {
    let served = Served::start(512, None).await;
    let mut stream = served.connect().await;
    for _ in 0..3 {
        ask(&mut stream, "/").await.unwrap();
        served.clock.advance(Duration::from_secs(59));
    }
    ask(&mut stream, "/").await.unwrap();
    served
        .moved_until_closed(&mut stream, Duration::from_secs(20))
        .await;
    assert!(served.serves().await);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_and_one_that_does_is_taken() {
    let served = Served::start(512, None).await;
    let post = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20000\r\n\r\n";
    for begun in ["", "x"] {
        let mut stream = served.sent(&format!("{post}{begun}")).await;
        served
            .moved_until_closed(&mut stream, Duration::from_secs(5))
            .await;
    }
    // Drops are no progress.
    let mut stream = served.sent(post).await;
    let dripping = async {
        loop {
            served.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
            if stream.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, dripping)
        .await
        .expect("it is closed");
    // 1,000 seconds for the whole are fine where something comes all the time.
    let mut stream = served.sent(post).await;
    for _ in 0..10 {
        served.clock.advance(Duration::from_millis(9_999));
        stream.write_all(&[b'x'; 2000]).await.unwrap();
        assert!(served.serves().await);
    }
    answered(&mut stream).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_and_one_that_is_read_does_not() {
    let served = Served::start(512, None).await;
    let unread: Vec<TcpStream> = futures::future::join_all(
        (0..20).map(|_| served.sent("GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")),
    )
    .await;
    let all_ended = async || {
        served.clock.advance(Duration::from_secs(5));
        served.ended.load(Ordering::SeqCst) == unread.len()
    };
    eventually(all_ended).await;
    assert!(served.serves().await);
    // A reader that takes its time, but less than it may.
    let get = "GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut reader = served.sent(get).await;
    let (mut total, mut piece) = (0, vec![0; 1024 * 1024]);
    loop {
        let length = reader.read(&mut piece).await.unwrap();
        if length == 0 {
            break;
        }
        total += length;
        served.clock.advance(Duration::from_millis(100));
    }
    assert!(total > 64 * 1024 * 1024, "{total}");
}

#[tokio::test]
async fn what_waits_for_this_process_has_no_end() {
    let served = Served::start(512, None).await;
    let mut stream = served
        .sent("GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    eventually(async || served.hanging.load(Ordering::SeqCst) == 1).await;
    for _ in 0..10 {
        served.clock.advance(Duration::from_secs(24 * 3600));
        assert!(served.serves().await);
    }
    served.go_on.notify_one();
    answered(&mut stream).await.unwrap();
}

#[tokio::test]
async fn where_there_is_no_room_the_oldest_that_waits_for_its_client_goes() {
    for waiting in [
        "",
        "GET / HT",
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n",
        "GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        let served = Served::start(8, None).await;
        let mut open = Vec::new();
        for _ in 0..8 {
            open.push(served.sent(waiting).await);
        }
        // Honest ones come and go, and some stay.
        let mut honest = Vec::new();
        for _ in 0..8 {
            eventually(async || served.serves().await).await;
            let mut stream = served.connect().await;
            if ask(&mut stream, "/").await.is_ok() {
                honest.push(stream);
            }
        }
        assert!(!honest.is_empty(), "{waiting}");
    }
}

#[tokio::test]
async fn idle_connections_go_before_those_at_work() {
    let served = Served::start(4, None).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut stream = served.connect().await;
        ask(&mut stream, "/").await.unwrap();
        idle.push(stream);
    }
    let hang = "GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut at_work = Vec::new();
    for _ in 0..4 {
        let open = served.hanging.load(Ordering::SeqCst);
        at_work.push(served.sent(hang).await);
        eventually(async || served.hanging.load(Ordering::SeqCst) == open + 1).await;
    }
    for mut stream in idle {
        let mut nothing = Vec::new();
        let _ = stream.read_to_end(&mut nothing).await;
    }
    // All are at work, so the next one is refused, and none of them suffers.
    assert!(!served.serves().await);
    served.go_on.notify_waiters();
    for stream in &mut at_work {
        answered(stream).await.unwrap();
    }
    eventually(async || served.serves().await).await;
}

/// A certificate for `localhost`, in files.
fn certificate(
    folder: &std::path::Path,
) -> (
    std::path::PathBuf,
    std::path::PathBuf,
    CertificateDer<'static>,
) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let write = |path: &std::path::Path, text: String| {
        std::fs::File::create(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    write(&cert, made.cert.pem());
    write(&key, made.signing_key.serialize_pem());
    (cert, key, made.cert.der().clone())
}

async fn tls_client(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn tls_is_served_and_a_renewed_certificate_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key, first) = certificate(folder.path());
    let clock = Clock::new();
    let tls = Tls::load(&cert, &key, clock.clone()).unwrap();
    let served = Served::start(16, Some(tls)).await;
    let mut stream = tls_client(served.address, &first).await.unwrap();
    ask(&mut stream, "/").await.unwrap();
    // Who speaks no TLS, or nothing, is no trouble, and has an end.
    let mut plain = served
        .sent("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    let mut refused = Vec::new();
    let _ = plain.read_to_end(&mut refused).await;
    assert!(!refused.starts_with(b"HTTP"));
    let mut silent = served.connect().await;
    served
        .moved_until_closed(&mut silent, Duration::from_secs(1))
        .await;

    // Nonsense in the place of the certificate changes nothing; a new one is taken.
    std::fs::write(&cert, "nonsense").unwrap();
    clock.advance(Duration::from_secs(60));
    for _ in 0..3 {
        tls_client(served.address, &first).await.unwrap();
    }
    let (_, _, second) = certificate(folder.path());
    let is_taken = async || {
        clock.advance(Duration::from_secs(60));
        match tls_client(served.address, &second).await {
            Ok(mut stream) => ask(&mut stream, "/").await.is_ok(),
            Err(_) => false,
        }
    };
    eventually(is_taken).await;
}

#[test]
fn what_is_no_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key, _) = certificate(folder.path());
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let (_, other_key, _) = certificate(&other);
    let nonsense = folder.path().join("nonsense.pem");
    std::fs::write(&nonsense, "s3cret").unwrap();
    let nowhere = folder.path().join("nowhere.pem");
    for (cert, key, expect) in [
        (&nowhere, &key, "--tls-cert"),
        (&nonsense, &key, "--tls-cert"),
        (&key, &key, "--tls-cert"),
        (&cert, &nowhere, "--tls-key"),
        (&cert, &nonsense, "--tls-key"),
        (&cert, &cert, "--tls-key"),
        (&cert, &other_key, "--tls-key"),
    ] {
        let error = Tls::load(cert, key, Clock::new())
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with(expect), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
