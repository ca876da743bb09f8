//! Content of media: fetched and decrypted, encrypted and uploaded, a window at a time.
//!
//! Promises: memory does not grow with a file, no other call waits for a transfer, and what is not
//! whole never ends as if it were.

use md5::{Digest, Md5};
use wit_bindgen::{StreamReader, StreamResult, StreamWriter, spawn_local, yield_async};

use super::*;
use crate::channel::cipher::{self, Decryptor, Encryptor};
use crate::channel::message::{Media, MediaKind};
use crate::channel::{file_name, sniff};
use crate::component::bindings::gateway::channel::types as wit;
use crate::component::bindings::{wit_future, wit_stream};
use crate::component::imports::{Body, Download};
use crate::weixin::media::{self, Handle, MAX_UPLOAD_BYTES, Uploaded};
use crate::weixin::media_key::Key;

/// What is read at once.
const WINDOW_BYTES: usize = 64 * 1024;
const BUFFER_BYTES: usize = WINDOW_BYTES + cipher::HEADROOM;
/// A download whose begin fails is tried this often.
const DOWNLOAD_TRIES: u32 = 3;

impl Instance {
    /// Opens the content of a handle that came with a message.
    pub async fn open(&self, handle: &str) -> Result<Opened, Error> {
        let Handle::Received(received) = Handle::decode(handle)? else {
            return Err(Error::new(
                ErrorKind::NotFound,
                "this handle is of an upload: only what came with a message can be fetched",
            ));
        };
        let decryptor = match received.key()? {
            Some(key) => Decryptor::new(key.bytes()),
            None => Decryptor::plain(),
        };
        let url = received.url(&self.options).inspect_err(|error| {
            log(Level::Warn, &error.message);
        })?;
        let download = self.begin_download(url).await?;
        let mut incoming = Incoming {
            body: download.body,
            decryptor,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            size: received.size,
        };
        let begin = incoming.next().await?;
        let mime = sniff::mime(
            &incoming.buffer,
            received.name.as_deref().unwrap_or_default(),
        );
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

    /// The head of a download; a passing failure before it is tried again.
    async fn begin_download(&self, url: String) -> Result<Download, Error> {
        let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        loop {
            let answer = imports::download(api::download(url.clone())).await;
            let result = match answer {
                Ok(download) => api::opened(download.status).map(|()| download),
                Err(failure) => Err(Error::new(
                    ErrorKind::Transient,
                    format!("the download fails: {failure}"),
                )),
            };
            match result {
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

    /// Encrypts and uploads.
    pub async fn put(&self, upload: Upload, content: StreamReader<u8>) -> Result<Media, Error> {
        let invalid = |why: &str| Err(Error::new(ErrorKind::Invalid, why));
        let Some(padded_size) = cipher::padded_len(upload.size) else {
            return invalid("no file has that many bytes");
        };
        if upload.size > MAX_UPLOAD_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the file has {} bytes: at most {MAX_UPLOAD_BYTES} are uploaded",
                    upload.size
                ),
            ));
        }
        if upload.md5.len() != 16 {
            return invalid("an MD5 has 16 bytes");
        }
        self.check_credential()?;
        let name = file_name::sanitize(&upload.name, "file");
        let mime = upload.mime.as_deref().unwrap_or_default();
        let kind = match upload.kind {
            Some(MediaKind::Voice) => MediaKind::File,
            Some(kind) => kind,
            None => sniff::kind(mime, &name),
        };
        let key = Key::new(random_bytes());
        let file_key = Key::new(random_bytes()).to_hex();
        let md5: String = upload
            .md5
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let request = api::get_upload_url(
            &self.options,
            imports::random(),
            &wire::UploadRequest {
                file_key: &file_key,
                kind,
                to: &upload.conversation,
                size: upload.size,
                padded_size,
                md5: &md5,
                key: &key.to_hex(),
            },
        );
        let place = api::read(imports::fetch(request).await).map_err(upload_error)?;
        let url = media::upload_url(&self.options, &wire::upload_place(&place), &file_key)
            .inspect_err(|error| log(Level::Warn, &error.message))?;

        let outgoing = Outgoing {
            content,
            encryptor: Encryptor::new(key.bytes()),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            size: upload.size,
            sent: 0,
        };
        let answer = imports::upload(api::upload(url, padded_size), async |writer| {
            outgoing.send(writer).await
        })
        .await?;
        let ticket = api::uploaded(answer.status, answer.ticket, answer.message)?;
        let uploaded = Uploaded {
            kind,
            to: upload.conversation,
            ticket,
            key: key.to_base64_of_hex(),
            size: upload.size,
            padded_size,
            name: name.clone(),
        };
        Ok(Media {
            handle: Some(Handle::Uploaded(uploaded).encode()),
            kind,
            name: Some(name),
            mime: upload.mime,
            size: Some(upload.size),
            length: None,
            transcript: None,
        })
    }
}

/// A refusal is final; anything else may pass, and nothing was sent yet.
fn upload_error(error: CallError) -> Error {
    let mut error = error.into_error();
    if matches!(
        error.kind,
        ErrorKind::UnknownOutcome | ErrorKind::RateLimited
    ) {
        error.kind = ErrorKind::Transient;
    }
    error
}

fn random_bytes() -> [u8; 16] {
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

/// An upload that is being encrypted.
struct Outgoing {
    content: StreamReader<u8>,
    encryptor: Encryptor,
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
            self.encryptor.reuse(&mut buffer);
            let waiting = buffer.len();
            let (result, mut buffer) = self.content.read(buffer).await;
            self.sent += buffer.len().saturating_sub(waiting) as u64;
            let is_end = !matches!(result, StreamResult::Complete(_));
            if self.sent > self.size || (is_end && self.sent < self.size) {
                return Err(wrong_size(self.sent, self.size));
            }
            if is_end {
                self.encryptor.finish(&mut buffer);
                // What the server does not take shows in its answer.
                let _ = writer.write_all(buffer).await;
                return Ok(());
            }
            self.encryptor.update(&mut buffer);
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
