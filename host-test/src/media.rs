//! Media between the agent and the component.
//!
//! [`server`] gives the agent what people sent, under URLs that nobody can guess. [`outgoing`] reads
//! what the agent sends, and only where the operator allows it.

mod inline;
pub mod outgoing;
pub mod server;

use std::path::PathBuf;

/// What the operator allows.
#[derive(Debug, Clone)]
pub struct MediaRules {
    /// Directories whose files a reply may name by `path`.
    pub allowed: Vec<PathBuf>,
    /// Directories within them that a reply may not: the state's own.
    pub denied: Vec<PathBuf>,
    /// Largest file that the agent gets, in bytes.
    pub max_in: u64,
    /// Largest file that the agent sends, in bytes.
    pub max_out: u64,
}

impl Default for MediaRules {
    /// No directory, and 100 MiB each way.
    fn default() -> MediaRules {
        MediaRules {
            allowed: Vec::new(),
            denied: Vec::new(),
            max_in: 100 * 1024 * 1024,
            max_out: 100 * 1024 * 1024,
        }
    }
}
