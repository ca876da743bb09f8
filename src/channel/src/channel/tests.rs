use std::collections::BTreeMap;

use super::contents::{DOCUMENT_NAME, DOCUMENT_NOTE};
use super::*;
use crate::message::{Body, ChatKind, Conversation, Message};
use crate::outbox::PartState;
use crate::settings::Defaults;
use crate::{markdown, store};

const NOW: Duration = Duration::from_secs(1000);
const NOW_MS: u64 = 1_795_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// Of a platform whose clients render all of Markdown.
const DIALECT: Dialect = Dialect {
    has_files: true,
    plain: markdown::plain,
    native: str::to_owned,
};

/// A channel with this configuration, on what is stored.
fn channel(config: &[(&str, &str)], store: &BTreeMap<String, Vec<u8>>) -> Channel {
    let lookup = |key: &str| {
        let found = config.iter().find(|(other, _)| *other == key);
        let value = found.map(|(_, value)| (*value).to_owned());
        value.or_else(|| (key == "account-id").then(|| "bot".to_owned()))
    };
    let dialect = DIALECT;
    let defaults = Defaults {
        max_text: 16_000,
        sends_per_message: 10,
        reply_window: Duration::from_secs(24 * 3600),
        ..Defaults::default()
    };
    let settings = Settings::read(&lookup, &defaults).unwrap();
    let keys: Vec<String> = store.keys().cloned().collect();
    let entries: Vec<(String, Vec<u8>)> = store
        .iter()
        .filter(|(key, _)| store::is_read_at_start(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let (mut channel, problems) = Channel::load(settings, dialect, 1, &keys, &entries);
    assert_eq!(problems, Vec::<String>::new());
    for replay in channel.take_replay() {
        channel.replay(replay);
    }
    channel
}

fn apply(store: &mut BTreeMap<String, Vec<u8>>, writes: impl IntoIterator<Item = Write>) {
    let writes = writes.into_iter();
    for write in writes.filter(|write| write.bucket == store::Bucket::State) {
        match write.value {
            Some(value) => store.insert(write.key, value),
            None => store.remove(&write.key),
        };
    }
}

fn message(id: &str, text: &str, sent_at_ms: u64) -> Event {
    Event {
        id: id.into(),
        body: Body::Message(Message {
            conversation: Conversation {
                id: "alice".into(),
                kind: ChatKind::Direct,
            },
            sender: "alice".into(),
            sent_at_ms,
            received_ms: 0,
            text: text.into(),
            media: Vec::new(),
            quote: None,
            reply_token: None,
        }),
    }
}

fn post(key: &str, text: &str) -> NewPost {
    NewPost {
        key: key.into(),
        conversation: "alice".into(),
        answers: None,
        text: text.into(),
        media: Vec::new(),
        is_progress: false,
        queue_until_ms: None,
    }
}

/// All that a post becomes, in order.
fn contents(config: &[(&str, &str)], text: &str) -> Vec<Content> {
    let mut channel = channel(config, &BTreeMap::new());
    channel.post(NOW, NOW_MS, post("k", text), String::new);
    let mut contents = Vec::new();
    let mut now = NOW;
    while channel.outbox().queued() > 0 {
        now += Duration::from_secs(60);
        let conversation = channel.outbox().turn(now).unwrap();
        let (job, _) = channel.next(now, NOW_MS, &conversation);
        let job = job.unwrap();
        let accepted = Outcome::Accepted { message_id: None };
        channel.settle(now, NOW_MS, 0, &job, accepted);
        contents.push(job.content);
    }
    contents
}

fn texts(config: &[(&str, &str)], text: &str) -> Vec<String> {
    let contents = contents(config, text).into_iter();
    contents
        .map(|content| match content {
            Content::Text(text) => text,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn markdown_is_written_as_the_operator_wants_it() {
    let markdown = "# Title\n\n**bold** and `code`\n";
    assert_eq!(texts(&[], markdown), ["Title\n\nbold and code"]);
    assert_eq!(texts(&[("markdown", "native")], markdown), [markdown]);
    assert_eq!(texts(&[], "  \n"), Vec::<String>::new());
}

/// What a terminal would take for itself, and what is left of it.
const PRINTED: [(&str, &str); 7] = [
    ("\u{1b}[32m完成\u{1b}[0m: 3 ok\r\n", "完成: 3 ok\n"),
    ("a\0b\u{7}\u{c}\u{7f}\u{85}\tc", "ab\tc"),
    ("N\u{8}NA\u{8}A", "NA"),
    ("10%\u{8}\u{8}\u{8}20%", "20%"),
    (
        "\u{1b}]8;;https://a.b\u{1b}\\text\u{1b}]8;;\u{1b}\\",
        "text",
    ),
    ("\u{1b}]0;title\u{7}x", "x"),
    ("a&#27;[31mb&#x9b;0m&#7;", "ab"),
];

#[test]
fn control_characters_go_nowhere() {
    for (printed, expect) in PRINTED {
        assert_eq!(texts(&[], printed).concat(), expect.trim_end());
        let native = texts(&[("markdown", "native")], printed).concat();
        // There an entity stays what it is.
        if !printed.contains('&') {
            assert_eq!(native, expect);
        }
        assert_eq!((DIALECT.plain)(&control::clean(expect)), expect.trim_end());
        let mut channel = channel(&[], &BTreeMap::new());
        let progress = NewPost {
            is_progress: true,
            ..post("p", printed)
        };
        let stored = channel.post(NOW, NOW_MS, progress, String::new);
        let stored: Vec<u8> = stored
            .into_iter()
            .filter_map(|write| write.value)
            .flatten()
            .collect();
        let stored = String::from_utf8(stored).unwrap();
        for escape in ["\\u00", "\\b", "\\f", "\\r", "\u{7f}", "\u{85}"] {
            assert!(!stored.contains(escape), "{stored}");
        }
    }
    assert_eq!(texts(&[], "\u{1b}[2J\0"), Vec::<String>::new());
    // A text that goes as a file.
    let config = [("text-limit", "40"), ("max-parts", "1")];
    let found = contents(&config, &"\u{1b}[31mred\u{1b}[0m line\r\n".repeat(30));
    let [Content::Text(_), Content::Document { text, .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(*text, "red line\n".repeat(30));
}

#[test]
fn long_texts_go_in_parts_with_marks_where_they_are_asked_for() {
    let long = "First sentence here. Second sentence here. Third one.";
    let plain = texts(&[("text-limit", "25")], long);
    assert_eq!(plain.concat(), long);
    assert_eq!(plain.len(), 3);
    let marked = texts(&[("text-limit", "45"), ("part-marks", "on")], long);
    assert!(marked.iter().all(|part| part.chars().count() <= 45));
    assert!(
        marked
            .first()
            .unwrap()
            .ends_with(&format!("(1/{})", marked.len()))
    );
}

#[test]
fn a_text_of_too_many_parts_is_a_file_behind_a_preview() {
    let config = [("text-limit", "40"), ("max-parts", "3")];
    let long: String = (0..20).map(|line| format!("- **line {line}**\n")).collect();
    let found = contents(&config, &long);
    let [Content::Text(preview), Content::Document { name, text }] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(preview.starts_with("• line 0") && preview.ends_with(DOCUMENT_NOTE));
    assert!(preview.chars().count() <= 40);
    assert_eq!(
        (name.as_str(), text.as_str()),
        (DOCUMENT_NAME, long.as_str())
    );
    // Where the note has no room there is none.
    let tiny = contents(&[("text-limit", "5"), ("max-parts", "1")], &long);
    let Some(Content::Text(preview)) = tiny.first() else {
        panic!("{tiny:?}");
    };
    assert!(preview.chars().count() <= 5);
}

#[test]
fn progress_that_waits_is_joined_and_an_answer_says_it_all() {
    let mut store = BTreeMap::new();
    let mut channel = channel(&[("send-interval-ms", "60000")], &store);
    let write = channel.receive(NOW, NOW_MS, "c".into(), vec![message("1", "hi", NOW_MS)]);
    apply(&mut store, write.write);
    let progress = |number: usize| NewPost {
        is_progress: true,
        ..post(&format!("p{number}"), &format!("step {number}"))
    };
    for number in 0..5 {
        apply(
            &mut store,
            channel.post(NOW, NOW_MS, progress(number), String::new),
        );
    }
    let state = |channel: &Channel, key: &str| channel.receipt(key).unwrap().parts[0].state;
    use PartState::{Dropped, Pending};
    assert_eq!(state(&channel, "p3"), Dropped);
    assert_eq!(state(&channel, "p4"), Pending);
    let later = NOW + Duration::from_secs(120);
    channel.outbox().turn(later).unwrap();
    let (job, _) = channel.next(later, NOW_MS, "alice");
    let expect = "step 0\nstep 1\nstep 2\nstep 3\nstep 4";
    let job = job.unwrap();
    assert_eq!(job.content, Content::Text(expect.into()));
    let accepted = Outcome::Accepted { message_id: None };
    channel.settle(later, NOW_MS, 0, &job, accepted);
    channel.post(later, NOW_MS, progress(5), String::new);
    let answer = NewPost {
        answers: Some("1".into()),
        ..post("answer", "done")
    };
    channel.post(later, NOW_MS, answer, String::new);
    assert_eq!(state(&channel, "p5"), Dropped);
    assert_eq!(channel.journal().unacknowledged(), 0);
}

#[test]
fn what_nobody_waits_for_is_refused_before_it_is_stored() {
    let mut channel = channel(&[("sends-per-message", "1")], &BTreeMap::new());
    channel.receive(NOW, NOW_MS, "c".into(), vec![message("1", "hi", NOW_MS)]);
    channel.acknowledge(&["1".to_owned()]);
    let news = post("news", "news");
    channel.admit(NOW, NOW_MS, &news).unwrap();
    let late = channel
        .admit(NOW, NOW_MS + 24 * HOUR_MS, &news)
        .unwrap_err();
    assert_eq!(late.kind, ErrorKind::WindowClosed);
    channel.post(NOW, NOW_MS, post("first", "first"), String::new);
    channel.outbox().turn(NOW).unwrap();
    let (job, _) = channel.next(NOW, NOW_MS, "alice");
    let accepted = Outcome::Accepted {
        message_id: Some("9".into()),
    };
    channel.settle(NOW, NOW_MS, 0, &job.unwrap(), accepted);
    let used_up = channel.admit(NOW, NOW_MS, &news).unwrap_err();
    assert_eq!(used_up.kind, ErrorKind::WindowClosed);
    let patient = NewPost {
        queue_until_ms: Some(NOW_MS + HOUR_MS),
        ..news.clone()
    };
    channel.admit(NOW, NOW_MS, &patient).unwrap();
    // A new message opens the window, and a repeat of an old one does not.
    channel.receive(NOW, NOW_MS, "c".into(), vec![message("1", "hi", NOW_MS)]);
    assert!(channel.admit(NOW, NOW_MS, &news).is_err());
    channel.receive(
        NOW,
        NOW_MS,
        "d".into(),
        vec![message("2", "more", NOW_MS + 1)],
    );
    assert!(
        channel.admit(NOW, NOW_MS, &news).is_err(),
        "the one send is for the answer"
    );
    channel.acknowledge(&["2".to_owned()]);
    channel.admit(NOW, NOW_MS, &news).unwrap();
}

#[test]
fn what_was_sent_and_said_is_known_after_a_crash() {
    let mut store = BTreeMap::new();
    let mut first = channel(&[], &store);
    let received = first.receive(NOW, NOW_MS, "c".into(), vec![message("1", "hi", NOW_MS)]);
    apply(&mut store, received.write);
    apply(
        &mut store,
        first.post(NOW, NOW_MS, post("k", "hello"), String::new),
    );
    first.outbox().turn(NOW).unwrap();
    let (job, writes) = first.next(NOW, NOW_MS, "alice");
    apply(&mut store, writes);
    let accepted = Outcome::Accepted {
        message_id: Some("9".into()),
    };
    apply(
        &mut store,
        first.settle(NOW, NOW_MS, 0, &job.unwrap(), accepted),
    );

    let mut second = channel(&[], &store);
    let peer = second.peers().peer("alice").unwrap();
    assert_eq!((peer.sent, peer.last_message_ms), (1, NOW_MS));
    assert_eq!(second.history().find("9").unwrap().text, "hello");
    assert_eq!(second.history().find("1").unwrap().text, "hi");
    apply(&mut store, second.acknowledge(&["1".to_owned()]));
    apply(&mut store, second.retire(NOW_MS, true));
    assert!(store.keys().any(|key| key.starts_with("messages/")));
    assert!(store.keys().any(|key| key.starts_with("retired/")));
    assert!(
        !store
            .keys()
            .any(|key| key.starts_with("post/") || key.starts_with("journal/"))
    );
    assert_eq!(second.retire(NOW_MS, true), []);
}

#[test]
fn reports_are_returned_with_ids_of_their_own() {
    let mut channel = channel(&[], &BTreeMap::new());
    let late = NOW_MS + 30 * HOUR_MS;
    channel.receive(NOW, NOW_MS, "c".into(), vec![message("1", "hi", NOW_MS)]);
    let (come, _) = channel.take(NOW, 10);
    assert_eq!(come.len(), 1);
    let queued = NewPost {
        queue_until_ms: Some(late + HOUR_MS),
        ..post("news", "news")
    };
    channel.acknowledge(&["1".to_owned()]);
    channel.post(NOW, late, queued, String::new);
    channel.outbox().turn(NOW).unwrap();
    assert!(channel.next(NOW, late, "alice").0.is_none());
    assert!(channel.outbox().tell("news").is_some());
    channel.outbox().expire(late + HOUR_MS);
    let (come, _) = channel.take(NOW, 10);
    let [Delivery::Settled { id, receipt }] = come.as_slice() else {
        panic!("{come:?}");
    };
    assert_eq!(
        (id.as_str(), receipt.key.as_str()),
        ("settled:news", "news")
    );
    assert_eq!(channel.acknowledge(std::slice::from_ref(id)).len(), 1);
    assert!(channel.acknowledge(std::slice::from_ref(id)).is_empty());
}
