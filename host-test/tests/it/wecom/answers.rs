//! What the agent says, from the outbox to the phone.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use gateway_host::account::{PartState, Phase, Post};
use gateway_host::agent::message::{Reply, ReplyMedia};
use gateway_host::agent::{AgentError, EchoAgent};
use gateway_host::contract::ErrorKind;
use gateway_simulator::Fault;
use gateway_simulator::faults::CutAt;
use gateway_simulator::wecom::{Endpoint, MediaKind, RuleChanges, SendLimit};
use http::Method;
use serde_json::json;

use super::harness::{Corp, ask};
use super::{ALICE, BOB};
use crate::harness::{Recorder, eventually, proactive};

/// A file of a reply.
fn data(name: &str, bytes: &[u8]) -> ReplyMedia {
    ReplyMedia::Data {
        name: Some(name.to_owned()),
        mime: None,
        data: STANDARD.encode(bytes),
    }
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_once_for_all() {
    let corp = Corp::new().await;
    let served = corp.serve(Arc::new(EchoAgent), &[]).await;
    served.connected().await;
    corp.wecom.expire_token();
    for number in 0..8 {
        corp.wecom.say(&format!("person{number}"), "hello");
    }
    for number in 0..8 {
        corp.answered(&format!("person{number}"), &["hello"]).await;
    }
    assert_eq!(corp.wecom.counters().gettoken, 2);
    // A download meets the next end, and a renewal before its time meets none.
    corp.clock.advance(Duration::from_secs(6950));
    corp.until(|wecom| wecom.counters().gettoken == 3).await;
    assert_eq!(served.phase().await, Phase::Connected);
    let media = Recorder::new(|_, _| async { Ok(None) });
    let served = corp.serve(media.clone(), &[]).await;
    let sent = "mime says nothing";
    corp.wecom
        .send_file(ALICE, MediaKind::File, "a.json", "application/json", sent);
    eventually(async || !media.texts().is_empty()).await;
    corp.wecom.expire_token();
    let url = media.asked.lock().unwrap()[0].media[0].url.clone().unwrap();
    assert_eq!(ask(Method::GET, &url, "", "").await, (200, sent.into()));
    drop(served);
    corp.check();
}

#[tokio::test]
async fn what_the_platform_says_is_told_by_its_kind() {
    let corp = Corp::new().await;
    let served = corp.serve(Arc::new(EchoAgent), &[]).await;
    served.connected().await;
    for (number, (errcode, state, kind)) in [
        (40003, PartState::Failed, Some(ErrorKind::NotFound)),
        (44004, PartState::Failed, Some(ErrorKind::Invalid)),
        (301_002, PartState::Failed, Some(ErrorKind::Forbidden)),
        (-1, PartState::Accepted, None),
    ]
    .into_iter()
    .enumerate()
    {
        let faults = json!({"message/send": {"times": 1, "errcode": errcode, "errmsg": "words"}});
        corp.wecom.faults(&faults).unwrap();
        let post = proactive(&format!("k{number}"), ALICE, "hello");
        let receipt = served.account.send(post).await.unwrap();
        let part = &receipt.parts[0];
        assert_eq!(part.state, state, "{errcode}");
        if let Some((error, kind)) = part.error.as_ref().zip(kind) {
            assert_eq!(error.kind, kind);
            let platform = error.platform.clone().unwrap_or_default();
            assert!(platform.contains(&format!("errcode={errcode}")));
        }
    }
    corp.wecom
        .change(
            &RuleChanges::new()
                .reset()
                .refuse_address(Some("192.0.2.7".to_owned())),
        )
        .unwrap();
    let receipt = served.account.send(proactive("address", ALICE, "x")).await;
    let error = receipt.unwrap().parts[0].error.clone().unwrap();
    assert!(error.message.contains("192.0.2.7"), "{}", error.message);
    corp.wecom
        .faults(&json!({"reset": true, "users": [BOB], "unlicensed": [BOB]}))
        .unwrap();
    for (key, person) in [("stranger", ALICE), ("unlicensed", BOB)] {
        let receipt = served.account.send(proactive(key, person, "x")).await;
        assert_eq!(receipt.unwrap().parts[0].state, PartState::Failed, "{key}");
    }
    let nobody = served.account.send(proactive("all", "@all", "x")).await;
    assert!(nobody.is_err());
    // What is too much is too much for everybody, until a probe is taken.
    corp.wecom
        .change(&RuleChanges::new().reset().send_limit(Some(SendLimit {
            sends: 1,
            within: Duration::from_secs(60),
        })))
        .unwrap();
    for (key, state) in [
        ("first", PartState::Accepted),
        ("second", PartState::Failed),
    ] {
        let receipt = served.account.send(proactive(key, ALICE, "x")).await;
        let part = receipt.unwrap().parts.remove(0);
        assert_eq!(part.state, state, "{key}");
        if let Some(error) = part.error {
            assert!(error.platform.unwrap().contains("errcode=45009"));
        }
    }
    let third = served.account.send(proactive("third", BOB, "x")).await;
    assert!(third.unwrap_err().to_string().contains("wants less"));
    corp.check();
}

#[tokio::test]
async fn a_secret_that_is_refused_is_told_and_holds_what_waits() {
    let corp = Corp::new().await;
    let refused = json!({"gettoken": {"errcode": 40001, "errmsg": "invalid credential"}});
    corp.wecom.faults(&refused).unwrap();
    let served = corp.serve(Arc::new(EchoAgent), &[]).await;
    eventually(async || served.phase().await == Phase::LoginRequired).await;
    let reason = served.account.status().await.reason.unwrap();
    assert!(reason.contains("errcode=40001"), "{reason}");
    // Callbacks need no token; their answers wait for one.
    corp.wecom.say(ALICE, "hello");
    corp.until(|wecom| wecom.counters().answered == 1).await;
    assert!(
        served
            .account
            .send(proactive("a", BOB, "now"))
            .await
            .is_err()
    );
    let later = Post {
        queue_until: Some(corp.clock.unix_ms() + 3_600_000),
        ..proactive("b", BOB, "later")
    };
    let receipt = served.account.send(later).await.unwrap();
    assert_eq!(receipt.parts[0].state, PartState::Queued);
    corp.wecom
        .change(&RuleChanges::new().clear(Endpoint::GetToken))
        .unwrap();
    eventually(async || {
        corp.clock.advance(Duration::from_secs(5));
        served.phase().await == Phase::Connected
    })
    .await;
    corp.answered(ALICE, &["hello"]).await;
    corp.answered(BOB, &["later"]).await;
    corp.check();
}

#[tokio::test]
async fn an_answer_whose_fate_is_unknown_is_sent_again_and_shown_once() {
    let corp = Corp::new().await;
    let served = corp.serve(Arc::new(EchoAgent), &[]).await;
    served.connected().await;
    corp.wecom
        .fault(Endpoint::Send, Fault::cut(CutAt::After).once())
        .unwrap();
    corp.wecom.say(ALICE, "hello");
    eventually(async || {
        corp.clock.advance(Duration::from_millis(200));
        corp.wecom.counters().sends == 2
    })
    .await;
    corp.until(|wecom| wecom.counters().repeats == 1).await;
    corp.answered(ALICE, &["hello"]).await;
    corp.check();
}

#[tokio::test]
async fn a_long_answer_is_split_where_the_platform_would_cut_it() {
    let corp = Corp::new().await;
    let long: String = (0..1200).map(|number| format!("字{number} ")).collect();
    let text = long.clone();
    let agent = Recorder::new(move |_, _| {
        let text = text.clone();
        async move { Ok(Reply::of_text(text)) }
    });
    let _served = corp.serve(agent, &[]).await;
    corp.wecom.say(ALICE, "tell me all");
    let whole = |parts: &[String]| parts.concat().replace(char::is_whitespace, "");
    let expect = long.replace(char::is_whitespace, "");
    corp.until(|wecom| whole(&wecom.answers(ALICE)) == expect)
        .await;
    let parts = corp.wecom.answers(ALICE);
    assert!(parts.len() > 3 && parts.iter().all(|part| part.len() <= 2048));
    corp.check();
}

#[tokio::test]
async fn what_the_agent_sends_is_shown_as_it_is() {
    let corp = Corp::new().await;
    let large: Vec<u8> = (0..3_000_000).map(|index| (index % 249) as u8).collect();
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    picture.extend(&large[..50_000]);
    let media = vec![data("a.png", &picture), data("报告.bin", &large)];
    let agent = Recorder::new(move |_, _| {
        let media = media.clone();
        async move {
            Ok::<_, AgentError>(Some(Reply {
                text: Some("here".to_owned()),
                media,
            }))
        }
    });
    let _served = corp.serve(agent, &[]).await;
    corp.wecom.say(ALICE, "files, please");
    let of_app = |entries: Vec<serde_json::Value>| {
        let entries = entries.into_iter();
        entries
            .filter(|entry| entry["from"] == "app")
            .collect::<Vec<_>>()
    };
    corp.until(|wecom| of_app(wecom.phone()).len() == 3).await;
    let shown = of_app(corp.wecom.phone());
    assert_eq!(shown[0]["text"], "here");
    for (entry, kind, bytes) in [(&shown[1], "image", &picture), (&shown[2], "file", &large)] {
        assert_eq!(entry["item"]["kind"], kind);
        let id = entry["message_id"].as_str().unwrap();
        assert!(corp.wecom.phone_file(id).unwrap() == *bytes, "{kind}");
    }
    corp.check();
}

#[tokio::test]
async fn an_upload_that_meets_a_token_s_end_is_made_once_more() {
    let corp = Corp::new().await;
    let content: Vec<u8> = (0..300_000).map(|index| (index % 247) as u8).collect();
    let file = data("a.bin", &content);
    let agent = Recorder::new(move |_, _| {
        let media = vec![file.clone()];
        async move { Ok::<_, AgentError>(Some(Reply { text: None, media })) }
    });
    let served = corp.serve(agent, &[]).await;
    served.connected().await;
    for (number, errcode) in [40014, 42001].into_iter().enumerate() {
        let renewed = corp.wecom.counters().gettoken + 1;
        match errcode {
            // The platform itself says so.
            42001 => corp.wecom.expire_token(),
            _ => {
                let refused = json!({"times": 1, "errcode": errcode, "errmsg": "invalid"});
                corp.wecom
                    .faults(&json!({ "media/upload": refused }))
                    .unwrap();
            }
        }
        corp.wecom.say(ALICE, "a file, please");
        eventually(async || {
            corp.clock.advance(Duration::from_millis(100));
            corp.wecom.counters().accepted == number as u64 + 1
        })
        .await;
        let counters = corp.wecom.counters();
        assert_eq!(counters.gettoken, renewed, "{errcode}");
        assert_eq!(counters.uploads, 2 * (number as u64 + 1), "{errcode}");
        let phone = corp.wecom.phone();
        let id = phone.last().unwrap()["message_id"].as_str().unwrap();
        assert!(corp.wecom.phone_file(id).unwrap() == content);
    }
    corp.check();
}

#[tokio::test]
async fn callbacks_are_answered_while_media_pass() {
    let corp = Corp::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let served = corp.serve(agent.clone(), &[]).await;
    let content = vec![7u8; 20 * 1024 * 1024];
    corp.wecom
        .send_file(ALICE, MediaKind::File, "a.bin", "", content.clone());
    eventually(async || !agent.texts().is_empty()).await;
    let url = agent.asked.lock().unwrap()[0].media[0].url.clone().unwrap();
    let passing = join_all((0..5).map(|_| ask(Method::GET, &url, "", "")));
    let calling = async {
        for number in 0..100 {
            let post = corp.wecom.sealed(&corp.text(BOB, 1000 + number, "hello"));
            assert_eq!(served.post(&post).await, (200, "".into()));
        }
    };
    let (passed, ()) = tokio::join!(passing, calling);
    assert!(
        passed
            .iter()
            .all(|(status, bytes)| *status == 200 && *bytes == content)
    );
    eventually(async || agent.texts().len() == 101).await;
}

#[tokio::test]
async fn answers_with_odd_bytes_are_read() {
    for mangled in [
        json!({"before": "\u{ef}\u{bb}\u{bf}"}),
        json!({"behind": "\0\r\n"}),
        json!({"replace": {"\"errcode\":0": "\"errcode\":0,\"note\":\"\u{8}\u{1b}\n\""}}),
        json!({"replace": {"\"errcode\":0": "\"errcode\":0,\"note\":\"\\x41\u{ff}\\ud83d\""}}),
        json!({"replace": {"\"errcode\":0": "\"errcode\":0,\"note\":NaN"}}),
    ] {
        let corp = Corp::new().await;
        let served = corp.serve(Arc::new(EchoAgent), &[]).await;
        served.connected().await;
        corp.wecom
            .faults(&json!({"message/send": {"mangled": mangled}}))
            .unwrap();
        let receipt = served
            .account
            .send(proactive("k", ALICE, "x"))
            .await
            .unwrap();
        assert_eq!(receipt.parts[0].state, PartState::Accepted, "{mangled}");
        assert!(receipt.parts[0].message_id.is_some());
        assert_eq!(corp.wecom.answers(ALICE), ["x"], "sent once");
    }
}

#[tokio::test]
async fn the_first_send_that_meets_a_refused_secret_fails_as_the_next_one_does() {
    let corp = Corp::new().await;
    let served = corp.serve(Arc::new(EchoAgent), &[]).await;
    served.connected().await;
    corp.wecom.expire_token();
    let refused = json!({"gettoken": {"errcode": 40001, "errmsg": "invalid credential"}});
    corp.wecom.faults(&refused).unwrap();
    let first = served
        .account
        .send(proactive("first", ALICE, "x"))
        .await
        .unwrap();
    assert_eq!(first.parts[0].state, PartState::Failed);
    let why = first.parts[0].error.as_ref().unwrap();
    assert_eq!(why.kind, ErrorKind::LoginRequired);
    let second = served.account.send(proactive("second", ALICE, "x")).await;
    assert!(second.unwrap_err().to_string().contains("login-required"));
    corp.wecom
        .change(&RuleChanges::new().clear(Endpoint::GetToken))
        .unwrap();
    eventually(async || {
        corp.clock.advance(Duration::from_secs(1));
        served.phase().await == Phase::Connected
    })
    .await;
    let again = served
        .account
        .send(proactive("first", ALICE, "x"))
        .await
        .unwrap();
    assert_eq!(again.parts[0].state, PartState::Accepted);
    assert_eq!(corp.wecom.answers(ALICE), ["x"]);
}
