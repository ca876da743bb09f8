//! Logs what became of posts that had waited: one line each, without the text.

use super::{PartState, Receipt, Shared};
use crate::instance::describe;

impl Shared {
    /// Tells and counts what became of a post that was queued.
    pub(super) fn settled(&self, receipt: &Receipt) {
        self.metrics.count(receipt);
        let (account, key) = (&*self.id, receipt.key.as_str());
        let instance = self.instance_number();
        let (state, is_good, why) = outcome(receipt);
        if !self.may_tell(&why) {
            return;
        }
        match is_good {
            true => tracing::info!(account, instance, key, "a post that had waited is {state}"),
            false => tracing::warn!(
                account,
                instance,
                key,
                "a post that had waited is {state}{why}"
            ),
        }
    }
}

/// The state of the part that came off worst, whether that is good, and why it is not.
fn outcome(receipt: &Receipt) -> (&'static str, bool, String) {
    let worst = receipt.parts.iter().max_by_key(|part| rank(part.state));
    let Some(part) = worst else {
        return ("settled", true, String::new());
    };
    let why = part.error.as_ref().map(describe);
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let is_good = rank(part.state) <= rank(PartState::Unconfirmed);
    (state_name(part.state), is_good, why)
}

fn rank(state: PartState) -> u8 {
    match state {
        PartState::Accepted => 0,
        PartState::Unconfirmed => 1,
        PartState::Dropped => 2,
        PartState::Pending => 3,
        PartState::Queued => 4,
        PartState::Unknown => 5,
        PartState::Failed => 6,
    }
}

/// A state's name in the contract.
pub(crate) fn state_name(state: PartState) -> &'static str {
    match state {
        PartState::Pending => "pending",
        PartState::Accepted => "accepted",
        PartState::Unconfirmed => "unconfirmed",
        PartState::Queued => "queued",
        PartState::Dropped => "dropped",
        PartState::Failed => "failed",
        PartState::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::gateway::channel::types::{Error, ErrorKind, Part};

    #[test]
    fn the_part_that_came_off_worst_is_told() {
        let part = |state, error| Part {
            state,
            message_id: None,
            error,
        };
        let told = |parts: Vec<Part>| {
            let key = "k".to_owned();
            outcome(&Receipt { key, parts })
        };
        let accepted = || part(PartState::Accepted, None);
        let (state, is_good, _) = told(vec![accepted(), part(PartState::Unconfirmed, None)]);
        assert_eq!((state, is_good), ("unconfirmed", true));
        let error = Error {
            kind: ErrorKind::WindowClosed,
            retry_after: None,
            platform: Some("ret=-2".to_owned()),
            message: "about the text".to_owned(),
        };
        let failed = part(PartState::Failed, Some(error));
        let (state, is_good, why) = told(vec![accepted(), failed, accepted()]);
        assert_eq!((state, is_good), ("failed", false));
        assert_eq!(why, ": window-closed (ret=-2)");
        assert!(told(Vec::new()).1);
        assert!(!told(vec![part(PartState::Unknown, None)]).1);
    }
}
