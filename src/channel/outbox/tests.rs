use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1000);
const NOW_MS: u64 = 1_795_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// A peer that may be written to.
const ROOM: Room = Room {
    since_ms: 1,
    is_closed: false,
    is_silent: false,
    left: None,
    reserve: 3,
    awaits_answer: false,
};
const STANDING: Standing = Standing {
    count: Count {
        since_ms: 1,
        sent: 1,
    },
    explains_refusal: false,
};

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
        is_progress: false,
        queue_until_ms: None,
    }
}

/// The next request of any conversation, with room for everything.
fn next(outbox: &mut Outbox, now: Duration) -> Option<(Job, Vec<Write>)> {
    next_in(outbox, now, &ROOM)
}

fn next_in(outbox: &mut Outbox, now: Duration, room: &Room) -> Option<(Job, Vec<Write>)> {
    let mut all = Vec::new();
    while let Some(conversation) = outbox.turn(now) {
        let (job, writes) = outbox.next(now, NOW_MS, &conversation, room);
        all.extend(writes);
        if let Some(job) = job {
            return Some((job, all));
        }
    }
    None
}

fn accept(
    outbox: &mut Outbox,
    post: NewPost,
    parts: impl Iterator<Item = (Content, String)>,
) -> Write {
    outbox.accept(NOW, post, parts, &ROOM)
}

fn settle(outbox: &mut Outbox, now: Duration, job: &Job, outcome: Outcome) -> Vec<Write> {
    outbox.settle(now, 0, job, outcome, STANDING).0
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
        Content::Text(text) | Content::Media(text) | Content::Document { text, .. } => text,
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
    accept(&mut outbox, post("a", "alice"), parts(2));
    accept(&mut outbox, post("b", "alice"), parts(1));
    for expect in [("a", "part 0"), ("a", "part 1"), ("b", "part 0")] {
        let (job, _) = next(&mut outbox, NOW).unwrap();
        assert_eq!((job.key.as_str(), text(&job)), expect);
        assert!(next(&mut outbox, NOW).is_none());
        settle(&mut outbox, NOW, &job, accepted());
    }
    assert!(next(&mut outbox, NOW).is_none());
    assert_eq!(states(&outbox, "a"), [PartState::Accepted; 2]);
    assert_eq!(outbox.queued(), 0);
}

#[test]
fn conversations_send_side_by_side_without_a_pace_and_bounded() {
    let mut outbox = outbox(Duration::ZERO);
    for peer in 0..100 {
        accept(
            &mut outbox,
            post(&format!("k{peer}"), &format!("p{peer}")),
            parts(1),
        );
    }
    let jobs: Vec<Job> = std::iter::from_fn(|| next(&mut outbox, NOW))
        .map(|(job, _)| job)
        .collect();
    assert_eq!(jobs.len(), MAX_PARALLEL);
    settle(&mut outbox, NOW, &jobs[0], accepted());
    assert!(next(&mut outbox, NOW).is_some());
}

#[test]
fn the_pace_holds_for_the_account_and_is_fair() {
    let mut outbox = outbox(SECOND);
    accept(&mut outbox, post("a", "alice"), parts(5));
    accept(&mut outbox, post("b", "bob"), parts(1));
    let mut now = NOW;
    let mut sent = Vec::new();
    while outbox.queued() > 0 {
        match next(&mut outbox, now) {
            Some((job, _)) => {
                sent.push((job.key.clone(), (now - NOW).as_secs()));
                settle(&mut outbox, now, &job, accepted());
            }
            None => now = outbox.wake_at(now, NOW_MS).unwrap(),
        }
    }
    let expect = [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("a", 3), ("a", 4)];
    let sent: Vec<(&str, u64)> = sent.iter().map(|(key, at)| (key.as_str(), *at)).collect();
    assert_eq!(sent, expect);
}

