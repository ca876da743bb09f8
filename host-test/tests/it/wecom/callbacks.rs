//! What people do, from the callback to the agent.

use std::sync::Arc;
use std::time::Duration;

use gateway_host::account::EventBody;
use gateway_host::agent::message::MediaKind;
use gateway_host::instance::Instance;
use gateway_simulator::Fault;
use gateway_simulator::wecom::{Endpoint, MediaKind as SentKind, RuleChanges, SealedCallback};
use http::Method;
use serde_json::json;

use super::harness::{self, Corp, ask};
use super::{ALICE, BOB};
use crate::harness::{Recorder, eventually};
use crate::storage::Failing;

/// Posts to an instance itself; returns the status.
async fn posted(instance: &Instance, post: &SealedCallback) -> u16 {
    let (status, body) = harness::posted(instance, post).await;
    assert!(body.is_empty());
    status
}

#[tokio::test]
async fn a_verified_app_answers_who_writes_to_it() {
    let corp = Corp::new().await;
    let agent = Recorder::replying();
    // Serving verifies the URL.
    let served = corp.serve(agent.clone(), &[]).await;
    served.connected().await;
    corp.wecom.say(ALICE, "hello");
    corp.answered(ALICE, &["re: hello"]).await;
    corp.wecom.say(BOB, "3 < 4 & 你好 🎉");
    corp.answered(BOB, &["re: 3 < 4 & 你好 🎉"]).await;
    let counters = corp.wecom.counters();
    assert_eq!((counters.gettoken, counters.callbacks), (1, 2));
    let first = agent.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (first.conversation.id.as_str(), first.sender.id.as_str()),
        (ALICE, ALICE)
    );
    corp.check();
}

#[tokio::test]
async fn a_repeat_is_answered_and_is_nothing_new() {
    let corp = Corp::new().await;
    let agent = Recorder::replying();
    let served = corp.serve(agent.clone(), &[]).await;
    // Delivered although it was answered.
    let faults = json!({"callback": {"times": 1, "duplicate": true}});
    corp.wecom.faults(&faults).unwrap();
    corp.wecom.say(ALICE, "one");
    corp.until(|wecom| wecom.deliveries().len() == 2).await;
    // The same bytes, and the same message sealed anew; before and after its answer.
    let two = corp.text(BOB, 4_561_255_354_251_345_929, "two");
    let exact = corp.wecom.sealed(&two);
    for post in [&exact, &exact, &corp.wecom.sealed(&two)] {
        assert_eq!(served.post(post).await, (200, "".into()));
    }
    corp.answered(BOB, &["re: two"]).await;
    assert_eq!(served.post(&exact).await, (200, "".into()));
    corp.answered(ALICE, &["re: one"]).await;
    corp.wecom.say(BOB, "three");
    corp.answered(BOB, &["re: two", "re: three"]).await;
    let mut texts = agent.texts();
    texts.sort();
    assert_eq!(texts, ["one", "three", "two"]);
    corp.check();
}

