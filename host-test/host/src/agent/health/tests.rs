use super::*;

const BROKEN: AgentError = AgentError::Status(500);
const AWAY: AgentError = AgentError::Status(503);
const FORBIDDEN: AgentError = AgentError::Status(403);

struct HealthHarness {
    health: Arc<Health>,
    clock: Clock,
}

impl HealthHarness {
    fn new() -> HealthHarness {
        HealthHarness {
            health: Arc::default(),
            clock: Clock::new(),
        }
    }

    fn case(&self, conversation: &str) -> Case {
        self.health.case(conversation.into())
    }

    async fn fail(&self, case: &mut Case, error: &AgentError) -> Option<Notice> {
        case.pass(&self.clock).await;
        case.failed(error, self.clock.elapsed())
    }

    async fn answer(&self, case: &mut Case) -> bool {
        case.pass(&self.clock).await;
        case.answered()
    }
}

/// Fails with `error` until the message is a suspect.
async fn suspect(harness: &HealthHarness, error: &AgentError, tries: u32) -> Case {
    let mut case = harness.case("bad");
    for _ in 0..tries {
        assert!(!case.is_suspect() && !case.is_guilty());
        harness.fail(&mut case, error).await;
    }
    assert!(case.is_suspect());
    case
}

#[tokio::test]
async fn a_limit_of_the_rate_is_no_fault_of_a_message() {
    let harness = HealthHarness::new();
    let mut case = harness.case("late");
    for _ in 0..2 * OUTAGE_TRIES {
        harness.fail(&mut case, &AgentError::Status(429)).await;
        harness.answer(&mut harness.case("other")).await;
    }
    assert!(!case.is_suspect() && !case.is_guilty());
}

#[tokio::test]
async fn a_message_that_fails_while_others_are_answered_is_guilty() {
    for (error, tries) in [
        (BROKEN, TRIES),
        (AgentError::Status(400), TRIES),
        (AgentError::Panicked, TRIES),
        (AgentError::Incomplete("reset".to_owned()), TRIES),
        (AgentError::Unreadable("x"), TRIES),
        (AgentError::ProcessEnded, TRIES),
        (AWAY, OUTAGE_TRIES),
        (AgentError::TimedOut, OUTAGE_TRIES),
    ] {
        let harness = HealthHarness::new();
        let mut case = suspect(&harness, &error, tries).await;
        assert!(!case.is_guilty(), "{error}: nobody else was answered");
        harness.answer(&mut harness.case("good")).await;
        assert!(!case.is_guilty(), "{error}: the agent may be back");
        harness.fail(&mut case, &error).await;
        assert!(case.is_guilty(), "{error}");
    }
}

#[tokio::test]
async fn where_every_message_fails_none_is_guilty() {
    let harness = HealthHarness::new();
    harness.answer(&mut harness.case("before")).await;
    // It was on its way when the outage began.
    let mut early = harness.case("early");
    early.pass(&harness.clock).await;
    let mut cases: Vec<Case> = (0..3).map(|n| harness.case(&n.to_string())).collect();
    for case in &mut cases {
        for _ in 0..20 {
            harness.fail(case, &BROKEN).await;
        }
    }
    early.answered();
    assert!(cases.iter().all(Case::is_suspect) && !cases.iter().any(Case::is_guilty));
    // One that comes later and is answered shows that they are, if they still fail.
    harness.answer(&mut harness.case("late")).await;
    for case in &mut cases {
        harness.fail(case, &BROKEN).await;
    }
    assert!(cases.iter().all(Case::is_guilty));
    // Unless another outage follows.
    let mut fresh = harness.case("fresh");
    harness.fail(&mut fresh, &BROKEN).await;
    assert!(!cases.iter().any(Case::is_guilty));
}

#[tokio::test]
async fn a_process_that_ends_with_it_alone_is_enough_where_no_other_fails() {
    let harness = HealthHarness::new();
    let mut case = harness.case("bad");
    harness.fail(&mut case, &AgentError::ProcessEnded).await;
    for _ in 1..TRIES {
        harness
            .fail(&mut case, &AgentError::ProcessEndedAlone)
            .await;
    }
    assert!(case.is_guilty());
    let mut other = harness.case("other");
    harness
        .fail(&mut other, &AgentError::ProcessEndedAlone)
        .await;
    assert!(!case.is_guilty(), "the agent may be broken");
    harness.answer(&mut other).await;
    harness
        .fail(&mut case, &AgentError::ProcessEndedAlone)
        .await;
    assert!(case.is_guilty());
}

