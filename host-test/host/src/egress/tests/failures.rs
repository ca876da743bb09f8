//! What a request fails with, what each wait may take, and what bodies may hold.

use super::*;

#[tokio::test]
async fn failures_before_the_request_say_that_nothing_was_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let rule = Rule::configured(&format!("http://{address}")).unwrap();
    let failure = send(
        &egress(vec![rule], secrets()),
        &format!("http://{address}/"),
    )
    .await;
    let failure = failure.err().unwrap();
    assert!(
        matches!(failure, FailureKind::Connect(_)) && failure.nothing_was_sent(),
        "{failure}"
    );

    // A server that speaks no TLS.
    let server = Server::start(OK, Then::Close).await;
    let url = format!("https://{}/", server.address);
    let egress = egress(vec![Rule::configured(&url).unwrap()], secrets());
    let failure = send(&egress, &url).await.err().unwrap();
    assert!(
        matches!(failure, FailureKind::Tls(_)) && failure.nothing_was_sent(),
        "{failure}"
    );

    struct Nowhere;
    impl Resolve for Nowhere {
        fn resolve(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            async { Err(io::Error::other("no such name")) }.boxed()
        }
    }
    let rule = Rule::new("https", "example.com", None, "").unwrap();
    let client = HttpClient::with_resolver(Arc::new(Nowhere), Proxies::none());
    let egress = Egress::new(
        client,
        vec![rule],
        secrets(),
        Limits::default(),
        Clock::new(),
    );
    let failure = send(&egress, "https://example.com/").await.err().unwrap();
    assert!(
        matches!(failure, FailureKind::Dns(_)) && failure.nothing_was_sent(),
        "{failure}"
    );
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_ends_in_time() {
    let clock = Clock::new();
    let rule = Rule::new("https", "example.com", None, "").unwrap();
    let limits = Limits::default();
    let egress = Egress::new(client(&[]), vec![rule], secrets(), limits, clock.clone());
    let wait = async {
        tokio::task::yield_now().await;
        clock.advance(limits.connect);
    };
    let (result, ()) = tokio::join!(send(&egress, "https://example.com/"), wait);
    let failure = result.err().unwrap();
    assert!(
        matches!(failure, FailureKind::ConnectTimeout(_)),
        "{failure}"
    );
    assert!(failure.nothing_was_sent());
}

#[tokio::test]
async fn an_answer_that_does_not_begin_ends_in_time() {
    let mut server = Server::start("", Then::KeepOpen).await;
    let clock = Clock::new();
    let limits = Limits::default();
    let client = client(&[]);
    let egress = Egress::new(
        client,
        vec![server.rule()],
        secrets(),
        limits,
        clock.clone(),
    );
    let url = server.url("/");
    let options = Timeouts {
        first_byte: Some(Duration::from_secs(40)),
        ..Timeouts::default()
    };
    let wait = async {
        server.received.wait_for(|count| *count == 1).await.unwrap();
        clock.advance(Duration::from_secs(40));
    };
    let (result, ()) = tokio::join!(egress.send(get(&url), options), wait);
    let failure = result.err().unwrap().failure;
    assert!(
        matches!(failure, FailureKind::FirstByteTimeout(_)),
        "{failure}"
    );
    assert!(!failure.nothing_was_sent());
}

#[tokio::test]
async fn an_upload_that_moves_is_not_taken_for_a_silent_server() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let clock = Clock::new();
    let limits = Limits::default();
    let client = client(&[]);
    let egress = Egress::new(
        client,
        vec![server.rule()],
        secrets(),
        limits,
        clock.clone(),
    );
    let slow = limits.first_byte.mul_f32(0.9);
    let frames = futures::stream::iter(vec![clock; 5]).then(move |clock| async move {
        clock.advance(slow);
        tokio::task::yield_now().await;
        Ok::<_, io::Error>(Frame::data(Bytes::from("x")))
    });
    let request = Request::post(server.url("/"))
        .body(StreamBody::new(frames))
        .unwrap();
    let response = egress.send(request, Timeouts::default()).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "ok");
}

#[tokio::test]
async fn an_answer_that_pauses_for_too_long_is_an_error() {
    const PART: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    for (by, total) in [
        (Limits::default().between_bytes, false),
        (Limits::default().total, true),
    ] {
        let server = Server::start(PART, Then::KeepOpen).await;
        let clock = Clock::new();
        let limits = Limits::default();
        let client = client(&[]);
        let egress = Egress::new(
            client,
            vec![server.rule()],
            secrets(),
            limits,
            clock.clone(),
        );
        let mut body = send(&egress, &server.url("/")).await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "hello");
        assert!(body.frame().now_or_never().is_none());
        clock.advance(by);
        let failure = body.frame().await.unwrap().unwrap_err().failure;
        assert_eq!(
            matches!(failure, FailureKind::BodyTimeout(_)),
            !total,
            "{failure}"
        );
        assert_eq!(
            matches!(failure, FailureKind::TotalTimeout(_)),
            total,
            "{failure}"
        );
        assert!(!failure.nothing_was_sent());
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn answers_that_break_off_are_errors() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let server = Server::start(answer, Then::Close).await;
        let egress = egress(vec![server.rule()], Secrets::default());
        let response = send(&egress, &server.url("/")).await.unwrap();
        let failure = text(response).await.unwrap_err();
        assert!(matches!(failure, FailureKind::Incomplete(_)), "{failure}");
        assert!(!failure.nothing_was_sent());
    }
}

