//! Files below a directory that the operator names, opened step by step from that directory itself.
//!
//! Promises: every file that is read lies below the directory that was opened at the start, whatever is
//! renamed, linked or swapped meanwhile. It is a regular file. It is none of the denied files, under
//! whatever name.
//!
//! The links of a path are resolved first, as text. Then each part of the path is opened from the part
//! before it, and no link is followed: a directory that has become a link in between is an error, not a
//! way out. The kernel's `RESOLVE_BENEATH` would not show which directories were passed, and it refuses
//! absolute links that stay inside. The steps also work on every Unix.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

/// A directory is only walked through, which needs no right to list it.
#[cfg(target_os = "linux")]
const WALK: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const WALK: OFlags = OFlags::RDONLY;

/// A directory whose files may be sent. It is held open, so a directory that takes its name later is
/// another one.
#[derive(Clone)]
pub struct Folder {
    /// Without links, as it was when it was opened.
    path: PathBuf,
    directory: Arc<OwnedFd>,
}

impl Folder {
    /// Opens a directory.
    ///
    /// # Errors
    /// When it is not there, is no directory or can't be entered.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let path = path.canonicalize()?;
        let flags = WALK | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Folder {
            path,
            directory: Arc::new(directory),
        })
    }

    /// Opens the file that `path` names. The links of `path` are resolved already; a part that has become a
    /// link since then is an error. `None` if the file is not below this directory.
    ///
    /// # Errors
    /// When it is no regular file, can't be read, or is one of `denied`: a file of those, or below a
    /// directory of those.
    pub(super) fn file(&self, path: &Path, denied: &[PathBuf]) -> Option<io::Result<File>> {
        let rest = path.strip_prefix(&self.path).ok()?;
        Some(
            self.opened(rest)
                .and_then(|opened| match opened.is_denied(denied)? {
                    true => Err(io::Error::other("it belongs to the gateway itself")),
                    false => Ok(opened.file),
                }),
        )
    }

    fn opened(&self, rest: &Path) -> io::Result<Opened> {
        let mut steps = Vec::new();
        for step in rest.components() {
            match step {
                Component::Normal(name) => steps.push(name),
                _ => return Err(no_file()),
            }
        }
        let (name, parents) = steps.split_last().ok_or_else(no_file)?;
        let mut passed = above(&self.directory)?;
        let mut directory = Arc::clone(&self.directory);
        for parent in parents {
            directory = Arc::new(below(&directory, parent)?);
            passed.push(Identity::of(&directory)?);
        }
        let file = regular(&directory, name)?;
        Ok(Opened {
            name: name.to_string_lossy().into_owned(),
            identity: Identity::of(&file)?,
            file,
            passed,
        })
    }
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Folder").field(&self.path).finish()
    }
}

/// A file, and the directories on the way to it: those above the folder, the folder, those below it.
struct Opened {
    file: File,
    name: String,
    identity: Identity,
    passed: Vec<Identity>,
}