#[tokio::test]
async fn all_that_people_do_reaches_the_agent_by_its_kind() {
    let corp = Corp::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let served = corp.serve(agent.clone(), &[]).await;
    let content: Vec<u8> = (0..70_000).map(|index| (index % 251) as u8).collect();
    let kinds = [
        (SentKind::Image, "a.png", "image/png", MediaKind::Image),
        (SentKind::Voice, "v.amr", "audio/amr", MediaKind::Voice),
        (SentKind::Video, "v.mp4", "video/mp4", MediaKind::Video),
        (
            SentKind::File,
            "报告 📎.pdf",
            "application/pdf",
            MediaKind::File,
        ),
    ];
    for (number, (kind, name, mime, expect)) in kinds.into_iter().enumerate() {
        corp.wecom
            .send_file(ALICE, kind, name, mime, content.clone());
        eventually(async || agent.texts().len() == number + 1).await;
        let media = agent.asked.lock().unwrap()[number].media[0].clone();
        assert_eq!(media.kind, expect);
        let url = media.url.unwrap();
        let (status, bytes) = ask(Method::GET, &url, "", "").await;
        assert_eq!(status, 200, "{name}");
        assert!(bytes == content, "{name}");
    }
    corp.wecom.send_location(ALICE, 23.134, 113.358, "A place");
    corp.wecom
        .send_link(ALICE, "T", "D", "https://example.com/");
    eventually(async || agent.texts().len() == 6).await;
    assert_eq!(
        agent.texts()[4..],
        ["A place\ngeo:23.134,113.358", "T\nD\nhttps://example.com/"]
    );
    // A file that the platform has no more.
    corp.wecom
        .fault(
            Endpoint::Get,
            Fault::errcode(40_007)
                .with_errmsg("invalid media_id")
                .once(),
        )
        .unwrap();
    let url = agent.asked.lock().unwrap()[0].media[0].url.clone().unwrap();
    assert_eq!(ask(Method::GET, &url, "", "").await.0, 404);
    drop(served);
    corp.check();
}

#[tokio::test]
async fn what_is_no_message_is_told_by_its_name_and_once() {
    let corp = Corp::new().await;
    let instance = corp.instance(&[]).await;
    instance.start().await.unwrap();
    let event = |name: &str| format!("<MsgType>event</MsgType><Event>{name}</Event>");
    let happened = [
        event("enter_agent"),
        event("subscribe"),
        event("unsubscribe"),
        event("hologram"),
    ];
    for elements in &happened {
        let post = corp.wecom.sealed(&corp.around(ALICE, elements));
        for _ in 0..2 {
            assert_eq!(posted(&instance, &post).await, 200);
        }
    }
    let events = instance.receive().await.unwrap();
    let names: Vec<&str> = events
        .iter()
        .map(|event| match &event.body {
            EventBody::Other(other) => other.name.as_str(),
            _ => "",
        })
        .collect();
    assert_eq!(
        names,
        ["enter_agent", "subscribe", "unsubscribe", "hologram"]
    );
    let ids = events.into_iter().map(|event| event.id).collect();
    instance.ack(ids).await.unwrap();
    let again = corp.wecom.sealed(&corp.around(ALICE, &happened[3]));
    assert_eq!(posted(&instance, &again).await, 200);
    assert_eq!(instance.check().await.unwrap().unacknowledged, 0);
    // Draining, it leaves them to its successor.
    instance.drain(10).await.unwrap();
    assert_eq!(posted(&instance, &again).await, 503);
}

