//! Order, pace and bounds.

use super::*;

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
