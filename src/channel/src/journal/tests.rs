use proptest::prelude::*;

use super::*;
use crate::message::{Body, ChatKind, Conversation, Message};

const NOW: Duration = Duration::from_secs(1000);

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
            received_ms: 0,
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
        let mut journal = Journal::new(generation, Duration::ZERO);
        let entries: Vec<(String, Vec<u8>)> = self.0.clone().into_iter().collect();
        assert!(journal.load(&entries, &BTreeSet::new()).is_empty());
        journal
    }
}

#[test]
fn a_batch_and_its_cursor_are_one_write() {
    let mut journal = Journal::new(1, Duration::ZERO);
    let write = journal
        .accept(NOW, "c1".into(), events(&["1", "2"]))
        .unwrap();
    assert_eq!(journal.cursor(), "c1");
    let mut store = Store::default();
    store.apply([write]);
    let mut next = store.journal(2);
    assert_eq!(next.cursor(), "c1");
    assert_eq!(ids(&next.take(NOW, 10).0), ["1", "2"]);
}

#[test]
fn an_idle_poll_costs_no_write_and_a_new_cursor_costs_one() {
    let mut journal = Journal::new(1, Duration::ZERO);
    assert!(journal.accept(NOW, String::new(), Vec::new()).is_none());
    assert!(journal.accept(NOW, "c1".into(), Vec::new()).is_some());
    assert!(journal.accept(NOW, "c1".into(), Vec::new()).is_none());
}

#[test]
fn repeats_are_dropped_before_and_after_the_acknowledgement() {
    let mut journal = Journal::new(1, Duration::ZERO);
    let mut store = Store::default();
    store.apply(journal.accept(NOW, "c1".into(), events(&["1", "1", "2"])));
    assert_eq!(ids(&journal.take(NOW, 10).0), ["1", "2"]);
    store.apply(journal.accept(NOW, "c2".into(), events(&["2", "3"])));
    assert_eq!(ids(&journal.take(NOW, 10).0), ["3"]);
    store.apply(journal.acknowledge(["1", "2", "3"].into_iter()));
    store.apply(journal.retire());
    assert!(
        journal
            .accept(NOW, "c2".into(), events(&["1", "2", "3"]))
            .is_none()
    );
    let mut next = store.journal(2);
    assert_eq!(next.cursor(), "c2");
    assert!(
        next.accept(NOW, "c2".into(), events(&["1", "2", "3"]))
            .is_none()
    );
    assert!(next.take(NOW, 10).0.is_empty());
}

#[test]
fn each_event_is_acknowledged_for_itself() {
    let mut journal = Journal::new(1, Duration::ZERO);
    let mut store = Store::default();
    store.apply(journal.accept(NOW, "c1".into(), events(&["1", "2", "3"])));
    journal.take(NOW, 10);
    store.apply(journal.acknowledge(["2", "unknown"].into_iter()));
    assert_eq!(journal.unacknowledged(), 2);
    let mut next = store.journal(2);
    assert_eq!(next.unacknowledged(), 2);
    assert_eq!(ids(&next.take(NOW, 10).0), ["1", "3"]);
}

#[test]
fn a_stored_answer_is_an_acknowledgement() {
    let mut journal = Journal::new(1, Duration::ZERO);
    let mut store = Store::default();
    store.apply(journal.accept(NOW, "c1".into(), events(&["1", "2"])));
    let entries: Vec<(String, Vec<u8>)> = store.0.into_iter().collect();
    let mut next = Journal::new(2, Duration::ZERO);
    next.load(&entries, &BTreeSet::from(["1".to_owned()]));
    assert_eq!(ids(&next.take(NOW, 10).0), ["2"]);
}

#[test]
fn a_late_batch_of_an_older_instance_arrives_and_does_not_move_the_cursor() {
    let mut old = Journal::new(1, Duration::ZERO);
    let mut store = Store::default();
    let mut new = Journal::new(2, Duration::ZERO);
    store.apply(new.accept(NOW, "new".into(), events(&["2"])));
    let late = old.accept(NOW, "old".into(), events(&["1"])).unwrap();
    assert!(new.is_foreign(&late.key));
    let entry = (late.key.clone(), late.value.clone().unwrap());
    assert!(new.load(&[entry], &BTreeSet::new()).is_empty());
    assert!(!new.is_foreign(&late.key));
    assert_eq!(new.cursor(), "new");
    assert_eq!(ids(&new.take(NOW, 10).0), ["2", "1"]);
    store.apply([late]);
    assert_eq!(store.journal(3).cursor(), "new");
}