impl Opened {
    fn is_denied(&self, denied: &[PathBuf]) -> io::Result<bool> {
        for path in denied {
            // A denied file that does not exist can't be the open one.
            let Some(about) = there(std::fs::metadata(path))? else {
                continue;
            };
            let identity = Identity::from(&about);
            let is_it = match about.is_dir() {
                true => self.passed.contains(&identity) || holds(path, self.identity)?,
                false => identity == self.identity || self.is_beside(path)?,
            };
            if is_it {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it is a copy that an editor keeps beside a denied file, with that file's name in its own.
    fn is_beside(&self, denied: &Path) -> io::Result<bool> {
        let real = denied.canonicalize()?;
        for path in [denied, &real] {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let parent = path.parent().unwrap_or(Path::new("/"));
            let parent = match parent.as_os_str().is_empty() {
                true => Path::new("."),
                false => parent,
            };
            let parent = Identity::from(&std::fs::metadata(parent)?);
            if self.passed.last() == Some(&parent) && self.name.contains(&*name) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a file or a directory is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: impl AsFd) -> io::Result<Identity> {
        let about = rustix::fs::fstat(file)?;
        // The types differ from system to system.
        #[allow(clippy::unnecessary_cast, reason = "the type differs between systems")]
        Ok(Identity {
            device: about.st_dev as u64,
            inode: about.st_ino as u64,
        })
    }
}

impl From<&std::fs::Metadata> for Identity {
    fn from(about: &std::fs::Metadata) -> Identity {
        Identity {
            device: about.dev(),
            inode: about.ino(),
        }
    }
}

/// A directory and all above it, as they are now.
fn above(directory: &OwnedFd) -> io::Result<Vec<Identity>> {
    let mut passed = vec![Identity::of(directory)?];
    let mut here = below(directory, OsStr::new(".."))?;
    loop {
        let identity = Identity::of(&here)?;
        if passed.contains(&identity) {
            passed.reverse();
            return Ok(passed);
        }
        passed.push(identity);
        here = below(&here, OsStr::new(".."))?;
    }
}

fn below(directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = WALK | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Opens a regular file for reading. A device or a pipe is not opened. If one takes the file's place at
/// that moment, it is not waited for.
fn regular(directory: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let about = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(no_file());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(directory, name, flags | OFlags::CLOEXEC, Mode::empty())?;
    let file = File::from(file);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(no_file()),
    }
}

/// Whether a directory, or one below it, has a name for this file. Files of the state may come and go
/// during the search.
fn holds(directory: &Path, file: Identity) -> io::Result<bool> {
    let Some(entries) = there(std::fs::read_dir(directory))? else {
        return Ok(false);
    };
    for entry in entries {
        let Some(entry) = there(entry)? else {
            continue;
        };
        let Some(kind) = there(entry.file_type())? else {
            continue;
        };
        let is_it = match kind.is_dir() {
            true => holds(&entry.path(), file)?,
            false => {
                entry.ino() == file.inode
                    && there(entry.metadata())?.is_some_and(|about| Identity::from(&about) == file)
            }
        };
        if is_it {
            return Ok(true);
        }
    }
    Ok(false)
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn no_file() -> io::Error {
    io::Error::other("it is no regular file")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// As a reply's path is read: its links first, then the file.
    fn read(folder: &Folder, path: &Path, denied: &[PathBuf]) -> io::Result<String> {
        let real = path.canonicalize()?;
        let mut file = folder.file(&real, denied).ok_or_else(no_file)??;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    }

    fn directory(path: &Path, content: &str) {
        std::fs::create_dir_all(path).unwrap();
        std::fs::write(path.join("file"), content).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_directory_that_is_swapped_for_a_link_is_never_followed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        directory(&path.join("in/deep/sub"), "inside");
        directory(&path.join("out/sub"), "outside");
        // What takes turns with `in/deep`: a way out.
        symlink(path.join("out"), path.join("in/link")).unwrap();
        let folder = Folder::open(&path.join("in")).unwrap();
        let (asked, done) = (path.join("in/deep/sub/file"), AtomicBool::new(false));
        let (mut inside, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, other) = (path.join("in/deep"), path.join("in/link"));
                let here = rustix::fs::CWD;
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                while !done.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(here, &one, here, &other, exchange).unwrap();
                }
            });
            // Both states have to be met, however the threads are scheduled.
            while inside < 2000 || refused < 2000 {
                match read(&folder, &asked, &[]) {
                    Ok(text) => {
                        assert_eq!(text, "inside");
                        inside += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn links_are_resolved_and_what_they_leave_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        directory(&path.join("in/a"), "inside");
        directory(&path.join("in-other"), "outside");
        symlink(path.join("in/a"), path.join("in/absolute")).unwrap();
        symlink("a/../a/file", path.join("in/relative")).unwrap();
        symlink("../in-other", path.join("in/out")).unwrap();
        symlink("loop", path.join("in/loop")).unwrap();
        symlink(path.join("in"), path.join("way-in")).unwrap();
        let folder = Folder::open(&path.join("way-in")).unwrap();
        for allowed in [
            "in/a/file",
            "in/absolute/file",
            "in/relative",
            "way-in/a/file",
            "in-other/../in/a/file",
        ] {
            let text = read(&folder, &path.join(allowed), &[]);
            assert_eq!(text.unwrap(), "inside", "{allowed}");
        }
        for refused in [
            "in/out/file",
            "in-other/file",
            "in/../in-other/file",
            "in/loop",
            "in",
            "in/a",
            "in/missing",
        ] {
            assert!(
                read(&folder, &path.join(refused), &[]).is_err(),
                "{refused}"
            );
        }
        // A path that is not resolved yet is no way around.
        for raw in [
            "in/a/../../in-other/file",
            "in/absolute/file",
            "in/out/file",
        ] {
            let opened = folder.file(&path.join(raw), &[]);
            assert!(opened.is_none_or(|file| file.is_err()), "{raw}");
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(path.join("fifo"))
            .status();
        assert!(made.unwrap().success());
        let folder = Folder::open(&path).unwrap();
        for name in ["socket", "fifo"] {
            // A fifo that was opened and waited for would hang here.
            assert!(read(&folder, &path.join(name), &[]).is_err(), "{name}");
        }
        let devices = Folder::open(Path::new("/dev")).unwrap();
        for name in ["/dev/null", "/dev/zero", "/dev/fd"] {
            assert!(read(&devices, Path::new(name), &[]).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_the_gateway_s_own_is_denied_under_every_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        let state = path.join("state");
        directory(&path.join("files"), "fine");
        directory(&state.join("deep/segment"), "s3cret");
        let accounts = path.join("accounts.toml");
        std::fs::write(&accounts, "s3cret").unwrap();
        for name in ["accounts.toml~", ".accounts.toml.swp", "#accounts.toml#"] {
            std::fs::write(path.join(name), "s3cret").unwrap();
        }
        std::fs::hard_link(&accounts, path.join("files/notes.txt")).unwrap();
        std::fs::hard_link(
            state.join("deep/segment/file"),
            path.join("files/photo.png"),
        )
        .unwrap();
        symlink(&state, path.join("files/way")).unwrap();
        symlink(&state, path.join("called-otherwise")).unwrap();
        let denied = [
            path.join("called-otherwise"),
            accounts,
            path.join("not-there-yet"),
        ];
        let folder = Folder::open(&path).unwrap();
        assert_eq!(
            read(&folder, &path.join("files/file"), &denied).unwrap(),
            "fine"
        );
        for refused in [
            "accounts.toml",
            "accounts.toml~",
            ".accounts.toml.swp",
            "#accounts.toml#",
            "files/notes.txt",
            "files/photo.png",
            "files/way/deep/segment/file",
            "state/deep/segment/file",
        ] {
            let read = read(&folder, &path.join(refused), &denied);
            let error = read.unwrap_err().to_string();
            assert!(error.contains("the gateway itself"), "{refused}: {error}");
        }
        // Also where the folder itself is within what is denied.
        let within = Folder::open(&state.join("deep")).unwrap();
        let file = state.join("deep/segment/file");
        assert!(read(&within, &file, &denied).is_err());
        assert!(read(&within, &file, &[]).is_ok());
    }

    #[test]
    fn a_folder_stays_the_directory_that_it_was() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        directory(&path.join("in"), "inside");
        directory(&path.join("out"), "outside");
        let folder = Folder::open(&path.join("in")).unwrap();
        std::fs::rename(path.join("in"), path.join("gone")).unwrap();
        symlink(path.join("out"), path.join("in")).unwrap();
        assert!(read(&folder, &path.join("in/file"), &[]).is_err());
        std::fs::remove_file(path.join("in")).unwrap();
        std::fs::rename(path.join("out"), path.join("in")).unwrap();
        // The name leads to the directory that is held, not to the one that has the name now.
        assert_eq!(read(&folder, &path.join("in/file"), &[]).unwrap(), "inside");
        assert!(Folder::open(&path.join("in/file")).is_err());
        assert!(Folder::open(&path.join("missing")).is_err());
    }
}
