//! A store in a directory of this machine: one fjall database, one keyspace for all accounts.
//!
//! - A write that has returned survives `kill -9`; with [`Durability::Full`] also a power cut.
//! - The directory is 0700, also when it was there before. Its files follow the process's umask,
//!   which the runner sets to 077.
//! - One process at a time: a second one is told so and changes nothing.
//! - No thread of the runtime waits for the disk to write: a write takes microseconds, or it is made
//!   elsewhere.
//! - A start that was cut short while it created the directory does not spoil the next one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::Semaphore;

use super::{
    Bucket, Durability, KEYS_PER_PAGE, KeyPage, State, StateError, check_account, check_key,
    check_value, incremented, page_of,
};

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

/// A store that survives the process.
pub struct DirectoryState {
    store: Arc<Store>,
}

impl DirectoryState {
    /// Opens the directory and creates it when it is not there. Blocks while it reads the journal.
    pub fn open(path: &Path, durability: Durability) -> Result<DirectoryState, StateError> {
        let database = open_database(path).map_err(|error| match error {
            fjall::Error::Locked => StateError::InUse {
                path: path.to_owned(),
            },
            error => StateError::Open {
                path: path.to_owned(),
                reason: reason(error),
            },
        })?;
        let entries = database
            .keyspace("accounts", || {
                KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
            })
            .map_err(|error| StateError::Open {
                path: path.to_owned(),
                reason: reason(error),
            })?;
        Ok(DirectoryState {
            store: Arc::new(Store {
                database,
                entries,
                writing: Mutex::new(()),
                durability,
                turn: Arc::new(Semaphore::new(1)),
                listings: Arc::new(Semaphore::new(LISTINGS)),
            }),
        })
    }
}

impl State for DirectoryState {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        check_account(account)?;
        let length = u16::try_from(account.len()).map_err(|_| StateError::AccountTooLong {
            bytes: account.len(),
        })?;
        // The length in front keeps the account "a" with the key "b" apart from "ab" without one.
        let mut prefix = length.to_be_bytes().to_vec();
        prefix.extend_from_slice(account.as_bytes());
        Ok(Arc::new(DirectoryBucket {
            store: self.store.clone(),
            prefix,
        }))
    }
}

struct Store {
    database: Database,
    entries: Keyspace,
    /// Held while a key is changed, so that no write falls between the read and the write of an
    /// increment. The journal takes one writer at a time, so this costs nothing more.
    writing: Mutex<()>,
    durability: Durability,
    /// The turn of a write that may have to wait for the disk. Those who wait are served in order,
    /// and an account waits with few at a time, so none takes the place of the others.
    turn: Arc<Semaphore>,
    /// Listings that may run at once: they skip what was deleted, which may be much.
    listings: Arc<Semaphore>,
}

impl Store {
    /// Whether a write might have to wait: the database syncs its journal while it writes a table, and
    /// lets writers sleep when it does not keep up.
    fn may_stall(&self) -> bool {
        self.durability == Durability::Full
            || self.turn.available_permits() == 0
            || self.entries.sealed_memtable_count() > 0
            || self.entries.l0_table_count() >= MANY_TABLES
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // It guards no data of its own, so a panic elsewhere does no harm.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct DirectoryBucket {
    store: Arc<Store>,
    prefix: Vec<u8>,
}

impl DirectoryBucket {
    fn path_of(&self, key: &str) -> Result<Vec<u8>, StateError> {
        check_key(key)?;
        Ok([self.prefix.as_slice(), key.as_bytes()].concat())
    }

