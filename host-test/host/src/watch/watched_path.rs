//! Finds the directories in which a change may change a file, links included.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WatchedPath {
    /// Without links.
    pub directory: PathBuf,
    pub name: OsString,
}

/// The names that decide what a file is: its own, that of each link on the way to it, and, if the way
/// ends early, that of the first missing part.
pub(super) fn watched_paths(path: &Path) -> BTreeSet<WatchedPath> {
    let mut paths = BTreeSet::new();
    let mut at = PathBuf::from("/");
    let mut left: Vec<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == OsStr::new("/") {
            at = PathBuf::from("/");
            continue;
        }
        if part == OsStr::new("..") {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let watched = || WatchedPath {
            directory: at.clone(),
            name: part.clone(),
        };
        match fs::symlink_metadata(&next) {
            Ok(about) if about.is_symlink() => {
                paths.insert(watched());
                links += 1;
                match fs::read_link(&next) {
                    Ok(target) if links <= MAX_LINKS => left.extend(parts(&target)),
                    _ => return paths,
                }
            }
            Ok(_) if !left.is_empty() => at = next,
            Ok(_) | Err(_) => {
                paths.insert(watched());
                return paths;
            }
        }
    }
    paths
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    let parts = parts.filter(|part| !matches!(part, Component::CurDir));
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

/// What differs after a change of a file, where that is to be seen without events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version([i64; 2], [u64; 3], [i64; 2]);

/// The version of a file; none where there is none.
pub(super) fn version(path: &Path) -> Option<Version> {
    let about = fs::metadata(path).ok()?;
    Some(Version(
        [about.mtime(), about.mtime_nsec()],
        [about.dev(), about.ino(), about.len()],
        // Nobody can set it.
        [about.ctime(), about.ctime_nsec()],
    ))
}

/// Whether a directory is on another machine, whose changes this machine does not see.
#[cfg(target_os = "linux")]
pub(super) fn is_remote(directory: &Path) -> bool {
    /// NFS, SMB (three kinds), FUSE, 9P, AFS, Ceph, Lustre, OCFS2, GFS2, vboxsf, HGFS.
    const REMOTE: [u32; 13] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x5346_414f,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x7461_636f,
        0x0116_1970,
        0x786f_4256,
        0xbacb_acbc,
    ];
    // The kind is a number of 32 bits, whatever the type is.
    let kind = rustix::fs::statfs(directory).map(|about| about.f_type as u32);
    kind.is_ok_and(|kind| REMOTE.contains(&kind))
}

/// The system's own watcher knows.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_remote(_: &Path) -> bool {
    false
}