#[tokio::test]
async fn mixtures_and_types_that_are_not_known_reach_the_agent() {
    let corp = Corp::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let served = corp.serve(agent.clone(), &[]).await;
    let mixed = "<MsgType><![CDATA[mixed]]></MsgType><MixedMessage>\
         <MsgItem><MsgType><![CDATA[text]]></MsgType><Text><Content><![CDATA[look]]></Content></Text></MsgItem>\
         <MsgItem><MsgType><![CDATA[image]]></MsgType><Image><MediaId>m1</MediaId></Image></MsgItem>\
         <MsgItem><MsgType><![CDATA[image]]></MsgType><Image><MediaId>m2</MediaId></Image></MsgItem>\
         </MixedMessage>";
    for (number, (elements, text, media)) in [
        (mixed, "look", 2),
        (
            "<MsgType>hologram</MsgType>",
            "[unsupported content of type hologram]",
            0,
        ),
        (
            "<MsgType>miniprogram</MsgType><Title>Shop</Title>",
            "[unsupported content of type miniprogram]\nShop",
            0,
        ),
        (
            "<MsgType>text</MsgType><Content>&#0;ok\u{1b}[0m</Content>",
            "\u{fffd}ok\u{1b}[0m",
            0,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let elements = format!("{elements}<MsgId>{number}</MsgId>");
        let post = corp.wecom.sealed(&corp.around(ALICE, &elements));
        assert_eq!(served.post(&post).await, (200, "".into()));
        eventually(async || agent.texts().len() > number).await;
        let asked = agent.asked.lock().unwrap();
        let message = &asked[number];
        assert_eq!((message.text.as_str(), message.media.len()), (text, media));
    }
    drop(served);
    corp.check();
}

#[tokio::test]
async fn slashes_that_a_proxy_adds_lead_nowhere_else() {
    let corp = Corp::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let mut served = corp.serve(agent.clone(), &[]).await;
    let origin = served.url.strip_suffix("/webhook/ww1").unwrap().to_owned();
    for (number, (path, status)) in [
        ("/webhook/ww1", 200),
        ("/webhook/ww1/", 200),
        ("//webhook//ww1//", 200),
        ("/webhook/%77%771", 200),
        ("/webhook/w%571/", 403),
        ("/webhook/", 404),
        ("/", 404),
        ("/webhook/ww1/more/", 404),
    ]
    .into_iter()
    .enumerate()
    {
        served.url = format!("{origin}{path}");
        let id = 100 + number as u64;
        let post = corp.wecom.sealed(&corp.text(ALICE, id, path));
        assert_eq!(served.post(&post).await.0, status, "{path}");
    }
    eventually(async || agent.texts().len() == 4).await;
    // The verification comes the same way.
    corp.wecom
        .verify(&format!("{origin}/webhook/ww1/"))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_can_not_be_stored_is_not_answered_with_200_and_taken_when_it_comes_again() {
    for pass in 0..8 {
        let state = Failing::default();
        let faults = Arc::clone(&state.faults);
        let corp = Corp {
            state: Arc::new(state),
            ..Corp::new().await
        };
        let instance = corp.instance(&[]).await;
        instance.start().await.unwrap();
        let post = corp.wecom.sealed(&corp.text(ALICE, 1, "hello"));
        faults.set(pass, 3);
        let first = posted(&instance, &post).await;
        assert!(first == 200 || first == 503, "{first}");
        assert!(pass > 0 || first == 503);
        faults.set(0, 0);
        assert_eq!(posted(&instance, &post).await, 200);
        assert_eq!(instance.receive().await.unwrap().len(), 1, "{pass}");
    }
}

#[tokio::test]
async fn who_is_not_admitted_is_answered_and_not_heard() {
    let corp = Corp::new().await;
    let agent = Recorder::replying();
    let served = corp.serve(agent.clone(), &[("allowed-users", BOB)]).await;
    let message = corp.wecom.sealed(&corp.text(ALICE, 1, "let me in"));
    let entered = "<MsgType>event</MsgType><Event>enter_agent</Event>";
    let event = corp.wecom.sealed(&corp.around(ALICE, entered));
    for post in [&message, &event] {
        assert_eq!(served.post(post).await, (200, "".into()));
    }
    corp.wecom.say(BOB, "hello");
    corp.answered(BOB, &["re: hello"]).await;
    assert_eq!(agent.texts(), ["hello"]);
    assert_eq!(served.account.status().await.unacknowledged, Some(0));
}

#[tokio::test]
async fn whatever_is_wrong_gets_the_same_answer_and_leaves_nothing() {
    let corp = Corp::new().await;
    let agent = Recorder::replying();
    let served = corp.serve(agent.clone(), &[]).await;
    let good = corp.wecom.sealed(&corp.text(ALICE, 1, "hello"));
    let with = |query: String, body: String| SealedCallback { query, body };
    let cut = &good.body[..good.body.len() / 2];
    let bomb = format!(
        "<!DOCTYPE x [<!ENTITY a \"{}\"><!ENTITY b \"{}\">]><xml><Encrypt>&b;</Encrypt></xml>",
        "x".repeat(1000),
        "&a;".repeat(1000)
    );
    let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
    let other_nonce = format!("{}1", good.query);
    for post in [
        with(other_nonce.clone(), good.body.clone()),
        with(String::new(), good.body.clone()),
        with(good.query.clone(), String::new()),
        with(good.query.clone(), cut.to_owned()),
        with(good.query.clone(), bomb),
        with(good.query.clone(), deep[..200_000].to_owned()),
        with(good.query.clone(), "x".repeat(256 * 1024)),
    ] {
        assert_eq!(served.post(&post).await, (403, "".into()));
    }
    for (query, body) in [(other_nonce.as_str(), ""), ("echostr=x", ""), ("", "")] {
        let answer = ask(Method::GET, &served.url, query, body).await;
        assert_eq!(answer, (403, "".into()));
    }
    let large = with(good.query.clone(), "x".repeat(256 * 1024 + 1));
    assert_eq!(served.post(&large).await, (413, "".into()));
    // Sealed and signed for what they are: too old, for somebody else, with bad padding.
    corp.wecom
        .change(&RuleChanges::new().redeliveries(0))
        .unwrap();
    for (number, wrong) in ["signature", "time", "content", "receiver", "agent"]
        .into_iter()
        .enumerate()
    {
        let faults = json!({"callback": {"times": 1, "wrong": wrong}});
        corp.wecom.faults(&faults).unwrap();
        corp.wecom.say(ALICE, "wrong");
        corp.until(|wecom| wecom.deliveries().len() == number + 1)
            .await;
        let delivery = corp.wecom.deliveries()[number].clone();
        assert_eq!(delivery["status"], 403, "{wrong}");
        assert_eq!(delivery["reply"], false, "{wrong}");
    }
    // Sealed well, and no message: it would be none the next time, too.
    for xml in ["", "hello", "<!DOCTYPE x [<!ENTITY a 'b'>]><xml>&a;</xml>"] {
        let post = corp.wecom.sealed(xml);
        assert_eq!(served.post(&post).await, (200, "".into()));
    }
    assert_eq!(served.account.status().await.unacknowledged, Some(0));
    // A time that was good once is a replay later.
    assert_eq!(served.post(&good).await, (200, "".into()));
    corp.answered(ALICE, &["re: hello"]).await;
    corp.clock.advance(Duration::from_secs(601));
    assert_eq!(served.post(&good).await, (403, "".into()));
    assert_eq!(agent.texts(), ["hello"]);
}

#[tokio::test]
async fn an_instance_that_is_gone_after_200_leaves_the_message_to_the_next() {
    let corp = Corp::new().await;
    let stuck = Recorder::new(|_, _| std::future::pending());
    let served = corp.serve(stuck.clone(), &[]).await;
    let id = corp.wecom.say(ALICE, "hello");
    corp.until(|wecom| wecom.is_answered(&id)).await;
    drop(served);
    let agent = Recorder::replying();
    let _served = corp.serve(agent.clone(), &[]).await;
    corp.answered(ALICE, &["re: hello"]).await;
    assert_eq!(agent.asked.lock().unwrap()[0].id, id);
    assert_eq!(corp.wecom.counters().callbacks, 1);
}

#[tokio::test]
async fn kill_9_after_200_loses_nothing() {
    let corp = Corp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let state = format!("dir:{}", folder.path().display());
    // It takes connections, and never answers.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!("http://{}", hanging.local_addr().unwrap());
    let mut child = corp.run(&state, &agent, &[]).await;
    let ids = ["one", "two", "three"].map(|text| corp.wecom.say(ALICE, text));
    corp.until(|wecom| ids.iter().all(|id| wecom.is_answered(id)))
        .await;
    child.kill().await.unwrap();
    let _child = corp.run(&state, "echo", &[]).await;
    corp.answered(ALICE, &["one", "two", "three"]).await;
    corp.check();
}
