//! What an agent says before its answer, for the person who waits.
//!
//! Nothing depends on it. Texts are sent in their order, as soon as possible. A text that comes when too
//! many are under way, or after the answer, is left out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Texts of one message that are on their way at the same time.
const MAX_UNDER_WAY: usize = 64;

/// Takes what an agent says about one message. Clones belong to the same message.
#[derive(Clone)]
pub struct Progress {
    lines: mpsc::UnboundedSender<Line>,
    room: Arc<Semaphore>,
}

debug_by_name!(Progress);

/// A text on its way. Dropping it makes room for another one.
pub(crate) struct Line {
    pub text: String,
    _room: OwnedSemaphorePermit,
}

impl Progress {
    /// A sink, and the receiver of its texts.
    pub(crate) fn new() -> (Progress, mpsc::UnboundedReceiver<Line>) {
        let (lines, said) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        (Progress { lines, room }, said)
    }

    /// A sink that discards everything, for an agent that is asked outside of an account.
    pub fn nowhere() -> Progress {
        Progress::new().0
    }

    /// Says a text, and returns at once. A blank text is left out, and so is one for which there is no room.
    pub fn say(&self, text: impl Into<String>) {
        let text = text.into();
        if text.trim().is_empty() {
            return;
        }
        match Arc::clone(&self.room).try_acquire_owned() {
            // Without a receiver, the answer is known already.
            Ok(room) => drop(self.lines.send(Line { text, _room: room })),
            Err(_) => tracing::debug!("a line of progress is left out: too many are on their way"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_out_in_order_and_is_bounded() {
        let (progress, mut said) = Progress::new();
        progress.say(" \n");
        for number in 0..MAX_UNDER_WAY + 10 {
            progress.say(number.to_string());
        }
        let lines: Vec<Line> = std::iter::from_fn(|| said.try_recv().ok()).collect();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let expected: Vec<String> = (0..MAX_UNDER_WAY).map(|n| n.to_string()).collect();
        assert_eq!(texts, expected);
        progress.say("still too many");
        assert!(said.try_recv().is_err());
        drop(lines);
        progress.clone().say("room again");
        assert_eq!(said.try_recv().unwrap().text, "room again");
    }

    #[test]
    fn nobody_need_listen() {
        let progress = Progress::nowhere();
        for _ in 0..1000 {
            progress.say("hello?");
        }
    }
}
