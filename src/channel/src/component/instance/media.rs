//! Content of media: fetched and opened, sealed and uploaded, a window at a time.
//!
//! Promises: memory does not grow with a file, no other call waits for a transfer, and what is not
//! whole never ends as if it were.

use md5::{Digest, Md5};
use wit_bindgen::{StreamReader, StreamResult, StreamWriter, spawn_local, yield_async};

use super::platform::Sealer;
use super::*;
use crate::cipher::{self, Decryptor};
use crate::component::bindings::gateway::channel::types as wit;
use crate::component::bindings::{wit_future, wit_stream};
use crate::component::imports::{Answered, Body};
use gateway_channel_sdk::http::{Failure, Request};
use gateway_channel_sdk::message::{Media, MediaKind};
use gateway_channel_sdk::sniff;

/// What is read at once.
const WINDOW_BYTES: usize = 64 * 1024;
const BUFFER_BYTES: usize = WINDOW_BYTES + cipher::HEADROOM;
/// A download whose begin fails is tried this often.
const DOWNLOAD_TRIES: u32 = 3;

impl Instance {
    /// The head of a download; a passing failure before it is tried again.
    pub(super) async fn begin_download(
        &self,
        attempt: impl AsyncFn() -> Result<Answered, Error>,
    ) -> Result<Answered, Error> {
        let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        loop {
            match attempt().await {
                Err(error)
                    if error.kind == ErrorKind::Transient
                        && pause.failures() + 1 < DOWNLOAD_TRIES =>
                {
                    let pause = pause.fail(imports::random());
                    imports::sleep_until(imports::now() + pause).await;
                }
                result => return result,
            }
        }
    }

    /// Uploads a text as a file; returns the handle.
    pub async fn put_text(
        &self,
        conversation: &str,
        name: &str,
        text: &str,
    ) -> Result<String, Error> {
        let upload = Upload {
            conversation: conversation.to_owned(),
            kind: Some(MediaKind::File),
            name: name.to_owned(),
            mime: None,
            size: text.len() as u64,
            md5: Md5::digest(text).to_vec(),
        };
        let (mut writer, content) = wit_stream::new();
        let bytes = text.as_bytes().to_vec();
        let writing = std::pin::pin!(async move {
            // What the upload does not take shows in its result.
            let _ = writer.write_all(bytes).await;
            drop(writer);
            std::future::pending::<std::convert::Infallible>().await
        });
        let putting = std::pin::pin!(self.put(upload, content));
        let media = match select(putting, writing).await {
            Either::Left((media, _)) => media?,
            Either::Right((never, _)) => match never {},
        };
        media
            .handle
            .ok_or_else(|| Error::new(ErrorKind::Transient, "the upload has no handle"))
    }
}

/// Hands a download on: decrypted by `decryptor`, and checked against the `size` that was announced.
pub(super) async fn hand_on(
    answered: Answered,
    decryptor: Decryptor,
    size: Option<u64>,
    name: Option<&str>,
) -> Result<Opened, Error> {
    let mut incoming = Incoming {
        body: answered.body,
        decryptor,
        buffer: Vec::with_capacity(BUFFER_BYTES),
        size,
    };
    let begin = incoming.next().await?;
    let mime = sniff::mime(&incoming.buffer, name.unwrap_or_default());
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

/// Only what came with a message has content to fetch.
pub(super) fn is_upload() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "this handle is of an upload: only what came with a message can be fetched",
    )
}

/// Of a transfer nothing is shown to anybody yet, so what has no known end may be tried again.
pub(super) fn may_pass(mut error: Error) -> Error {
    if matches!(
        error.kind,
        ErrorKind::UnknownOutcome | ErrorKind::RateLimited
    ) {
        error.kind = ErrorKind::Transient;
    }
    error
}

