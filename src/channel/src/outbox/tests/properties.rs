//! Any sequence of answers, silences and crashes.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

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
            for write in outbox.settle(now, 0, &job, outcome, standing).writes {
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
        prop_assert!(outbox.posts.is_empty() && outbox.schedule.is_empty());
        prop_assert!(outbox.expiries.is_empty());
    }
}
