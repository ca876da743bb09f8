//! How often something happens.

/// Passes over a number of requests first, and then lets something happen a number of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) skip: u64,
    /// `None` is until it is cleared.
    pub(crate) times: Option<u64>,
}

impl Limit {
    /// Whether it happens to the next request; counts that request.
    pub(crate) fn hits(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            Some(0) => false,
            Some(times) => {
                *times -= 1;
                true
            }
            None => true,
        }
    }

    /// Whether it will never happen again.
    pub(crate) fn is_over(self) -> bool {
        self.skip == 0 && self.times == Some(0)
    }
}
