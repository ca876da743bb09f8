//! The way out through proxies: forwarding, tunnels, and what goes wrong on the way.

use rustls::ClientConfig;
use tokio::io::copy_bidirectional;

use super::proxy_server::{
    REFUSED, TestProxy, TheProxyAlone, Treats, UNAUTHORIZED, certificate, tls_in_front_of,
};
use super::*;
use crate::egress::connector::Connector;

fn through(proxies: Proxies, rule: Rule, config: Option<Arc<ClientConfig>>) -> Egress {
    let connector = |policy| {
        let connector = Connector::new(Arc::new(TheProxyAlone), policy, client::TCP_LIMIT);
        match &config {
            Some(config) => connector.trusting(config.clone()),
            None => connector,
        }
    };
    let client = HttpClient::of(&connector, proxies);
    Egress::new(
        client,
        vec![rule],
        secrets(),
        Limits::default(),
        Clock::new(),
    )
}

fn example() -> Rule {
    Rule::new("https", "example.com", None, "").unwrap()
}

#[tokio::test]
async fn plain_http_is_forwarded_with_the_whole_url_and_the_proxys_credentials() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let proxy = TestProxy::start(server.address, Treats::Well).await;
    let url = format!("http://us%65r:p%40ss@{}/", proxy.address);
    let proxies = Proxies::everything_through(&url).unwrap();
    let rule = Rule::configured("http://example.com:8080").unwrap();
    let egress = through(proxies, rule, None);
    for _ in 0..2 {
        let mut request = get("http://example.com:8080/a?b=c");
        let forged = "Basic forged".parse().unwrap();
        request
            .headers_mut()
            .insert(header::PROXY_AUTHORIZATION, forged);
        let response = egress.send(request, Timeouts::default()).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "ok");
    }
    let (head, _) = server.request(1);
    assert!(
        head.starts_with("GET http://example.com:8080/a?b=c HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("host: example.com:8080"), "{head}");
    // user:p@ss
    assert!(
        head.contains("proxy-authorization: Basic dXNlcjpwQHNz"),
        "{head}"
    );
    assert!(!head.contains("forged"), "{head}");
    assert_eq!(proxy.heads().len(), 1, "one connection is enough");
}

#[tokio::test]
async fn https_goes_through_a_tunnel_whose_ends_are_ours_and_the_servers() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let (acceptor, config) = certificate();
    let upstream = tls_in_front_of(&server, acceptor.clone()).await;
    let plain = TestProxy::start(upstream, Treats::Well).await;
    let secure = TestProxy::start_with(upstream, Treats::Well, Some(acceptor)).await;
    for (proxy, scheme) in [(&plain, "http"), (&secure, "https")] {
        let port = proxy.address.port();
        let url = format!("{scheme}://user:pass@proxy.test:{port}");
        let proxies = Proxies::everything_through(&url).unwrap();
        let mut rule = example();
        rule.credential = bot_token(Placement::Header);
        let egress = through(proxies, rule, Some(config.clone()));
        for _ in 0..2 {
            let mut request = get("https://example.com/a");
            let placeholder = "Bearer {{bot-token}}".parse().unwrap();
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, placeholder);
            let response = egress.send(request, Timeouts::default()).await.unwrap();
            assert_eq!(text(response).await.unwrap(), "ok");
        }
        let [head] = proxy.heads().try_into().unwrap();
        assert!(
            head.starts_with("CONNECT example.com:443 HTTP/1.1\r\n"),
            "{head}"
        );
        // user:pass
        assert!(
            head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"),
            "{head}"
        );
        assert!(!head.contains("s3cret"));
    }
    let (head, _) = server.request(3);
    assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("Bearer s3cret") && !head.contains("proxy-auth"),
        "{head}"
    );

    // The server is who the URL says, or there is no connection.
    let mut rule = Rule::new("https", "example.org", None, "").unwrap();
    rule.credential = bot_token(Placement::Header);
    let egress = through(plain.everything(), rule, Some(config));
    let failure = send(&egress, "https://example.org/").await.err().unwrap();
    assert!(
        matches!(&failure, FailureKind::Tls(why) if why.contains("proxy")),
        "{failure}"
    );
    assert!(failure.nothing_was_sent());
}

#[tokio::test]
async fn names_are_the_proxys_to_resolve_and_addresses_are_still_checked() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let proxy = TestProxy::start(server.address, Treats::Well).await;
    let address = Rule::new("https", "10.0.0.1", None, "").unwrap();
    let egress = through(proxy.everything(), address, None);
    let failure = send(&egress, "https://10.0.0.1/").await.err().unwrap();
    assert!(
        matches!(failure, FailureKind::ProhibitedAddress),
        "{failure}"
    );
    assert_eq!(proxy.heads().len(), 0);

    // Without the proxy the name would be resolved, and is not.
    let failure = send(
        &through(Proxies::none(), example(), None),
        "https://example.com/",
    )
    .await;
    assert!(matches!(failure.err().unwrap(), FailureKind::Dns(_)));
    let direct = through(proxy.everything(), example(), None)
        .shared
        .client
        .direct();
    let limits = Limits::default();
    let direct = Egress::new(direct, vec![example()], secrets(), limits, Clock::new());
    let failure = send(&direct, "https://example.com/").await.err().unwrap();
    assert!(matches!(failure, FailureKind::Dns(_)), "{failure}");
    assert_eq!(proxy.heads().len(), 0);
}