    fn get_now(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let value = self
            .store
            .entries
            .get(self.path_of(key)?)
            .map_err(storage)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn set_now(&self, key: &str, value: Vec<u8>) -> Result<(), StateError> {
        check_value(&value)?;
        let path = self.path_of(key)?;
        let _writing = self.store.writing();
        self.store.entries.insert(path, value).map_err(storage)
    }

    fn delete_now(&self, key: &str) -> Result<(), StateError> {
        let path = self.path_of(key)?;
        let _writing = self.store.writing();
        self.store.entries.remove(path).map_err(storage)
    }

    fn exists_now(&self, key: &str) -> Result<bool, StateError> {
        let path = self.path_of(key)?;
        self.store.entries.contains_key(path).map_err(storage)
    }

    fn list_keys_now(&self, cursor: Option<&str>) -> Result<KeyPage, StateError> {
        let (first, end) = fjall::util::prefix_to_range(&self.prefix);
        let start = match cursor {
            None => first,
            Some(last) => {
                let path = [self.prefix.as_slice(), last.as_bytes()].concat();
                Bound::Excluded(Slice::from(path))
            }
        };
        let mut keys = Vec::new();
        let entries = self.store.entries.range((start, end));
        for entry in entries.take(KEYS_PER_PAGE + 1) {
            let path = entry.key().map_err(storage)?;
            let key = path.get(self.prefix.len()..).unwrap_or_default();
            let key = String::from_utf8(key.to_vec()).map_err(|_| StateError::Storage {
                reason: "a stored key is no UTF-8: the state directory is damaged".to_owned(),
            })?;
            keys.push(key);
        }
        Ok(page_of(keys))
    }

    fn increment_now(&self, key: &str, delta: u64) -> Result<u64, StateError> {
        let path = self.path_of(key)?;
        let _writing = self.store.writing();
        let value = self.store.entries.get(&path).map_err(storage)?;
        let sum = incremented(value.as_deref(), delta)?;
        self.store
            .entries
            .insert(path, sum.to_string())
            .map_err(storage)?;
        Ok(sum)
    }

    /// Makes a change, here and now where nothing makes it wait, and on another thread otherwise.
    fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&DirectoryBucket) -> Result<T, StateError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StateError>> {
        if !self.store.may_stall() {
            return ready(change(self)).boxed();
        }
        let bucket = self.clone();
        let turn = Arc::clone(&self.store.turn);
        elsewhere(turn, move || {
            let result = change(&bucket)?;
            if bucket.store.durability == Durability::Full {
                let synced = bucket.store.database.persist(PersistMode::SyncAll);
                synced.map_err(storage)?;
            }
            Ok(result)
        })
        .boxed()
    }
}

/// Runs what may block for long on another thread, when it has its turn.
async fn elsewhere<T: Send + 'static>(
    turn: Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    let failed = |error: &dyn std::fmt::Display| StateError::Storage {
        reason: error.to_string(),
    };
    let turn = turn.acquire_owned().await.map_err(|error| failed(&error))?;
    let working = tokio::task::spawn_blocking(move || {
        // Also when nobody waits for it any more.
        let _turn = turn;
        work()
    });
    working.await.map_err(|error| failed(&error))?
}

impl Bucket for DirectoryBucket {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>> {
        ready(self.get_now(key)).boxed()
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> BoxFuture<'a, Result<(), StateError>> {
        let key = key.to_owned();
        self.write(move |bucket| bucket.set_now(&key, value))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StateError>> {
        let key = key.to_owned();
        self.write(move |bucket| bucket.delete_now(&key))
    }

    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StateError>> {
        ready(self.exists_now(key)).boxed()
    }

    fn list_keys<'a>(
        &'a self,
        cursor: Option<String>,
    ) -> BoxFuture<'a, Result<KeyPage, StateError>> {
        let (bucket, turn) = (self.clone(), Arc::clone(&self.store.listings));
        elsewhere(turn, move || bucket.list_keys_now(cursor.as_deref())).boxed()
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> BoxFuture<'a, Result<u64, StateError>> {
        let key = key.to_owned();
        self.write(move |bucket| bucket.increment_now(&key, delta))
    }
}

fn open_database(path: &Path) -> Result<Database, fjall::Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    clear_unfinished(path)?;
    Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        .worker_threads(WORKER_THREADS)
        .open()
}

/// Removes what a creation left that was cut short: the database writes the file `version` last,
/// and refuses to create itself over an earlier attempt. Until that file has all of its four bytes
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

fn storage(error: fjall::Error) -> StateError {
    StateError::Storage {
        reason: reason(error),
    }
}