#[test]
fn polling_pauses_at_the_bound_and_goes_on_below_half_of_it() {
    let mut journal = Journal::new(1, Duration::ZERO);
    let names: Vec<String> = (0..MAX_UNACKNOWLEDGED).map(|id| id.to_string()).collect();
    let all = names.iter().map(|id| event(id)).collect();
    journal.accept(NOW, "c".into(), all);
    assert!(journal.is_paused());
    let half = MAX_UNACKNOWLEDGED / 2;
    journal.take(NOW, names.len());
    journal.acknowledge(names[..half].iter().map(String::as_str));
    assert!(journal.is_paused());
    journal.acknowledge(names[half..=half].iter().map(String::as_str));
    assert!(!journal.is_paused());
}

#[test]
fn loading_again_returns_nothing_twice() {
    let mut journal = Journal::new(1, Duration::ZERO);
    let mut store = Store::default();
    store.apply(journal.accept(NOW, "c1".into(), events(&["1", "2"])));
    journal.take(NOW, 1);
    let mut again = store.journal(1);
    again.follow(journal);
    assert_eq!(ids(&again.take(NOW, 10).0), ["2"]);
    let write = again.accept(NOW, "c2".into(), events(&["3"])).unwrap();
    assert!(
        !store.0.contains_key(&write.key),
        "a batch is never overwritten"
    );
}

