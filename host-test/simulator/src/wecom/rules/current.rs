//! The rules as they are now.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::callback_fault::{CallbackFault, Odd};
use crate::faults::{Fault, FaultQueue};
use crate::json::Millis;
use crate::wecom::endpoint::Endpoint;

/// More sends than this are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "SendLimitMembers")]
pub struct SendLimit {
    /// Sends that are accepted within the time.
    pub sends: usize,
    /// The time.
    pub within: Duration,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
struct SendLimitMembers {
    sends: usize,
    within_ms: Millis,
}

impl Default for SendLimitMembers {
    fn default() -> SendLimitMembers {
        SendLimitMembers {
            sends: 0,
            within_ms: Millis(Duration::from_secs(60)),
        }
    }
}

impl From<SendLimitMembers> for SendLimit {
    fn from(members: SendLimitMembers) -> SendLimit {
        SendLimit {
            sends: members.sends,
            within: members.within_ms.0,
        }
    }
}

/// The rules as they are now, and the faults of requests.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) token_life: Duration,
    pub(crate) media_life: Duration,
    pub(crate) answer_within: Duration,
    pub(crate) redeliveries: u64,
    pub(crate) send_limit: Option<SendLimit>,
    pub(crate) address: Option<String>,
    pub(crate) users: Option<Vec<String>>,
    pub(crate) unlicensed: Vec<String>,
    pub(super) callback: Option<CallbackFault>,
    pub(super) faults: BTreeMap<Endpoint, FaultQueue>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            token_life: Duration::from_secs(7200),
            media_life: Duration::from_secs(3 * 24 * 60 * 60),
            answer_within: Duration::from_secs(5),
            redeliveries: 3,
            send_limit: None,
            address: None,
            users: None,
            unlicensed: Vec::new(),
            callback: None,
            faults: BTreeMap::new(),
        }
    }
}

impl Rules {
    /// The fault of this request; counts it.
    pub(crate) fn fault(&mut self, endpoint: Endpoint) -> Option<Fault> {
        self.faults.get_mut(&endpoint)?.next()
    }

    /// What is wrong with this callback; counts it.
    pub(crate) fn odd(&mut self) -> Option<Odd> {
        let callback = self.callback.as_mut()?;
        callback.limit.hits().then_some(callback.odd)
    }
}
