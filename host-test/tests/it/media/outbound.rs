//! What the agent sends, as phones show it.

use super::*;

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
