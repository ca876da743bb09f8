//! The content of media on its way: where it is read from, and what becomes of it between the platform
//! and the gateway.
//!
//! Content passes in windows through one buffer, which is used again for each. Memory does not grow
//! with a file.

use std::io::{Cursor, Read};
use std::pin::Pin;

use crate::error::Error;
use crate::http::TransportError;

/// A future of the one thread that a component has.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Bytes that are read.
pub trait Source {
    /// Appends what comes next to `buffer`, up to its capacity. False at the end of whole content.
    fn read<'a>(
        &'a mut self,
        buffer: &'a mut Vec<u8>,
    ) -> LocalFuture<'a, Result<bool, TransportError>>;
}

impl Source for Cursor<Vec<u8>> {
    fn read<'a>(
        &'a mut self,
        buffer: &'a mut Vec<u8>,
    ) -> LocalFuture<'a, Result<bool, TransportError>> {
        let before = buffer.len();
        let room = match (buffer.capacity() - before) as u64 {
            0 => u64::MAX,
            room => room,
        };
        let read = self.take(room).read_to_end(buffer);
        let error = |error: std::io::Error| TransportError::Unanswered(error.to_string());
        let is_more = read.map(|count| count > 0).map_err(error);
        Box::pin(std::future::ready(is_more))
    }
}

/// Content that the gateway hands over.
pub struct Content {
    /// Its length in bytes, as announced.
    pub size: u64,
    source: Box<dyn Source>,
}

impl Content {
    /// Content of this length.
    pub fn new(size: u64, source: Box<dyn Source>) -> Content {
        Content { size, source }
    }

    /// Where it is read from.
    pub fn into_source(self) -> Box<dyn Source> {
        self.source
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes)", self.size)
    }
}

/// What is done to content in passing, such as a cipher, in the buffer that it is read into.
///
/// ```text
/// prepare(buffer)  empties it and puts at its front what waits
/// read             appends to it, up to its capacity
/// update(buffer)   leaves in it what can be passed on now
/// pass on          and round again; at the end of the content: finish(buffer)
/// ```
pub trait Transform {
    /// Room that the buffer needs besides a window.
    fn headroom(&self) -> usize {
        0
    }

    /// Empties `buffer`, and puts at its front what waits.
    fn prepare(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
    }

    /// Leaves in `buffer` what can be passed on now.
    fn update(&mut self, _buffer: &mut Vec<u8>) {}

    /// Leaves in `buffer` the last that is to be passed on.
    ///
    /// # Errors
    /// `forbidden` when the content was not whole. What was passed on before must not be taken for all
    /// of it then.
    fn finish(&mut self, _buffer: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

/// Content passes as it is.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unchanged;

impl Transform for Unchanged {}

/// Content passes as it is, between two pieces.
#[derive(Debug, Default, Clone)]
pub struct Framed {
    /// What comes before the content.
    pub head: Vec<u8>,
    /// What comes after it.
    pub tail: Vec<u8>,
}

impl Transform for Framed {
    fn prepare(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.append(&mut self.head);
    }

    fn finish(&mut self, buffer: &mut Vec<u8>) -> Result<(), Error> {
        buffer.append(&mut self.tail);
        Ok(())
    }
}
