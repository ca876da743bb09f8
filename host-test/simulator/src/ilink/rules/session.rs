//! Limits of sends, and sessions that expire.

use std::time::Duration;

use serde::Deserialize;

use crate::json::{Member, Millis};

/// What a cursor does to the messages before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cursors {
    /// An old cursor delivers again from there, an empty one from the start.
    Rewind,
    /// What is before the newest cursor that came back never comes again.
    Acknowledge,
    /// What was delivered never comes again, even if its answer was lost.
    Consume,
}

/// A token bucket of a bot's sends, and what it costs to find it empty.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(from = "BurstMembers")]
pub struct Burst {
    /// Sends that a full bucket admits at once.
    pub size: u64,
    /// Sends that are refilled in a second, from 0.
    pub per_second: f64,
    /// The send that finds the bucket empty is refused, and all others for so long; each of those
    /// starts the penalty anew.
    pub penalty: Duration,
}

impl Default for Burst {
    fn default() -> Burst {
        Burst {
            size: 3,
            per_second: 3.0,
            penalty: Duration::from_secs(60 * 60),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
struct BurstMembers {
    size: Member<u64>,
    per_second: Member<f64>,
    penalty_ms: Member<Millis>,
}

impl From<BurstMembers> for Burst {
    fn from(members: BurstMembers) -> Burst {
        let mut burst = Burst::default();
        members.size.set(&mut burst.size);
        members.per_second.set(&mut burst.per_second);
        if let Member::Given(Millis(penalty)) = members.penalty_ms {
            burst.penalty = penalty;
        }
        burst
    }
}

impl Burst {
    /// Whether the rate is a number from 0.
    pub(super) fn is_possible(self) -> bool {
        self.per_second.is_finite() && self.per_second >= 0.0
    }
}

/// A session that expires: every endpoint answers -14 until the bot gets a new token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "SessionMembers")]
pub struct ExpiredSession {
    /// Which member of the answers says -14.
    pub answer: ExpiredAs,
    /// From now on, or only after this time.
    pub after: Duration,
    /// Ends after this time, even without a new token.
    pub lasts: Option<Duration>,
}

/// Which member of an answer says that the session is expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiredAs {
    /// `errcode`.
    #[default]
    Errcode,
    /// `ret`.
    Ret,
    /// Both.
    Both,
}

impl ExpiredAs {
    fn answer(self) -> &'static str {
        match self {
            ExpiredAs::Errcode => r#"{"errcode":-14,"errmsg":"session timeout"}"#,
            ExpiredAs::Ret => r#"{"ret":-14,"errmsg":"session timeout"}"#,
            ExpiredAs::Both => r#"{"ret":-14,"errcode":-14,"errmsg":"session timeout"}"#,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
struct SessionMembers {
    expired: Member<ExpiredAs>,
    after_ms: Millis,
    for_ms: Member<Millis>,
}

impl From<SessionMembers> for ExpiredSession {
    fn from(members: SessionMembers) -> ExpiredSession {
        ExpiredSession {
            answer: members.expired.given().unwrap_or_default(),
            after: members.after_ms.0,
            lasts: members.for_ms.given().map(|lasts| lasts.0),
        }
    }
}

/// A stale session, in the clock's time.
#[derive(Clone, Copy)]
pub(crate) struct Expiry {
    from: Duration,
    until: Option<Duration>,
    answer: &'static str,
}

impl Expiry {
    pub(super) fn of(session: ExpiredSession, now: Duration) -> Expiry {
        let from = now.saturating_add(session.after);
        Expiry {
            from,
            until: session.lasts.map(|lasts| from.saturating_add(lasts)),
            answer: session.answer.answer(),
        }
    }

    /// The answer of every endpoint while the session is stale.
    pub(crate) fn answer(&self, now: Duration) -> Option<&'static str> {
        let over = self.until.is_some_and(|until| now >= until);
        (now >= self.from && !over).then_some(self.answer)
    }
}
