//! What is stored under which key: the layout of version [`STATE_VERSION`].
//!
//! | bucket | key | value |
//! |---|---|---|
//! | state | `generation` | counter; the highest one owns the account |
//! | state | `version` | [`STATE_VERSION`] in decimal |
//! | state | `platform` | the platform's name, such as `weixin`; the state of another is refused |
//! | state | `journal/<generation>-<sequence>` | a batch with its cursor, JSON |
//! | state | `acks/<generation>-<sequence>` | one bit for each event of that batch |
//! | state | `cursor` | the cursor of the newest batch that was removed, JSON |
//! | state | `seen/<chunk>` | ids of acknowledged events, 8 bytes each |
//! | state | `peer/<id>` | what is known of a peer, JSON |
//! | state | `post/<key>` | a post and how far it has come, JSON |
//! | state | `burst/<id>` | ids of the messages that the agent gets as the message `<id>`, JSON |
//! | state | `retired/<time>` | keys of receipts that go 72 h after that time, JSON |
//! | state | `messages/<time>` | ids of messages that go 30 days after that time, JSON |
//! | receipts | `<key>` | what became of a post, JSON |
//! | messages | `<id>` | a message of the history, for quotes, JSON |

/// Version of the layout.
pub const STATE_VERSION: u32 = 1;

/// Key of the counter that fences older instances.
pub const GENERATION: &str = "generation";
/// Key of the layout's version.
pub const VERSION: &str = "version";
/// Key of the platform's name. A state from before it had one is taken over.
pub const PLATFORM: &str = "platform";
/// Key of the cursor that outlives its batch.
pub const CURSOR: &str = "cursor";
/// Prefix of batches.
pub const JOURNAL: &str = "journal/";
/// Prefix of the acknowledgements of a batch.
pub const ACKS: &str = "acks/";
/// Prefix of the ids of acknowledged events.
pub const DEDUP: &str = "seen/";
/// Prefix of peers.
pub const PEER: &str = "peer/";
/// Prefix of posts that are not retired.
pub const POST: &str = "post/";

/// Prefix of messages that were joined for the agent.
pub const BURST: &str = "burst/";
/// Prefix of the keys of receipts, by time.
pub const RETIRED: &str = "retired/";
/// Prefix of the ids of messages in the history, by time.
pub const MESSAGES: &str = "messages/";

/// The three buckets of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Small, read at every start.
    State,
    /// Looked up by the key of a post.
    Receipts,
    /// Looked up by the id of a message.
    Messages,
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub bucket: Bucket,
    /// Which key.
    pub key: String,
    /// The new value; none deletes.
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Sets a key of the state bucket.
    pub fn set(key: String, value: Vec<u8>) -> Write {
        Write {
            bucket: Bucket::State,
            key,
            value: Some(value),
        }
    }

    /// Deletes a key of the state bucket.
    pub fn delete(key: String) -> Write {
        Write {
            bucket: Bucket::State,
            key,
            value: None,
        }
    }
}

/// Which of the keys of the state bucket a start reads; the others are read when they are needed.
pub fn is_read_at_start(key: &str) -> bool {
    key == CURSOR
        || [JOURNAL, ACKS, DEDUP, POST, BURST]
            .iter()
            .any(|prefix| key.starts_with(prefix))
}

/// A value as it is stored.
pub fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our records have string keys and no failing serializer")
}
