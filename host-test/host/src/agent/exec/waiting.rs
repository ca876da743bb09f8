//! The messages that a process has and has not answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::AgentError;
use super::super::answer::Answer;
use super::super::objects::{Item, named};
use super::noise::Noise;
use super::suspects::in_order;
use super::{Asker, Call};

/// Who waits for a process.
pub struct Waiting {
    askers: HashMap<String, (u64, Asker)>,
    /// How many there were when those that nobody waits for were last removed.
    swept: usize,
    given: u64,
    /// Messages that it has answered.
    pub answered: u64,
    /// The same of all processes of the agent.
    answers: Arc<AtomicU64>,
}

impl Waiting {
    pub fn new(answers: Arc<AtomicU64>) -> Waiting {
        Waiting {
            askers: HashMap::new(),
            swept: 0,
            given: 0,
            answered: 0,
            answers,
        }
    }

    /// Whether a message of another account with the same id is with the process. Platforms' servers
    /// choose the ids, and an answer names a message by its id alone: with two of them one account
    /// would get the other's answer.
    pub fn has_of_another(&self, call: &Call) -> bool {
        let earlier = self.askers.get(&call.id);
        earlier.is_some_and(|(_, asker)| asker.account != call.asker.account)
    }

    /// A message was given to the process.
    pub fn add(&mut self, id: String, asker: Asker) {
        if self.askers.len() > 2 * self.swept + 64 {
            self.askers
                .retain(|_, (_, asker)| !asker.answer.is_closed());
            self.swept = self.askers.len();
        }
        self.given += 1;
        // An earlier call with this id fails by that: its caller gave it once more.
        self.askers.insert(id, (self.given, asker));
    }

    pub fn is_empty(&self) -> bool {
        self.askers.is_empty()
    }

    /// What it has not answered, the oldest first.
    pub fn ids(&self) -> Vec<String> {
        in_order(&self.askers, |(number, _)| *number)
    }

    /// All of them end so.
    pub fn fail(&mut self, error: &AgentError) {
        for (_, (_, asker)) in self.askers.drain() {
            let _ = asker.answer.send(Err(error.clone()));
        }
    }

    /// Gives what the process wrote to who waits for it.
    pub fn settle(&mut self, item: Item<'_>, noise: &mut Noise) {
        match item {
            Item::Noise(line) => noise.add(line, "it is no JSON object"),
            Item::Broken(line, why) => self.fail_named(line, why, noise),
            Item::Object(members) => {
                let names: Vec<&str> = members.keys().map(String::as_str).collect();
                let names = format!("{{{}}}", names.join(", "));
                let answer = Answer::of(members);
                if answer.in_reply_to.is_none() {
                    noise.add(names.as_bytes(), "it has no \"in_reply_to\"");
                } else if !self.give(answer) {
                    noise.add(names.as_bytes(), "it answers no message under way");
                }
            }
        }
    }

    /// What can't be read is no answer; the message has none then, where it is known.
    pub fn fail_named(&mut self, line: &[u8], why: &'static str, noise: &mut Noise) {
        let Some((_, asker)) = named(line).and_then(|id| self.askers.remove(&id)) else {
            noise.add(line, why);
            return;
        };
        self.count();
        let why = format!("what its process wrote for the message can't be read: {why}");
        // The caller may have given up.
        let _ = asker.answer.send(Err(AgentError::NoAnswer(why)));
    }

    /// False when nobody waits for it.
    fn give(&mut self, answer: Answer) -> bool {
        let id = answer.in_reply_to.as_deref().unwrap_or_default();
        if answer.progress {
            let Some((_, asker)) = self.askers.get(id) else {
                return false;
            };
            answer.say(&asker.progress);
            return true;
        }
        let Some((_, asker)) = self.askers.remove(id) else {
            return false;
        };
        self.count();
        // The caller may have given up.
        let _ = asker.answer.send(answer.reply());
        true
    }

    fn count(&mut self) {
        self.answered += 1;
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Call {
    /// Its parts: the id, the line, and who waits.
    pub fn into_parts(self) -> (String, Vec<u8>, Asker) {
        (self.id, self.line, self.asker)
    }
}
