//! Directories as they are found, and disks that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

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
            .set("large", vec![round; crate::state::MAX_VALUE_BYTES])
            .await
            .unwrap();
    }
    drop((bucket, state));
    let bucket = open(directory.path()).unwrap().bucket("alice").unwrap();
    let value = bucket.get("large").await.unwrap().unwrap();
    assert_eq!(value.len(), crate::state::MAX_VALUE_BYTES);
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

/// A file system of its own, which may be full or read-only.
struct Disk(tempfile::TempDir);

impl Disk {
    /// None where this process may not mount one; that is said.
    fn new(options: &str) -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Disk(folder));
        }
        eprintln!("skipped: only root may mount a file system, on Linux");
        None
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{options}")]);
        assert!(command.arg(self.0.path()).status().unwrap().success());
    }

    /// Leaves no room on it.
    fn fill(&self) {
        let mut file = fs::File::create(self.path("full")).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.path("full")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A number that no compression makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::fill(noise.as_mut_slice());
    noise
}

/// Writes until that fails; how many went well, and why the last one did not.
async fn write_until_it_fails(bucket: &dyn Bucket, bytes: usize) -> (usize, String) {
    for number in 0.. {
        let value = [number.to_string().as_bytes(), b" ", &noise(bytes)].concat();
        if let Err(error) = bucket.set(&format!("{number:05}"), value).await {
            return (number, error.to_string());
        }
    }
    unreachable!()
}

async fn works_again(state: &DirectoryState) {
    let waiting = async {
        while state.trouble().is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    let waited = tokio::time::timeout(patience, waiting).await;
    assert!(waited.is_ok(), "{:?}", state.trouble());
}

/// What was written before is there; the write that failed is there as a whole, or not at all.
async fn check_kept(bucket: &dyn Bucket, written: usize, bytes: usize) {
    for number in 0..=written {
        let key = format!("{number:05}");
        match bucket.get(&key).await.unwrap() {
            Some(value) => {
                let start = format!("{number} ");
                assert!(value.starts_with(start.as_bytes()));
                assert_eq!(value.len(), start.len() + bytes);
            }
            None => assert_eq!(number, written, "{key} is lost"),
        }
    }
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_moment_heals_and_loses_nothing() {
    for (durability, bytes) in [
        (Durability::Process, 100),
        (Durability::Full, 100),
        (Durability::Process, 5000),
        // More than is kept in memory: tables are written meanwhile.
        (Durability::Process, 1024 * 1024),
        (Durability::Full, 300_000),
    ] {
        let Some(disk) = Disk::new("size=48m") else {
            return;
        };
        let state = DirectoryState::open(&disk.path("state"), durability).unwrap();
        let bucket = state.bucket("alice").unwrap();
        bucket.set("early", b"1".to_vec()).await.unwrap();
        assert_eq!(state.trouble(), None);
        if bytes < 10_000 {
            disk.fill();
        }
        let (written, why) = write_until_it_fails(&*bucket, bytes).await;
        if bytes >= 10_000 {
            disk.fill();
        }
        let trouble = state.trouble().unwrap_or(why);
        // Where the background met it first, the reason follows with the first try to open it again.
        assert!(
            trouble.contains("make room on the disk") || trouble.contains("in the background"),
            "{trouble}"
        );
        for _ in 0..3 {
            assert!(bucket.get("early").await.is_err());
            assert!(bucket.set("more", vec![1]).await.is_err());
            assert!(bucket.increment("n", 1).await.is_err());
            assert!(bucket.list_keys(None).await.is_err());
        }
        if bytes >= 10_000 {
            // The store itself has filled it.
            disk.remount("size=200m");
        }
        disk.free();
        works_again(&state).await;
        check_kept(&*bucket, written, bytes).await;
        assert_eq!(bucket.get("early").await.unwrap().unwrap(), b"1");
        assert_eq!(bucket.increment("n", 1).await.unwrap(), 1);
        bucket.set("late", b"2".to_vec()).await.unwrap();
        drop((bucket, state));

        let bucket = open(&disk.path("state")).unwrap().bucket("alice").unwrap();
        check_kept(&*bucket, written, bytes).await;
        assert_eq!(bucket.get("late").await.unwrap().unwrap(), b"2");
    }
}

#[tokio::test]
async fn a_disk_that_is_read_only_or_full_again_is_told_until_it_is_not() {
    let Some(disk) = Disk::new("size=8m") else {
        return;
    };
    let state = open(&disk.path("state")).unwrap();
    let bucket = state.bucket("alice").unwrap();
    for round in 0..3_u8 {
        disk.fill();
        let (written, _) = write_until_it_fails(&*bucket, 3000).await;
        // Nothing is open there any more once it waits.
        let remounted = async {
            let mut command = Command::new("mount");
            command.args(["-o", "remount,ro"]).arg(disk.0.path());
            while !command.output().unwrap().status.success() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            while !state.trouble().unwrap().contains("for writing") {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let patience = std::time::Duration::from_secs(60);
        let told = tokio::time::timeout(patience, remounted).await;
        assert!(told.is_ok(), "{:?}", state.trouble());
        disk.remount("rw");
        disk.free();
        works_again(&state).await;
        check_kept(&*bucket, written, 3000).await;
        for number in 0..=written {
            bucket.delete(&format!("{number:05}")).await.unwrap();
        }
        bucket.set("round", vec![round]).await.unwrap();
    }
    assert_eq!(bucket.get("round").await.unwrap().unwrap(), [2]);
}

#[tokio::test]
async fn a_closed_store_ends_with_its_last_handle() {
    let Some(disk) = Disk::new("size=8m") else {
        return;
    };
    let state = open(&disk.path("state")).unwrap();
    let bucket = state.bucket("alice").unwrap();
    disk.fill();
    write_until_it_fails(&*bucket, 3000).await;
    drop((bucket, state));
    disk.free();
    // Whoever opens it next is not told that somebody has it.
    let opened = async {
        while open(&disk.path("state")).is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    assert!(tokio::time::timeout(patience, opened).await.is_ok());
}

#[test]
fn a_directory_of_another_user_is_taken_as_it_is() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may give files away");
        return;
    }
    for wanted in [0o2770, 0o770, 0o775, 0o777, 0o755, 0o700] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume");
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(12345), Some(2345)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
        assert!(open(&path).is_ok(), "{wanted:o}");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, wanted);
    }
}