/// What was uploaded, for a post.
pub(super) fn uploaded(
    handle: String,
    kind: MediaKind,
    name: String,
    mime: Option<String>,
    size: u64,
) -> Media {
    Media {
        handle: Some(handle),
        kind,
        name: Some(name),
        mime,
        size: Some(size),
        length: None,
        transcript: None,
    }
}

/// A failure before the head of a download.
pub(super) fn download_failed(failure: Failure) -> Error {
    let why = format!("the download fails: {failure}");
    Error::new(ErrorKind::Transient, why)
}

/// Uploads what `sealer` makes of `content`, which has to have `size` bytes.
pub(super) async fn send_content(
    request: Request,
    content: StreamReader<u8>,
    sealer: Sealer,
    size: u64,
) -> Result<Answered, Error> {
    let outgoing = Outgoing {
        content,
        sealer,
        buffer: Vec::with_capacity(BUFFER_BYTES),
        size,
        sent: 0,
    };
    imports::upload(request, async |writer| outgoing.send(writer).await).await
}

pub(super) fn random_bytes() -> [u8; 16] {
    let bits = (u128::from(imports::random()) << 64) | u128::from(imports::random());
    bits.to_le_bytes()
}

/// Whether there is more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    More,
    End,
}

/// A download that is being decrypted.
struct Incoming {
    body: Body,
    decryptor: Decryptor,
    buffer: Vec<u8>,
    /// What the sender announced.
    size: Option<u64>,
}

impl Incoming {
    /// Reads and decrypts the next window into the buffer.
    async fn next(&mut self) -> Result<Progress, Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.decryptor.reuse(&mut buffer);
        let progress = self.body.read(&mut buffer).await;
        self.buffer = buffer;
        let is_more = progress.map_err(|failure| {
            Error::new(
                ErrorKind::Transient,
                format!("the download broke off: {failure}"),
            )
        })?;
        if is_more {
            self.decryptor.update(&mut self.buffer);
            return Ok(Progress::More);
        }
        let decryptor = std::mem::replace(&mut self.decryptor, Decryptor::plain());
        let total = decryptor
            .finish(&mut self.buffer)
            .map_err(|error| Error::new(ErrorKind::Forbidden, error.to_string()))?;
        match self.size {
            Some(size) if size != total => {
                self.buffer.clear();
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
                self.buffer.reserve_exact(BUFFER_BYTES);
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

/// An upload that is being sealed.
struct Outgoing {
    content: StreamReader<u8>,
    sealer: Sealer,
    buffer: Vec<u8>,
    size: u64,
    sent: u64,
}

impl Outgoing {
    /// Sends the whole content, and fails when its length is another than announced.
    async fn send(mut self, mut writer: StreamWriter<u8>) -> Result<(), Error> {
        let wrong_size = |count: u64, size: u64| {
            let more = if count > size { "more than " } else { "" };
            Error::new(
                ErrorKind::Invalid,
                format!(
                    "the content has {more}{} bytes, announced were {size}",
                    count.min(size)
                ),
            )
        };
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.sealer.reuse(&mut buffer);
            let waiting = buffer.len();
            let (result, mut buffer) = self.content.read(buffer).await;
            self.sent += buffer.len().saturating_sub(waiting) as u64;
            let is_end = !matches!(result, StreamResult::Complete(_));
            if self.sent > self.size || (is_end && self.sent < self.size) {
                return Err(wrong_size(self.sent, self.size));
            }
            if is_end {
                self.sealer.finish(&mut buffer);
                // What the server does not take shows in its answer.
                let _ = writer.write_all(buffer).await;
                return Ok(());
            }
            self.sealer.update(&mut buffer);
            if !buffer.is_empty() {
                buffer = writer.write_all(buffer).await;
                // What the server does not take shows in its answer.
                if !buffer.is_empty() {
                    return Ok(());
                }
                buffer.reserve_exact(BUFFER_BYTES);
            }
            self.buffer = buffer;
            yield_async().await;
        }
    }
}
