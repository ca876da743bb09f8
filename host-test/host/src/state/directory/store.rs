//! The database of a state directory, which recovers from failed writes.
//!
//! After a failed write the database takes no more writes, and nobody knows how much of that write is
//! on the disk. Reads could return what is in memory and not on the disk. So the database is closed at
//! once, for reads as well. A thread waits until the directory takes a write of that size again, and
//! opens the database: then the disk is the truth. Meanwhile each operation fails at once, with the
//! reason.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::Semaphore;

use crate::state::StateError;

/// Cache of blocks read back from disk. What was written last is in memory anyway.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// Writes that are kept in memory before they become a table on disk.
const MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;
/// The least that the database allows for its journals; their files are sparse.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
/// Flushing and compaction of a store this small keep one thread busy at most.
const WORKER_THREADS: usize = 1;
/// Tables that wait to be merged; from 20 on the database makes writers wait.
const MANY_TABLES: usize = 16;
/// Listings that run at once.
const LISTINGS: usize = 4;
/// The least that must fit on the disk before a closed database is opened again: a table and the end of
/// the journal.
const PROBE_BYTES: usize = 256 * 1024;
/// Pauses between two attempts to open it again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The database of a directory, or why there is none right now.
pub(super) struct Store {
    path: PathBuf,
    held: RwLock<Held>,
    /// Held while a key is changed, so that no write falls between the read and the write of an
    /// increment. The journal takes one writer at a time, so this costs nothing more.
    writing: Mutex<()>,
    /// The turn of a write that may have to wait for the disk. Waiting writes are served in order, and
    /// an account waits with few at a time, so that no account crowds out the others.
    pub turn: Arc<Semaphore>,
    /// Listings that may run at once. A listing skips deleted keys, which may be many.
    pub listings: Arc<Semaphore>,
}

enum Held {
    Open(Opened),
    Closed(Outage),
}

/// An open database.
pub(super) struct Opened {
    database: Database,
    pub entries: Keyspace,
    /// How often it was opened.
    pub number: u64,
}

struct Outage {
    since: Instant,
    reason: String,
    /// The database's number, and the size of the write that failed.
    number: u64,
    bytes: usize,
    /// A thread waits for its end.
    is_waited_for: bool,
}

impl Store {
    /// Opens the directory and creates it when it is not there.
    pub fn open(path: &Path) -> Result<Arc<Store>, StateError> {
        make_private(path).map_err(|error| StateError::Open {
            path: path.to_owned(),
            reason: reason(path, &error.into()),
        })?;
        Ok(Arc::new(Store {
            held: RwLock::new(Held::Open(Opened::open(path, 0)?)),
            path: path.to_owned(),
            writing: Mutex::new(()),
            turn: Arc::new(Semaphore::new(1)),
            listings: Arc::new(Semaphore::new(LISTINGS)),
        }))
    }

    /// Why it does not work right now.
    pub fn trouble(&self) -> Option<String> {
        match &*self.held.read().unwrap_or_else(PoisonError::into_inner) {
            Held::Open(_) => None,
            Held::Closed(outage) => Some(outage.reason.clone()),
        }
    }

    /// Whether a write might have to wait, for another write or for the disk. A closed database lets
    /// nobody wait.
    pub fn may_stall(&self) -> bool {
        if self.turn.available_permits() == 0 {
            return true;
        }
        match &*self.held.read().unwrap_or_else(PoisonError::into_inner) {
            Held::Open(opened) => opened.may_stall(),
            Held::Closed(_) => false,
        }
    }

