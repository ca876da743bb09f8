//! What the simulated WeCom counts.

use super::endpoint::Endpoint;

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Deliveries of callbacks, repeats too.
    pub callbacks: u64,
    /// Of these, those that were answered with 200 in time.
    pub answered: u64,
    /// Of these, those whose answer was a reply that is shown.
    pub passive: u64,
    /// Callbacks that came for the last time, and were not answered.
    pub given_up: u64,
    /// Calls of `gettoken` that were given a token.
    pub tokens: u64,
    /// Calls of `gettoken`.
    pub gettoken: u64,
    /// Calls of `message/send`.
    pub sends: u64,
    /// Of these, those that were accepted.
    pub accepted: u64,
    /// Messages that were not shown, because the sender asked not to repeat them.
    pub repeats: u64,
    /// Calls of `media/upload`.
    pub uploads: u64,
    /// Calls of `media/get`.
    pub downloads: u64,
}

impl Counters {
    pub(super) fn count(&mut self, endpoint: Endpoint) {
        *match endpoint {
            Endpoint::GetToken => &mut self.gettoken,
            Endpoint::Send => &mut self.sends,
            Endpoint::Upload => &mut self.uploads,
            Endpoint::Get => &mut self.downloads,
        } += 1;
    }
}