#[tokio::test]
async fn a_lost_connection_may_have_taken_effect() {
    let server = Server::start("", Then::Close).await;
    let egress = egress(vec![server.rule()], Secrets::default());
    let failure = send(&egress, &server.url("/")).await.err().unwrap();
    assert!(
        matches!(failure, FailureKind::ConnectionLost(_)),
        "{failure}"
    );
    assert!(!failure.nothing_was_sent());
}

#[tokio::test]
async fn answers_that_are_no_http_are_errors() {
    let long: &'static str =
        format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(200_000)).leak();
    let many: &'static str = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)).leak();
    for answer in ["SSH-2.0-OpenSSH\r\n\r\n", long, many] {
        let server = Server::start(answer, Then::KeepOpen).await;
        let egress = egress(vec![server.rule()], Secrets::default());
        let failure = send(&egress, &server.url("/")).await.err().unwrap();
        assert!(matches!(failure, FailureKind::Protocol(_)), "{failure}");
        assert!(!failure.nothing_was_sent());
    }
}

#[tokio::test]
async fn bodies_are_cut_off_at_the_limits() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let with_credential = |placement| {
        let mut rule = server.rule();
        rule.credential = Some(Credential {
            name: "bot-token".to_owned(),
            placement,
        });
        rule
    };
    // The limit of media holds where no credential goes, or one in the query as WeCom has it; the
    // others hold where one goes elsewhere.
    for (rule, most, fits, name) in [
        (server.rule(), (1, 1, 2), true, ""),
        (server.rule(), (9, 9, 1), false, "media_bytes"),
        (with_credential(Placement::Query), (1, 1, 2), true, ""),
        (with_credential(Placement::Header), (9, 2, 1), true, ""),
        (
            with_credential(Placement::Header),
            (9, 1, 9),
            false,
            "response_bytes",
        ),
    ] {
        let (request_bytes, response_bytes, media_bytes) = most;
        let limits = Limits {
            request_bytes,
            response_bytes,
            media_bytes,
            ..Limits::default()
        };
        let egress = Egress::new(client(&[]), vec![rule], secrets(), limits, Clock::new());
        let result = text(send(&egress, &server.url("/")).await.unwrap()).await;
        match result {
            Ok(body) => assert!(fits && body == "ok"),
            Err(failure) => {
                let named = matches!(failure, FailureKind::ResponseTooLarge { limit: 1, name: given } if given == name);
                assert!(named && !fits, "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_or_breaks_off() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let limits = Limits {
        media_bytes: 3,
        ..Limits::default()
    };
    let egress = Egress::new(
        client(&[]),
        vec![server.rule()],
        secrets(),
        limits,
        Clock::new(),
    );
    let post = |body| Request::post(server.url("/")).body(body).unwrap();
    let known = Full::new(Bytes::from_static(b"four")).boxed();
    let failure = egress
        .send(post(known), Timeouts::default())
        .await
        .err()
        .unwrap()
        .failure;
    assert!(failure.is_refusal(), "{failure}");
    let frames = ["aa", "bb"].map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
    let unknown = BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)));
    let failure = egress
        .send(post(unknown), Timeouts::default())
        .await
        .err()
        .unwrap()
        .failure;
    assert!(!failure.nothing_was_sent(), "{failure}");
    assert!(failure.to_string().contains("`media_bytes`"), "{failure}");
}

#[test]
fn callers_can_only_shorten_the_limits() {
    let limits = Limits::default().shortened(Timeouts {
        connect: Some(Duration::from_secs(1)),
        first_byte: Some(Duration::MAX),
        between_bytes: None,
    });
    assert_eq!(limits.connect, Duration::from_secs(1));
    assert_eq!(limits.first_byte, Limits::default().first_byte);
    assert_eq!(limits.between_bytes, Limits::default().between_bytes);
}

#[tokio::test]
async fn errors_hold_no_secrets() {
    let url = "https://user:hunter2@example.com:8443/path?token=s3cret";
    let error = egress(vec![], secrets())
        .send(get(url), Timeouts::default())
        .await;
    let error = error.err().unwrap();
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(shown.contains("https://example.com:8443"), "{shown}");
        for secret in ["hunter2", "s3cret", "path", "token="] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
