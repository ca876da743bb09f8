use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1000);

fn outbox(interval: Duration) -> Outbox {
    Outbox::new(Pace::new(interval, 2), 1)
}

fn post(key: &str, conversation: &str) -> NewPost {
    NewPost {
        key: key.into(),
        conversation: conversation.into(),
        answers: None,
        text: "text".into(),
        media: Vec::new(),
    }
}

fn parts(count: usize) -> impl Iterator<Item = (Content, String)> {
    (0..count).map(|part| {
        (
            Content::Text(format!("part {part}")),
            format!("client {part}"),
        )
    })
}

fn text(job: &Job) -> &str {
    match &job.content {
        Content::Text(text) | Content::Media(text) => text,
    }
}

fn accepted() -> Outcome {
    Outcome::Accepted {
        message_id: Some("7".into()),
    }
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "why")
}

fn states(outbox: &Outbox, key: &str) -> Vec<PartState> {
    let receipt = outbox.receipt(key).unwrap();
    receipt.parts.iter().map(|part| part.state).collect()
}

/// The outbox that a later instance finds.
fn restarted(writes: &[Write]) -> Outbox {
    let mut outbox = outbox(Duration::ZERO);
    let entries: Vec<(String, Vec<u8>)> = writes
        .iter()
        .map(|write| (write.key.clone(), write.value.clone().unwrap()))
        .collect();
    assert_eq!(outbox.load(&entries), Vec::<String>::new());
    outbox
}

#[test]
fn parts_go_out_in_order_and_one_at_a_time() {
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, post("a", "alice"), parts(2));
    outbox.accept(NOW, post("b", "alice"), parts(1));
    for expect in [("a", "part 0"), ("a", "part 1"), ("b", "part 0")] {
        let (job, _) = outbox.next(NOW).unwrap();
        assert_eq!((job.key.as_str(), text(&job)), expect);
        assert!(outbox.next(NOW).is_none());
        outbox.settle(NOW, 0, &job, accepted());
    }
    assert!(outbox.next(NOW).is_none());
    assert_eq!(states(&outbox, "a"), [PartState::Accepted; 2]);
    assert_eq!(outbox.queued(), 0);
}

#[test]
fn conversations_send_side_by_side_without_a_pace_and_bounded() {
    let mut outbox = outbox(Duration::ZERO);
    for peer in 0..100 {
        outbox.accept(
            NOW,
            post(&format!("k{peer}"), &format!("p{peer}")),
            parts(1),
        );
    }
    let jobs: Vec<Job> = std::iter::from_fn(|| outbox.next(NOW))
        .map(|(job, _)| job)
        .collect();
    assert_eq!(jobs.len(), MAX_PARALLEL);
    outbox.settle(NOW, 0, &jobs[0], accepted());
    assert!(outbox.next(NOW).is_some());
}

#[test]
fn the_pace_holds_for_the_account_and_is_fair() {
    let mut outbox = outbox(SECOND);
    outbox.accept(NOW, post("a", "alice"), parts(5));
    outbox.accept(NOW, post("b", "bob"), parts(1));
    let mut now = NOW;
    let mut sent = Vec::new();
    while outbox.queued() > 0 {
        match outbox.next(now) {
            Some((job, _)) => {
                sent.push((job.key.clone(), (now - NOW).as_secs()));
                outbox.settle(now, 0, &job, accepted());
            }
            None => now = outbox.wake_at(now).unwrap(),
        }
    }
    let expect = [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("a", 3), ("a", 4)];
    let sent: Vec<(&str, u64)> = sent.iter().map(|(key, at)| (key.as_str(), *at)).collect();
    assert_eq!(sent, expect);
}

#[test]
fn a_part_whose_answer_is_unknown_is_sent_once_more_and_then_called_unknown() {
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, post("a", "alice"), parts(2));
    let (first, _) = outbox.next(NOW).unwrap();
    outbox.settle(
        NOW,
        0,
        &first,
        Outcome::Unknown(failure(ErrorKind::UnknownOutcome)),
    );
    assert!(outbox.next(NOW).is_none());
    let later = outbox.wake_at(NOW).unwrap();
    assert_eq!(later, NOW + UNKNOWN_PAUSE);
    let (second, write) = outbox.next(later).unwrap();
    assert_eq!(first, second);
    assert!(
        write.is_some(),
        "the second try is counted before it starts"
    );
    outbox.settle(
        later,
        0,
        &second,
        Outcome::Unknown(failure(ErrorKind::UnknownOutcome)),
    );
    assert_eq!(
        states(&outbox, "a"),
        [PartState::Unknown, PartState::Pending]
    );
    let (next, _) = outbox.next(later).unwrap();
    assert_eq!(text(&next), "part 1");
}