#[test]
fn a_part_whose_answer_is_unknown_is_sent_once_more_and_then_called_unknown() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(2));
    let (first, _) = next(&mut outbox, NOW).unwrap();
    settle(
        &mut outbox,
        NOW,
        &first,
        Outcome::Unknown(failure(ErrorKind::UnknownOutcome)),
    );
    assert!(next(&mut outbox, NOW).is_none());
    let later = outbox.wake_at(NOW, NOW_MS).unwrap();
    assert_eq!(later, NOW + UNKNOWN_PAUSE);
    let (second, write) = next(&mut outbox, later).unwrap();
    assert!(!first.is_again && second.is_again);
    assert_eq!(first.client_id, second.client_id);
    assert!(
        !write.is_empty(),
        "the second try is counted before it starts"
    );
    settle(
        &mut outbox,
        later,
        &second,
        Outcome::Unknown(failure(ErrorKind::UnknownOutcome)),
    );
    assert_eq!(
        states(&outbox, "a"),
        [PartState::Unknown, PartState::Pending]
    );
    let (next, _) = next(&mut outbox, later).unwrap();
    assert_eq!(text(&next), "part 1");
}

#[test]
fn what_was_not_sent_is_tried_until_it_is() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(1));
    let mut now = NOW;
    for _ in 0..20 {
        let (job, _) = next(&mut outbox, now).unwrap();
        let outcome = Outcome::NotSent(failure(ErrorKind::Transient));
        let write = settle(&mut outbox, now, &job, outcome).remove(0);
        // However often it starts anew meanwhile, a try without effect does not count.
        assert_eq!(states(&restarted(&[write]), "a"), [PartState::Pending]);
        let wake_at = outbox.wake_at(now, NOW_MS).unwrap();
        assert!(wake_at > now && wake_at - now <= 60 * SECOND);
        now = wake_at;
    }
    let (job, _) = next(&mut outbox, now).unwrap();
    settle(&mut outbox, now, &job, accepted());
    assert_eq!(states(&outbox, "a"), [PartState::Accepted]);
}

#[test]
fn a_refused_part_fails_the_ones_behind_it() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(3));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &job, accepted());
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(
        &mut outbox,
        NOW,
        &job,
        Outcome::Refused(failure(ErrorKind::Forbidden)),
    );
    use PartState::{Accepted, Failed};
    assert_eq!(states(&outbox, "a"), [Accepted, Failed, Failed]);
    assert!(next(&mut outbox, NOW).is_none());
}

#[test]
fn a_refused_credential_keeps_what_may_wait_until_it_is_valid() {
    for post in [answer("a", "alice"), patient("a", "alice")] {
        let mut outbox = outbox(Duration::ZERO);
        accept(&mut outbox, post, parts(1));
        let (job, _) = next(&mut outbox, NOW).unwrap();
        settle(&mut outbox, NOW, &job, refused_credential());
        assert!(next(&mut outbox, NOW + 3600 * SECOND).is_none());
        outbox.resume();
        assert!(next(&mut outbox, NOW).is_some());
    }
}

fn refused_credential() -> Outcome {
    Outcome::LoginRequired(failure(ErrorKind::LoginRequired))
}

#[test]
fn a_refused_credential_fails_who_would_not_wait_the_first_as_all_others() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(2));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    // Those behind it, of others, and what has begun.
    accept(&mut outbox, post("b", "alice"), parts(1));
    accept(&mut outbox, post("c", "bob"), parts(1));
    accept(&mut outbox, progress("d"), parts(1));
    accept(&mut outbox, answer("e", "carol"), parts(1));
    accept(&mut outbox, patient("f", "dave"), parts(1));
    settle(&mut outbox, NOW, &job, refused_credential());
    use PartState::{Failed, Pending, Queued};
    for (key, expect) in [
        ("a", &[Failed, Failed][..]),
        ("b", &[Failed]),
        ("c", &[Failed]),
        ("d", &[Failed]),
        ("e", &[Pending]),
        ("f", &[Queued]),
    ] {
        assert_eq!(states(&outbox, key), expect, "{key}");
        assert_eq!(outbox.is_decided(key), *expect != [Pending], "{key}");
        let failed = outbox.receipt(key).unwrap();
        if expect.contains(&Failed) {
            let error = failed.parts[0].error.as_ref().unwrap();
            assert_eq!(error.kind, ErrorKind::LoginRequired);
            assert!(failed.may_be_repeated(), "its key is free again");
        }
    }
    let mut outbox = self::outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(2));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &job, accepted());
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &job, refused_credential());
    assert_eq!(states(&outbox, "a"), [PartState::Accepted, Pending]);
}

