use proptest::prelude::*;

use super::*;
use crate::channel::message::{Body, ChatKind, Conversation, Message};

fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        body: Body::Message(Message {
            conversation: Conversation {
                id: "alice".into(),
                kind: ChatKind::Direct,
            },
            sender: "alice".into(),
            sent_at_ms: 1,
            text: format!("text of {id}"),
            media: Vec::new(),
            quote: None,
            reply_token: Some(format!("token of {id}")),
        }),
    }
}

fn events(ids: &[&str]) -> Vec<Event> {
    ids.iter().map(|id| event(id)).collect()
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

/// A store that does what it is told.
#[derive(Debug, Default, Clone)]
struct Store(BTreeMap<String, Vec<u8>>);

impl Store {
    fn apply(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            match write.value {
                Some(value) => self.0.insert(write.key, value),
                None => self.0.remove(&write.key),
            };
        }
    }

    /// The journal of the next instance.
    fn journal(&self, generation: u64) -> Journal {
        let mut journal = Journal::new(generation);
        let entries: Vec<(String, Vec<u8>)> = self.0.clone().into_iter().collect();
        assert!(journal.load(&entries, &BTreeSet::new()).is_empty());
        journal
    }
}

#[test]
fn a_batch_and_its_cursor_are_one_write() {
    let mut journal = Journal::new(1);
    let write = journal.accept("c1".into(), events(&["1", "2"])).unwrap();
    assert_eq!(journal.cursor(), "c1");
    let mut store = Store::default();
    store.apply([write]);
    let mut next = store.journal(2);
    assert_eq!(next.cursor(), "c1");
    assert_eq!(ids(&next.take(10)), ["1", "2"]);
}

#[test]
fn an_idle_poll_costs_no_write_and_a_new_cursor_costs_one() {
    let mut journal = Journal::new(1);
    assert!(journal.accept(String::new(), Vec::new()).is_none());
    assert!(journal.accept("c1".into(), Vec::new()).is_some());
    assert!(journal.accept("c1".into(), Vec::new()).is_none());
}

#[test]
fn repeats_are_dropped_before_and_after_the_acknowledgement() {
    let mut journal = Journal::new(1);
    let mut store = Store::default();
    store.apply(journal.accept("c1".into(), events(&["1", "1", "2"])));
    assert_eq!(ids(&journal.take(10)), ["1", "2"]);
    store.apply(journal.accept("c2".into(), events(&["2", "3"])));
    assert_eq!(ids(&journal.take(10)), ["3"]);
    store.apply(journal.acknowledge(["1", "2", "3"].into_iter()));
    store.apply(journal.retire());
    assert!(
        journal
            .accept("c2".into(), events(&["1", "2", "3"]))
            .is_none()
    );
    let mut next = store.journal(2);
    assert_eq!(next.cursor(), "c2");
    assert!(next.accept("c2".into(), events(&["1", "2", "3"])).is_none());
    assert!(next.take(10).is_empty());
}

#[test]
fn each_event_is_acknowledged_for_itself() {
    let mut journal = Journal::new(1);
    let mut store = Store::default();
    store.apply(journal.accept("c1".into(), events(&["1", "2", "3"])));
    journal.take(10);
    store.apply(journal.acknowledge(["2", "unknown"].into_iter()));
    assert_eq!(journal.unacknowledged(), 2);
    let mut next = store.journal(2);
    assert_eq!(next.unacknowledged(), 2);
    assert_eq!(ids(&next.take(10)), ["1", "3"]);
}

#[test]
fn a_stored_answer_is_an_acknowledgement() {
    let mut journal = Journal::new(1);
    let mut store = Store::default();
    store.apply(journal.accept("c1".into(), events(&["1", "2"])));
    let entries: Vec<(String, Vec<u8>)> = store.0.into_iter().collect();
    let mut next = Journal::new(2);
    next.load(&entries, &BTreeSet::from(["1".to_owned()]));
    assert_eq!(ids(&next.take(10)), ["2"]);
}

#[test]
fn a_late_batch_of_an_older_instance_arrives_and_does_not_move_the_cursor() {
    let mut old = Journal::new(1);
    let mut store = Store::default();
    let mut new = Journal::new(2);
    store.apply(new.accept("new".into(), events(&["2"])));
    let late = old.accept("old".into(), events(&["1"])).unwrap();
    assert!(new.is_foreign(&late.key));
    let entry = (late.key.clone(), late.value.clone().unwrap());
    assert!(new.load(&[entry], &BTreeSet::new()).is_empty());
    assert!(!new.is_foreign(&late.key));
    assert_eq!(new.cursor(), "new");
    assert_eq!(ids(&new.take(10)), ["2", "1"]);
    store.apply([late]);
    assert_eq!(store.journal(3).cursor(), "new");
}

