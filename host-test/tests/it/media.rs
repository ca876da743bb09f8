//! Images, voice, video and files, both ways.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_host::account::Account;
use gateway_host::agent::message::{Media, MediaKind, Message, Reply, ReplyMedia};
use gateway_host::agent::progress::Progress;
use gateway_host::agent::{Agent, AgentError};
use gateway_host::media::folder::Folder;
use gateway_simulator::{Content, File, MediaKind as SentKind};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually};

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

/// What a GET or HEAD of a media URL gives: status, type, and the bytes if they came whole.
async fn get(method: &str, url: &str) -> (StatusCode, String, Option<Bytes>) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(Empty::new())
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let mime = response.headers().get("content-type");
    let mime = mime.map(|mime| mime.to_str().unwrap().to_owned());
    let bytes = response.into_body().collect().await.ok();
    (
        status,
        mime.unwrap_or_default(),
        bytes.map(|bytes| bytes.to_bytes()),
    )
}

/// The media of the first message that the agent gets.
async fn received(agent: &Recorder) -> Vec<Media> {
    eventually(async || !agent.texts().is_empty()).await;
    agent.asked.lock().unwrap()[0].media.clone()
}

async fn silent(harness: &Harness) -> (Arc<Recorder>, Account) {
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let account = harness.start(agent.clone(), &[]).await;
    (agent, account)
}

fn world_config(harness: &Harness) -> Vec<(String, String)> {
    vec![("cdn-base-url".to_owned(), harness.simulator.cdn_base_url())]
}

/// An agent that answers each message with these media, and a text.
fn sending(text: &str, media: Vec<ReplyMedia>) -> Arc<Recorder> {
    let text = text.to_owned();
    Recorder::new(move |_: &Message, _| {
        let reply = Reply {
            text: Some(text.clone()).filter(|text| !text.is_empty()),
            media: media.clone(),
        };
        async move { Ok::<_, AgentError>(Some(reply)) }
    })
}

/// What the phone shows of the bot, as kinds and names, texts as they are.
fn shown(harness: &Harness) -> Vec<String> {
    harness
        .simulator
        .phone()
        .iter()
        .filter(|bubble| bubble["from"] == "bot")
        .map(|bubble| match bubble["text"].as_str() {
            Some(text) => text.to_owned(),
            None => {
                let broken = bubble["broken"]
                    .as_str()
                    .map(|why| format!(" broken: {why}"));
                let item = &bubble["item"];
                let name = item["name"].as_str().unwrap_or("-");
                let kind = item["kind"].as_str().unwrap();
                format!("{kind} {name}{}", broken.unwrap_or_default())
            }
        })
        .collect()
}

fn data(name: &str, bytes: &[u8]) -> ReplyMedia {
    use base64::Engine;
    ReplyMedia::Data {
        name: Some(name.to_owned()),
        mime: None,
        data: base64::engine::general_purpose::STANDARD.encode(bytes),
    }
}

async fn started(harness: &Harness, agent: Arc<dyn Agent>) -> Account {
    let config = world_config(harness);
    let config: Vec<(&str, &str)> = config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    harness.start(agent, &config).await
}

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
        .faults(&json!({"files": {"reference": "neither"}}))
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
    account.push(ALICE, vec![account.place(&voice)]);
    let media = received(&agent).await;
    assert_eq!(media[0].transcript.as_deref(), Some("good morning"));
    assert!(media[0].url.is_some());

    let picture = File::new(SentKind::Image, "p", Content::bytes(content(50)));
    let mut question = json!({"type": 1, "text_item": {"text": "what is this?"}});
    question["ref_msg"] = json!({"message_item": account.place(&picture)});
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
        .faults(&json!({"download": {"status": 500, "times": 2}}))
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

#[tokio::test]
async fn a_reply_s_media_arrive_after_its_text_and_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.png");
    std::fs::write(&path, content(70_001)).unwrap();
    let mut harness = Harness::new().await;
    harness.media.allowed = vec![Folder::open(folder.path()).unwrap()];
    let agent = sending(
        "here you are",
        vec![
            ReplyMedia::Path(path.to_str().unwrap().to_owned()),
            data("film.mp4", &content(5000)),
            data("song.mp3", &content(16)),
            data("../../etc/报告.pdf", &content(1)),
            data("empty.txt", b""),
        ],
    );
    let _account = started(&harness, agent).await;
    harness.simulator.say(ALICE, "files please");
    harness
        .until(|simulator| {
            let phone = simulator.phone();
            phone
                .iter()
                .filter(|bubble| bubble["from"] == "bot")
                .count()
                == 6
        })
        .await;
    assert_eq!(
        shown(&harness),
        [
            "here you are",
            "image -",
            "video -",
            "file song.mp3",
            "file 报告.pdf",
            "file empty.txt",
        ]
    );
    let files: Vec<Option<Vec<u8>>> = harness
        .simulator
        .phone()
        .iter()
        .filter(|bubble| bubble["item"].is_object() && bubble["from"] == "bot")
        .map(|bubble| {
            let id = bubble["message_id"].as_u64().unwrap();
            harness.simulator.phone_file(id)
        })
        .collect();
    let sizes = [70_001, 5000, 16, 1, 0];
    for (file, size) in files.iter().zip(sizes) {
        assert_eq!(file.as_deref(), Some(content(size).as_slice()));
    }
    harness.check();
}