#[test]
fn progress_is_not_kept_for_the_end_of_a_throttle() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, patient("a", "alice"), parts(1));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    let throttle = Outcome::Declined {
        error: failure(ErrorKind::RateLimited),
        is_throttle: true,
    };
    settle(&mut outbox, NOW, &job, throttle);
    accept(&mut outbox, progress("b"), parts(1));
    assert_eq!(states(&outbox, "b"), [PartState::Dropped]);
}

#[test]
fn an_answer_without_an_id_is_unconfirmed_and_not_sent_again() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(1));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(
        &mut outbox,
        NOW,
        &job,
        Outcome::Accepted { message_id: None },
    );
    assert_eq!(states(&outbox, "a"), [PartState::Unconfirmed]);
    assert!(next(&mut outbox, NOW).is_none());
}

#[test]
fn the_begin_of_an_answer_may_go_out_in_the_exchange_of_its_message() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, answer("a", "alice"), parts(2));
    let first = next(&mut outbox, NOW).unwrap().0;
    assert_eq!(first.answers.as_deref(), Some("message of a"));
    let writes = settle(&mut outbox, NOW, &first, Outcome::Answered);
    assert_eq!(
        states(&outbox, "a"),
        [PartState::Unconfirmed, PartState::Pending]
    );
    // What follows leaves it the time to arrive. A later instance goes on behind it, too.
    let soon = NOW + SECOND / 2;
    assert_eq!(next(&mut outbox, soon), None);
    assert_eq!(outbox.wake_at(soon, NOW_MS), Some(NOW + SECOND));
    let mut later = restarted(&writes);
    for outbox in [&mut outbox, &mut later] {
        let second = next(outbox, NOW + SECOND).unwrap().0;
        assert_eq!((text(&second), &second.answers), ("part 1", &None));
    }
}

#[test]
fn a_post_without_parts_is_settled_at_once() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(0));
    assert!(outbox.is_decided("a"));
    assert!(next(&mut outbox, NOW).is_none());
}

#[test]
fn a_key_belongs_to_one_content() {
    let mut outbox = outbox(Duration::ZERO);
    let first = post("a", "alice");
    accept(&mut outbox, first.clone(), parts(1));
    assert!(outbox.known(&first).unwrap().is_some());
    let error = outbox.known(&post("a", "bob")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::KeyConflict);

    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &job, accepted());
    let writes = outbox.retire(5, |_| false).0;
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
    accept(&mut outbox, answer, parts(0));
    assert!(outbox.retire(5, |id| id == "event").0.is_empty());
    assert!(outbox.answered().contains("event"));
    assert_eq!(outbox.retire(5, |_| false).0.len(), 2);
    assert!(outbox.receipt("a").is_none() && outbox.answered().is_empty());
}

#[test]
fn loading_again_keeps_what_is_under_way() {
    let mut outbox = outbox(Duration::ZERO);
    let write = accept(&mut outbox, post("a", "alice"), parts(2));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    let mut again = restarted(&[write]);
    again.follow(outbox);
    assert!(
        next(&mut again, NOW).is_none(),
        "one request of a conversation at a time"
    );
    settle(&mut again, NOW, &job, accepted());
    settle(
        &mut again,
        NOW,
        &job,
        Outcome::Refused(failure(ErrorKind::Forbidden)),
    );
    assert_eq!(
        states(&again, "a"),
        [PartState::Accepted, PartState::Pending]
    );
    assert_eq!(text(&next(&mut again, NOW).unwrap().0), "part 1");
}

