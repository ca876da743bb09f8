//! What is wrong with callbacks.

use serde::Deserialize;

use crate::faults::Limit;
use crate::json::Member;

/// What is wrong with a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Signature,
    Time,
    Content,
    Receiver,
    Agent,
    Duplicate,
    Unanswered,
}

/// What is wrong with callbacks, and with how many of them.
///
/// Without [`CallbackFault::times`] it stays until it is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Members")]
pub struct CallbackFault {
    pub(super) limit: Limit,
    pub(super) odd: Odd,
}

impl CallbackFault {
    fn new(odd: Odd) -> CallbackFault {
        CallbackFault {
            limit: Limit::default(),
            odd,
        }
    }

    /// The signature is that of something else.
    pub fn wrong_signature() -> CallbackFault {
        CallbackFault::new(Odd::Signature)
    }

    /// The callback says that it is an hour old.
    pub fn wrong_time() -> CallbackFault {
        CallbackFault::new(Odd::Time)
    }

    /// The content does not decrypt to a message.
    pub fn wrong_content() -> CallbackFault {
        CallbackFault::new(Odd::Content)
    }

    /// The callback is for another corp.
    pub fn wrong_receiver() -> CallbackFault {
        CallbackFault::new(Odd::Receiver)
    }

    /// The callback is for another app.
    pub fn wrong_agent() -> CallbackFault {
        CallbackFault::new(Odd::Agent)
    }

    /// The callback comes once more although it was answered.
    pub fn duplicate() -> CallbackFault {
        CallbackFault::new(Odd::Duplicate)
    }

    /// Any answer is taken for none.
    pub fn unanswered() -> CallbackFault {
        CallbackFault::new(Odd::Unanswered)
    }

    /// It ends after so many callbacks.
    #[must_use]
    pub fn times(mut self, callbacks: u64) -> CallbackFault {
        self.limit.times = Some(callbacks);
        self
    }

    /// So many callbacks are right first.
    #[must_use]
    pub fn skip(mut self, callbacks: u64) -> CallbackFault {
        self.limit.skip = callbacks;
        self
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wrong {
    Signature,
    Time,
    Content,
    Receiver,
    Agent,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
struct Members {
    times: Member<u64>,
    skip: u64,
    wrong: Member<Wrong>,
    duplicate: bool,
    unanswered: bool,
}

impl TryFrom<Members> for CallbackFault {
    type Error = &'static str;

    fn try_from(members: Members) -> Result<CallbackFault, &'static str> {
        let wrong = members.wrong.given().map(|wrong| match wrong {
            Wrong::Signature => Odd::Signature,
            Wrong::Time => Odd::Time,
            Wrong::Content => Odd::Content,
            Wrong::Receiver => Odd::Receiver,
            Wrong::Agent => Odd::Agent,
        });
        let named = [
            wrong,
            members.duplicate.then_some(Odd::Duplicate),
            members.unanswered.then_some(Odd::Unanswered),
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(odd), None) => Ok(CallbackFault {
                limit: Limit {
                    skip: members.skip,
                    times: members.times.given(),
                },
                odd,
            }),
            (None, _) => Err("it does not say what is wrong"),
            (Some(_), Some(_)) => Err("it says more than one thing that is wrong"),
        }
    }
}