#[tokio::test]
async fn both_forms_of_the_upload_s_place_work() {
    for answer in ["full-url", "param", "both"] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"getuploadurl": {"answer": answer}}))
            .unwrap();
        let _account = started(&harness, sending("", vec![data("a.txt", b"hello")])).await;
        harness.simulator.say(ALICE, "a file please");
        harness.until(|_| shown(&harness) == ["file a.txt"]).await;
        harness.check();
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_three_times_and_what_is_final_once() {
    for (fault, tries, arrives) in [
        (json!({"status": 500, "times": 2}), 3, true),
        (json!({"status": 500}), 3, false),
        (
            json!({"without": ["x-encrypted-param"], "times": 1}),
            2,
            true,
        ),
        (json!({"cut": "body", "times": 1}), 2, true),
        (json!({"status": 403, "message": "no"}), 1, false),
    ] {
        let harness = Harness::new().await;
        harness
            .simulator
            .faults(&json!({"upload": fault}))
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        let _account = started(&harness, sending("the text", vec![data("a.txt", b"hello")])).await;
        harness.simulator.say(ALICE, "a file please");
        let expect: &[&str] = match arrives {
            true => &["the text", "file a.txt"],
            false => &["the text\n\n[files that could not be sent: 1]"],
        };
        eventually(async || {
            harness.clock.advance(Duration::from_millis(100));
            shown(&harness) == expect
        })
        .await;
        assert_eq!(harness.simulator.counters().upload_urls, tries, "{fault}");
        harness.check();
    }
}

#[tokio::test]
async fn a_path_outside_the_allowed_directories_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = Harness::new().await;
    harness.media.allowed = vec![Folder::open(folder.path()).unwrap()];
    let secret = ReplyMedia::Path("/etc/passwd".to_owned());
    let _account = started(&harness, sending("look", vec![secret])).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|_| shown(&harness) == ["look\n\n[files that could not be sent: 1]"])
        .await;
    assert_eq!(harness.simulator.counters().upload_urls, 0);
}

/// Serves a file, and a redirect to it; says where.
async fn file_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let moved = axum::response::Redirect::temporary(&format!("http://{address}/chart.png"));
    let app = axum::Router::new()
        .route("/chart.png", axum::routing::get(async || content(999)))
        .route("/moved.png", axum::routing::get(async || moved));
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// An agent whose replies name URLs, and which says where it is itself.
struct Naming {
    at: Uri,
    media: Vec<ReplyMedia>,
}

impl Agent for Naming {
    fn answer<'a>(
        &'a self,
        _: &'a Message,
        _: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        let (text, media) = (Some("here".to_owned()), self.media.clone());
        async move { Ok(Some(Reply { text, media })) }.boxed()
    }

    fn url(&self) -> Option<&Uri> {
        Some(&self.at)
    }
}

#[tokio::test]
async fn a_url_of_the_agent_is_sent_and_one_of_another_server_here_is_not() {
    let (own, other) = (file_server().await, file_server().await);
    for (listed, expect) in [
        (None, "here\n\n[files that could not be sent: 2]"),
        (Some(&other), "here\n\n[files that could not be sent: 1]"),
    ] {
        let mut harness = Harness::new().await;
        harness.media.origins = listed
            .map(|origin| origin.parse().unwrap())
            .into_iter()
            .collect();
        let url = |origin: &str, path: &str| ReplyMedia::Url(format!("{origin}/{path}"));
        let agent = Naming {
            at: format!("{own}/agent").parse().unwrap(),
            media: vec![
                url(&own, "chart.png"),
                url(&other, "chart.png"),
                // A redirect is not followed, wherever it leads.
                url(&own, "moved.png"),
            ],
        };
        let _account = started(&harness, Arc::new(agent)).await;
        harness.simulator.say(ALICE, "charts please");
        let files = if listed.is_some() { 2 } else { 1 };
        harness.until(|_| shown(&harness).len() == 1 + files).await;
        assert_eq!(shown(&harness)[0], expect);
        let phone = harness.simulator.phone();
        let last = phone.last().unwrap()["message_id"].as_u64().unwrap();
        assert_eq!(harness.simulator.phone_file(last), Some(content(999)));
        harness.check();
    }
}

