//! Logins of an account, and another component under it.

use super::*;

#[tokio::test]
async fn a_login_goes_step_by_step() {
    let harness = Harness::new().await;
    let (gateway, account) = harness.serve(Arc::new(EchoAgent), &[]).await;
    let token = harness.simulator.token();
    let credentials = gateway.credentials();
    let home = Home::at("weixin", [harness.simulator.base_url().as_str()]);
    let operator = serve(&gateway).await;
    let path = format!("/accounts/{}/login", account.id());
    assert_eq!(
        operator.get(&path).await.kind(),
        (404, "not-found".to_owned())
    );
    // Another client took the person.
    harness.simulator.log_in_elsewhere(ALICE);
    let step = operator.post(&path, &json!({})).await.json();
    let code = harness.simulator.login(ALICE, Act::ScanWithDigits).unwrap();
    assert_eq!(
        (&step["step"], &step["text"]),
        (&json!("show-qr"), &json!(code.url))
    );
    assert!(step["until_ms"].as_u64().unwrap() > harness.clock.unix_ms());
    let moving = async {
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            harness.clock.advance(Duration::from_millis(100));
        }
    };
    let steps = async {
        assert_eq!(
            operator.get(&path).await.json(),
            json!({"step": "enter-code"})
        );
        let submit = format!("{path}/code");
        let wrong = operator.post(&submit, &json!({"code": "0"})).await;
        assert_eq!(wrong.json(), json!({"step": "enter-code"}));
        let none = operator.post(&submit, &json!({"code": " "})).await;
        assert_eq!(none.kind(), (400, "invalid".to_owned()));
        let confirming = async {
            eventually(async || harness.simulator.qr_codes()[0].status == "scaned").await;
            harness
                .simulator
                .login(ALICE, Act::Confirm)
                .unwrap()
                .account
        };
        let digits = json!({"code": code.digits});
        let (done, bot) = tokio::join!(operator.post(&submit, &digits), confirming);
        // The account's own id stays, also under another bot.
        let expected = json!({"step": "done", "account": account.id()});
        assert_eq!(done.json(), expected);
        let found = credentials.find(account.id(), &home).unwrap().unwrap();
        assert_eq!(found.bot, bot);
        assert!(!found.is_own);
    };
    tokio::select! {
        () = steps => {}
        () = moving => {}
    }
    assert!(
        credentials
            .is_replaced(account.id(), &home, &token)
            .unwrap()
    );
    assert_eq!(credentials.latest(&home).unwrap(), None);
    let begun = operator.post(&path, &json!({})).await.json();
    assert_eq!(begun["step"], "show-qr");
    harness.check();
}

#[tokio::test]
async fn a_component_is_swapped_or_refused_while_the_old_one_goes_on() {
    let (harness, gateway, operator, messages) = met().await;
    let before = gateway.plugin("weixin").unwrap().digest();
    for nonsense in ["", "{}", "\0asm\x01\0\0\0"] {
        let token = format!("Bearer {TOKEN}");
        let answer = operator
            .ask(Method::POST, "/component", Some(&token), nonsense)
            .await;
        assert_eq!(
            answer.kind(),
            (409, "invalid".to_owned()),
            "{}",
            answer.text
        );
    }
    let bytes = crate::gateway::another_component();
    let token = format!("Bearer {TOKEN}");
    let swapped = operator
        .ask(Method::POST, "/component", Some(&token), bytes)
        .await;
    assert_eq!(swapped.status, 200, "{}", swapped.text);
    let after = gateway.plugin("weixin").unwrap().digest();
    assert_ne!(before, after);
    assert_eq!(
        operator.get("/accounts").await.json()[0]["component"],
        json!(&*after)
    );
    let text = json!({"conversation": ALICE, "text": "still here"});
    assert_eq!(operator.post(&messages, &text).await.status, 200);
    let page = operator.get("/metrics").await.text;
    assert!(page.contains("channel_swaps_total"), "{page}");
    harness.check();
}

#[tokio::test]
async fn a_component_that_changes_what_is_trusted_wants_the_operators_word() {
    let (harness, gateway, operator, _) = met().await;
    let token = format!("Bearer {TOKEN}");
    let post = async |path: &str, bytes: Vec<u8>| {
        operator.ask(Method::POST, path, Some(&token), bytes).await
    };
    let before = gateway.plugin("weixin").unwrap().digest();
    // That of another platform is none for these accounts, confirmed or not.
    for path in ["/component", "/component?allow-changes=true"] {
        for other in [env!("HOSTILE"), env!("COMPONENT_WECOM")] {
            let refused = post(path, std::fs::read(other).unwrap()).await;
            assert_eq!(refused.kind(), (409, "invalid".to_owned()));
            assert!(refused.message().contains("platform"), "{}", refused.text);
        }
    }
    let refused = post("/component", crate::gateway::wider_component()).await;
    assert_eq!(refused.kind(), (409, "invalid".to_owned()));
    let message = refused.message();
    for words in ["it reaches https://*.wechax.com/", "?allow-changes=true"] {
        assert!(message.contains(words), "{message}");
    }
    let unknown = post("/component?allow=all", crate::gateway::wider_component()).await;
    assert_eq!(unknown.kind(), (400, "invalid".to_owned()));
    assert_eq!(gateway.plugin("weixin").unwrap().digest(), before);
    let path = "/component?allow-changes=true";
    let swapped = post(path, crate::gateway::wider_component()).await;
    assert_eq!(swapped.status, 200, "{}", swapped.text);
    assert_ne!(gateway.plugin("weixin").unwrap().digest(), before);
    harness.check();
}

#[tokio::test]
async fn nothing_of_a_configured_path_is_shown() {
    let harness = Harness::new().await;
    let base = format!("{}/s3cret-path/bot1", harness.simulator.base_url());
    let config = [("base-url", base.as_str())];
    let (gateway, _account) = harness.serve(Arc::new(EchoAgent), &config).await;
    let operator = serve(&gateway).await;
    // The simulated server knows no such path, and each request is counted all the same.
    let counted = async || {
        harness.clock.advance(Duration::from_millis(500));
        let page = operator.get("/metrics").await.text;
        page.contains("path=\"/ilink/bot/getupdates\",outcome=\"4xx\"")
    };
    eventually(counted).await;
    for path in ["/metrics", "/accounts", "/healthz"] {
        let shown = operator.get(path).await.text;
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
