//! Keys, crashes, receipts and reports.

use super::*;

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
