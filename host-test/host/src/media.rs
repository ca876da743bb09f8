//! Media between the agent and the component.
//!
//! [`server`] gives the agent what people sent, under URLs that nobody can guess. [`outgoing`] reads
//! what the agent sends, and only where the operator allows it: files of a [`folder`], URLs of an
//! [`origin`] or of the public internet.

pub mod folder;
mod inline;
pub mod origin;
pub mod outgoing;
pub mod server;

use std::path::PathBuf;

use folder::Folder;
use origin::Origin;

/// What the operator allows.
#[derive(Debug, Clone)]
pub struct MediaRules {
    /// Directories whose files a reply may name by `path`.
    pub allowed: Vec<Folder>,
    /// Directories and files that a reply may not name, wherever they are and however they are
    /// called: the state, the file of accounts.
    pub denied: Vec<PathBuf>,
    /// Origins that a reply may name by `url` although they are on this machine, in its network or
    /// plain http. Each account adds that of its agent ([`crate::agent::Agent::url`]).
    pub origins: Vec<Origin>,
    /// Largest file that the agent gets, in bytes.
    pub max_in: u64,
    /// Largest file that the agent sends, in bytes.
    pub max_out: u64,
}

impl Default for MediaRules {
    /// No directory, no origin, and 100 MiB each way.
    fn default() -> MediaRules {
        MediaRules {
            allowed: Vec::new(),
            denied: Vec::new(),
            origins: Vec::new(),
            max_in: 100 * 1024 * 1024,
            max_out: 100 * 1024 * 1024,
        }
    }
}
