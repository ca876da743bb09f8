//! The accounts of a file, which is read again when it changes.

use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, ready};

use crate::cli::{AllowEgress, Defaults, read_accounts};
use crate::run::error::RunError;
use crate::run::wanted::{Source, WantedAccount};
use gateway_host::egress::pins::Pins;
use gateway_host::watch::FileWatch;

/// The file is read when it has not changed for so long: an editor writes in several steps.
const QUIET: Duration = Duration::from_millis(100);

/// Wants the accounts of a file, and pins the origins that it names.
pub struct FileSource<'a> {
    path: &'a Path,
    defaults: &'a Defaults,
    allow_egress: &'a AllowEgress,
    pins: &'a Pins,
    watch: FileWatch,
    /// It changed since it was read.
    is_stale: bool,
    accounts: Vec<WantedAccount>,
}

impl<'a> FileSource<'a> {
    /// Watches the file from now on. `defaults` hold where an account has no setting of its own;
    /// `allow_egress` is pinned besides what the file pins. Must be called within a tokio runtime.
    pub fn new(
        path: &'a Path,
        defaults: &'a Defaults,
        allow_egress: &'a AllowEgress,
        pins: &'a Pins,
    ) -> FileSource<'a> {
        FileSource {
            path,
            defaults,
            allow_egress,
            pins,
            watch: FileWatch::new(path),
            is_stale: true,
            accounts: Vec::new(),
        }
    }

    fn read(&self) -> Result<Vec<WantedAccount>, String> {
        let file = read_accounts(self.path, self.defaults)?;
        let mut pinned = self.allow_egress.clone();
        for (platform, origins) in file.allow_egress {
            pinned.entry(platform).or_default().extend(origins);
        }
        self.pins.set(&pinned).map_err(|error| error.to_string())?;
        if file.accounts.is_empty() {
            tracing::warn!(
                "--accounts {} has no account, so none runs: write one [[account]] for each",
                self.path.display()
            );
        }
        let wanted = |account| WantedAccount {
            account,
            is_required: false,
        };
        Ok(file.accounts.into_iter().map(wanted).collect())
    }

    /// What it said last, or what it says since it changed.
    fn latest(&mut self) -> Result<Vec<WantedAccount>, RunError> {
        if std::mem::take(&mut self.is_stale) {
            self.accounts = self.read().map_err(RunError::Usage)?;
        }
        Ok(self.accounts.clone())
    }
}

impl Source for FileSource<'_> {
    fn accounts(&mut self) -> LocalBoxFuture<'_, Result<Vec<WantedAccount>, RunError>> {
        ready(self.latest()).boxed_local()
    }

    fn changed(&mut self) -> LocalBoxFuture<'_, ()> {
        async {
            self.watch.changed(QUIET).await;
            self.is_stale = true;
        }
        .boxed_local()
    }
}