#[tokio::test]
async fn what_is_excepted_goes_direct() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let proxy = TestProxy::start(server.address, Treats::Well).await;
    let url = format!("http://{}", proxy.address);
    for (no_proxy, host, is_direct) in [
        ("", "127.0.0.1", true),
        ("", "proxy.test", false),
        (".test", "proxy.test", true),
        ("*", "proxy.test", true),
    ] {
        let proxies = Proxies::from_environment(&|name| match name {
            "HTTP_PROXY" => Some(url.clone().into()),
            "NO_PROXY" => Some(no_proxy.into()),
            _ => None,
        });
        let url = format!("http://{host}:{}/", server.address.port());
        let egress = through(proxies.unwrap(), Rule::configured(&url).unwrap(), None);
        let before = proxy.heads().len();
        send(&egress, &url).await.unwrap();
        assert_eq!(
            proxy.heads().len() == before,
            is_direct,
            "{host} {no_proxy}"
        );
    }
}

#[tokio::test]
async fn a_proxy_that_fails_is_named_and_nothing_was_sent() {
    let (_, config) = certificate();
    let server = Server::start(OK, Then::KeepOpen).await;
    for (treats, https, expected) in [
        (Treats::With(UNAUTHORIZED), true, "407"),
        (Treats::With(UNAUTHORIZED), false, "407"),
        (Treats::With(REFUSED), true, "no tunnel to this server"),
        (Treats::With("SSH-2.0-OpenSSH\r\n\r\n"), true, "no tunnel"),
        (Treats::With(""), true, "ended the connection"),
        (Treats::Cutting, true, "the tunnel ended"),
    ] {
        let proxy = TestProxy::start(server.address, treats).await;
        for user in ["", "user:hunter2@"] {
            let url = format!("http://{user}{}", proxy.address);
            let proxies = Proxies::everything_through(&url).unwrap();
            let (rule, url) = match https {
                true => (example(), "https://example.com/"),
                false => (
                    Rule::configured("http://example.com").unwrap(),
                    "http://example.com/",
                ),
            };
            let egress = through(proxies, rule, Some(config.clone()));
            let failure = send(&egress, url).await.err().unwrap();
            assert!(matches!(failure, FailureKind::Proxy(_)), "{failure}");
            assert!(failure.nothing_was_sent() && !failure.is_refusal());
            let shown = failure.to_string();
            let start = format!("proxy http://{}: ", proxy.address);
            assert!(
                shown.starts_with(&start) && shown.contains(expected),
                "{shown}"
            );
            assert!(!shown.contains("hunter2"));
        }
    }
    for (url, expected) in [
        ("http://127.0.0.1:1", "can't be reached"),
        ("https://127.0.0.1:1", "can't be reached"),
        ("socks5://127.0.0.1:1", "can't be reached"),
        ("http://other.test:3128", "can't be resolved"),
    ] {
        let proxies = Proxies::everything_through(url).unwrap();
        let egress = through(proxies, example(), Some(config.clone()));
        let failure = send(&egress, "https://example.com/").await.err().unwrap();
        assert!(matches!(failure, FailureKind::Proxy(_)), "{failure}");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
    assert_eq!(server.connections_before_this().await, 0);
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let clock = Clock::new();
    let client = HttpClient::with_proxies(Proxies::everything_through(&url).unwrap());
    let limits = Limits::default();
    let egress = Egress::new(client, vec![example()], secrets(), limits, clock.clone());
    let wait = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        clock.advance(limits.connect);
        stream
    };
    let (result, _) = tokio::join!(send(&egress, "https://example.com/"), wait);
    let failure = result.err().unwrap();
    assert!(matches!(failure, FailureKind::Proxy(_)), "{failure}");
    assert!(failure.nothing_was_sent());
}

#[tokio::test]
async fn a_tunnel_that_ends_after_the_request_may_have_taken_effect() {
    let server = Server::start("", Then::Close).await;
    let (acceptor, config) = certificate();
    let upstream = tls_in_front_of(&server, acceptor).await;
    let proxy = TestProxy::start(upstream, Treats::Well).await;
    let egress = through(proxy.everything(), example(), Some(config));
    let failure = send(&egress, "https://example.com/").await.err().unwrap();
    assert!(
        matches!(failure, FailureKind::ConnectionLost(_)),
        "{failure}"
    );
    assert!(!failure.nothing_was_sent());
}

#[tokio::test]
async fn a_proxy_of_socks_is_a_tunnel_for_both_schemes() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let (acceptor, config) = certificate();
    let secure = tls_in_front_of(&server, acceptor).await;
    for (upstream, url, rule, port) in [
        (secure, "https://example.com/a", example(), 443),
        (
            server.address,
            "http://example.com/a",
            Rule::configured("http://example.com").unwrap(),
            80,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("socks5h://user:pass@{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await?;
            stream.write_all(&[5, 2]).await?;
            let mut login = [0; 11];
            stream.read_exact(&mut login).await?;
            assert_eq!(&login, b"\x01\x04user\x04pass");
            stream.write_all(&[1, 0]).await?;
            let mut request = [0; 18];
            stream.read_exact(&mut request).await?;
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            let mut server = TcpStream::connect(upstream).await?;
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut server).await });
            Ok::<_, io::Error>(request)
        });
        let proxies = Proxies::everything_through(&proxy).unwrap();
        let egress = through(proxies, rule, Some(config.clone()));
        assert_eq!(text(send(&egress, url).await.unwrap()).await.unwrap(), "ok");
        let request = asked.await.unwrap().unwrap();
        assert_eq!(&request[..16], b"\x05\x01\x00\x03\x0bexample.com");
        assert_eq!(u16::from_be_bytes([request[16], request[17]]), port);
    }
    assert!(server.request(1).0.starts_with("GET /a HTTP/1.1\r\n"));
}
