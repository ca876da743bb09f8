//! Credentials in the path.

use super::*;

const TOKEN: &str = "123456:AAF-s3cret_x";

/// Rules like those of Telegram: `/bot<token>/<method>`, and whatever else the origin has.
fn rules(server: &Server) -> Vec<Rule> {
    let mut api = server.rule().below("/bot{{bot-token}}").unwrap();
    api.credential = Some(Credential {
        name: "bot-token".to_owned(),
        placement: Placement::Path,
    });
    vec![server.rule(), api]
}

fn held() -> Secrets {
    let secrets = Secrets::default();
    secrets.set("bot-token", TOKEN);
    secrets
}

#[tokio::test]
async fn the_credential_stands_in_its_segment_and_chat_text_stays() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let egress = egress(rules(&server), held());
    let chat = r#"{"text":"{{bot-token}}"}"#;
    for path in [
        "/bot{{bot-token}}/sendMessage?a=b",
        "/bot%7B%7bbot-token}%7D/sendMessage?a=b",
    ] {
        let request = post_json(&server.url(path), chat);
        egress.send(request, Timeouts::default()).await.unwrap();
    }
    for number in 0..2 {
        let (head, body) = server.request(number);
        let expected = format!("POST /bot{TOKEN}/sendMessage?a=b HTTP");
        assert!(head.starts_with(&expected), "{head}");
        assert_eq!(body, chat);
    }
}

#[tokio::test]
async fn a_placeholder_elsewhere_goes_nowhere() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let egress = egress(rules(&server), held());
    for path in [
        "/{{bot-token}}/getMe",
        "/bot/{{bot-token}}",
        "/bot{{bot-token}}x/getMe",
        "/bot{{bot-token}}/{{bot-token}}",
        "/bot{{bot-token}}/file/%7B%7Bbot-token%7D%7D",
        "/bot{{other}}/getMe",
        "/bot{{bot-token}}/../getMe",
        "/bot{{bot-token}}/%2e%2e/getMe",
        "/bot{{bot-token}}/getMe?t={{bot-token}}",
        "/bot{{bot-token}}/getMe?t=%7B%7Bbot-token%7D%7D",
        "/other?t={{bot-token}}",
    ] {
        let failure = send(&egress, &server.url(path)).await.err().unwrap();
        assert!(failure.is_refusal(), "{path}: {failure}");
        assert!(failure.nothing_was_sent() && !failure.to_string().contains(TOKEN));
    }
    let mut request = get(&server.url("/bot{{bot-token}}/getMe"));
    let placeholder = "{{bot-token}}".parse().unwrap();
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, placeholder);
    let error = egress.send(request, Timeouts::default()).await.err();
    let kind = error.unwrap().failure;
    assert!(matches!(kind, FailureKind::CredentialNotAllowed { .. }));
    assert_eq!(server.connections_before_this().await, 0);
}

#[tokio::test]
async fn a_credential_that_would_lead_elsewhere_goes_nowhere() {
    let server = Server::start(OK, Then::KeepOpen).await;
    for value in [
        "long-x/../../admin",
        "long-enough?y=",
        "long-enough#",
        "long-enough..",
        "..",
        "long-x\r\nhost: evil",
        "tooshor",
        "",
    ] {
        let secrets = Secrets::default();
        secrets.set("bot-token", value);
        let egress = egress(rules(&server), secrets);
        let failure = send(&egress, &server.url("/bot{{bot-token}}/getMe")).await;
        let failure = failure.err().unwrap();
        let is_refused = matches!(failure, FailureKind::CredentialUnusable { .. });
        assert!(is_refused && failure.nothing_was_sent(), "{value:?}");
    }
    let egress = egress(rules(&server), Secrets::default());
    let failure = send(&egress, &server.url("/bot{{bot-token}}/getMe")).await;
    assert!(matches!(
        failure.err().unwrap(),
        FailureKind::CredentialMissing { .. }
    ));
    assert_eq!(server.connections_before_this().await, 0);
}

#[tokio::test]
async fn an_answer_that_repeats_the_url_comes_without_the_credential() {
    let page = format!(
        "<a href=\"/bot{TOKEN}/x\">/bot123456%3AAAF-s3cret_x/x</a> {}",
        &TOKEN[..8]
    );
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: /bot{TOKEN}/y\r\nx-request: GET /bot{TOKEN}/x\r\n\
         x-other: kept\r\ncontent-length: {}\r\n\r\n{page}",
        page.len()
    );
    let server = Server::start(answer.leak(), Then::KeepOpen).await;
    let egress = egress(rules(&server), held());
    for _ in 0..2 {
        let response = send(&egress, &server.url("/bot{{bot-token}}/x")).await;
        let response = response.unwrap();
        assert!(!format!("{:?}", response.headers()).contains(TOKEN));
        assert!(response.headers().get("location").is_none());
        assert!(response.headers().get("content-length").is_none());
        assert_eq!(response.headers()["x-other"], "kept");
        let body = text(response).await.unwrap();
        let expected = "<a href=\"/bot{{bot-token}}/x\">/bot{{bot-token}}/x</a> 123456:A";
        assert_eq!(body, expected);
    }
    // The search asks for an answer that it can read.
    let head = server.request(0).0;
    assert!(head.contains("accept-encoding: identity"), "{head}");
    assert_eq!(server.connections_before_this().await, 1);
}

