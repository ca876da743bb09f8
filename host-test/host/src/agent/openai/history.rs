//! The last turns of each conversation, in memory: bounded in turns, bytes and conversations.

use std::collections::HashMap;

/// Turns of one conversation that are kept.
const MAX_TURNS: usize = 20;
/// Bytes of their texts.
const MAX_BYTES: usize = 64 * 1024;
/// Conversations that are kept; the one that was silent for longest goes.
const MAX_CONVERSATIONS: usize = 1000;

/// The ids of an account and of its conversation.
pub type Conversation = (String, String);

/// A message and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The message's id.
    pub id: String,
    /// What the model was given for it, without pictures.
    pub said: String,
    /// What the model answered.
    pub answer: String,
}

/// What was said in all conversations.
#[derive(Default)]
pub struct History {
    conversations: HashMap<Conversation, Kept>,
    uses: u64,
}

struct Kept {
    turns: Vec<Turn>,
    last_use: u64,
}

impl History {
    /// The turns of a conversation, oldest first.
    pub fn of(&self, conversation: &Conversation) -> Vec<Turn> {
        let kept = self.conversations.get(conversation);
        kept.map(|kept| kept.turns.clone()).unwrap_or_default()
    }

    /// Replaces the turns of a conversation; the oldest of too many are left out.
    pub fn set(&mut self, conversation: Conversation, mut turns: Vec<Turn>) {
        let mut bytes = 0;
        let fitting = turns.iter().rev().take(MAX_TURNS).take_while(|turn| {
            bytes += turn.said.len() + turn.answer.len();
            bytes <= MAX_BYTES
        });
        let too_many = turns.len() - fitting.count();
        turns.drain(..too_many);
        self.uses += 1;
        let last_use = self.uses;
        self.conversations
            .insert(conversation, Kept { turns, last_use });
        if self.conversations.len() > MAX_CONVERSATIONS {
            let oldest = self
                .conversations
                .iter()
                .min_by_key(|(_, kept)| kept.last_use)
                .map(|(conversation, _)| conversation.clone());
            oldest.and_then(|oldest| self.conversations.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(count: usize, bytes: usize) -> Vec<Turn> {
        let turn = |id: usize| Turn {
            id: id.to_string(),
            said: "x".repeat(bytes),
            answer: String::new(),
        };
        (0..count).map(turn).collect()
    }

    fn conversation(number: usize) -> Conversation {
        ("bot".to_owned(), number.to_string())
    }

    #[test]
    fn the_last_turns_within_the_limits_are_kept() {
        let mut history = History::default();
        let name = conversation(0);
        assert!(history.of(&name).is_empty());
        for (count, bytes, kept) in [
            (3, 10, 3),
            (25, 10, MAX_TURNS),
            (5, 20 * 1024, 3),
            (2, MAX_BYTES, 1),
            (2, MAX_BYTES + 1, 0),
            (0, 0, 0),
        ] {
            history.set(name.clone(), turns(count, bytes));
            assert_eq!(history.of(&name), turns(count, bytes)[count - kept..]);
        }
    }

    #[test]
    fn the_conversation_that_was_silent_for_longest_goes() {
        let mut history = History::default();
        for number in 0..MAX_CONVERSATIONS {
            history.set(conversation(number), turns(1, 1));
        }
        history.set(conversation(0), turns(2, 1));
        history.set(conversation(MAX_CONVERSATIONS), turns(1, 1));
        assert_eq!(history.conversations.len(), MAX_CONVERSATIONS);
        assert_eq!(history.of(&conversation(0)).len(), 2);
        assert!(history.of(&conversation(1)).is_empty());
    }
}
