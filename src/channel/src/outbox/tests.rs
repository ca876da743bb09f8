use super::*;

mod outcomes;
mod peers;
mod properties;
mod storage;
mod turns;

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
    outbox.settle(now, 0, job, outcome, STANDING).writes
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
