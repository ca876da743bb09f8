//! Peers' shares and windows.

use super::*;

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
fn a_refusal_that_the_share_explains_closes_the_peer_at_once() {
    let mut outbox = outbox(Duration::ZERO);
    accept(&mut outbox, answer("a", "alice"), parts(2));
    let (job, _) = next(&mut outbox, NOW).unwrap();
    let settlement = outbox.settle(NOW, 0, &job, declined(), EXPLAINED);
    assert!(settlement.closes_peer);
    let receipt = outbox.receipt("a").unwrap();
    let error = receipt.parts[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::WindowClosed);
    assert_eq!(error.platform.as_deref(), Some("ret=-2"));
    // Nobody else is held up.
    accept(&mut outbox, post("b", "bob"), parts(1));
    assert!(next(&mut outbox, NOW).is_some());
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
