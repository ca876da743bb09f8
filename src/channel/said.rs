//! What was said, by the platform's ids: a quote may come as an id alone.
//!
//! Bounded: the last 10,000 messages or so, of the last 30 days. What waits to be stored is known
//! already, and is stored before the batch or the post that it came from is removed.

use serde::{Deserialize, Serialize};

use super::expiry::Expiry;
use super::message::{Event, Media};
use super::store::{Bucket, MESSAGES, Write, to_json};

const LIFE_MS: u64 = 30 * 24 * 3_600_000;
/// Of 128 names each.
const MAX_CHUNKS: usize = 80;
/// What waits to be stored at most; while the store fails, the oldest go.
const MAX_WAITING: usize = 1024;
/// Longest text that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Where; a quote from elsewhere is none.
    pub conversation: String,
    /// Its text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Its media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

/// The messages of an account.
#[derive(Debug)]
pub struct Messages {
    expiry: Expiry,
    waiting: Vec<(String, Said)>,
}

impl Messages {
    /// With what is stored: the keys of the state bucket.
    pub fn load<'a>(keys: impl Iterator<Item = &'a str>) -> Messages {
        Messages {
            expiry: Expiry::load(MESSAGES, LIFE_MS, MAX_CHUNKS, keys),
            waiting: Vec::new(),
        }
    }

    /// Notes a message that a person wrote.
    pub fn heard(&mut self, event: &Event) {
        if let Some(message) = event.message() {
            let said = Said {
                conversation: message.conversation.id.clone(),
                text: message.text.clone(),
                media: message.media.clone(),
            };
            self.note(event.id.clone(), said);
        }
    }

    /// Notes a message that was sent.
    pub fn sent(&mut self, id: &str, conversation: &str, text: &str) {
        let said = Said {
            conversation: conversation.to_owned(),
            text: text.to_owned(),
            media: Vec::new(),
        };
        self.note(id.to_owned(), said);
    }

    fn note(&mut self, id: String, mut said: Said) {
        let end = said.text.floor_char_boundary(MAX_TEXT_BYTES);
        said.text.truncate(end);
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.drain(..MAX_WAITING / 2);
        }
        self.waiting.push((id, said));
    }

    /// A message that is not stored yet; the others are in their bucket under their ids.
    pub fn find(&self, id: &str) -> Option<&Said> {
        let mut waiting = self.waiting.iter().rev();
        waiting.find(|(other, _)| other == id).map(|(_, said)| said)
    }

    /// How many wait to be stored.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Stores what waits.
    pub fn flush(&mut self, now_ms: u64) -> Vec<Write> {
        let waiting = std::mem::take(&mut self.waiting);
        let ids = waiting.iter().map(|(id, _)| id.clone());
        let mut writes = self.expiry.insert(now_ms, ids);
        writes.extend(waiting.into_iter().map(|(id, said)| Write {
            bucket: Bucket::Messages,
            key: id,
            value: Some(to_json(&said)),
        }));
        writes
    }

    /// The key of a chunk of ids that are to be forgotten.
    pub fn due(&self, now_ms: u64) -> Option<String> {
        self.expiry.due(now_ms)
    }

    /// Forgets the ids of a chunk.
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