#[tokio::test]
async fn an_agent_can_send_back_the_url_that_it_was_given() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|message: &Message, _| {
        let urls = message.media.iter().filter_map(|item| item.url.clone());
        let media = urls.map(ReplyMedia::Url).collect();
        async move { Ok(Some(Reply { text: None, media })) }
    });
    let _account = started(&harness, agent).await;
    let sent = content(4321);
    harness
        .simulator
        .send_file(ALICE, SentKind::File, "a.bin", sent.clone());
    harness.until(|_| shown(&harness).len() == 1).await;
    let phone = harness.simulator.phone();
    let last = phone.last().unwrap()["message_id"].as_u64().unwrap();
    assert_eq!(harness.simulator.phone_file(last), Some(sent));
}

#[tokio::test]
async fn a_media_url_can_t_be_guessed_and_expires() {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let _account = started(&harness, agent.clone()).await;
    harness
        .simulator
        .send_file(ALICE, SentKind::Image, "a.png", content(10));
    let url = received(&agent).await[0].url.clone().unwrap();
    let secret = url.rsplit('/').next().unwrap();
    assert_eq!(secret.len(), 32);
    let other = url.replace(secret, &"0".repeat(32));
    assert_eq!(get("GET", &other).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("POST", &url).await.0, StatusCode::METHOD_NOT_ALLOWED);
    harness.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(get("GET", &url).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_file_over_the_limit_is_broken_off() {
    let mut harness = Harness::new().await;
    harness.media.max_in = 100_000;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let _account = started(&harness, agent.clone()).await;
    harness
        .simulator
        .send_file(ALICE, SentKind::Image, "a.png", content(200_000));
    let url = received(&agent).await[0].url.clone().unwrap();
    assert_eq!(get("GET", &url).await.2, None);
}

#[tokio::test]
async fn text_flows_beside_a_slow_upload() {
    let harness = Harness::new().await;
    harness
        .simulator
        .faults(&json!({"upload": {"stall": "before"}}))
        .unwrap();
    let agent = Recorder::new(|message: &Message, _| {
        let reply = match message.sender.id == ALICE {
            true => Reply {
                text: None,
                media: vec![data("a.txt", b"hello")],
            },
            false => Reply {
                text: Some("quick".to_owned()),
                media: Vec::new(),
            },
        };
        async move { Ok(Some(reply)) }
    });
    let _account = started(&harness, agent).await;
    harness.simulator.say(ALICE, "a file please");
    harness
        .until(|simulator| simulator.counters().uploads == 1)
        .await;
    for round in 1..5 {
        harness.simulator.say(BOB, "hello");
        harness
            .until(|simulator| simulator.answers(BOB).len() == round)
            .await;
    }
}

/// 100 MiB each way at the same time; the component's memory stays small, and so does the process.
#[tokio::test]
async fn large_files_pass_in_constant_memory() {
    const SIZE: u64 = 100 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.bin");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    let mut harness = Harness::new().await;
    harness.media.allowed = vec![Folder::open(folder.path()).unwrap()];
    let reply = ReplyMedia::Path(path.to_str().unwrap().to_owned());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let agent = Recorder::new(move |message: &Message, _| {
        seen.lock().unwrap().extend(message.media.clone());
        let media = match message.text.as_str() {
            "upload" => vec![reply.clone()],
            _ => Vec::new(),
        };
        let text = Some(message.text.clone()).filter(|text| text == "ping");
        async move {
            Ok(Some(Reply { text, media })
                .filter(|reply| reply.text.is_some() || !reply.media.is_empty()))
        }
    });
    let account = started(&harness, agent).await;
    let generated = |simulator: &gateway_simulator::Simulator| {
        simulator.push_generated(ALICE, SentKind::File, SIZE, 7)
    };
    generated(&harness.simulator);
    eventually(async || !asked.lock().unwrap().is_empty()).await;
    let url = asked.lock().unwrap()[0].url.clone().unwrap();
    let before = resident();
    harness.simulator.say(BOB, "upload");
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client
        .request(Request::get(&url).body(Full::default()).unwrap())
        .await
        .unwrap();
    let mut body = response.into_body();
    let (mut total, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        total += frame
            .unwrap()
            .into_data()
            .map_or(0, |data| data.len() as u64);
        most = most.max(resident());
    }
    assert_eq!(total, SIZE);
    harness
        .until(|simulator| {
            let phone = simulator.phone();
            phone
                .iter()
                .any(|bubble| bubble["from"] == "bot" && bubble["item"]["size"] == json!(SIZE))
        })
        .await;
    most = most.max(resident());
    let memory = account.memory_bytes().await.unwrap();
    assert!(memory < 4 * 1024 * 1024, "{memory} bytes of linear memory");
    let grown = most.saturating_sub(before) / 1024 / 1024;
    println!("the process grew by {grown} MiB, linear memory is {memory} bytes");
    harness.check();
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