    /// Reads. A failure is this read's alone.
    pub fn read<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&Opened) -> Result<T, fjall::Error>,
    ) -> Result<T, StateError> {
        self.with(work)?.map_err(|error| self.storage(&error))
    }

    /// Writes about `bytes`, one at a time. What fails closes the database.
    pub fn write<T>(
        self: &Arc<Self>,
        bytes: usize,
        work: impl FnOnce(&Opened) -> Result<T, fjall::Error>,
    ) -> Result<T, StateError> {
        let _writing = self.writing();
        let mut number = 0;
        let done = self.with(|opened| {
            number = opened.number;
            work(opened)
        })?;
        done.map_err(|error| self.fail(number, bytes, &error))
    }

    /// Makes what the database with this number has written survive a power cut.
    pub fn persist(self: &Arc<Self>, number: u64) -> Result<(), StateError> {
        let persisted = self.with(|opened| match opened.number == number {
            true => Ok(opened.database.persist(PersistMode::SyncAll)),
            false => Err(StateError::Storage {
                reason: "it was opened again before the write was on the disk".to_owned(),
            }),
        })?;
        persisted?.map_err(|error| self.fail(number, 0, &error))
    }

    fn with<T>(self: &Arc<Self>, work: impl FnOnce(&Opened) -> T) -> Result<T, StateError> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Held::Open(opened) => Ok(work(opened)),
            Held::Closed(outage) => {
                let reason = outage.reason.clone();
                let is_waited_for = outage.is_waited_for;
                drop(held);
                if !is_waited_for {
                    self.wait_for_end(None);
                }
                Err(StateError::Storage { reason })
            }
        }
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data, so a panic of another holder does no harm.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage(&self, error: &fjall::Error) -> StateError {
        StateError::Storage {
            reason: reason(&self.path, error),
        }
    }

    /// Closes the database after a failed write, unless another failure has closed it.
    fn fail(self: &Arc<Self>, number: u64, bytes: usize, error: &fjall::Error) -> StateError {
        let reason = reason(&self.path, error);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = matches!(&*held, Held::Open(opened) if opened.number == number);
        if is_same {
            tracing::warn!(
                "the state directory {} fails: {reason}; what is under way is done again when it \
                 works",
                self.path.display()
            );
            let outage = Outage {
                since: Instant::now(),
                reason: reason.clone(),
                number,
                bytes,
                is_waited_for: false,
            };
            let broken = std::mem::replace(&mut *held, Held::Closed(outage));
            drop(held);
            self.wait_for_end(Some(broken));
        }
        StateError::Storage { reason }
    }

    /// Starts a thread that waits for the end of the outage. If no thread can be started, the next
    /// operation tries again.
    fn wait_for_end(self: &Arc<Self>, broken: Option<Held>) {
        let store = Arc::downgrade(self);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let Held::Closed(outage) = &mut *held else {
            return;
        };
        if outage.is_waited_for {
            return;
        }
        let waiting = std::thread::Builder::new().name("state".to_owned());
        let waiting = waiting.spawn(move || {
            // Dropping waits for the database's own thread, which may be busy.
            drop(broken);
            wait_and_open(&store);
        });
        outage.is_waited_for = waiting.is_ok();
    }

    /// Opens it again if its directory takes a write.
    fn reopen(&self) -> Result<(), String> {
        let (number, bytes, since) =
            match &*self.held.read().unwrap_or_else(PoisonError::into_inner) {
                Held::Open(_) => return Ok(()),
                Held::Closed(outage) => (outage.number, outage.bytes, outage.since),
            };
        takes_a_write(&self.path, bytes.max(PROBE_BYTES))
            .map_err(|error| reason(&self.path, &error.into()))?;
        let opened = Opened::open(&self.path, number + 1).map_err(|error| error.to_string())?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held::Open(opened);
        tracing::info!(
            "the state directory {} works again after {:.1} s",
            self.path.display(),
            since.elapsed().as_secs_f32()
        );
        Ok(())
    }
}

fn wait_and_open(store: &Weak<Store>) {
    let mut pause = FIRST_PAUSE;
    loop {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        let Some(store) = store.upgrade() else {
            return;
        };
        let Err(why) = store.reopen() else {
            return;
        };
        let mut held = store.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Held::Closed(outage) = &mut *held {
            outage.reason = why;
        }
    }
}

/// Writes a file without a name.
fn takes_a_write(directory: &Path, bytes: usize) -> io::Result<()> {
    // Not compressible, whatever the file system does.
    let mut content = vec![0; bytes];
    rand::fill(content.as_mut_slice());
    let mut file = tempfile::tempfile_in(directory)?;
    file.write_all(&content)?;
    file.sync_all()
}

impl Opened {
    fn open(path: &Path, number: u64) -> Result<Opened, StateError> {
        let failed = |error: &fjall::Error| StateError::Open {
            path: path.to_owned(),
            reason: reason(path, error),
        };
        let database = open_database(path).map_err(|error| match error {
            fjall::Error::Locked => StateError::InUse {
                path: path.to_owned(),
            },
            error => failed(&error),
        })?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let entries = database.keyspace("accounts", options);
        Ok(Opened {
            entries: entries.map_err(|error| failed(&error))?,
            database,
            number,
        })
    }