/// The database's own texts are for its developers; the common cases get plain words.
fn reason(error: fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) => error.to_string(),
        fjall::Error::Poisoned => {
            "an earlier write failed, so no more are accepted: check the disk and start again"
                .to_owned()
        }
        fjall::Error::InvalidVersion(_) => {
            "it was written by another version of the database: give another --state".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<DirectoryState, StateError> {
        DirectoryState::open(path, Durability::Process)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_reopening() {
        for durability in [Durability::Process, Durability::Full] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("state");
            let state = DirectoryState::open(&path, durability).unwrap();
            let bucket = state.bucket("alice").unwrap();
            bucket.set("cursor", b"42".to_vec()).await.unwrap();
            bucket.set("gone", b"x".to_vec()).await.unwrap();
            bucket.delete("gone").await.unwrap();
            bucket.increment("fence", 7).await.unwrap();
            drop((bucket, state));

            let bucket = open(&path).unwrap().bucket("alice").unwrap();
            assert_eq!(bucket.get("cursor").await.unwrap(), Some(b"42".to_vec()));
            assert_eq!(bucket.get("gone").await.unwrap(), None);
            assert_eq!(bucket.increment("fence", 1).await.unwrap(), 8);
        }
    }

    #[tokio::test]
    async fn large_values_survive_flushes_and_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let state = open(directory.path()).unwrap();
        let bucket = state.bucket("alice").unwrap();
        for round in 0..4_u8 {
            bucket
                .set("large", vec![round; super::super::MAX_VALUE_BYTES])
                .await
                .unwrap();
        }
        drop((bucket, state));
        let bucket = open(directory.path()).unwrap().bucket("alice").unwrap();
        let value = bucket.get("large").await.unwrap().unwrap();
        assert_eq!(value.len(), super::super::MAX_VALUE_BYTES);
        assert!(value.iter().all(|byte| *byte == 3));
    }

    #[tokio::test]
    async fn a_write_that_has_to_wait_keeps_no_thread_of_the_runtime() {
        for durability in [Durability::Process, Durability::Full] {
            let directory = tempfile::tempdir().unwrap();
            let state = DirectoryState::open(directory.path(), durability).unwrap();
            let (alice, bob) = (state.bucket("alice"), state.bucket("bob"));
            let (alice, bob) = (alice.unwrap(), bob.unwrap());
            bob.set("there", b"before".to_vec()).await.unwrap();
            let turn = Arc::clone(&state.store.turn);
            let turn = turn.acquire_owned().await.unwrap();
            let mut first = alice.set("key", b"1".to_vec());
            let mut second = alice.increment("key", 1);
            let mut third = bob.delete("there");
            for _ in 0..3 {
                assert!(futures::poll!(&mut first).is_pending());
                assert!(futures::poll!(&mut second).is_pending());
                assert!(futures::poll!(&mut third).is_pending());
                tokio::task::yield_now().await;
            }
            // Who reads does not wait.
            let read = bob.get("there").await.unwrap();
            assert_eq!(read, Some(b"before".to_vec()));
            assert!(bob.exists("there").await.unwrap());
            assert_eq!(bob.list_keys(None).await.unwrap().keys, ["there"]);
            drop(turn);
            let (first, second, third) = futures::join!(first, second, third);
            first.unwrap();
            third.unwrap();
            assert_eq!(second.unwrap(), 2);
            assert_eq!(alice.get("key").await.unwrap(), Some(b"2".to_vec()));
        }
    }

    #[tokio::test]
    async fn many_writes_beside_flushes_are_all_there() {
        let directory = tempfile::tempdir().unwrap();
        let state = open(directory.path()).unwrap();
        let writing = (0..4_u8).map(|account| {
            let bucket = state.bucket(&account.to_string()).unwrap();
            async move {
                for number in 0..32_u8 {
                    let value = vec![account ^ number; 512 * 1024];
                    bucket.set(&number.to_string(), value).await.unwrap();
                }
                bucket
            }
        });
        for (account, bucket) in (0..4_u8).zip(futures::future::join_all(writing).await) {
            for number in 0..32_u8 {
                let value = bucket.get(&number.to_string()).await.unwrap().unwrap();
                assert!(value.iter().all(|byte| *byte == account ^ number));
            }
        }
    }

    #[test]
    fn a_second_opener_is_told_who_is_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path()).unwrap();
        let error = open(directory.path()).err().unwrap();
        assert!(matches!(error, StateError::InUse { .. }), "{error}");
        assert!(
            error.to_string().contains("give another --state"),
            "{error}"
        );
    }

    #[test]
    fn directories_are_private_also_when_they_were_not() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("parent/new");
        let _state = open(&new).unwrap();
        assert_eq!(mode(&new), 0o700);

        let old = directory.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
        let _state = open(&old).unwrap();
        assert_eq!(mode(&old), 0o700);
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = open(file.path()).err().unwrap().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }

    #[tokio::test]
    async fn a_creation_that_was_cut_short_is_done_again() {
        for version in [None, Some(""), Some("FJL")] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("0.jnl"), "").unwrap();
            if let Some(version) = version {
                fs::write(directory.path().join("version"), version).unwrap();
            }
            let bucket = open(directory.path()).unwrap().bucket("alice").unwrap();
            bucket.set("key", b"value".to_vec()).await.unwrap();
        }
    }
}
