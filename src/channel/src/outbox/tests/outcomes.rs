//! What follows from the platform's answers.

use super::*;

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
