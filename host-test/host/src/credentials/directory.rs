//! Credentials in a state directory: one file beside the store, readable by its owner alone.
//!
//! Promises: the file is replaced as a whole, and one change at a time, also by several processes.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::CredentialsError;
use super::stored::Stored;

/// The file in a state directory.
pub(super) const FILE: &str = "credentials.json";

/// The file of a state directory.
pub(super) struct Directory {
    directory: PathBuf,
    file: PathBuf,
}

impl Directory {
    pub fn new(directory: &Path) -> Directory {
        Directory {
            directory: directory.to_owned(),
            file: directory.join(FILE),
        }
    }

    pub fn read(&self) -> Result<Stored, CredentialsError> {
        let json = match std::fs::read(&self.file) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::default()),
            Err(error) => return Err(self.failure(error)),
        };
        // The error of a value may repeat it.
        serde_json::from_slice(&json)
            .map_err(|_| self.failure("is no file of credentials: restore or remove it"))
    }

    /// Changes them, unless the change refuses.
    pub fn change<T, E: From<CredentialsError>>(
        &self,
        change: impl Fn(&mut Stored) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |error: io::Error| self.failure(error);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(failed)?;
        // Held while it is read and replaced; ends with the file.
        let lock = private_file(&self.directory.join("credentials.lock")).map_err(failed)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        let mut stored = self.read()?;
        let changed = change(&mut stored)?;
        self.replace(&stored).map_err(failed)?;
        Ok(changed)
    }

    /// The file that is another one after each change.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn replace(&self, stored: &Stored) -> io::Result<()> {
        // In the same directory, and private from its first moment on.
        let mut file = tempfile::Builder::new()
            .prefix(".credentials-")
            .tempfile_in(&self.directory)?;
        file.write_all(&serde_json::to_vec_pretty(stored)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.file)?;
        std::fs::File::open(&self.directory)?.sync_all()
    }

    fn failure(&self, error: impl std::fmt::Display) -> CredentialsError {
        CredentialsError {
            place: self.file.display().to_string(),
            what: error.to_string(),
        }
    }
}

fn private_file(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
