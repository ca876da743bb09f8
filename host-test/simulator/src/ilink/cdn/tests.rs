//! The CDN with everything that goes wrong on it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::faults::Reference;
use crate::ilink::Endpoint;
use crate::ilink::cipher::Key;
use crate::ilink::client::{Client, announcement, sealed, strict_simulator};
use crate::ilink::state::IN_MEMORY;
use crate::query::escaped;
use crate::{Content, Fault, MediaKind, Simulator, SimulatorOptions};

const ALICE: &str = "wxid_alice@im.wechat";
const TEXT: &[u8] = b"what is in the file";

/// A simulator that Alice has written to, and the URL of an upload of `plain`.
async fn ready(plain: &[u8]) -> (Simulator, Client, String) {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    simulator.say(ALICE, "hi");
    let url = upload_url(&client, plain).await;
    (simulator, client, url)
}

async fn upload_url(client: &Client, plain: &[u8]) -> String {
    let body = announcement(ALICE, 3, plain);
    let answer = client.call("getuploadurl", body).await;
    let url = answer["upload_full_url"].as_str();
    url.expect("the upload is allowed").to_owned()
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().expect("it is text"))
}

/// The URL of a file that Alice sent.
fn sent_by_alice(simulator: &Simulator, bytes: &[u8]) -> String {
    let message = simulator.send_file(ALICE, MediaKind::File, "f", bytes.to_vec());
    let url = message.pointer("/item_list/0/file_item/media/full_url");
    url.and_then(Value::as_str)
        .expect("it has a full URL")
        .to_owned()
}

#[tokio::test]
async fn what_was_uploaded_can_be_downloaded() {
    for plain in [&b""[..], TEXT, &[7; 16], &[7; 200_000]] {
        let (simulator, client, url) = ready(plain).await;
        let first = client.upload(&url, sealed(plain)).await.unwrap();
        let second = client.upload(&url, sealed(plain)).await.unwrap();
        let tickets = [&first, &second].map(|response| {
            assert_eq!(response.status(), 200);
            header(response, "x-encrypted-param").to_owned()
        });
        assert_ne!(tickets[0], tickets[1]);
        for ticket in tickets {
            let url = simulator.first().server.download_url(None, &ticket);
            let response = client.download(&url).await.unwrap();
            assert_eq!(response.body(), &sealed(plain));
        }
        assert_eq!(simulator.violations(), Vec::<String>::new());
        let counters = simulator.counters();
        let bytes = 2 * sealed(plain).len() as u64;
        assert_eq!((counters.uploads, counters.uploaded_bytes), (2, bytes));
        assert_eq!((counters.downloads, counters.downloaded_bytes), (2, bytes));
    }
}