#[test]
fn a_crash_between_request_and_answer_sends_the_part_once_more_with_the_same_client_id() {
    let mut outbox = outbox(Duration::ZERO);
    let mut stored = accept(&mut outbox, post("a", "alice"), parts(1));
    let (first, write) = next(&mut outbox, NOW).unwrap();
    stored = write.into_iter().next().unwrap_or(stored);

    let mut outbox = restarted(&[stored.clone()]);
    let (second, write) = next(&mut outbox, NOW).unwrap();
    assert_eq!(first.client_id, second.client_id);
    stored = write
        .into_iter()
        .next()
        .expect("the second try is counted before it starts");

    // No answer is missing because the process died twice; but a part that always does so ends.
    let mut outbox = restarted(&[stored]);
    for _ in 0..MAX_CRASHES {
        if let Some((_, writes)) = next(&mut outbox, NOW) {
            outbox = restarted(&writes);
        }
    }
    assert!(next(&mut outbox, NOW).is_none());
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

fn answer(key: &str, conversation: &str) -> NewPost {
    NewPost {
        answers: Some(format!("message of {key}")),
        ..post(key, conversation)
    }
}

fn progress(key: &str) -> NewPost {
    NewPost {
        is_progress: true,
        ..post(key, "alice")
    }
}

fn patient(key: &str, conversation: &str) -> NewPost {
    NewPost {
        queue_until_ms: Some(NOW_MS + HOUR_MS),
        ..post(key, conversation)
    }
}

fn declined() -> Outcome {
    Outcome::Declined {
        error: failure(ErrorKind::RateLimited).with_platform("ret=-2"),
        is_throttle: false,
    }
}

const EXPLAINED: Standing = Standing {
    explains_refusal: true,
    ..STANDING
};

#[test]
fn the_share_holds_back_progress_first_and_answers_never() {
    let left = |left| Room {
        left: Some(left),
        ..ROOM
    };
    let awaited = |count| Room {
        awaits_answer: true,
        ..left(count)
    };
    let closed = Room {
        is_closed: true,
        ..ROOM
    };
    let silent = Room {
        is_silent: true,
        ..ROOM
    };
    use PartState::{Dropped, Failed, Pending};
    for (post, room, expect) in [
        (progress("a"), left(4), Pending),
        (progress("a"), left(3), Dropped),
        (progress("a"), silent, Dropped),
        (post("a", "alice"), left(1), Pending),
        (post("a", "alice"), left(0), Failed),
        (post("a", "alice"), awaited(3), Failed),
        (post("a", "alice"), silent, Failed),
        (patient("a", "alice"), left(0), Pending),
        (answer("a", "alice"), left(0), Pending),
        (answer("a", "alice"), silent, Pending),
        (answer("a", "alice"), closed, Failed),
    ] {
        let mut outbox = outbox(Duration::ZERO);
        outbox.accept(NOW, post.clone(), parts(1), &room);
        let sent = next_in(&mut outbox, NOW, &room).is_some_and(|(job, _)| job.key == "a");
        assert_eq!(
            states(&outbox, "a")[0],
            if expect == Pending && !sent {
                PartState::Queued
            } else {
                expect
            }
        );
        let must_go = expect == Pending && post.queue_until_ms.is_none();
        assert_eq!(sent, must_go, "{post:?} {room:?}");
        assert!(sent || outbox.is_decided("a"), "{post:?} {room:?}");
    }
}

#[test]
fn the_rest_of_a_post_that_has_begun_is_tried_whatever_the_share_says() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(2));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &job, accepted());
    let used_up = Room {
        left: Some(0),
        ..ROOM
    };
    assert!(next_in(&mut outbox, NOW, &used_up).is_some());
}

#[test]
fn an_answer_overtakes_what_waits_for_the_peer() {
    let used_up = Room {
        left: Some(0),
        ..ROOM
    };
    let mut outbox = outbox(Duration::ZERO);
    outbox.accept(NOW, patient("news", "alice"), parts(1), &used_up);
    assert!(next_in(&mut outbox, NOW, &used_up).is_none());
    outbox.accept(NOW, answer("answer", "alice"), parts(1), &used_up);
    let (job, _) = next_in(&mut outbox, NOW, &used_up).unwrap();
    assert_eq!(job.key, "answer");
    settle(&mut outbox, NOW, &job, accepted());
    assert!(next_in(&mut outbox, NOW, &used_up).is_none());
    outbox.heard("alice");
    assert_eq!(next(&mut outbox, NOW).unwrap().0.key, "news");
}

