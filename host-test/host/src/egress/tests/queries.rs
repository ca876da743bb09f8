//! Credentials in the query, and one that an answer brings and the next request carries.

use super::*;

const TOKEN: &str = "a+b/c token=";
const ENCODED: &str = "a%2Bb%2Fc%20token%3D";

/// Rules like those of a platform with a token that is asked for with a secret.
fn rules(server: &Server) -> Vec<Rule> {
    let rule = |path: &str, name: &str| {
        let mut rule = server.rule().below(path).unwrap();
        rule.credential = Some(Credential {
            name: name.to_owned(),
            placement: Placement::Query,
        });
        rule
    };
    let mut send = rule("/send", "access-token");
    let capture = Capture::new("/gettoken", "/access_token", "access-token").unwrap();
    send.captures = vec![capture.in_use()];
    vec![server.rule(), rule("/gettoken", "corp-secret"), send]
}

fn held() -> Secrets {
    let secrets = Secrets::default();
    secrets.set("corp-secret", "s3cret");
    secrets
}

#[tokio::test]
async fn a_captured_token_is_used_by_the_next_request_at_once() {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nlocation: /?s=s3cret\r\ncontent-length: {}\r\n\r\n{{\"access_token\":\"{TOKEN}\"}}",
        TOKEN.len() + 19
    );
    let server = Server::start(answer.leak(), Then::KeepOpen).await;
    let secrets = held();
    let egress = egress(rules(&server), secrets.clone());
    let send_url = server.url("/send?access_token=%7B%7Baccess-token%7D%7D&type=file");
    let early = send(&egress, &send_url).await.err().unwrap();
    assert!(matches!(early, FailureKind::CredentialMissing { .. }));

    let url = server.url("/gettoken?corpid=ww1&corpsecret={{corp-secret}}");
    let response = send(&egress, &url).await.unwrap();
    assert!(!response.headers().contains_key("location"));
    let body = text(response).await.unwrap();
    assert_eq!(body, r#"{"access_token":"{{access-token}}"}"#);
    let head = server.request(0).0;
    assert!(
        head.starts_with("GET /gettoken?corpid=ww1&corpsecret=s3cret HTTP"),
        "{head}"
    );

    send(&egress, &send_url).await.unwrap();
    let head = server.request(1).0;
    let expected = format!("GET /send?access_token={ENCODED}&type=file HTTP");
    assert!(head.starts_with(&expected), "{head}");
    // In use, and nobody has to take it.
    assert_eq!(secrets.values("access-token")[0].expose(), TOKEN);
    assert_eq!(egress.take_captured("access-token"), None);
}

#[tokio::test]
async fn each_credential_stays_at_its_own_path_and_in_the_query() {
    let server = Server::start(OK, Then::KeepOpen).await;
    let secrets = held();
    secrets.set("access-token", TOKEN);
    let egress = egress(rules(&server), secrets);
    for path in [
        "/gettoken?t={{access-token}}",
        "/send?t={{corp-secret}}",
        "/send?t=%7B%7Bcorp-secret%7D%7D",
        "/other?t={{access-token}}",
        "/sendmore?t={{access-token}}",
    ] {
        let failure = send(&egress, &server.url(path)).await.err().unwrap();
        let is_refused = matches!(failure, FailureKind::CredentialNotAllowed { .. });
        assert!(is_refused && failure.nothing_was_sent(), "{path}");
    }
    for path in ["/send/{{access-token}}", "/send?t=x{{access-token}}"] {
        let failure = send(&egress, &server.url(path)).await.err().unwrap();
        assert!(matches!(failure, FailureKind::Denied(_)), "{path}");
    }
    let mut request = get(&server.url("/send"));
    let placeholder = "{{access-token}}".parse().unwrap();
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, placeholder);
    let error = egress.send(request, Timeouts::default()).await.err();
    let failure = error.unwrap().failure;
    assert!(matches!(failure, FailureKind::CredentialNotAllowed { .. }));
    assert_eq!(server.connections_before_this().await, 0);

    let chat = r#"{"text":"{{access-token}}"}"#;
    let request = post_json(&server.url("/send?t={{access-token}}"), chat);
    egress.send(request, Timeouts::default()).await.unwrap();
    let (head, body) = server.request(1);
    assert!(
        head.starts_with(&format!("POST /send?t={ENCODED} ")),
        "{head}"
    );
    assert_eq!(body, chat);
}

#[tokio::test]
async fn a_failure_tells_nothing_of_the_query() {
    let secrets = held();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut rule = Rule::configured(&format!("http://{address}/")).unwrap();
    rule.credential = Some(Credential {
        name: "corp-secret".to_owned(),
        placement: Placement::Query,
    });
    let egress = egress(vec![rule], secrets);
    for query in [
        "s={{corp-secret}}&corpid=ww1",
        "corpid=ww1&s=x{{corp-secret}}",
    ] {
        let request = get(&format!("http://{address}/gettoken?{query}"));
        let error = egress.send(request, Timeouts::default()).await.err();
        let error = error.unwrap();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(
                !shown.contains("s3cret") && !shown.contains("ww1"),
                "{shown}"
            );
        }
    }
}