#[tokio::test]
async fn an_upload_by_parameter_must_be_percent_encoded() {
    let (simulator, client, _) = ready(TEXT).await;
    simulator
        .fault(
            Endpoint::GetUploadUrl,
            Fault::upload_reference(Reference::Param),
        )
        .unwrap();
    let body = announcement(ALICE, 3, TEXT);
    let answer = client.call("getuploadurl", body.clone()).await;
    let param = answer["upload_param"].as_str().unwrap();
    assert!(
        ["+", "/", "="]
            .iter()
            .all(|special| param.contains(special))
    );
    let filekey = body["filekey"].as_str().unwrap();
    for (param, status) in [(escaped(param), 200), (param.to_owned(), 403)] {
        let base = simulator.cdn_base_url();
        let url = format!("{base}/upload?encrypted_query_param={param}&filekey={filekey}");
        let response = client.upload(&url, sealed(TEXT)).await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert!(simulator.violations()[0].contains("percent-encoded"));
}

#[tokio::test]
async fn a_wrong_upload_is_refused_with_a_reason() {
    let (simulator, client, url) = ready(TEXT).await;
    let mut flipped = sealed(TEXT);
    flipped[0] ^= 1;
    let other = sealed(&TEXT.to_ascii_uppercase());
    let longer = sealed(&[TEXT, b"and so on"].concat());
    let shorter_padding = sealed(&TEXT[..17]);
    for (url, body, status, named) in [
        (
            url.clone(),
            TEXT.to_vec(),
            400,
            "has 19 bytes instead of the announced 32",
        ),
        (
            url.clone(),
            sealed(TEXT)[..16].to_vec(),
            400,
            "has 16 bytes",
        ),
        (url.clone(), Vec::new(), 400, "has 0 bytes"),
        (
            url.clone(),
            vec![0; 3_000_000],
            400,
            "bytes instead of the announced 32",
        ),
        (url.clone(), vec![0; 32], 400, "does not decrypt"),
        (
            url.clone(),
            shorter_padding,
            400,
            "has 17 bytes instead of the announced 19",
        ),
        (url.clone(), flipped, 400, "another MD5"),
        (url.clone(), other, 400, "another MD5"),
        (url.clone(), longer, 400, "has 28 bytes instead"),
        (
            url.replace("filekey=0", "filekey=1"),
            sealed(TEXT),
            403,
            "filekey",
        ),
        (
            url.replace("param=", "param=A"),
            sealed(TEXT),
            403,
            "encrypted_query_param",
        ),
    ] {
        let before = simulator.violations().len();
        let response = match client.upload(&url, body).await {
            Ok(response) => response,
            // The client may still be writing when it is told.
            Err(_) if named.starts_with("bytes") => continue,
            Err(error) => panic!("{named}: {error}"),
        };
        assert_eq!(response.status(), status, "{named}");
        assert!(!header(&response, "x-error-message").is_empty(), "{named}");
        assert_eq!(header(&response, "x-encrypted-param"), "");
        let violations = &simulator.violations()[before..];
        assert!(
            violations.len() == 1 && violations[0].contains(named),
            "{named}: {violations:?}"
        );
    }
}

#[tokio::test]
async fn the_cdn_takes_no_other_methods_and_paths() {
    let (simulator, client, url) = ready(TEXT).await;
    let base = simulator.cdn_base_url();
    for (method, url) in [
        (Method::PUT, url.clone()),
        (Method::GET, url.clone()),
        (Method::POST, url.replace("upload", "download")),
        (Method::GET, format!("{base}/download")),
        (
            Method::GET,
            format!("{base}/download?encrypted_query_param=x"),
        ),
        (Method::GET, format!("{base}/")),
        (Method::GET, format!("{base}/other?{}", "a".repeat(1000))),
    ] {
        let response = client.fetch(method, &url, HeaderMap::new(), TEXT).await;
        assert_eq!(response.unwrap().status(), 404, "{url}");
    }
    assert_eq!(simulator.violations().len(), 3);
}

#[tokio::test]
async fn what_belongs_to_the_api_must_not_reach_the_cdn() {
    let (simulator, client, url) = ready(TEXT).await;
    let file = sent_by_alice(&simulator, TEXT);
    let token = simulator.token();
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, bearer.clone())]);
    headers.insert("ilink-app-id", HeaderValue::from_static("bot"));
    headers.insert("x-other", bearer);
    let upload = client.fetch(Method::POST, &url, headers.clone(), sealed(TEXT));
    assert_eq!(upload.await.unwrap().status(), 200);
    let download = client.fetch(Method::GET, &file, headers, Bytes::new());
    assert_eq!(download.await.unwrap().status(), 200);
    let with_token = format!("{file}&token={token}");
    assert_eq!(client.download(&with_token).await.unwrap().status(), 200);
    let violations = simulator.violations();
    for named in [
        "upload: the header authorization of the API",
        "upload: the header ilink-app-id",
        "upload: the header x-other of the API",
        "upload: the header content-type",
        "download: the header authorization",
        "download: the bot token is in the URL",
    ] {
        let found = violations
            .iter()
            .any(|sentence| sentence.starts_with(named));
        assert!(found, "{named}: {violations:?}");
    }
    let log = simulator.log();
    let entry = log.iter().find(|entry| entry["endpoint"] == "upload");
    let request = &entry.expect("it is in the log")["request"];
    assert_eq!(
        request["api_headers"],
        json!(["authorization", "ilink-app-id"])
    );
    assert_eq!(request["bytes"], 32);
    assert!(request["host"].as_str().unwrap().starts_with("127.0.0.1:"));
    let told = format!("{log:?}{violations:?}");
    let ticket = url.split('=').nth(1).unwrap();
    assert!(!told.contains(&token) && !told.contains(&ticket[..20]));
}