#[test]
fn what_was_not_sent_is_tried_until_it_is() {
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, post("a", "alice"), parts(1));
    let mut now = NOW;
    for _ in 0..20 {
        let (job, _) = outbox.next(now).unwrap();
        let outcome = Outcome::NotSent(failure(ErrorKind::Transient));
        let write = outbox.settle(now, 0, &job, outcome).unwrap();
        // However often it starts anew meanwhile, a try without effect does not count.
        assert_eq!(states(&restarted(&[write]), "a"), [PartState::Pending]);
        let wake_at = outbox.wake_at(now).unwrap();
        assert!(wake_at > now && wake_at - now <= 60 * SECOND);
        now = wake_at;
    }
    let (job, _) = outbox.next(now).unwrap();
    outbox.settle(now, 0, &job, accepted());
    assert_eq!(states(&outbox, "a"), [PartState::Accepted]);
}

#[test]
fn a_refused_part_fails_the_ones_behind_it() {
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, post("a", "alice"), parts(3));
    let (job, _) = outbox.next(NOW).unwrap();
    outbox.settle(NOW, 0, &job, accepted());
    let (job, _) = outbox.next(NOW).unwrap();
    outbox.settle(
        NOW,
        0,
        &job,
        Outcome::Refused(failure(ErrorKind::Forbidden)),
    );
    use PartState::{Accepted, Failed};
    assert_eq!(states(&outbox, "a"), [Accepted, Failed, Failed]);
    assert!(outbox.next(NOW).is_none());
}

#[test]
fn a_refused_credential_keeps_everything_until_it_is_valid() {
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, post("a", "alice"), parts(1));
    let (job, _) = outbox.next(NOW).unwrap();
    outbox.settle(
        NOW,
        0,
        &job,
        Outcome::LoginRequired(failure(ErrorKind::LoginRequired)),
    );
    assert!(outbox.next(NOW + 3600 * SECOND).is_none());
    assert_eq!(outbox.wake_at(NOW), None);
    outbox.resume();
    assert!(outbox.next(NOW).is_some());
}

#[test]
fn an_answer_without_an_id_is_unconfirmed_and_not_sent_again() {
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, post("a", "alice"), parts(1));
    let (job, _) = outbox.next(NOW).unwrap();
    outbox.settle(NOW, 0, &job, Outcome::Accepted { message_id: None });
    assert_eq!(states(&outbox, "a"), [PartState::Unconfirmed]);
    assert!(outbox.next(NOW).is_none());
}

#[test]
fn a_post_without_parts_is_settled_at_once() {
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, post("a", "alice"), parts(0));
    assert!(outbox.is_settled("a"));
    assert!(outbox.next(NOW).is_none());
}

