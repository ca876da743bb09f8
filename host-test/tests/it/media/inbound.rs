//! What people send, as the agent gets it.

use gateway_simulator::Fault;
use gateway_simulator::faults::Reference;
use gateway_simulator::ilink::rules::FileForm;
use gateway_simulator::ilink::{Endpoint, RuleChanges};

use super::*;

#[tokio::test]
async fn what_a_person_sends_reaches_the_agent_as_it_was() {
    for (kind, name, expect, mime) in [
        (
            SentKind::Image,
            "a.png",
            MediaKind::Image,
            "application/octet-stream",
        ),
        (
            SentKind::File,
            "报告 📎.pdf",
            MediaKind::File,
            "application/pdf",
        ),
        (
            SentKind::Video,
            "v.mp4",
            MediaKind::Video,
            "application/octet-stream",
        ),
        (
            SentKind::Voice,
            "v.silk",
            MediaKind::Voice,
            "application/octet-stream",
        ),
    ] {
        for size in [1, 16, 70_000] {
            let harness = Harness::new().await;
            let agent = Recorder::new(|_, _| async { Ok(None) });
            let _account = started(&harness, agent.clone()).await;
            let bytes = content(size);
            harness
                .simulator
                .send_file(ALICE, kind, name, bytes.clone());
            let media = received(&agent).await;
            assert_eq!(media.len(), 1);
            assert_eq!(media[0].kind, expect);
            assert_eq!(media[0].wav_url, None);
            if expect == MediaKind::File {
                assert_eq!(media[0].name.as_deref(), Some(name));
                assert_eq!(media[0].size, Some(size as u64));
            }
            let url = media[0].url.as_deref().unwrap();
            let (status, _, body) = get("HEAD", url).await;
            assert_eq!((status, body.unwrap().len()), (StatusCode::OK, 0));
            assert_eq!(
                harness.simulator.counters().downloads,
                0,
                "only when asked for"
            );
            let (status, found, body) = get("GET", url).await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(found, mime);
            assert_eq!(body.unwrap(), bytes, "{name} {size}");
            harness.check();
        }
    }
}

#[tokio::test]
async fn content_is_named_by_what_it_is() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let _account = started(&harness, agent.clone()).await;
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(content(100));
    harness
        .simulator
        .send_file(ALICE, SentKind::File, "photo.jpg", png);
    let media = received(&agent).await;
    let (_, mime, _) = get("GET", media[0].url.as_deref().unwrap()).await;
    assert_eq!(mime, "image/png");
}

#[tokio::test]
async fn every_form_of_the_key_and_of_the_reference_is_read() {
    for key in [
        "usual",
        "hex",
        "base64",
        "base64-hex",
        "base64-hex-upper",
        "none",
    ] {
        for reference in ["both", "param", "full-url"] {
            let harness = Harness::new().await;
            harness
                .simulator
                .faults(&json!({"files": {"key": key, "reference": reference}}))
                .unwrap();
            let agent = Recorder::new(|_, _| async { Ok(None) });
            let _account = started(&harness, agent.clone()).await;
            let bytes = content(1000);
            harness
                .simulator
                .send_file(ALICE, SentKind::Image, "a.png", bytes.clone());
            let media = received(&agent).await;
            let url = media[0].url.as_deref().unwrap();
            let (_, _, body) = get("GET", url).await;
            assert_eq!(body.unwrap(), bytes, "{key} {reference}");
            harness.check();
        }
    }
}

#[tokio::test]
async fn media_without_a_usable_reference_has_no_url() {
    let harness = Harness::new().await;
    harness
        .simulator
        .change(&RuleChanges::new().files(Some(FileForm::new().reference(Reference::Neither))))
        .unwrap();
    let (agent, _account) = silent(&harness).await;
    harness
        .simulator
        .send_file(ALICE, SentKind::Image, "a.png", content(10));
    assert_eq!(received(&agent).await[0].url, None);
}

#[tokio::test]
async fn media_of_a_quote_is_read_and_a_transcript_passed_on() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let _account = started(&harness, agent.clone()).await;
    let mut voice = File::new(SentKind::Voice, "v", Content::bytes(content(100)));
    voice.transcript = Some("good morning".to_owned());
    let account = harness.simulator.first();
    account.push(ALICE, vec![account.store_file(&voice)]);
    let media = received(&agent).await;
    assert_eq!(media[0].transcript.as_deref(), Some("good morning"));
    assert!(media[0].url.is_some());

    let picture = File::new(SentKind::Image, "p", Content::bytes(content(50)));
    let mut question = json!({"type": 1, "text_item": {"text": "what is this?"}});
    question["ref_msg"] = json!({"message_item": account.store_file(&picture)});
    account.push(ALICE, vec![question]);
    eventually(async || agent.texts().len() == 2).await;
    let url = {
        let asked = agent.asked.lock().unwrap();
        assert_eq!(asked[1].text, "what is this?");
        asked[1].media[0].url.clone().unwrap()
    };
    assert_eq!(get("GET", &url).await.2.unwrap(), content(50));
}

