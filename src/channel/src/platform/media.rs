//! Media: where content is, and what becomes of it on its way.

use super::Platform;
use crate::error::Error;
use crate::host::{Answered, Host};
use crate::message::{Media, MediaKind};
use crate::transfer::{Content, Transform};

/// A platform with media.
#[expect(async_fn_in_trait, reason = "a component has one thread")]
pub trait MediaTransfer: Platform {
    /// Begins the download of a handle that came with a message. A `transient` error is tried again.
    ///
    /// # Errors
    /// `not-found` for what is no such handle, and whatever the platform says.
    async fn open(&self, _host: &Host, _handle: &str) -> Result<Download, Error> {
        Err(super::unsupported("media"))
    }

    /// Uploads content, and returns it with a handle that can be sent.
    ///
    /// # Errors
    /// `too-large` and `invalid` for what the platform does not take, and whatever it says.
    async fn put(&self, _host: &Host, _upload: Upload, _content: Content) -> Result<Media, Error> {
        Err(super::unsupported("media"))
    }

    /// The conversation that an upload was made for. Only there it can be sent.
    ///
    /// # Errors
    /// `not-found` and `invalid` for what is no handle of an upload.
    fn uploaded_for(_handle: &str) -> Result<String, Error> {
        Err(super::unsupported("media"))
    }

    /// The media type of content that begins so, where its signature is this platform's own.
    fn own_type(_start: &[u8]) -> Option<&'static str> {
        None
    }

    /// The MD5 of content, for [`Upload::md5`] of a text that the SDK sends as a file. Without it that
    /// upload has none.
    fn md5(_content: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

/// A download whose content comes.
#[derive(Debug)]
pub struct Download {
    /// The response.
    pub answered: Answered,
    /// What the content becomes on its way.
    pub transform: Box<dyn Transform>,
    /// How many bytes are passed on, where that is known.
    pub size: Option<u64>,
    /// The name of the file, where it is known: what the first bytes do not tell of the type, it does.
    pub name: Option<String>,
}

impl std::fmt::Debug for dyn Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transform")
    }
}

/// What is to be uploaded.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The conversation that it is for.
    pub conversation: String,
    /// How it is to be shown; none is by its name and media type.
    pub kind: Option<MediaKind>,
    /// Its file name.
    pub name: String,
    /// Its media type, where it is known.
    pub mime: Option<String>,
    /// The MD5 of the content.
    pub md5: Vec<u8>,
}

impl Upload {
    /// What [`MediaTransfer::put`] returns of an upload of `size` bytes.
    pub fn done(self, handle: String, kind: MediaKind, name: String, size: u64) -> Media {
        Media {
            handle: Some(handle),
            kind,
            name: Some(name),
            mime: self.mime,
            size: Some(size),
            length: None,
            transcript: None,
        }
    }
}