#[test]
fn a_key_belongs_to_one_content() {
    let mut outbox = outbox(Duration::ZERO);
    let first = post("a", "alice");
    outbox.accept(NOW, first.clone(), parts(1));
    assert!(outbox.known(&first).unwrap().is_some());
    let error = outbox.known(&post("a", "bob")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::KeyConflict);

    let (job, _) = outbox.next(NOW).unwrap();
    outbox.settle(NOW, 0, &job, accepted());
    let writes = outbox.retire(5, |_| false);
    let receipt = Receipt::parse(writes[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(
        receipt.clone().of(&first).unwrap().parts[0].state,
        PartState::Accepted
    );
    assert!(receipt.of(&post("a", "bob")).is_err());
}

#[test]
fn an_answer_stays_as_long_as_its_event_is_journalled() {
    let mut outbox = outbox(Duration::ZERO);
    let answer = NewPost {
        answers: Some("event".into()),
        ..post("a", "alice")
    };
    outbox.accept(NOW, answer, parts(0));
    assert!(outbox.retire(5, |id| id == "event").is_empty());
    assert!(outbox.answered().contains("event"));
    assert_eq!(outbox.retire(5, |_| false).len(), 2);
    assert!(outbox.receipt("a").is_none() && outbox.answered().is_empty());
}

#[test]
fn loading_again_keeps_what_is_under_way() {
    let mut outbox = outbox(Duration::ZERO);
    let write = outbox.accept(NOW, post("a", "alice"), parts(2));
    let (job, _) = outbox.next(NOW).unwrap();
    let mut again = restarted(&[write]);
    again.follow(outbox);
    assert!(
        again.next(NOW).is_none(),
        "one request of a conversation at a time"
    );
    again.settle(NOW, 0, &job, accepted());
    again.settle(
        NOW,
        0,
        &job,
        Outcome::Refused(failure(ErrorKind::Forbidden)),
    );
    assert_eq!(
        states(&again, "a"),
        [PartState::Accepted, PartState::Pending]
    );
    assert_eq!(text(&again.next(NOW).unwrap().0), "part 1");
}

#[test]
fn a_crash_between_request_and_answer_sends_the_part_once_more_with_the_same_client_id() {
    let mut outbox = outbox(Duration::ZERO);
    let mut stored = outbox.accept(NOW, post("a", "alice"), parts(1));
    let (first, write) = outbox.next(NOW).unwrap();
    stored = write.unwrap_or(stored);

    let mut outbox = restarted(&[stored.clone()]);
    let (second, write) = outbox.next(NOW).unwrap();
    assert_eq!(first.client_id, second.client_id);
    stored = write.expect("the second try is counted before it starts");

    // No answer is missing because the process died twice; but a part that always does so ends.
    let mut outbox = restarted(&[stored]);
    for _ in 0..MAX_CRASHES {
        if let Some((_, Some(write))) = outbox.next(NOW) {
            outbox = restarted(&[write]);
        }
    }
    assert!(outbox.next(NOW).is_none());
    assert_eq!(states(&outbox, "a"), [PartState::Unknown]);
}

#[test]
fn what_can_t_be_read_is_told_and_left() {
    let mut outbox = outbox(Duration::ZERO);
    let entries = [
        ("post/x".to_owned(), b"{".to_vec()),
        ("journal/x".to_owned(), b"{".to_vec()),
    ];
    assert_eq!(outbox.load(&entries).len(), 1);
}

proptest! {
    /// Whatever answers come and wherever crashes fall: each conversation's parts are first sent in
    /// order, and no part goes out after its answer was stored.
    #[test]
    fn order_holds_across_crashes(
        sizes in prop::collection::vec((0usize..3, 1usize..4), 1..8),
        outcomes in prop::collection::vec(0u8..6, 1..80),
    ) {
        let mut store: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut outbox = outbox(Duration::ZERO);
        let mut expected: HashMap<String, Vec<String>> = HashMap::new();
        for (number, (peer, count)) in sizes.iter().enumerate() {
            let peer = format!("p{peer}");
            let parts: Vec<(String, String)> = (0..*count)
                .map(|part| (format!("{number}.{part}"), format!("c{number}.{part}")))
                .collect();
            let texts = parts.iter().map(|(text, _)| text.clone());
            expected.entry(peer.clone()).or_default().extend(texts);
            let parts = parts.into_iter().map(|(text, id)| (Content::Text(text), id));
            let write = outbox.accept(NOW, post(&format!("k{number}"), &peer), parts);
            store.insert(write.key, write.value.unwrap());
        }
        let mut now = NOW;
        let mut sent: HashMap<String, Vec<String>> = HashMap::new();
        let mut settled: HashSet<String> = HashSet::new();
        let mut outcomes = outcomes.into_iter();
        for _ in 0..1000 {
            now += SECOND;
            let Some((job, write)) = outbox.next(now) else {
                if outbox.queued() == 0 { break; }
                continue;
            };
            if let Some(write) = write {
                store.insert(write.key, write.value.unwrap());
            }
            prop_assert!(!settled.contains(&job.client_id));
            let list = sent.entry(job.conversation.clone()).or_default();
            if !list.iter().any(|sent| sent == text(&job)) {
                list.push(text(&job).to_owned());
            }
            let outcome = match outcomes.next() {
                Some(0) => Outcome::Unknown(failure(ErrorKind::UnknownOutcome)),
                Some(1) => Outcome::NotSent(failure(ErrorKind::Transient)),
                Some(2) => {
                    // A crash: only what is stored goes on.
                    outbox = super::Outbox::new(Pace::new(Duration::ZERO, 2), 1);
                    let entries: Vec<_> = store.clone().into_iter().collect();
                    prop_assert!(outbox.load(&entries).is_empty());
                    continue;
                }
                _ => { settled.insert(job.client_id.clone()); accepted() }
            };
            if let Some(write) = outbox.settle(now, 0, &job, outcome) {
                store.insert(write.key, write.value.unwrap());
            }
        }
        prop_assert_eq!(outbox.queued(), 0);
        for (peer, texts) in expected {
            prop_assert_eq!(sent.remove(&peer).unwrap_or_default(), texts);
        }
    }
}
