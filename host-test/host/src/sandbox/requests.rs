//! Counts the requests of an account: how many are open, and how the others ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most paths with a count of their own. They are few because the component chooses them.
const PATHS: usize = 16;
/// The longest of them.
const PATH_BYTES: usize = 64;
/// What the others are counted as.
const OTHER: &str = "other";

/// How a request ended: `1xx` to `5xx` by its status, `failed` without one.
type Outcome = &'static str;

/// Of one account, since its start.
#[derive(Debug, Default)]
pub struct Requests {
    open: AtomicU64,
    ended: Mutex<BTreeMap<Arc<str>, BTreeMap<Outcome, u64>>>,
}

/// A request that is open until this is dropped.
pub(super) struct Open(Arc<Requests>);

impl Open {
    pub fn new(requests: &Arc<Requests>) -> Open {
        requests.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(requests))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Requests {
    /// Those that are not answered, or whose answer is being read: a poll that hangs, for instance.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts the answer's head, or that there was none. The path is the component's own, where that
    /// is known.
    pub(super) fn count(&self, path: Option<&str>, status: Option<http::StatusCode>) {
        let outcome = match status.map(|status| status.as_u16() / 100) {
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
            None => "failed",
        };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let is_counted = |path: &&str| {
            ended.contains_key(*path) || (path.len() <= PATH_BYTES && ended.len() < PATHS)
        };
        let path = path.filter(is_counted).unwrap_or(OTHER);
        let outcomes = ended.entry(path.into()).or_default();
        *outcomes.entry(outcome).or_default() += 1;
    }

    /// By path and outcome: `2xx`, other statuses alike, or `failed`.
    pub fn ended(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let each = ended.iter().flat_map(|(path, outcomes)| {
            let one = |(outcome, count): (&Outcome, &u64)| (Arc::clone(path), *outcome, *count);
            outcomes.iter().map(one)
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn paths_are_counted_by_outcome_and_are_few() {
        let requests = Requests::default();
        requests.count(Some("/poll"), Some(StatusCode::OK));
        requests.count(Some("/poll"), Some(StatusCode::NO_CONTENT));
        requests.count(Some("/poll"), None);
        for number in 0..100 {
            requests.count(Some(&format!("/{number}")), Some(StatusCode::BAD_GATEWAY));
        }
        requests.count(Some(&"/".repeat(PATH_BYTES + 1)), Some(StatusCode::OK));
        requests.count(None, Some(StatusCode::CONTINUE));
        let ended = requests.ended();
        assert!(ended.contains(&("/poll".into(), "2xx", 2)), "{ended:?}");
        assert!(ended.contains(&("/poll".into(), "failed", 1)), "{ended:?}");
        assert!(ended.contains(&(OTHER.into(), "5xx", 85)), "{ended:?}");
        assert!(ended.contains(&(OTHER.into(), "2xx", 1)), "{ended:?}");
        assert!(ended.contains(&(OTHER.into(), "1xx", 1)), "{ended:?}");
        assert_eq!(requests.ended().len(), 2 + 15 + 3);
    }
}
