//! A platform that is polled: what a poll is asked with, and what it brings.

use std::time::Duration;

use super::{Platform, http_error};
use crate::error::{Error, ErrorKind};
use crate::history::HistoryEntry;
use crate::host::Host;
use crate::http::TransportError;
use crate::message::{Body, Conversation, Event, Message, Quote};

/// A platform that is polled.
#[expect(async_fn_in_trait, reason = "a component has one thread")]
pub trait Polling: Platform {
    /// Asks for what happened after a cursor.
    ///
    /// It is given up when the instance is drained. A batch is stored before the next poll, and what
    /// this one returned is not asked for again. So it returns all that it has read.
    ///
    /// # Errors
    /// [`PollError`].
    async fn poll(&self, host: &Host, poll: &Poll<'_>) -> Result<Batch, PollError>;
}

/// What a poll is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll<'a> {
    /// The cursor of the newest batch; empty before the first.
    pub cursor: &'a str,
    /// How long the platform may hold the poll when there is nothing. Platforms that know it by
    /// themselves need not be told.
    pub hold: Duration,
    /// The time of the request: somewhat more than the hold.
    pub timeout: Duration,
}

/// What a poll brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// Where the next poll begins; none where this one did.
    pub cursor: Option<String>,
    /// What happened, in order.
    pub events: Vec<Incoming>,
    /// How long the platform will hold the next poll, where it said so.
    pub hold: Option<Duration>,
    /// Why the poll counts as failed although something of its answer could be read. The rest of the
    /// batch is taken in all the same.
    pub failure: Option<Error>,
}

/// Something that happened.
#[derive(Debug)]
pub struct Incoming {
    /// What happened.
    pub event: Event,
    /// A message that it quotes by its id alone: the SDK looks it up, and sets the message's quote.
    pub quoted: Option<Quoted>,
}

impl From<Event> for Incoming {
    fn from(event: Event) -> Incoming {
        let quoted = None;
        Incoming { event, quoted }
    }
}

impl Incoming {
    /// A text that somebody wrote. The time is in milliseconds since the Unix epoch.
    pub fn message(
        id: &str,
        conversation: Conversation,
        sender: &str,
        sent_at_ms: u64,
        text: &str,
    ) -> Incoming {
        Incoming::from(Event {
            id: id.to_owned(),
            body: Body::Message(Message {
                conversation,
                sender: sender.to_owned(),
                sent_at_ms,
                received_ms: 0,
                text: text.to_owned(),
                media: Vec::new(),
                quote: None,
                reply_token: None,
            }),
        })
    }
}

/// Makes a quote of an entry of the history, or of nothing where it has none.
pub type ReadQuote = Box<dyn Fn(Option<&HistoryEntry>) -> Quote>;

/// A message of the history that is quoted by its id.
pub struct Quoted {
    /// The id.
    pub id: String,
    /// Makes the quote of what the history has under the id.
    pub read: ReadQuote,
}

impl std::fmt::Debug for Quoted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quoted").field("id", &self.id).finish()
    }
}

/// Why a poll brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollError {
    /// Its time passed without a response. Where [`Platform::hello`] then works, nothing is wrong.
    Silent,
    /// Something between here and the platform gave up waiting. When that was after a long time, polls
    /// are made shorter.
    CutShort(Error),
    /// It failed. The kind `login-required` means that the platform refuses the credential.
    Failed(Error),
}

impl PollError {
    /// Of a status that is no success.
    pub fn of_status(status: u16) -> PollError {
        match status {
            502 | 504 | 524 => PollError::CutShort(http_error(status)),
            _ => PollError::Failed(http_error(status)),
        }
    }
}

impl From<TransportError> for PollError {
    fn from(error: TransportError) -> PollError {
        match error {
            TransportError::TimedOut => PollError::Silent,
            error => PollError::Failed(error.into()),
        }
    }
}

impl From<PollError> for Error {
    fn from(error: PollError) -> Error {
        match error {
            PollError::Silent => {
                Error::new(ErrorKind::Transient, TransportError::TimedOut.to_string())
            }
            PollError::CutShort(error) | PollError::Failed(error) => error,
        }
    }
}

/// The same unreadable answer is passed over when it has come so often, and so many that differ. With
/// the pauses between polls these are about a minute and ten.
const SAME_UNREADABLE: u32 = 10;
const ALL_UNREADABLE: u32 = 60;

/// Counts answers to polls in a row that could not be read.
///
/// An answer that breaks off is asked for again, because its rest may come. One that is the same each
/// time will not change, and everybody behind it would wait for ever. So it is passed over after some
/// time.
#[derive(Debug, Default)]
pub struct UnreadableAnswers {
    last: u64,
    same: u32,
    all: u32,
}

impl UnreadableAnswers {
    /// Counts one more, and returns whether asking again has become useless.
    pub fn is_hopeless(&mut self, body: &str) -> bool {
        let this = crate::dedup::fnv1a(body.as_bytes());
        self.same = match self.last == this {
            true => self.same.saturating_add(1),
            false => 1,
        };
        self.last = this;
        self.all = self.all.saturating_add(1);
        self.same >= SAME_UNREADABLE || self.all >= ALL_UNREADABLE
    }
}

/// How long polls hang.
pub mod hold {
    use std::time::Duration;

    /// What is waited beyond the hold before a poll counts as ended.
    pub const MARGIN: Duration = Duration::from_secs(5);
    /// Longest hold that a platform may ask for.
    pub const MAX: Duration = Duration::from_secs(120);
    /// Shorter polls are not worth while.
    const SHORTEST: Duration = Duration::from_secs(5);
    /// A poll ends so much before it would be cut off.
    const CUT_MARGIN: Duration = Duration::from_secs(3);

    /// The time of a poll that the platform holds for `hold`, where something on the way lets none hang
    /// for longer than `longest`.
    pub fn timeout(hold: Duration, longest: Option<Duration>) -> Duration {
        (hold + MARGIN).min(longest.unwrap_or(Duration::MAX))
    }

    /// How long polls may hang when one was cut off after this time; none when that was too soon to be
    /// the reason.
    pub fn before_cut(cut_after: Duration) -> Option<Duration> {
        (cut_after >= SHORTEST + CUT_MARGIN).then(|| cut_after - CUT_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_stays_unreadable_is_passed_over_after_some_time() {
        let mut same = UnreadableAnswers::default();
        let hopeless = (1..=SAME_UNREADABLE).find(|_| same.is_hopeless("{"));
        assert_eq!(hopeless, Some(SAME_UNREADABLE));
        let mut all = UnreadableAnswers::default();
        let hopeless = (1..=ALL_UNREADABLE).find(|count| all.is_hopeless(&count.to_string()));
        assert_eq!(hopeless, Some(ALL_UNREADABLE));
    }

    #[test]
    fn only_a_status_of_something_on_the_way_cuts_polls_short() {
        for status in [502, 504, 524] {
            let error = PollError::of_status(status);
            assert!(matches!(error, PollError::CutShort(_)), "{status}");
        }
        for status in [301, 400, 401, 404, 429, 500, 503] {
            let error = PollError::of_status(status);
            assert!(matches!(error, PollError::Failed(_)), "{status}");
        }
    }
}
