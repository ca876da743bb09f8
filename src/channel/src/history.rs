//! The history of messages by the platform's ids. A quote may bring only the id of what it quotes, and
//! this is where its text is found.
//!
//! The history is bounded to about the last 10,000 messages of the last 30 days. A new entry is kept
//! in memory first. It is stored before the batch or the post that it came from is removed, so that a
//! crash in between loses nothing.

use serde::{Deserialize, Serialize};

use super::expiry::Expiry;
use super::message::{Event, Media};
use super::store::{Bucket, MESSAGES, Write, to_json};

const LIFE_MS: u64 = 30 * 24 * 3_600_000;
/// Chunks of 128 ids each.
const MAX_CHUNKS: usize = 80;
/// Entries that wait to be stored at most. While the store fails, the oldest are dropped.
const MAX_WAITING: usize = 1024;
/// Longest text of an entry, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The conversation's id. A quote of a message from another conversation is not resolved.
    pub conversation: String,
    /// The message's text, cut after `MAX_TEXT_BYTES`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The message's media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

/// The history of one account.
#[derive(Debug)]
pub struct History {
    expiry: Expiry,
    waiting: Vec<(String, HistoryEntry)>,
}

impl History {
    /// The history that is stored under these keys of the state bucket.
    pub fn load<'a>(keys: impl Iterator<Item = &'a str>) -> History {
        History {
            expiry: Expiry::load(MESSAGES, LIFE_MS, MAX_CHUNKS, keys),
            waiting: Vec::new(),
        }
    }

    /// Adds a message that a person wrote. Other events are ignored.
    pub fn add_received(&mut self, event: &Event) {
        if let Some(message) = event.message() {
            let entry = HistoryEntry {
                conversation: message.conversation.id.clone(),
                text: message.text.clone(),
                media: message.media.clone(),
            };
            self.add(event.id.clone(), entry);
        }
    }

    /// Adds a text that the platform accepted under the id `id`.
    pub fn add_sent(&mut self, id: &str, conversation: &str, text: &str) {
        let entry = HistoryEntry {
            conversation: conversation.to_owned(),
            text: text.to_owned(),
            media: Vec::new(),
        };
        self.add(id.to_owned(), entry);
    }

    fn add(&mut self, id: String, mut entry: HistoryEntry) {
        let end = entry.text.floor_char_boundary(MAX_TEXT_BYTES);
        entry.text.truncate(end);
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.drain(..MAX_WAITING / 2);
        }
        self.waiting.push((id, entry));
    }

    /// The entry of an id, if it is not stored yet. The others are in the bucket of messages, under
    /// their ids.
    pub fn find(&self, id: &str) -> Option<&HistoryEntry> {
        let mut waiting = self.waiting.iter().rev();
        waiting
            .find(|(other, _)| other == id)
            .map(|(_, entry)| entry)
    }

    /// How many entries wait to be stored.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Stores the entries that wait.
    pub fn flush(&mut self, now_ms: u64) -> Vec<Write> {
        let waiting = std::mem::take(&mut self.waiting);
        let ids = waiting.iter().map(|(id, _)| id.clone());
        let mut writes = self.expiry.insert(now_ms, ids);
        writes.extend(waiting.into_iter().map(|(id, entry)| Write {
            bucket: Bucket::Messages,
            key: id,
            value: Some(to_json(&entry)),
        }));
        writes
    }

    /// The key of a chunk of ids whose time is over.
    pub fn due(&self, now_ms: u64) -> Option<String> {
        self.expiry.due(now_ms)
    }

    /// Removes the entries of a chunk, and the chunk; `value` is what the chunk's key holds.
    pub fn forget(&mut self, key: &str, value: Option<&[u8]>) -> Vec<Write> {
        let (ids, chunk) = self.expiry.remove(key, value);
        let ids = ids.into_iter().map(|id| Write {
            bucket: Bucket::Messages,
            key: id,
            value: None,
        });
        ids.chain([chunk]).collect()
    }
}