#[tokio::test]
async fn an_answer_that_repeats_the_credential_brings_no_new_one() {
    const OTHER: &str = "123456:AAF-another_one";
    for (value, pointer, is_in_use, new) in [
        (TOKEN, "/token", true, None),
        (TOKEN, "/url", true, None),
        (TOKEN, "/token", false, None),
        (TOKEN, "/url", false, None),
        (OTHER, "/token", true, Some(OTHER)),
        (OTHER, "/token", false, Some(OTHER)),
    ] {
        let page = format!(r#"{{"token":"{value}","url":"/bot{value}/x"}}"#);
        let length = page.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{page}");
        let server = Server::start(answer.leak(), Then::KeepOpen).await;
        let mut rules = rules(&server);
        let capture = Capture::new("/bot", pointer, "bot-token").unwrap();
        rules[1].captures.push(match is_in_use {
            true => capture.in_use(),
            false => capture,
        });
        let secrets = held();
        let egress = egress(rules, secrets.clone());
        let response = send(&egress, &server.url("/bot{{bot-token}}/x")).await;
        let body = text(response.unwrap()).await.unwrap();
        assert!(!body.contains(value), "{body}");
        let aside = egress.take_captured("bot-token");
        let aside = aside.as_ref().map(Secret::expose);
        assert_eq!(aside, new.filter(|_| !is_in_use), "{pointer}");
        let used = secrets.value("bot-token").unwrap();
        let in_use = new.filter(|_| is_in_use).unwrap_or(TOKEN);
        assert_eq!(used.expose(), in_use, "{pointer}");
    }
}

#[tokio::test]
async fn what_comes_in_chunks_and_trailers_is_searched_as_well() {
    let (start, end) = TOKEN.split_at(7);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-url\r\n\r\n\
         {:x}\r\n<{start}\r\n{:x}\r\n{end}>\r\n0\r\nx-url: {TOKEN}\r\nx-sum: 1\r\n\r\n",
        start.len() + 1,
        end.len() + 1
    );
    let server = Server::start(answer.leak(), Then::KeepOpen).await;
    let egress = egress(rules(&server), held());
    let response = send(&egress, &server.url("/bot{{bot-token}}/x")).await;
    let collected = response.unwrap().into_body().collect().await.unwrap();
    if let Some(trailers) = collected.trailers() {
        assert!(trailers.get("x-url").is_none(), "{trailers:?}");
    }
    assert_eq!(collected.to_bytes(), "<{{bot-token}}>");
}

#[tokio::test]
async fn an_answer_that_can_not_be_searched_is_an_error() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip",
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 3-4/9",
    ] {
        let answer = format!("{head}\r\ncontent-length: 2\r\n\r\nok");
        let server = Server::start(answer.leak(), Then::KeepOpen).await;
        let egress = egress(rules(&server), held());
        let failure = send(&egress, &server.url("/bot{{bot-token}}/x")).await;
        let failure = failure.err().unwrap();
        let is_hidden = matches!(failure, FailureKind::CredentialHidden { .. });
        assert!(
            is_hidden && !failure.to_string().contains(TOKEN),
            "{failure}"
        );
        // Without the credential nobody has to search.
        assert!(send(&egress, &server.url("/x")).await.is_ok());
    }
}

#[tokio::test]
async fn a_failure_tells_nothing_of_the_path() {
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = refused.local_addr().unwrap();
    drop(refused);
    let odd = Server::start("SSH-2.0-OpenSSH\r\n\r\n", Then::Close).await;
    let cut = Server::start(
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        Then::Close,
    )
    .await;
    for address in [address, odd.address, cut.address] {
        let server = Server {
            address,
            connections: odd.connections.clone(),
            requests: odd.requests.clone(),
            received: odd.received.clone(),
        };
        let egress = egress(rules(&server), held());
        let request = get(&server.url("/bot{{bot-token}}/secret-method"));
        let error = match egress.send(request, Timeouts::default()).await {
            Ok(response) => response.into_body().collect().await.err().unwrap(),
            Err(error) => error,
        };
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(
                !shown.contains(TOKEN) && !shown.contains("secret-method"),
                "{shown}"
            );
        }
    }
}

#[test]
fn a_path_is_counted_without_its_credential() {
    let mut rule = Rule::configured("http://relay/base").unwrap();
    rule = rule.below("/base/bot{{bot-token}}").unwrap();
    let origin = Rule::configured("http://relay/base").unwrap();
    let egress = egress(vec![origin, rule], held());
    for path in ["bot{{bot-token}}/getMe", "bot%7B%7Bbot-token%7D%7D/getMe"] {
        let uri: Uri = format!("http://relay/base/{path}").parse().unwrap();
        let counted = egress.own_path(&uri).unwrap();
        assert_eq!(counted, "/bot{{bot-token}}/getMe");
    }
}