#[tokio::test]
async fn uploads_fail_as_they_are_told_to() {
    let (simulator, client, url) = ready(TEXT).await;
    let message = json!({"status": 403, "message": "no room", "code": "-1"});
    let redirect = json!({"redirect": "http://169.254.169.254/", "status": 307});
    for (fault, expected) in [
        (message, Some((403, "x-error-message", "no room"))),
        (json!({"status": 503}), Some((503, "x-encrypted-param", ""))),
        (
            json!({"status": 502, "processed": true}),
            Some((502, "x-encrypted-param", "")),
        ),
        (
            json!({"without": ["x-encrypted-param"]}),
            Some((200, "x-encrypted-param", "")),
        ),
        (redirect, Some((307, "location", "http://169.254.169.254/"))),
        (json!({"cut": "before"}), None),
        (json!({"cut": "after"}), None),
        (json!({"cut": "body"}), None),
    ] {
        let mut once = fault.clone();
        once["times"] = json!(1);
        simulator.faults(&json!({"upload": once})).unwrap();
        let outcome = client.upload(&url, sealed(TEXT)).await;
        match (outcome, expected) {
            (Ok(response), Some((status, name, value))) => {
                assert_eq!(response.status(), status, "{fault}");
                assert_eq!(header(&response, name), value, "{fault}");
            }
            (Err(_), None) => {}
            (outcome, _) => panic!("{fault}: {outcome:?}"),
        }
        let again = client.upload(&url, sealed(TEXT)).await.unwrap();
        assert_eq!(again.status(), 200, "{fault}");
        assert!(!header(&again, "x-encrypted-param").is_empty(), "{fault}");
    }
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_slow_or_stalled_upload_hangs() {
    let (simulator, client, url) = ready(TEXT).await;
    for fault in [
        json!({"stall": "before"}),
        json!({"stall": "body"}),
        json!({"stall": "headers"}),
        json!({"read_ms": 60_000, "times": 1}),
    ] {
        simulator.faults(&json!({"upload": fault})).unwrap();
        let uploads = simulator.counters().uploads;
        let logged = simulator.log().len();
        let (client, url) = (client.clone(), url.clone());
        let upload = tokio::spawn(async move { client.upload(&url, sealed(TEXT)).await });
        let arrived = |simulator: &Simulator| simulator.counters().uploads > uploads;
        simulator.wait_for(arrived).await;
        if fault["stall"].is_string() {
            simulator
                .wait_for(|simulator| simulator.log().len() > logged)
                .await;
            assert!(!upload.is_finished(), "{fault}");
            upload.abort();
            continue;
        }
        // Once before the body, and once before its end.
        while !upload.is_finished() {
            simulator
                .first()
                .server
                .clock
                .advance(Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        assert_eq!(upload.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn downloads_fail_as_they_are_told_to() {
    let (simulator, client, _) = ready(TEXT).await;
    let plain = vec![7; 100_000];
    let file = sent_by_alice(&simulator, &plain);
    let truth = client.download(&file).await.unwrap().into_body();
    for (fault, expected) in [
        (json!({"status": 500}), Some((500, None))),
        (json!({"status": 404, "message": "gone"}), Some((404, None))),
        (
            json!({"redirect": "http://127.0.0.1:1/"}),
            Some((302, None)),
        ),
        (json!({"truncated": true}), Some((200, Some(50_008)))),
        (json!({"extra_bytes": 70_000}), Some((200, Some(170_016)))),
        (json!({"wrong_key": true}), Some((200, Some(100_016)))),
        (json!({"bad_padding": true}), Some((200, Some(100_016)))),
        (json!({"drip_ms": 0}), Some((200, Some(100_016)))),
        (json!({"cut": "before"}), None),
        (json!({"cut": "body"}), None),
    ] {
        let mut once = fault.clone();
        once["times"] = json!(1);
        simulator.faults(&json!({"download": once})).unwrap();
        let outcome = client.download(&file).await;
        let Some((status, length)) = expected else {
            assert!(outcome.is_err(), "{fault}");
            continue;
        };
        let response = outcome.unwrap();
        assert_eq!(response.status(), status, "{fault}");
        if status == 302 {
            assert_eq!(response.headers()[LOCATION], "http://127.0.0.1:1/");
        }
        if let Some(length) = length {
            assert_eq!(response.body().len(), length, "{fault}");
            let same = truth.len().min(length) - 16;
            let is_wrong_key = fault["wrong_key"] == true;
            assert_eq!(
                response.body()[..same] == truth[..same],
                !is_wrong_key,
                "{fault}"
            );
            let chunked = !response.headers().contains_key("content-length");
            assert_eq!(chunked, fault["extra_bytes"].is_u64(), "{fault}");
            if fault["bad_padding"] == true {
                assert_ne!(response.body(), &truth);
            }
        }
        assert_eq!(client.download(&file).await.unwrap().body(), &truth);
    }
}

#[tokio::test]
async fn a_stalled_download_ends_with_the_server() {
    for stall in ["before", "headers", "body"] {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        let file = sent_by_alice(&simulator, TEXT);
        simulator
            .faults(&json!({"download": {"stall": stall}}))
            .unwrap();
        let download = tokio::spawn(async move { client.download(&file).await });
        simulator
            .wait_for(|simulator| simulator.log().len() == 1)
            .await;
        assert!(!download.is_finished(), "{stall}");
        simulator.shutdown().await;
        assert!(download.await.unwrap().is_err(), "{stall}");
    }
}

#[tokio::test]
async fn a_large_upload_is_checked_and_not_kept() {
    let options = SimulatorOptions {
        whole_bytes: 1000,
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let client = Client::new(&simulator);
    simulator.say(ALICE, "hi");
    for (size, kept) in [(1000, true), (1001, false)] {
        let plain = vec![7; size];
        let url = upload_url(&client, &plain).await;
        let response = client.upload(&url, sealed(&plain)).await.unwrap();
        let ticket = header(&response, "x-encrypted-param");
        let server = &simulator.first().server;
        let blob = server.files.find(ticket).expect("it is known");
        assert_eq!(blob.content.size(), size as u64);
        assert_eq!(blob.content.md5(), Content::bytes(plain).md5());
        let url = server.download_url(None, ticket);
        let status = client.download(&url).await.unwrap().status();
        assert_eq!(status == 200, kept, "{status}");
    }
}

#[tokio::test]
async fn contents_in_memory_are_bounded_and_the_newest_stays() {
    let simulator = strict_simulator().await;
    let server = &simulator.first().server;
    let place = |size: u64| {
        let bytes = vec![0; size as usize];
        let file = crate::File::new(MediaKind::File, "f", Content::bytes(bytes));
        simulator.first().store_file(&file)
    };
    let small = place(1000);
    let large = place(IN_MEMORY - 500);
    let kept = |item: &Value| {
        let blob = server.files.of_item(item).expect("it is known");
        blob.content.in_memory().is_some()
    };
    assert!(!kept(&small) && kept(&large));
    let later = place(1000);
    assert!(!kept(&large) && kept(&later));
}

#[tokio::test]
async fn a_made_up_file_is_served_whole() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    let message = simulator.push_generated(ALICE, MediaKind::File, 5_000_000, 3);
    let item = &message["item_list"][0]["file_item"];
    let url = item["media"]["full_url"].as_str().unwrap();
    let response = client.download(url).await.unwrap();
    assert_eq!(
        response.body().len() as u64,
        crate::ilink::cipher::padded(5_000_000)
    );
    let key = item["media"]["aes_key"].as_str().unwrap();
    let key = String::from_utf8(STANDARD.decode(key).unwrap()).unwrap();
    let mut opening = crate::ilink::cipher::Opening::new(Key::of_hex(&key).unwrap(), false);
    opening.update(response.body());
    let opened = opening.finish().expect("it decrypts");
    assert_eq!(
        (opened.size, opened.md5),
        (5_000_000, item["md5"].as_str().unwrap().to_owned())
    );
}