#[tokio::test]
async fn each_new_reason_is_told_once_with_who_waits() {
    let harness = HealthHarness::new();
    let mut cases: Vec<Case> = (0..12).map(|n| harness.case(&n.to_string())).collect();
    let mut told = Vec::new();
    for case in &mut cases {
        told.extend(
            harness
                .fail(case, &AWAY)
                .await
                .map(|notice| notice.conversations),
        );
    }
    assert_eq!(told, [1, 10]);
    assert_eq!(harness.fail(&mut cases[0], &AWAY).await, None);
    let other = harness.fail(&mut cases[0], &BROKEN).await;
    assert_eq!(other, Some(Notice { conversations: 1 }));
    // Back to the first, which is known.
    assert_eq!(harness.fail(&mut cases[0], &AWAY).await, None);
    assert_eq!(harness.health.failing_conversations(), 12);
    let mut healed = 0;
    for case in &mut cases {
        healed += usize::from(harness.answer(case).await);
    }
    assert_eq!((healed, harness.health.failing_conversations()), (1, 0));
    assert!(
        harness.fail(&mut cases[0], &AWAY).await.is_some(),
        "an outage of its own"
    );
}

#[tokio::test]
async fn numbers_and_ids_make_no_new_reason() {
    let harness = HealthHarness::new();
    let mut case = harness.case("a");
    let refused = |status, reason: &str| AgentError::Refused {
        server: "http://h/v1".to_owned(),
        status,
        reason: reason.to_owned(),
        fault: Fault::Outage,
        retry_after: None,
    };
    for (error, is_new) in [
        (refused(429, "slow down, again in 1.2s (req_8fa2)"), true),
        (refused(429, "slow down, again in 20s (req_77bc1)"), false),
        (refused(503, "slow down, again in 20s (req_77bc1)"), true),
        (refused(429, "no such model"), true),
    ] {
        assert_eq!(
            harness.fail(&mut case, &error).await.is_some(),
            is_new,
            "{error}"
        );
    }
    let mut told = 0;
    for number in 0..1000_u32 {
        let words: String = number
            .to_string()
            .bytes()
            .map(|byte| char::from(byte + 49))
            .collect();
        told += usize::from(
            harness
                .fail(&mut case, &refused(429, &words))
                .await
                .is_some(),
        );
    }
    assert!(told <= MAX_REASONS, "{told}");
}

#[tokio::test]
async fn what_lasts_is_tried_by_one_message_at_a_time() {
    let harness = HealthHarness::new();
    let mut first = harness.case("0");
    assert!(harness.fail(&mut first, &FORBIDDEN).await.is_some());
    assert!(first.waits_at_gate());
    let tries = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=20 {
        let (mut case, clock) = (harness.case(&number.to_string()), harness.clock.clone());
        let tries = Arc::clone(&tries);
        tasks.spawn(async move {
            loop {
                case.pass(&clock).await;
                tries.lock().unwrap().push(number);
                if clock.elapsed() > Duration::from_secs(1000) {
                    case.answered();
                    return;
                }
                case.failed(&FORBIDDEN, clock.elapsed());
            }
        });
    }
    let count = || tries.lock().unwrap().len();
    for (so_far, pause) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        while harness.health.state().gate.waiting.len() < 20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(count(), so_far);
        harness.clock.advance(Duration::from_secs(pause));
        while count() == so_far {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // Each time it was another one.
    let mut probes = tries.lock().unwrap().clone();
    probes.sort_unstable();
    probes.dedup();
    assert_eq!(probes.len(), 8);
    harness.clock.advance(Duration::from_secs(1000));
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(count(), 8 + 20);
    assert!(!first.waits_at_gate());
}

#[tokio::test]
async fn a_message_that_alone_is_refused_holds_up_no_other() {
    let harness = HealthHarness::new();
    let mut bad = harness.case("bad");
    harness.fail(&mut bad, &FORBIDDEN).await;
    harness.clock.advance(FIRST_PAUSE);
    harness.answer(&mut harness.case("good")).await;
    for _ in 1..TRIES {
        harness.fail(&mut bad, &FORBIDDEN).await;
        assert!(!bad.waits_at_gate());
        harness.answer(&mut harness.case("good")).await;
    }
    assert!(bad.is_guilty());
}

#[tokio::test]
async fn a_wish_of_the_server_is_kept_and_a_probe_that_goes_away_makes_room() {
    let harness = HealthHarness::new();
    let error = AgentError::Refused {
        server: String::new(),
        status: 402,
        reason: String::new(),
        fault: Fault::Lasting,
        retry_after: Some(Duration::from_secs(3600)),
    };
    let mut first = harness.case("a");
    harness.fail(&mut first, &error).await;
    harness.clock.advance(LONGEST_WISH);
    first.pass(&harness.clock).await;
    let mut second = harness.case("b");
    tokio::select! {
        biased;
        () = second.pass(&harness.clock) => panic!("there is a probe"),
        () = std::future::ready(()) => {}
    }
    drop(first);
    second.pass(&harness.clock).await;
}