#[test]
fn polling_pauses_at_the_bound_and_goes_on_below_half_of_it() {
    let mut journal = Journal::new(1);
    let names: Vec<String> = (0..MAX_UNACKNOWLEDGED).map(|id| id.to_string()).collect();
    let all = names.iter().map(|id| event(id)).collect();
    journal.accept("c".into(), all);
    assert!(journal.is_paused());
    let half = MAX_UNACKNOWLEDGED / 2;
    journal.take(names.len());
    journal.acknowledge(names[..half].iter().map(String::as_str));
    assert!(journal.is_paused());
    journal.acknowledge(names[half..=half].iter().map(String::as_str));
    assert!(!journal.is_paused());
}

#[test]
fn loading_again_returns_nothing_twice() {
    let mut journal = Journal::new(1);
    let mut store = Store::default();
    store.apply(journal.accept("c1".into(), events(&["1", "2"])));
    journal.take(1);
    let mut again = store.journal(1);
    again.follow(journal);
    assert_eq!(ids(&again.take(10)), ["2"]);
    let write = again.accept("c2".into(), events(&["3"])).unwrap();
    assert!(
        !store.0.contains_key(&write.key),
        "a batch is never overwritten"
    );
}

#[test]
fn what_can_t_be_read_is_told_and_left() {
    let mut journal = Journal::new(1);
    let entries = [
        ("cursor", "{"),
        ("journal/0000000000000001-0000000000000001", "[]"),
        ("journal/odd", "{}"),
        ("acks/odd", ""),
    ];
    let entries = entries.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    assert_eq!(journal.load(&entries, &BTreeSet::new()).len(), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Receive(Vec<u8>),
    Acknowledge(Vec<u8>),
    Retire,
    /// The process ends after this many more writes.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(0u8..40, 0..6).prop_map(Step::Receive),
        prop::collection::vec(0u8..40, 0..6).prop_map(Step::Acknowledge),
        Just(Step::Retire),
        (0usize..6).prop_map(Step::Crash),
    ]
}

proptest! {
    /// Wherever the process ends: an event whose batch was stored comes until its acknowledgement
    /// was stored, and never after; the cursor never goes back.
    #[test]
    fn nothing_is_lost_and_nothing_comes_back(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = Store::default();
        let mut journal = Journal::new(1);
        let mut generation = 1;
        let mut left = None;
        let mut stored: BTreeSet<String> = BTreeSet::new();
        let mut acknowledged: BTreeSet<String> = BTreeSet::new();
        let mut unsure: BTreeSet<String> = BTreeSet::new();
        let mut cursor = 0;
        for step in steps {
            let (writes, is_batch, acks): (Vec<Write>, Vec<String>, Vec<String>) = match step {
                Step::Receive(numbers) => {
                    cursor += 1;
                    let names: Vec<String> = numbers.iter().map(u8::to_string).collect();
                    let events = names.iter().map(|id| event(id)).collect();
                    (journal.accept(format!("{cursor:04}"), events).into_iter().collect(), names, vec![])
                }
                Step::Acknowledge(numbers) => {
                    let names: Vec<String> = numbers.iter().map(u8::to_string)
                        .filter(|id| stored.contains(id)).collect();
                    (journal.acknowledge(names.iter().map(String::as_str)), vec![], names)
                }
                Step::Retire => (journal.retire(), vec![], vec![]),
                Step::Crash(writes) => { left = Some(writes); continue; }
            };
            let count = writes.len();
            let made = left.map_or(count, |left| left.min(count));
            store.apply(writes.into_iter().take(made));
            if made == count {
                stored.extend(is_batch);
                acknowledged.extend(acks);
            } else {
                // Some of them may be stored, which nobody was told.
                unsure.extend(acks);
            }
            stored.retain(|id| !unsure.contains(id));
            match left {
                Some(budget) if budget <= count => {
                    generation += 1;
                    journal = store.journal(generation);
                    left = None;
                    let come: BTreeSet<String> = journal.take(usize::MAX)
                        .into_iter().map(|event| event.id).collect();
                    for id in stored.difference(&acknowledged) {
                        prop_assert!(come.contains(id), "{id} is lost");
                    }
                    for id in &come {
                        prop_assert!(!acknowledged.contains(id), "{id} comes back");
                    }
                    stored.extend(come);
                    let newest = format!("{cursor:04}");
                    prop_assert!(journal.cursor() <= newest.as_str());
                }
                Some(budget) => left = Some(budget - count),
                None => {}
            }
        }
    }
}
