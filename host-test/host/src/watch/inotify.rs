//! Uses Linux's inotify directly: it waits for events of the directories in which a file and the links to
//! it are.
//!
//! The library `notify` serves the other systems. On Linux its version 8 asks for each opening and each
//! write of every file in a directory, and wakes a thread for it. The store writes its journal beside the
//! logins, so each message would cost such wake-ups. Its version 9 lets the caller choose the kinds of
//! events, and takes the place of this module when it is released.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::watched_path::WatchedPath;

/// Of the directory's files: not their writes, of which there may be many, but their ends. Of the
/// directory: that it is another one now.
const WANTED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// Of the directories above: that they are others now, and nothing that happens in them.
const ABOVE: WatchFlags = WatchFlags::DELETE_SELF
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// Room for events; a name has at most 255 bytes.
const BUFFER_BYTES: usize = 4096;

/// Directories of which the system tells.
pub(super) struct Events {
    descriptor: AsyncFd<OwnedFd>,
    directories: HashMap<i32, PathBuf>,
}

/// Something that happened.
struct Happening {
    watch: i32,
    flags: ReadFlags,
    name: Option<OsString>,
}

impl Events {
    #[expect(
        deprecated,
        reason = "the functions that replace it are unsafe; this descriptor is owned here, and nobody \
                  exchanges it"
    )]
    pub fn new() -> io::Result<Events> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Events {
            descriptor: AsyncFd::new(descriptor)?,
            directories: HashMap::new(),
        })
    }

    /// Watches these directories and whether those above them are exchanged, and nothing else.
    pub fn watch(&mut self, wanted: &BTreeSet<&Path>) -> io::Result<()> {
        let above = wanted.iter().flat_map(|directory| directory.ancestors());
        let above: BTreeSet<&Path> = above.filter(|one| !wanted.contains(one)).collect();
        let above = above.into_iter().map(|directory| (directory, ABOVE));
        let wanted = wanted.iter().map(|directory| (*directory, WANTED));
        let mut kept = HashMap::new();
        for (directory, flags) in wanted.chain(above) {
            match inotify::add_watch(self.descriptor.get_ref(), directory, flags) {
                Ok(watch) => {
                    kept.insert(watch, directory.to_owned());
                }
                // It has just gone, and whoever asked looks again.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                // Such a one may lead on to directories that may be read.
                Err(Errno::ACCESS) if flags == ABOVE => {}
                Err(Errno::NOSPC) => {
                    return Err(io::Error::other(
                        "no more watches may be had: raise fs.inotify.max_user_watches",
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        for watch in self.directories.keys() {
            if !kept.contains_key(watch) {
                // Of a directory that has gone, it has gone as well.
                let _ = inotify::remove_watch(self.descriptor.get_ref(), *watch);
            }
        }
        self.directories = kept;
        Ok(())
    }

    /// Waits until something happened to one of the paths.
    pub async fn next(&mut self, paths: &BTreeSet<WatchedPath>) -> io::Result<()> {
        loop {
            let mut is_change = false;
            let mut ready = self.descriptor.readable().await?;
            for happening in read(ready.get_inner())? {
                is_change |= is_about(&happening, &self.directories, paths);
            }
            ready.clear_ready();
            if is_change {
                return Ok(());
            }
        }
    }
}

/// All that has happened so far.
fn read(descriptor: &OwnedFd) -> io::Result<Vec<Happening>> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut reader = Reader::new(descriptor, &mut buffer);
    let mut happenings = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => happenings.push(Happening {
                watch: event.wd(),
                flags: event.events(),
                name: event
                    .file_name()
                    .map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
            }),
            Err(Errno::AGAIN) => return Ok(happenings),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_about(
    happening: &Happening,
    directories: &HashMap<i32, PathBuf>,
    paths: &BTreeSet<WatchedPath>,
) -> bool {
    // There was more than it could keep.
    if happening.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        return true;
    }
    let Some(directory) = directories.get(&happening.watch) else {
        return false;
    };
    // Without a name it is about the directory itself.
    let Some(name) = &happening.name else {
        return true;
    };
    let watched = WatchedPath {
        directory: directory.clone(),
        name: name.clone(),
    };
    if !paths.contains(&watched) {
        return false;
    }
    !happening.flags.contains(ReadFlags::CREATE) || is_whole(&directory.join(name))
}

/// Whether what was created is whole already. A file is not, until it is closed after it was written.
fn is_whole(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(about) => !about.is_file() || about.nlink() > 1,
        Err(_) => false,
    }
}