#[test]
fn what_is_told_as_queued_is_reported_until_that_is_acknowledged() {
    let silent = Room {
        is_silent: true,
        ..ROOM
    };
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, patient("b", "bob"), parts(1));
    let (bob, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &bob, accepted());
    assert_eq!(outbox.tell("b"), None);
    outbox.accept(NOW, patient("a", "alice"), parts(1), &silent);
    assert!(next_in(&mut outbox, NOW, &silent).is_none());
    let told = outbox.tell("a").unwrap();
    assert_eq!(outbox.tell("a"), None);
    let mut outbox = restarted(&[told]);
    let expired = outbox.expire(NOW_MS + HOUR_MS);
    assert_eq!(expired.len(), 1);
    let mut outbox = restarted(&expired);
    assert!(outbox.has_reports());
    let reports = outbox.take_reports(10);
    assert_eq!(reports[0].parts[0].state, PartState::Failed);
    assert!(outbox.take_reports(10).is_empty());
    assert!(
        outbox.retire(5, |_| false).0.is_empty(),
        "the report is not acknowledged"
    );
    let write = outbox.acknowledge("a").unwrap();
    assert!(outbox.acknowledge("a").is_none());
    assert!(!restarted(&[write]).has_reports());
    assert_eq!(outbox.retire(5, |_| false).1, ["a"]);
}

#[test]
fn a_refusal_that_the_share_explains_closes_the_peer_at_once() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, answer("a", "alice"), parts(2));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    let (_, closes) = outbox.settle(NOW, 0, &job, declined(), EXPLAINED);
    assert!(closes);
    let receipt = outbox.receipt("a").unwrap();
    let error = receipt.parts[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::WindowClosed);
    assert_eq!(error.platform.as_deref(), Some("ret=-2"));
    // Nobody else is held up.
    accept(&mut outbox, post("b", "bob"), parts(1));
    assert!(next(&mut outbox, NOW).is_some());
}

#[test]
fn a_throttle_fails_who_would_not_wait_and_keeps_the_others() {
    let mut outbox = outbox(Duration::ZERO);
    for (number, new) in [
        answer("answer", "alice"),
        patient("patient", "bob"),
        post("impatient", "carol"),
    ]
    .into_iter()
    .enumerate()
    {
        outbox.accept(NOW, new, parts(1), &ROOM);
        assert_eq!(outbox.queued(), number + 1);
    }
    let throttle = || Outcome::Declined {
        error: failure(ErrorKind::RateLimited),
        is_throttle: true,
    };
    let (job, _) = next(&mut outbox, NOW).unwrap();
    assert_eq!(job.key, "answer");
    settle(&mut outbox, NOW, &job, throttle());
    use PartState::{Accepted, Failed, Pending, Queued};
    assert_eq!(states(&outbox, "answer"), [Pending]);
    assert_eq!(states(&outbox, "patient"), [Queued]);
    assert_eq!(states(&outbox, "impatient"), [Failed]);
    let error = outbox.check_throttle(NOW, "dave").unwrap_err();
    assert!(error.kind == ErrorKind::RateLimited && error.retry_after.is_some());
    // One probe at a time, and the one that is taken ends it.
    assert!(next(&mut outbox, NOW).is_none());
    let at = outbox.wake_at(NOW, NOW_MS).unwrap();
    let (probe, _) = next(&mut outbox, at).unwrap();
    assert!(next(&mut outbox, at).is_none());
    settle(&mut outbox, at, &probe, accepted());
    let mut rest = Vec::new();
    let mut now = at;
    while outbox.queued() > 0 {
        match next(&mut outbox, now) {
            Some((job, _)) => {
                settle(&mut outbox, now, &job, accepted());
                rest.push(job.key);
            }
            None => now = outbox.wake_at(now, NOW_MS).unwrap(),
        }
    }
    assert_eq!(states(&outbox, "answer"), [Accepted]);
    assert_eq!(rest.len(), 1);
    assert!(outbox.check_throttle(now, "dave").is_ok());
}

