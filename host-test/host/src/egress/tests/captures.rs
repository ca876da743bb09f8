//! Credentials that arrive, and credentials that change, over real connections.

use super::*;

const TOKEN: &str = "bot@im.bot:canary-5d1f";
const PATH: &str = "/ilink/bot/get_qrcode_status";

fn captures() -> Vec<Capture> {
    vec![Capture::new(PATH, "/bot_token", "bot-token").unwrap()]
}

/// A server with this answer, and a way out that takes the token out of it.
async fn capturing(answer: String) -> (Server, Egress) {
    let server = Server::start(answer.leak(), Then::Close).await;
    let mut rule = server.rule();
    rule.credential = bot_token(Placement::Header);
    rule.captures = captures();
    let egress = egress(vec![rule], secrets());
    (server, egress)
}

fn confirmed() -> String {
    format!(r#"{{"status":"confirmed","bot_token": "{TOKEN}","baseurl":"x","n":1.50}}"#)
}

fn with_length(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{more}content-length: {length}\r\n\r\n{body}")
}

fn chunked(body: &str) -> String {
    let chunks: Vec<String> = body
        .as_bytes()
        .chunks(7)
        .map(|chunk| {
            format!(
                "{:x}\r\n{}\r\n",
                chunk.len(),
                String::from_utf8_lossy(chunk)
            )
        })
        .collect();
    let chunks = chunks.concat();
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

#[tokio::test]
async fn a_token_that_arrives_is_kept_and_its_placeholder_handed_on() {
    for answer in [
        with_length("200 OK", "", &confirmed()),
        with_length("200 OK", "content-encoding: identity\r\n", &confirmed()),
        with_length(
            "403 Forbidden",
            "content-type: text/plain\r\n",
            &confirmed(),
        ),
        with_length(
            "302 Found",
            &format!("location: /?t={TOKEN}\r\n"),
            &confirmed(),
        ),
        chunked(&confirmed()),
        // Until the end of the connection.
        format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}",
            confirmed()
        ),
    ] {
        let (server, egress) = capturing(answer).await;
        let mut request = get(&server.url(&format!("{PATH}?qrcode=1")));
        for (name, value) in [("accept-encoding", "gzip, br"), ("range", "bytes=46-60")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let response = egress.send(request, Timeouts::default()).await.unwrap();
        let expected = confirmed().replace(TOKEN, "{{bot-token}}");
        let headers = response.headers();
        assert_eq!(headers["content-length"], expected.len().to_string());
        assert!(!headers.contains_key("transfer-encoding"));
        assert!(!format!("{headers:?}").contains(TOKEN));
        assert_eq!(
            response.body().size_hint().exact(),
            Some(expected.len() as u64)
        );
        assert_eq!(text(response).await.unwrap(), expected);

        let head = server.request(0).0;
        assert!(head.contains("accept-encoding: identity"), "{head}");
        assert!(!head.contains("gzip") && !head.contains("range"), "{head}");
        // It is kept for who asks, once, and no request uses it by itself.
        assert_eq!(
            egress.shared.secrets.values("bot-token")[0].expose(),
            "s3cret"
        );
        let value = egress.take_captured("bot-token").unwrap();
        assert_eq!(value.expose(), TOKEN);
        assert!(!format!("{value:?}").contains(TOKEN));
        assert_eq!(egress.take_captured("bot-token"), None);
    }
}

#[tokio::test]
async fn a_large_answer_is_searched_beside_the_runtimes_threads() {
    // On one thread, which goes on with other work meanwhile: the search is another thread's.
    let members: Vec<String> = (0..20_000)
        .map(|number| format!(r#""n{number}":"token-{number:012}""#))
        .collect();
    let body = format!(r#"{{"bot_token":"{TOKEN}",{}}}"#, members.join(","));
    assert!(body.len() > share::SMALL_BODY_BYTES && body.len() < MAX_CAPTURED_BYTES);
    let (server, egress) = capturing(with_length("200 OK", "", &body)).await;
    let response = send(&egress, &server.url(PATH)).await.unwrap();
    assert_eq!(
        text(response).await.unwrap(),
        body.replace(TOKEN, "{{bot-token}}")
    );
    assert_eq!(egress.take_captured("bot-token").unwrap().expose(), TOKEN);

    let repeated = vec![format!(r#""bot_token":"{TOKEN}""#); 20_000].join(",");
    let answer = with_length("200 OK", "", &format!("{{{repeated}}}"));
    let (server, egress) = capturing(answer).await;
    let error = send(&egress, &server.url(PATH)).await.err().unwrap();
    let told = error.to_string();
    assert!(told.contains("more than 8 values"), "{told}");
    assert!(!told.contains(TOKEN), "{told}");
    assert_eq!(egress.take_captured("bot-token"), None);
}

#[tokio::test]
async fn answers_without_a_token_are_handed_on_as_they_are() {
    for body in [
        r#"{ "status":"wait" }"#,
        r#"{"bot_token":""}"#,
        r#"{"bot_token":7}"#,
        "",
    ] {
        for answer in [with_length("200 OK", "", body), chunked(body)] {
            let (server, egress) = capturing(answer).await;
            let response = send(&egress, &server.url(PATH)).await.unwrap();
            assert_eq!(text(response).await.unwrap(), body);
            assert_eq!(egress.take_captured("bot-token"), None);
        }
    }
    let (server, egress) = capturing("HTTP/1.1 204 No Content\r\n\r\n".to_owned()).await;
    let response = send(&egress, &server.url(PATH)).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(text(response).await.unwrap(), "");
}

#[tokio::test]
async fn what_may_hide_a_token_is_not_handed_on() {
    let large = format!(
        r#"{{"bot_token":"{TOKEN}","x":"{}"}}"#,
        "x".repeat(MAX_CAPTURED_BYTES)
    );
    for (answer, reason) in [
        (with_length("200 OK", "", &confirmed()[1..]), "no JSON"),
        (
            with_length("502 Bad Gateway", "", &format!("<p>{TOKEN}")),
            "no JSON",
        ),
        (
            with_length("200 OK", "content-encoding: gzip\r\n", &confirmed()),
            "compressed",
        ),
        (
            with_length("206 Partial Content", "", &format!("\"{TOKEN}\"")),
            "part",
        ),
        (with_length("200 OK", "", &large), "1 MiB"),
    ] {
        let (server, egress) = capturing(answer).await;
        let error = egress
            .send(get(&server.url(PATH)), Timeouts::default())
            .await;
        let error = error.err().unwrap();
        assert!(
            matches!(error.failure, FailureKind::CredentialHidden { .. }),
            "{error}"
        );
        assert!(!error.failure.nothing_was_sent());
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(
                shown.contains(reason) && shown.contains("bot-token"),
                "{shown}"
            );
            assert!(!shown.contains(TOKEN), "{shown}");
        }
        assert_eq!(egress.take_captured("bot-token"), None);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_gives_nothing() {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{}",
        confirmed()
    );
    let (server, egress) = capturing(answer).await;
    let failure = send(&egress, &server.url(PATH)).await.err().unwrap();
    assert!(matches!(failure, FailureKind::Incomplete(_)), "{failure}");
    assert_eq!(egress.take_captured("bot-token"), None);
}

#[tokio::test]
async fn captures_hold_for_their_path_and_for_places_that_carry_the_credential() {
    let answer: &str = with_length("200 OK", "", &confirmed()).leak();
    let server = Server::start(answer, Then::KeepOpen).await;
    let other = bot_token(Placement::Header).map(|credential| Credential {
        name: "other".to_owned(),
        ..credential
    });
    for (credential, path, taken) in [
        (bot_token(Placement::Header), PATH, true),
        (bot_token(Placement::JsonBody), PATH, true),
        (
            bot_token(Placement::Header),
            "/ilink/bot/get%5Fqrcode_status",
            true,
        ),
        (bot_token(Placement::Header), "/ilink/bot/getupdates", false),
        (other, PATH, false),
        (None, PATH, false),
    ] {
        let mut rule = server.rule();
        rule.credential = credential;
        rule.captures = captures();
        let egress = egress(vec![server.rule(), rule], secrets());
        let response = send(&egress, &server.url(path)).await.unwrap();
        let body = text(response).await.unwrap();
        assert_eq!(body.contains(TOKEN), !taken, "{path}");
        assert_eq!(egress.take_captured("bot-token").is_some(), taken, "{path}");
    }
}

#[tokio::test]
async fn a_rule_without_the_credential_is_no_way_around_a_capture() {
    let server = Server::start(
        with_length("200 OK", "", &confirmed()).leak(),
        Then::KeepOpen,
    )
    .await;
    let port = server.address.port();
    let mut narrow = Rule::new("http", "127.0.0.1", Some(port), "/ilink/bot").unwrap();
    narrow.configured = true;
    narrow.credential = bot_token(Placement::Header);
    narrow.captures = captures();
    let egress = egress(vec![server.rule(), narrow], secrets());
    for path in [
        PATH,
        "//ilink/bot/get_qrcode_status",
        "/Ilink/bot/get_qrcode_status",
    ] {
        let response = send(&egress, &server.url(path)).await.unwrap();
        assert!(!text(response).await.unwrap().contains(TOKEN), "{path}");
        assert!(egress.take_captured("bot-token").is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_changed_secret_is_used_by_the_next_request_while_another_hangs() {
    let mut silent = Server::start("", Then::KeepOpen).await;
    let server = Server::start(OK, Then::KeepOpen).await;
    let mut rules = Vec::new();
    for placement in [Placement::Header, Placement::JsonBody] {
        for mut rule in [silent.rule(), server.rule()] {
            rule.credential = bot_token(placement);
            rules.push(rule);
        }
    }
    let secrets = secrets();
    let egress = egress(rules, secrets.clone());
    let request = |url: &str| {
        let mut request = post_json(url, r#"{"list":["{{bot-token}}"]}"#);
        let placeholder = "Bearer {{bot-token}}".parse().unwrap();
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, placeholder);
        request
    };
    let hanging = tokio::spawn({
        let (egress, request) = (egress.clone(), request(&silent.url("/")));
        async move { egress.send(request, Timeouts::default()).await.is_ok() }
    });
    silent.received.wait_for(|count| *count == 1).await.unwrap();
    for (values, header, body) in [
        (&["new"][..], "Bearer new", r#"["new"]"#),
        (&["newer", "new"], "Bearer newer", r#"["newer","new"]"#),
    ] {
        secrets.set_all("bot-token", values);
        let sent = server.requests.lock().unwrap().len();
        egress
            .send(request(&server.url("/")), Timeouts::default())
            .await
            .unwrap();
        let (head, sent) = server.request(sent);
        assert!(
            head.contains(&format!("authorization: {header}\r\n")),
            "{head}"
        );
        assert!(sent.contains(body), "{sent}");
    }
    assert!(silent.request(0).0.contains("Bearer s3cret"));
    assert!(!hanging.is_finished());
    hanging.abort();
}