#[test]
fn what_can_t_be_read_is_told_and_left() {
    let mut journal = Journal::new(1, Duration::ZERO);
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

const MOMENT: Duration = Duration::from_secs(2);

fn joining(store: &Store, generation: u64) -> Journal {
    let mut journal = Journal::new(generation, MOMENT);
    let entries: Vec<(String, Vec<u8>)> = store.0.clone().into_iter().collect();
    assert!(journal.load(&entries, &BTreeSet::new()).is_empty());
    journal
}

fn from(id: &str, peer: &str) -> Event {
    let mut event = event(id);
    if let Body::Message(message) = &mut event.body {
        message.conversation.id = peer.to_owned();
    }
    event
}

fn text(event: &Event) -> &str {
    &event.message().unwrap().text
}

#[test]
fn what_comes_within_a_moment_is_one_message_under_the_last_id() {
    let mut store = Store::default();
    let mut journal = joining(&store, 1);
    store.apply(journal.accept(NOW, "c1".into(), events(&["1", "2"])));
    assert!(journal.take(NOW, 10).0.is_empty());
    let later = NOW + MOMENT / 2;
    store.apply(journal.accept(later, "c2".into(), vec![event("3"), from("4", "bob")]));
    assert_eq!(journal.ripe_at(), Some(later + MOMENT));
    assert!(journal.take(NOW + MOMENT, 10).0.is_empty());
    let (come, writes) = journal.take(later + MOMENT, 10);
    assert_eq!(ids(&come), ["3", "4"]);
    assert_eq!(text(&come[0]), "text of 1\ntext of 2\ntext of 3");
    assert_eq!(
        come[0].message().unwrap().reply_token.as_deref(),
        Some("token of 3")
    );
    assert_eq!(journal.ripe_at(), None);
    store.apply(writes);

    // A later instance joins the same, and what is new stays apart.
    let mut journal = joining(&store, 2);
    store.apply(journal.accept(NOW, "c3".into(), events(&["5"])));
    let (come, _) = journal.take(NOW, 10);
    assert_eq!(ids(&come), ["3", "4"]);
    assert_eq!(text(&come[0]), "text of 1\ntext of 2\ntext of 3");
    assert!(journal.holds("3") && journal.awaits("alice"));
    store.apply(journal.acknowledge(["3", "4"].into_iter()));
    assert_eq!(journal.unacknowledged(), 1);
    store.apply(journal.retire());
    let (come, _) = journal.take(NOW + MOMENT, 10);
    assert_eq!(ids(&come), ["5"]);
    store.apply(journal.acknowledge(["5"].into_iter()));
    assert!(!journal.awaits("alice") && !journal.awaits("bob"));
    store.apply(journal.retire());
    let left: Vec<&String> = store.0.keys().collect();
    assert!(
        left.iter()
            .all(|key| *key == CURSOR || key.starts_with("seen/")),
        "{left:?}"
    );
}

#[test]
fn an_answer_to_a_burst_settles_all_of_it() {
    let mut store = Store::default();
    let mut journal = joining(&store, 1);
    store.apply(journal.accept(NOW, "c1".into(), events(&["1"])));
    store.apply(journal.accept(NOW, "c2".into(), events(&["2"])));
    store.apply(journal.take(NOW + MOMENT, 10).1);
    journal.answered("2");
    assert_eq!(journal.unacknowledged(), 0);
    let mut journal = Journal::new(2, Duration::ZERO);
    let entries: Vec<(String, Vec<u8>)> = store.0.clone().into_iter().collect();
    journal.load(&entries, &BTreeSet::from(["2".to_owned()]));
    assert_eq!(journal.unacknowledged(), 0);
    assert!(journal.take(NOW, 10).0.is_empty());
}

#[test]
fn a_recall_ends_a_burst_and_keeps_its_place() {
    let store = Store::default();
    let mut journal = joining(&store, 1);
    let recalled = Event {
        id: "recalled:1".into(),
        body: Body::Recalled {
            conversation: Conversation {
                id: "alice".into(),
                kind: ChatKind::Direct,
            },
            message_id: "1".into(),
        },
    };
    journal.accept(NOW, "c".into(), vec![event("1"), recalled, event("2")]);
    let (come, writes) = journal.take(NOW + MOMENT, 10);
    assert_eq!(ids(&come), ["1", "recalled:1", "2"]);
    assert!(writes.is_empty());
}

#[test]
fn a_burst_has_an_end_in_time_and_in_number() {
    let store = Store::default();
    let mut journal = joining(&store, 1);
    let mut now = NOW;
    for number in 0..100 {
        journal.accept(now, "c".into(), vec![event(&number.to_string())]);
        if !journal.take(now, 10).0.is_empty() {
            break;
        }
        now += MOMENT - Duration::from_millis(1);
    }
    assert!(now - NOW <= MOMENT * 6, "{now:?}");
    let mut journal = joining(&store, 1);
    let many: Vec<Event> = (0..100).map(|number| event(&number.to_string())).collect();
    journal.accept(NOW, "c".into(), many);
    let (come, _) = journal.take(NOW + MOMENT, 2);
    assert_eq!(ids(&come), ["31", "63"]);
    assert_eq!(ids(&journal.take(NOW + MOMENT, 10).0), ["95", "99"]);
}

proptest! {
    /// Wherever the process ends: an event whose batch was stored comes until its acknowledgement
    /// was stored, and never after; the cursor never goes back.
    #[test]
    fn nothing_is_lost_and_nothing_comes_back(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = Store::default();
        let mut journal = Journal::new(1, Duration::ZERO);
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
                    (journal.accept(NOW, format!("{cursor:04}"), events).into_iter().collect(), names, vec![])
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
                    let come: BTreeSet<String> = journal.take(NOW, usize::MAX).0
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

    /// Wherever the process ends, and however messages are joined: none is lost, none comes back once
    /// its burst was acknowledged, and a burst that was returned once is returned the same again.
    #[test]
    fn bursts_survive_crashes(steps in prop::collection::vec((0u8..6, 0usize..8), 1..80)) {
        let mut store = Store::default();
        let mut journal = joining(&store, 1);
        let mut generation = 1;
        let mut now = NOW;
        let mut next_id = 0;
        let mut waiting: BTreeSet<String> = BTreeSet::new();
        let mut returned: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let parts = |event: &Event| -> Vec<String> {
            text(event).lines().map(|line| line.replace("text of ", "")).collect()
        };
        for (step, number) in steps {
            match step {
                0 | 1 => {
                    let events: Vec<Event> = (0..=number % 3)
                        .map(|_| {
                            next_id += 1;
                            from(&next_id.to_string(), ["alice", "bob"][next_id % 2])
                        })
                        .collect();
                    waiting.extend(events.iter().map(|event| event.id.clone()));
                    store.apply(journal.accept(now, format!("{next_id}"), events));
                }
                2 => now += MOMENT / 2 * u32::try_from(number).unwrap(),
                3 => {
                    let (come, writes) = journal.take(now, 100);
                    store.apply(writes);
                    for event in &come {
                        let before = returned.insert(event.id.clone(), parts(event));
                        prop_assert!(before.is_none_or(|before| before == parts(event)));
                    }
                }
                4 => {
                    let Some(id) = returned.keys().nth(number).cloned() else { continue };
                    for id in returned.remove(&id).unwrap() {
                        waiting.remove(&id);
                    }
                    let writes = journal.acknowledge([id.as_str()].into_iter());
                    // A crash after the first of them has acknowledged the whole.
                    let count = if number % 2 == 0 { writes.len() } else { writes.len().min(1) };
                    let is_cut = count < writes.len();
                    store.apply(writes.into_iter().take(count));
                    if is_cut {
                        generation += 1;
                        journal = joining(&store, generation);
                    }
                }
                _ => {
                    store.apply(journal.retire());
                    if number % 2 == 0 {
                        generation += 1;
                        journal = joining(&store, generation);
                    }
                }
            }
            prop_assert_eq!(journal.unacknowledged(), waiting.len());
        }
        generation += 1;
        let mut journal = joining(&store, generation);
        let (come, _) = journal.take(now + MOMENT * 9, usize::MAX);
        let all: BTreeSet<String> = come.iter().flat_map(parts).collect();
        prop_assert_eq!(all, waiting);
        for event in &come {
            if let Some(before) = returned.get(&event.id) {
                prop_assert_eq!(before, &parts(event));
            }
        }
    }
}