#[test]
fn a_key_that_failed_for_a_while_is_free_again() {
    let used_up = Room {
        left: Some(0),
        ..ROOM
    };
    let mut outbox = outbox(Duration::ZERO);
    let new = post("a", "alice");
    outbox.accept(NOW, new.clone(), parts(1), &used_up);
    assert!(next_in(&mut outbox, NOW, &used_up).is_none());
    assert_eq!(states(&outbox, "a"), [PartState::Failed]);
    assert_eq!(outbox.known(&new), Ok(None));
    accept(&mut outbox, new.clone(), parts(1));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &job, accepted());
    assert!(outbox.known(&new).unwrap().is_some());
    assert_eq!(outbox.retire(5, |_| false).1, ["a"]);
}

#[test]
fn a_document_that_is_not_uploaded_holds_up_its_own_conversation() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, answer("a", "alice"), parts(1));
    accept(&mut outbox, answer("b", "bob"), parts(1));
    for _ in 0..20 {
        let now = outbox.wake_at(NOW, NOW_MS).unwrap_or(NOW);
        let (job, _) = next(&mut outbox, now).unwrap();
        if job.key == "b" {
            settle(&mut outbox, NOW, &job, accepted());
            continue;
        }
        let outcome = Outcome::NotUploaded(failure(ErrorKind::Transient));
        settle(&mut outbox, NOW, &job, outcome);
    }
    assert_eq!(states(&outbox, "a"), [PartState::Pending]);
    assert_eq!(states(&outbox, "b"), [PartState::Accepted]);
}

#[test]
fn the_queue_is_bounded_in_posts_and_in_bytes() {
    let mut outbox = outbox(Duration::ZERO);
    for number in 0..MAX_POSTS {
        outbox.check_room().unwrap();
        accept(&mut outbox, post(&number.to_string(), "alice"), parts(1));
    }
    assert_eq!(outbox.check_room().unwrap_err().kind, ErrorKind::Transient);
    let mut outbox = self::outbox(Duration::ZERO);
    let large = || std::iter::once((Content::Text("x".repeat(MAX_BYTES)), "c".to_owned()));
    accept(&mut outbox, post("a", "alice"), large());
    assert!(outbox.check_room().is_err());
    let (job, _) = next(&mut outbox, NOW).unwrap();
    settle(&mut outbox, NOW, &job, accepted());
    assert!(outbox.check_room().is_ok());
}

