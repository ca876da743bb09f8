//! Transfers the content of media, a window at a time.
//!
//! Memory does not grow with a file, and no other call waits for a transfer. A transfer that is not whole
//! ends with an error.

use std::io::Cursor;

use wit_bindgen::{StreamReader, StreamResult, StreamWriter, spawn_local, yield_async};

use super::bindings::gateway::channel::types as wit;
use super::bindings::{wit_future, wit_stream};
use super::erased::About;
use super::imports;
use super::values::Opened;
use crate::error::{Error, ErrorKind};
use crate::host::{Answered, LocalFuture};
use crate::http::{Request, TransportError};
use crate::platform::Download;
use crate::sniff;
use crate::transfer::{Content, Source, Transform};

/// What is read at once.
const WINDOW_BYTES: usize = 64 * 1024;

/// Content that comes from the gateway.
struct Stream(StreamReader<u8>);

impl Source for Stream {
    fn read<'a>(
        &'a mut self,
        buffer: &'a mut Vec<u8>,
    ) -> LocalFuture<'a, Result<bool, TransportError>> {
        Box::pin(async move {
            let (result, filled) = self.0.read(std::mem::take(buffer)).await;
            *buffer = filled;
            Ok(matches!(result, StreamResult::Complete(_)))
        })
    }
}

/// What the gateway uploads.
pub fn content(size: u64, stream: StreamReader<u8>) -> Content {
    Content::new(size, Box::new(Stream(stream)))
}

/// A text that goes as a file.
pub fn text(text: &str) -> Content {
    let bytes = text.as_bytes().to_vec();
    Content::new(bytes.len() as u64, Box::new(Cursor::new(bytes)))
}

/// Hands a download on, and checks it against the size that was announced.
pub async fn hand_on(download: Download, about: &About) -> Result<Opened, Error> {
    let mut incoming = Incoming {
        body: download.answered.into_body(),
        buffer: buffer_for(&*download.transform),
        transform: download.transform,
        size: download.size,
        total: 0,
    };
    let begin = incoming.next().await?;
    let name = download.name.unwrap_or_default();
    let own_type = (about.own_type)(&incoming.buffer);
    let mime = own_type.unwrap_or_else(|| sniff::mime(&incoming.buffer, &name));
    let (writer, bytes) = wit_stream::new();
    let gone = || Err(Error::new(ErrorKind::Transient, "the transfer was given up").into());
    let (result, done) = wit_future::new(gone);
    spawn_local(async move {
        let outcome = incoming.pass_on(begin, writer).await;
        // Nobody may want to know any more.
        let _ = result.write(outcome.map_err(wit::Error::from)).await;
    });
    Ok(Opened { mime, bytes, done })
}

/// Uploads what `transform` makes of `content`.
pub async fn upload(
    request: Request,
    content: Content,
    transform: Box<dyn Transform>,
) -> Result<Answered, Error> {
    let outgoing = Outgoing {
        size: content.size,
        content: content.into_source(),
        buffer: buffer_for(&*transform),
        transform,
        sent: 0,
    };
    imports::upload(request, async |writer| outgoing.send(writer).await).await
}

fn buffer_for(transform: &dyn Transform) -> Vec<u8> {
    Vec::with_capacity(WINDOW_BYTES + transform.headroom())
}

/// Whether there is more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    More,
    End,
}

/// A download on its way.
struct Incoming {
    body: Box<dyn Source>,
    transform: Box<dyn Transform>,
    buffer: Vec<u8>,
    /// What the sender announced.
    size: Option<u64>,
    /// What has come so far.
    total: u64,
}

impl Incoming {
    /// Reads and transforms the next window into the buffer.
    async fn next(&mut self) -> Result<Progress, Error> {
        self.transform.prepare(&mut self.buffer);
        let is_more = self.body.read(&mut self.buffer).await.map_err(|error| {
            let why = format!("the download broke off: {error}");
            Error::new(ErrorKind::Transient, why)
        })?;
        if is_more {
            self.transform.update(&mut self.buffer);
            self.total += self.buffer.len() as u64;
            return Ok(Progress::More);
        }
        self.transform.finish(&mut self.buffer)?;
        self.total += self.buffer.len() as u64;
        match self.size {
            Some(size) if size != self.total => {
                self.buffer.clear();
                let total = self.total;
                Err(Error::new(
                    ErrorKind::Forbidden,
                    format!("the content has {total} bytes, and its sender announced {size}"),
                ))
            }
            _ => Ok(Progress::End),
        }
    }

    /// Hands on what the buffer has, and then the rest.
    async fn pass_on(
        &mut self,
        mut progress: Progress,
        mut writer: StreamWriter<u8>,
    ) -> Result<(), Error> {
        loop {
            if !self.buffer.is_empty() {
                let buffer = std::mem::take(&mut self.buffer);
                self.buffer = writer.write_all(buffer).await;
                if !self.buffer.is_empty() {
                    return Err(Error::new(ErrorKind::Transient, "the reader went away"));
                }
                self.buffer
                    .reserve_exact(WINDOW_BYTES + self.transform.headroom());
            }
            if progress == Progress::End {
                return Ok(());
            }
            // A source and a sink that are always ready would let nobody else run.
            yield_async().await;
            progress = self.next().await?;
        }
    }
}

/// An upload on its way.
struct Outgoing {
    content: Box<dyn Source>,
    transform: Box<dyn Transform>,
    buffer: Vec<u8>,
    size: u64,
    sent: u64,
}

impl Outgoing {
    /// Sends the whole content, and fails when its length is another than announced.
    async fn send(mut self, mut writer: StreamWriter<u8>) -> Result<(), Error> {
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.transform.prepare(&mut buffer);
            let waiting = buffer.len();
            let is_more = self.content.read(&mut buffer).await.map_err(|error| {
                let why = format!("the content broke off: {error}");
                Error::new(ErrorKind::Transient, why)
            })?;
            self.sent += buffer.len().saturating_sub(waiting) as u64;
            if self.sent > self.size || (!is_more && self.sent < self.size) {
                return Err(self.wrong_size());
            }
            if !is_more {
                self.transform.finish(&mut buffer)?;
                // What the server does not take shows in its answer.
                let _ = writer.write_all(buffer).await;
                return Ok(());
            }
            self.transform.update(&mut buffer);
            if !buffer.is_empty() {
                buffer = writer.write_all(buffer).await;
                // What the server does not take shows in its answer.
                if !buffer.is_empty() {
                    return Ok(());
                }
                buffer.reserve_exact(WINDOW_BYTES + self.transform.headroom());
            }
            self.buffer = buffer;
            yield_async().await;
        }
    }

    fn wrong_size(&self) -> Error {
        let Outgoing { sent, size, .. } = self;
        let more = if sent > size { "more than " } else { "" };
        let count = sent.min(size);
        Error::new(
            ErrorKind::Invalid,
            format!("the content has {more}{count} bytes, announced were {size}"),
        )
    }
}