#[tokio::test]
async fn content_that_is_not_whole_never_ends_as_if_it_were() {
    for fault in [
        json!({"wrong_key": true}),
        json!({"bad_padding": true}),
        json!({"truncated": true}),
        json!({"cut": "body"}),
        json!({"status": 404}),
        json!({"redirect": "http://127.0.0.1:1/"}),
    ] {
        let harness = Harness::new().await;
        let agent = Recorder::replying();
        let _account = started(&harness, agent.clone()).await;
        harness
            .simulator
            .faults(&json!({"download": fault}))
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        harness
            .simulator
            .send_file(ALICE, SentKind::File, "a.bin", content(500_000));
        let media = received(&agent).await;
        let (status, _, body) = get("GET", media[0].url.as_deref().unwrap()).await;
        assert!(!status.is_success() || body.is_none(), "{fault}: {status}");
        // What comes after it arrives.
        harness.simulator.say(ALICE, "and now?");
        harness
            .until(|simulator| {
                let answers = simulator.answers(ALICE);
                answers.iter().any(|answer| answer == "re: and now?")
            })
            .await;
    }
}

#[tokio::test]
async fn a_passing_failure_of_the_download_passes() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let _account = started(&harness, agent.clone()).await;
    harness
        .simulator
        .fault(Endpoint::Download, Fault::status(500).times(2))
        .unwrap();
    harness
        .simulator
        .send_file(ALICE, SentKind::Image, "a.png", content(100));
    let media = received(&agent).await;
    let url = media[0].url.clone().unwrap();
    let mut getting = std::pin::pin!(get("GET", &url).shared());
    let body = loop {
        tokio::select! {
            (_, _, body) = &mut getting => break body,
            () = tokio::time::sleep(Duration::from_millis(5)) => {
                harness.clock.advance(Duration::from_millis(300));
            }
        }
    };
    assert_eq!(body.unwrap(), content(100));
}

#[tokio::test]
async fn a_url_of_the_server_that_leads_elsewhere_is_not_opened() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let visits = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while elsewhere.accept().await.is_ok() {
            *counted.lock().unwrap() += 1;
        }
    });
    let harness = Harness::new().await;
    let cdn = harness.simulator.cdn_base_url();
    let authority = cdn.trim_start_matches("http://").trim_end_matches("/c2c");
    for url in [
        format!("http://127.0.0.1:{port}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("http://{authority}@127.0.0.1:{port}/x"),
        format!("http://localhost:{port}/x"),
        format!("http://[::ffff:127.0.0.1]:{port}/x"),
        format!("https://weixin.qq.com.localhost:{port}/x"),
        format!("https://novac2c.cdn.weixin.qq.com:{port}/x"),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"files": {"reference": "full-url", "full_url": url}}))
            .unwrap();
        let agent = sending("", vec![data("a.txt", b"hello")]);
        let _account = started(&harness, agent.clone()).await;
        harness
            .simulator
            .send_file(ALICE, SentKind::Image, "a.png", content(10));
        let media = received(&agent).await;
        let (status, _, _) = get("GET", media[0].url.as_deref().unwrap()).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{url}");
        // And the same for an upload.
        harness
            .simulator
            .faults(&json!({"getuploadurl": {"upload_full_url": url}}))
            .unwrap();
        harness.simulator.say(BOB, "send me something");
        harness
            .until(|simulator| !simulator.answers(BOB).is_empty())
            .await;
        assert_eq!(
            harness.simulator.answers(BOB),
            ["[files that could not be sent: 1]"]
        );
    }
    assert_eq!(*visits.lock().unwrap(), 0);
}

#[tokio::test]
async fn strangers_cost_no_download_and_no_upload() {
    let harness = Harness::new().await;
    let agent = Recorder::replying();
    let _account = harness
        .start(agent.clone(), &[("allowed-users", BOB)])
        .await;
    harness
        .simulator
        .send_file(ALICE, SentKind::Image, "a.png", content(10));
    harness.simulator.say(BOB, "hello");
    harness
        .until(|simulator| simulator.answers(BOB).len() == 1)
        .await;
    assert_eq!(agent.texts(), ["hello"]);
    assert_eq!(harness.simulator.counters().downloads, 0);
}