#[test]
fn what_was_sent_to_a_peer_is_known_after_a_crash() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, post("a", "alice"), parts(1));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    let writes = settle(&mut outbox, NOW, &job, accepted());
    let outbox = restarted(&writes);
    assert_eq!(outbox.counts(), [("alice".to_owned(), STANDING.count)]);
    let texts: Vec<(&str, &str, &str)> = outbox.sent_texts().collect();
    assert_eq!(texts, [("alice", "7", "part 0")]);
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
            let write = accept(&mut outbox, post(&format!("k{number}"), &peer), parts);
            store.insert(write.key, write.value.unwrap());
        }
        let mut now = NOW;
        let mut sent: HashMap<String, Vec<String>> = HashMap::new();
        let mut settled: HashSet<String> = HashSet::new();
        let mut outcomes = outcomes.into_iter();
        for _ in 0..1000 {
            now += SECOND;
            let Some((job, write)) = next(&mut outbox, now) else {
                if outbox.queued() == 0 { break; }
                continue;
            };
            for write in write {
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
                other => {
                    settled.insert(job.client_id.clone());
                    match other {
                        Some(3) => Outcome::Answered,
                        _ => accepted(),
                    }
                }
            };
            for write in settle(&mut outbox, now, &job, outcome) {
                store.insert(write.key, write.value.unwrap());
            }
        }
        prop_assert_eq!(outbox.queued(), 0);
        for (peer, texts) in expected {
            prop_assert_eq!(sent.remove(&peer).unwrap_or_default(), texts);
        }
    }

    /// Whatever the platform refuses, whoever is silent and wherever crashes fall: when it takes
    /// everything again and the peers write, each post has come to an end; nothing that was accepted
    /// goes out again; what waits keeps its order; and the counters of what is done are right.
    #[test]
    fn everything_comes_to_an_end(
        posts in prop::collection::vec((0usize..3, 0u8..4, 1usize..3), 1..12),
        events in prop::collection::vec((0u8..10, 0usize..3), 1..120),
    ) {
        let mut store: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut outbox = outbox(Duration::ZERO);
        let mut room = ROOM;
        let mut now = NOW;
        let mut accepted_ids: HashSet<String> = HashSet::new();
        let mut first_sent: HashMap<String, Vec<u64>> = HashMap::new();
        for (number, (peer, kind, count)) in posts.iter().enumerate() {
            let peer = format!("p{peer}");
            let mut new = post(&format!("k{number}"), &peer);
            match kind {
                0 => new.answers = Some(number.to_string()),
                1 => new.queue_until_ms = Some(NOW_MS * 2),
                2 => new.is_progress = true,
                _ => {}
            }
            let contents = (0..*count).map(|part| {
                (Content::Text(format!("{number}.{part}")), format!("c{number}.{part}"))
            });
            let write = outbox.accept(now, new, contents, &room);
            store.insert(write.key, write.value.unwrap());
        }
        let rest = std::iter::repeat_n((9u8, 0usize), 400);
        for (event, peer) in events.into_iter().chain(rest) {
            now += SECOND * 7;
            if event == 9 {
                room = ROOM;
                for peer in 0..3 {
                    outbox.heard(&format!("p{peer}"));
                }
            }
            match event {
                0 => room = Room { is_silent: true, ..ROOM },
                1 => room = Room { left: Some(0), awaits_answer: true, ..ROOM },
                2 => outbox.heard(&format!("p{peer}")),
                3 => {
                    let entries: Vec<_> = store.clone().into_iter().collect();
                    let mut again = Outbox::new(Pace::new(Duration::ZERO, 2), 1);
                    prop_assert!(again.load(&entries).is_empty());
                    outbox = again;
                }
                _ => {}
            }
            let mut found = None;
            while found.is_none() && let Some(conversation) = outbox.turn(now) {
                let (job, writes) = outbox.next(now, NOW_MS, &conversation, &room);
                for write in writes {
                    store.insert(write.key, write.value.unwrap());
                }
                found = job;
            }
            let Some(job) = found else {
                continue;
            };
            prop_assert!(!accepted_ids.contains(&job.client_id));
            let number: u64 = job.key.trim_start_matches('k').parse().unwrap();
            let seen = first_sent.entry(job.conversation.clone()).or_default();
            if !seen.contains(&number) {
                seen.push(number);
            }
            let outcome = match event {
                4 => declined(),
                5 => Outcome::Declined { error: failure(ErrorKind::RateLimited), is_throttle: true },
                6 => Outcome::NotSent(failure(ErrorKind::Transient)),
                7 => Outcome::Unknown(failure(ErrorKind::UnknownOutcome)),
                _ => { accepted_ids.insert(job.client_id.clone()); accepted() }
            };
            let standing = if peer == 0 { EXPLAINED } else { STANDING };
            for write in outbox.settle(now, 0, &job, outcome, standing).0 {
                store.insert(write.key, write.value.unwrap());
            }
        }
        prop_assert_eq!(outbox.queued(), 0);
        prop_assert_eq!(outbox.bytes, 0);
        for (conversation, numbers) in first_sent {
            // Answers may overtake; the others keep their order.
            let waiting = numbers.iter().filter(|number| posts[**number as usize].1 != 0);
            let waiting: Vec<u64> = waiting.copied().collect();
            prop_assert!(waiting.is_sorted(), "{conversation}: {numbers:?}");
        }
        while !outbox.take_reports(10).is_empty() {}
        for number in 0..posts.len() {
            if let Some(write) = outbox.acknowledge(&format!("k{number}")) {
                store.insert(write.key, write.value.unwrap());
            }
        }
        let (writes, keys) = outbox.retire(5, |_| false);
        prop_assert_eq!(writes.len(), 2 * keys.len());
        prop_assert_eq!(outbox.settled(), 0);
        prop_assert!(outbox.posts.is_empty() && outbox.queues.is_empty());
        prop_assert!(outbox.held.is_empty() && outbox.expiries.is_empty());
    }
}
