//! The channel itself, whatever the platform: what is received is journalled until it is
//! acknowledged, what is to be sent is stored until it is settled.
//!
//! Every function takes values and returns values. Changes come back as [`store::Write`]s that the
//! caller makes in their order; a crash between any two of them loses nothing. When a write fails
//! the caller loads the state again: memory is only a cache of the store.

pub mod backoff;
pub mod cipher;
pub mod error;
pub mod file_name;
pub mod health;
pub mod journal;
pub mod markdown;
pub mod message;
pub mod outbox;
pub mod pace;
pub mod peers;
pub mod policy;
pub mod seen;
pub mod settings;
pub mod sniff;
pub mod split;
pub mod store;

use std::time::Duration;

use error::{Error, ErrorKind};
use journal::Journal;
use message::Event;
use outbox::{Content, Job, NewPost, Outbox, Outcome, Receipt};
use pace::Pace;
use peers::Peers;
use settings::Settings;
use store::Write;

/// Sends that may start at once before the pace holds.
const BURST: u32 = 2;
/// Batches or posts that are done before the store is tidied.
const RETIRE_AT: usize = 8;
/// Longest key of a post.
const MAX_KEY_BYTES: usize = 64;
/// Longest text of a post.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// All that is in memory of one account.
#[derive(Debug)]
pub struct Channel {
    settings: Settings,
    generation: u64,
    journal: Journal,
    outbox: Outbox,
    peers: Peers,
}

/// What a batch brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The one write that stores it.
    pub write: Option<Write>,
    /// Messages of people who are not admitted: not stored.
    pub refused: usize,
}

impl Channel {
    /// The channel of the instance `generation`, with what is stored of it: the entries of the state
    /// bucket whose keys [`store::is_read_at_start`]. Returns sentences about what could not be read.
    pub fn load(
        settings: Settings,
        generation: u64,
        entries: &[(String, Vec<u8>)],
    ) -> (Channel, Vec<String>) {
        let pace = Pace::new(settings.send_interval, BURST);
        let mut outbox = Outbox::new(pace, generation);
        let mut problems = outbox.load(entries);
        let mut journal = Journal::new(generation);
        problems.extend(journal.load(entries, &outbox.answered()));
        let channel = Channel {
            settings,
            generation,
            journal,
            outbox,
            peers: Peers::default(),
        };
        (channel, problems)
    }

    /// Loads again after a failed write: memory follows the store, and what this instance returned
    /// already is not returned twice.
    pub fn reload(&mut self, entries: &[(String, Vec<u8>)]) -> Vec<String> {
        let (channel, problems) = Channel::load(self.settings.clone(), self.generation, entries);
        let before = std::mem::replace(self, channel);
        self.journal.follow(before.journal);
        self.outbox.follow(before.outbox);
        problems
    }

    /// Takes in batches that an older instance stored after this one had started.
    pub fn adopt(&mut self, entries: &[(String, Vec<u8>)]) -> Vec<String> {
        self.journal.load(entries, &self.outbox.answered())
    }

    /// The configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which instance of the account this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What was received and not acknowledged.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// What was stored to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What is known of the peers. Load those of a batch before [`Channel::receive`].
    pub fn peers(&mut self) -> &mut Peers {
        &mut self.peers
    }

    /// Takes in a batch with its cursor.
    pub fn receive(&mut self, cursor: String, events: Vec<Event>) -> Received {
        let count = events.len();
        let admitted: Vec<Event> = events
            .into_iter()
            .filter(|event| {
                event
                    .message()
                    .is_none_or(|message| self.settings.access.admits(message))
            })
            .collect();
        let refused = count - admitted.len();
        for event in &admitted {
            if let Some(message) = event.message()
                && !self.journal.knows(&event.id)
            {
                self.peers.heard(message.into());
            }
        }
        self.peers.shrink();
        Received {
            write: self.journal.accept(cursor, admitted),
            refused,
        }
    }

    /// Checks a post before anything is stored of it.
    ///
    /// # Errors
    /// `invalid` and `too-large`, with what would be right.
    pub fn check(&self, post: &NewPost) -> Result<(), Error> {
        let invalid = |why: &str| Err(Error::new(ErrorKind::Invalid, why));
        if post.key.is_empty() || post.key.len() > MAX_KEY_BYTES {
            return invalid("a post's key has 1 to 64 bytes");
        }
        if post.conversation.is_empty() || post.conversation.len() > 512 {
            return invalid("a conversation's id has 1 to 512 bytes");
        }
        if post.text.len() > MAX_TEXT_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "the text of a post has at most 1 MiB",
            ));
        }
        Ok(())
    }

    /// Stores a post, and with it the acknowledgement of what it answers. `client_id` makes an id
    /// for each part.
    pub fn post(
        &mut self,
        now: Duration,
        post: NewPost,
        mut client_id: impl FnMut() -> String,
    ) -> Write {
        let (text, media) = (post.text.clone(), post.media.clone());
        if let Some(id) = &post.answers {
            self.journal.answered(id);
        }
        let parts = split::split(&text, self.settings.limits, split::Options::default())
            .into_iter()
            .map(Content::Text)
            .chain(media.into_iter().map(Content::Media))
            .map(|content| (content, client_id()));
        self.outbox.accept(now, post, parts)
    }

    /// Takes in what became of a request of the lane.
    pub fn settle(
        &mut self,
        now: Duration,
        random: u64,
        job: &Job,
        outcome: Outcome,
    ) -> Vec<Write> {
        self.outbox
            .settle(now, random, job, outcome)
            .into_iter()
            .collect()
    }

    /// The receipt of a post that is in memory.
    pub fn receipt(&self, key: &str) -> Option<Receipt> {
        self.outbox.receipt(key)
    }

    /// Removes what is done from the store, when enough of it has come together or `now` is asked.
    pub fn retire(&mut self, now_ms: u64, at_once: bool) -> Vec<Write> {
        let enough = |count: usize| count >= if at_once { 1 } else { RETIRE_AT };
        if !enough(self.journal.complete()) && !enough(self.outbox.settled()) {
            return Vec::new();
        }
        let mut writes = self.peers.flush();
        writes.extend(self.journal.retire());
        let journal = &self.journal;
        writes.extend(self.outbox.retire(now_ms, |id| journal.holds(id)));
        writes
    }
}
