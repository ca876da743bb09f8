//! What is in a file: bytes in memory, a file on this machine, bytes that came in and are kept in a
//! file without a name, or bytes that are made up on the fly. None of the last three costs memory.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::cipher::hex;

/// Bytes that are read in one go: whole cipher blocks, and whole words of what is made up.
pub(crate) const PIECE: usize = 64 * 1024;

/// A file's content, its size and its MD5.
#[derive(Clone, Debug)]
pub struct Content {
    source: Source,
    size: u64,
    md5: String,
}

#[derive(Clone, Debug)]
enum Source {
    Bytes(Bytes),
    Path(PathBuf),
    /// A file without a name, which goes with its last holder.
    Unnamed(Arc<std::fs::File>),
    Generated(u64),
    /// Only measured, not kept.
    Gone,
}

/// What a content takes up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Memory,
    Disk,
    /// Nothing of ours.
    Elsewhere,
}

/// Why what came in is no content.
#[derive(Debug)]
pub(crate) enum NotReceived {
    TooLarge,
    BrokeOff,
    Disk(io::Error),
}

impl Content {
    /// These bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Content {
        let bytes = bytes.into();
        Content {
            size: bytes.len() as u64,
            md5: hex(&Md5::digest(&bytes)),
            source: Source::Bytes(bytes),
        }
    }

    /// What is in this file. It is read through once now, which blocks, and again whenever it is
    /// served; it must not change.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn path(path: &Path) -> io::Result<Content> {
        let mut file = std::fs::File::open(path)?;
        let mut digest = Md5::new();
        let mut size = 0;
        let mut piece = vec![0; PIECE];
        loop {
            let length = file.read(&mut piece)?;
            let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
                break;
            };
            digest.update(read);
            size += length as u64;
        }
        Ok(Content {
            source: Source::Path(path.to_owned()),
            size,
            md5: hex(&digest.finalize()),
        })
    }

    /// So many bytes that look random and are always the same for the same seed. They are made
    /// when they are served, and once now for the MD5.
    pub fn generated(size: u64, seed: u64) -> Content {
        let mut digest = Md5::new();
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < size {
            let length = (size - at).min(PIECE as u64);
            piece.truncate(length as usize);
            generate(seed, at, &mut piece);
            digest.update(&piece);
            at += length;
        }
        Content {
            source: Source::Generated(seed),
            size,
            md5: hex(&digest.finalize()),
        }
    }

    /// What this body brings, at most so many bytes.
    pub(crate) async fn received(
        mut body: impl Body<Data = Bytes> + Unpin,
        most: u64,
    ) -> Result<Content, NotReceived> {
        let file = tempfile::tempfile().map_err(NotReceived::Disk)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut digest = Md5::new();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| NotReceived::BrokeOff)?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            size += bytes.len() as u64;
            if size > most {
                return Err(NotReceived::TooLarge);
            }
            digest.update(&bytes);
            file.write_all(&bytes).await.map_err(NotReceived::Disk)?;
        }
        file.flush().await.map_err(NotReceived::Disk)?;
        Ok(Content {
            source: Source::Unnamed(Arc::new(file.into_std().await)),
            size,
            md5: hex(&digest.finalize()),
        })
    }

    /// A content that was measured and is not kept.
    pub(crate) fn gone(size: u64, md5: String) -> Content {
        Content {
            source: Source::Gone,
            size,
            md5,
        }
    }

    /// Bytes of the plaintext.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// MD5 of the plaintext, in lower-case hex.
    pub fn md5(&self) -> &str {
        &self.md5
    }

    /// The bytes, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            Source::Path(_) | Source::Unnamed(_) | Source::Generated(_) | Source::Gone => None,
        }
    }

    pub(crate) fn storage(&self) -> Storage {
        match &self.source {
            Source::Bytes(_) => Storage::Memory,
            Source::Unnamed(_) => Storage::Disk,
            Source::Path(_) | Source::Generated(_) | Source::Gone => Storage::Elsewhere,
        }
    }

    /// Frees the bytes; size and MD5 stay.
    pub(crate) fn forget(&mut self) {
        self.source = Source::Gone;
    }

    /// Reads from the start; `None` when the content is not kept.
    pub(crate) fn reader(&self) -> Option<Reader> {
        let from = match &self.source {
            Source::Bytes(bytes) => From::Bytes(bytes.clone()),
            Source::Path(path) => From::Path(path.clone()),
            Source::Unnamed(file) => From::Unnamed(file.clone()),
            Source::Generated(seed) => From::Generated(*seed),
            Source::Gone => return None,
        };
        Some(Reader {
            from,
            at: 0,
            size: self.size,
        })
    }
}

