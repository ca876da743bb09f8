//! Files that change in all the ways in which they do.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const QUIET: Duration = Duration::from_millis(20);

/// Waits for a change that has to come.
async fn told(file: &mut FileWatch) {
    let patience = Duration::from_secs(60);
    let told = timeout(patience, file.changed(QUIET)).await;
    assert!(told.is_ok(), "it is not told");
}

/// Whether a change is told that needs no waiting; the events that there are have arrived.
async fn is_told(file: &mut FileWatch, folder: &Path) -> bool {
    // What happens later is told later: once this is, all earlier is known.
    let mut other = FileWatch::new(&folder.join("other"));
    fs::write(folder.join("other"), "x").unwrap();
    told(&mut other).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    futures::FutureExt::now_or_never(file.changes.changed()).is_some()
}

#[tokio::test]
async fn each_way_to_change_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "0").unwrap();
    let mut file = FileWatch::new(&path);
    assert!(!is_told(&mut file, folder.path()).await);

    // In place, with the same length and within the same tick of the clock.
    fs::write(&path, "1").unwrap();
    told(&mut file).await;
    fs::write(&path, "2").unwrap();
    told(&mut file).await;
    // Replaced by a rename.
    let new = folder.path().join("new");
    fs::write(&new, "3").unwrap();
    fs::rename(&new, &path).unwrap();
    told(&mut file).await;
    // Moved away and written anew, as editors do.
    fs::rename(&path, &new).unwrap();
    fs::write(&path, "4").unwrap();
    told(&mut file).await;
    // Removed, and linked.
    fs::remove_file(&path).unwrap();
    told(&mut file).await;
    fs::hard_link(&new, &path).unwrap();
    told(&mut file).await;
    fs::remove_file(&path).unwrap();
    symlink(&new, &path).unwrap();
    told(&mut file).await;
    // What is behind the link.
    fs::write(&new, "5").unwrap();
    told(&mut file).await;
    assert!(!is_told(&mut file, folder.path()).await);
}

#[tokio::test]
async fn a_volume_of_kubernetes_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let release = |number: u32| {
        let directory = at(&format!("..{number}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("accounts.toml"), number.to_string()).unwrap();
        symlink(format!("..{number}"), at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    release(1);
    symlink("..data/accounts.toml", at("accounts.toml")).unwrap();
    let path = at("accounts.toml");
    let mut file = FileWatch::new(&path);
    for number in 2..6 {
        release(number);
        fs::remove_dir_all(at(&format!("..{}", number - 1))).unwrap();
        told(&mut file).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), number.to_string());
    }
    // A directory that is chosen by a link.
    let current = at("current");
    symlink("..5", &current).unwrap();
    let mut file = FileWatch::new(&current.join("accounts.toml"));
    release(6);
    fs::remove_file(&current).unwrap();
    symlink("..6", &current).unwrap();
    told(&mut file).await;
    fs::write(at("..6").join("accounts.toml"), "new").unwrap();
    told(&mut file).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_further_up_that_is_exchanged_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["first", "second"] {
        fs::create_dir_all(at(name).join("a/b/c")).unwrap();
        fs::write(at(name).join("a/b/c/file"), name).unwrap();
    }
    fs::rename(at("first"), at("now")).unwrap();
    let path = at("now").join("a/b/c/file");
    let mut file = FileWatch::new(&path);
    // What happens beside the way is nothing.
    fs::write(at("now").join("a/neighbour"), "x").unwrap();
    assert!(!is_told(&mut file, folder.path()).await);
    fs::rename(at("now"), at("first")).unwrap();
    told(&mut file).await;
    fs::rename(at("second"), at("now")).unwrap();
    told(&mut file).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "second");
    fs::write(&path, "third").unwrap();
    told(&mut file).await;
}

#[tokio::test]
async fn what_is_not_there_yet_is_told_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("deep/state");
    let path = state.join("credentials.json");
    let mut file = FileWatch::new(&path);
    assert!(!is_told(&mut file, folder.path()).await);
    fs::create_dir_all(&state).unwrap();
    fs::write(&path, "1").unwrap();
    told(&mut file).await;
    fs::write(&path, "2").unwrap();
    told(&mut file).await;
    fs::remove_dir_all(folder.path().join("deep")).unwrap();
    told(&mut file).await;
    fs::create_dir_all(&state).unwrap();
    fs::write(&path, "3").unwrap();
    told(&mut file).await;
}

#[tokio::test]
async fn no_change_is_lost_while_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "0").unwrap();
    let mut file = FileWatch::new(&path);
    for number in 1..50 {
        fs::write(&path, number.to_string()).unwrap();
        told(&mut file).await;
        // Two at once, of which the second comes while the first is dealt with.
        fs::write(&path, "between").unwrap();
        told(&mut file).await;
    }
    // A call that is given up while it waits for the end of a change.
    fs::write(&path, "given up").unwrap();
    let long = Duration::from_secs(600);
    let waiting = timeout(Duration::from_millis(200), file.changed(long));
    assert!(waiting.await.is_err());
    told(&mut file).await;
}

#[tokio::test]
async fn an_idle_watch_never_looks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "0").unwrap();
    let mut file = FileWatch::new(&path);
    let mut missing = FileWatch::new(&folder.path().join("a/b/c"));
    let mut journal = fs::File::create(folder.path().join("journal")).unwrap();
    for _ in 0..100 {
        // What is written beside it, and what reads it, is nothing.
        std::io::Write::write_all(&mut journal, b"x").unwrap();
        fs::write(folder.path().join("neighbour"), "x").unwrap();
        fs::read(&path).unwrap();
    }
    assert!(!is_told(&mut file, folder.path()).await);
    assert!(!is_told(&mut missing, folder.path()).await);
    assert_eq!((file.looks(), missing.looks()), (0, 0));
}

#[tokio::test]
async fn where_nothing_is_told_it_is_looked_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "0").unwrap();
    let refused = std::io::Error::from_raw_os_error(24);
    let mut file = FileWatch::with(&path, Err(refused), Duration::from_millis(5));
    let before = file.looks();
    while file.looks() < before + 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!file.changes.has_changed().unwrap());
    for text in ["1", "22", "333"] {
        fs::write(&path, text).unwrap();
        told(&mut file).await;
    }
    fs::remove_file(&path).unwrap();
    told(&mut file).await;
    fs::write(&path, "4").unwrap();
    told(&mut file).await;
}

#[test]
fn links_in_a_circle_end() {
    let folder = tempfile::tempdir().unwrap();
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    assert_eq!(watched_paths(&folder.path().join("a/file")).len(), 2);
    assert_eq!(watched_paths(Path::new("/")).len(), 0);
}