    /// Whether the database is busy: it syncs its journal while it writes a table, and delays writers
    /// when it is behind.
    fn may_stall(&self) -> bool {
        self.entries.sealed_memtable_count() > 0 || self.entries.l0_table_count() >= MANY_TABLES
    }
}

fn open_database(path: &Path) -> Result<Database, fjall::Error> {
    clear_unfinished(path)?;
    Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        .worker_threads(WORKER_THREADS)
        .open()
}

/// Creates the directory for its owner alone, or restricts the one that is there. A directory of
/// another user, such as a volume that Kubernetes gives to a group, is used as it is.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let about = fs::metadata(path)?;
    let is_ours = about.uid() == rustix::process::geteuid().as_raw();
    if about.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    // Root could change any directory, but another user's keeps the rights that it has.
    let why = match is_ours {
        true => match fs::set_permissions(path, fs::Permissions::from_mode(0o700)) {
            Ok(()) => return Ok(()),
            Err(error) => error.to_string(),
        },
        false => format!("it belongs to the user {}", about.uid()),
    };
    let mode = about.permissions().mode();
    if mode & 0o007 != 0 {
        tracing::warn!(
            "other users of this machine may look into the state directory {} (mode {:03o}), where \
             messages and logins are: {why}, so this process can't change that; `chmod o= {}` does",
            path.display(),
            mode & 0o777,
            path.display(),
        );
    }
    Ok(())
}

/// Removes the rest of an interrupted creation. The database writes the file `version` last, and
/// refuses to create itself over an earlier attempt. Until that file has all of its four bytes,
/// nothing was stored.
fn clear_unfinished(path: &Path) -> Result<(), fjall::Error> {
    let version = path.join("version");
    let finished = fs::metadata(&version).is_ok_and(|file| file.len() >= 4);
    if finished || !path.join("0.jnl").exists() {
        return Ok(());
    }
    // The lock is the database's own: whoever holds it is creating the directory right now.
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))?;
    lock.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => fjall::Error::Locked,
        fs::TryLockError::Error(error) => fjall::Error::Io(error),
    })?;
    for leftover in [path.join("0.jnl"), version] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The database's own texts are for its developers; the common cases get plain words.
fn reason(path: &Path, error: &fjall::Error) -> String {
    match error {
        fjall::Error::Poisoned => "an earlier write in the background failed".to_owned(),
        fjall::Error::InvalidVersion(_) => {
            "it was written by another version of the database: give another --state".to_owned()
        }
        error => match io_error(error) {
            Some(error) => words(path, error),
            None => error.to_string(),
        },
    }
}

/// The system's error within the database's.
fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        error = match current.downcast_ref() {
            // It has its cause for itself.
            Some(fjall::Error::Io(found)) => return Some(found),
            _ => current.source(),
        };
    }
    None
}

/// What the system says, and what to do.
fn words(path: &Path, error: &io::Error) -> String {
    const TOO_MANY: i32 = rustix::io::Errno::MFILE.raw_os_error();
    const FAR_TOO_MANY: i32 = rustix::io::Errno::NFILE.raw_os_error();
    let what_to_do = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
            "make room on the disk".to_owned()
        }
        (io::ErrorKind::ReadOnlyFilesystem, _) => {
            "mount the file system for writing, and see in the system's log why it is not"
                .to_owned()
        }
        (io::ErrorKind::PermissionDenied, _) => permission(path),
        (_, Some(TOO_MANY | FAR_TOO_MANY)) => {
            "raise the number of files that may be open, with `ulimit -n` or LimitNOFILE="
                .to_owned()
        }
        _ => return error.to_string(),
    };
    format!("{error}: {what_to_do}")
}

/// Who may do what, where that is not enough.
fn permission(path: &Path) -> String {
    let me = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    match fs::metadata(path) {
        Ok(about) => format!(
            "it belongs to user {} and group {} with mode {:03o}, and this process is user {me} and \
             group {group}: it has to read and write all of it",
            about.uid(),
            about.gid(),
            about.permissions().mode() & 0o777
        ),
        Err(_) => format!("the user {me} has to read and write it"),
    }
}