/// Reads a content in pieces of [`PIECE`] bytes, the last one shorter.
pub(crate) struct Reader {
    from: From,
    at: u64,
    size: u64,
}

enum From {
    Bytes(Bytes),
    Path(PathBuf),
    Open(tokio::fs::File),
    Unnamed(Arc<std::fs::File>),
    Generated(u64),
}

impl Reader {
    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.size - self.at
    }

    /// The next piece, empty at the end.
    ///
    /// # Errors
    /// When a file on this machine cannot be read, or is shorter now.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<u8>> {
        let length = self.left().min(PIECE as u64) as usize;
        if let From::Path(path) = &self.from {
            self.from = From::Open(tokio::fs::File::open(path).await?);
        }
        let piece = match &mut self.from {
            From::Bytes(bytes) => bytes.split_to(length.min(bytes.len())).to_vec(),
            From::Generated(seed) => {
                let mut piece = vec![0; length];
                generate(*seed, self.at, &mut piece);
                piece
            }
            From::Open(file) => {
                let mut piece = vec![0; length];
                file.read_exact(&mut piece).await?;
                piece
            }
            From::Unnamed(file) => {
                let (file, at) = (file.clone(), self.at);
                let reading = tokio::task::spawn_blocking(move || {
                    let mut piece = vec![0; length];
                    file.read_exact_at(&mut piece, at).map(|()| piece)
                });
                reading.await.map_err(io::Error::other)??
            }
            From::Path(_) => Vec::new(),
        };
        self.at += length as u64;
        Ok(piece)
    }
}

/// Fills `piece` with the bytes from position `at` on, which is a multiple of eight.
fn generate(seed: u64, at: u64, piece: &mut [u8]) {
    let first = at / 8;
    for (index, word) in piece.chunks_mut(8).enumerate() {
        // SplitMix64, which can start anywhere.
        let position = first.wrapping_add(index as u64).wrapping_add(1);
        let mut mixed = seed.wrapping_add(position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let length = word.len();
        word.copy_from_slice(&mixed.to_le_bytes()[..length]);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn read(content: &Content) -> Vec<u8> {
        let mut reader = content.reader().expect("the content is kept");
        let mut all = Vec::new();
        while reader.left() > 0 {
            all.extend(reader.next().await.expect("it can be read"));
        }
        assert!(reader.next().await.expect("the end is no error").is_empty());
        all
    }

    #[tokio::test]
    async fn a_content_is_read_as_it_was_measured() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a file");
        std::fs::write(&path, vec![7; 200_001]).unwrap();
        for content in [
            Content::bytes(Vec::new()),
            Content::bytes(vec![7; 200_001]),
            Content::path(&path).unwrap(),
            Content::received(Full::from(vec![7; 200_001]), 200_001)
                .await
                .unwrap(),
            Content::generated(200_001, 3),
        ] {
            let again = Content::bytes(read(&content).await);
            assert_eq!((again.size(), again.md5()), (content.size(), content.md5()));
        }
    }

    #[tokio::test]
    async fn what_is_made_up_depends_on_the_seed_alone() {
        let long = read(&Content::generated(100_000, 1)).await;
        let short = read(&Content::generated(70_000, 1)).await;
        assert_eq!(long[..70_000], short[..]);
        assert_ne!(read(&Content::generated(100_000, 2)).await, long);
    }

    #[tokio::test]
    async fn a_file_that_got_shorter_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, "long").unwrap();
        let content = Content::path(&path).unwrap();
        std::fs::write(&path, "l").unwrap();
        let mut reader = content.reader().expect("the content is kept");
        assert!(reader.next().await.is_err());
        assert!(Content::path(&directory.path().join("none")).is_err());
    }

    #[tokio::test]
    async fn what_comes_in_has_an_end() {
        let large = Content::received(Full::from(vec![7; 200_001]), 200_000).await;
        assert!(matches!(large, Err(NotReceived::TooLarge)));
    }
}
