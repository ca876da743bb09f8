//! Transfers of media: where they are, and their encryption.

use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::host::{Host, Level};
use gateway_channel_sdk::message::{Media, MediaKind};
use gateway_channel_sdk::platform::{Download, MediaTransfer, Upload};
use gateway_channel_sdk::transfer::{Content, Transform};
use gateway_channel_sdk::{file_name, sniff};
use md5::{Digest, Md5};

use crate::cipher::{self, Decryptor, Encryptor};
use crate::media::{self, Handle, MAX_UPLOAD_BYTES, Uploaded};
use crate::media_key::Key;
use crate::{Weixin, api, wire};

impl Transform for Encryptor {
    fn headroom(&self) -> usize {
        cipher::HEADROOM
    }

    fn prepare(&mut self, buffer: &mut Vec<u8>) {
        self.reuse(buffer);
    }

    fn update(&mut self, buffer: &mut Vec<u8>) {
        Encryptor::update(self, buffer);
    }

    fn finish(&mut self, buffer: &mut Vec<u8>) -> Result<(), Error> {
        Encryptor::finish(self, buffer);
        Ok(())
    }
}

impl Transform for Decryptor {
    fn headroom(&self) -> usize {
        cipher::HEADROOM
    }

    fn prepare(&mut self, buffer: &mut Vec<u8>) {
        self.reuse(buffer);
    }

    fn update(&mut self, buffer: &mut Vec<u8>) {
        Decryptor::update(self, buffer);
    }

    fn finish(&mut self, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let result = Decryptor::finish(self, buffer);
        let broken = |error: cipher::Broken| Error::new(ErrorKind::Forbidden, error.to_string());
        result.map(drop).map_err(broken)
    }
}

impl MediaTransfer for Weixin {
    async fn open(&self, host: &Host, handle: &str) -> Result<Download, Error> {
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
        let url = received.url(&self.config);
        let url = url.inspect_err(|error| host.log(Level::Warn, &error.message))?;
        let answered = host.download(api::download(url)).await;
        let answered = answered.map_err(|error| {
            let why = format!("the download fails: {error}");
            Error::new(ErrorKind::Transient, why)
        })?;
        api::opened(answered.status)?;
        Ok(Download {
            answered,
            transform: Box::new(decryptor),
            size: received.size,
            name: received.name,
        })
    }

    async fn put(&self, host: &Host, upload: Upload, content: Content) -> Result<Media, Error> {
        let size = content.size;
        let padded_size = check(&upload, size)?;
        host.check_credential()?;
        let name = file_name::sanitize(&upload.name, "file");
        let mime = upload.mime.as_deref().unwrap_or_default();
        let kind = match upload.kind {
            Some(MediaKind::Voice) => MediaKind::File,
            Some(kind) => kind,
            None => sniff::kind(mime, &name),
        };
        let key = Key::new(host.random_bytes());
        let file_key = Key::new(host.random_bytes()).to_hex();
        let md5 = hex(&upload.md5);
        let request = api::get_upload_url(
            &self.config,
            host.random(),
            &wire::UploadRequest {
                file_key: &file_key,
                kind,
                to: &upload.conversation,
                size,
                padded_size,
                md5: &md5,
                key: &key.to_hex(),
            },
        );
        let place =
            api::read(host.fetch(request).await).map_err(|error| may_pass(error.into_error()))?;
        let url = media::upload_url(&self.config, &wire::upload_place(&place), &file_key)
            .inspect_err(|error| host.log(Level::Warn, &error.message))?;

        let request = api::upload(url, padded_size);
        let encryptor = Box::new(Encryptor::new(key.bytes()));
        let answer = host.upload(request, content, encryptor).await?;
        let (ticket, message) = (
            answer.header("x-encrypted-param"),
            answer.header("x-error-message"),
        );
        let ticket = api::uploaded(answer.status, ticket, message)?;
        let uploaded = Uploaded {
            kind,
            to: upload.conversation.clone(),
            ticket,
            key: key.to_base64_of_hex(),
            size,
            padded_size,
            name: name.clone(),
        };
        Ok(upload.done(Handle::Uploaded(uploaded).encode(), kind, name, size))
    }

    /// Tencent puts a byte before the signature of SILK.
    fn own_type(start: &[u8]) -> Option<&'static str> {
        start.starts_with(b"\x02#!SILK_V3").then_some("audio/silk")
    }

    fn uploaded_for(handle: &str) -> Result<String, Error> {
        Ok(Handle::uploaded(handle)?.to)
    }

    fn md5(content: &[u8]) -> Vec<u8> {
        Md5::digest(content).to_vec()
    }
}

/// Whether a file can be uploaded; returns its encrypted size.
fn check(upload: &Upload, size: u64) -> Result<u64, Error> {
    let invalid = |why: &str| Error::new(ErrorKind::Invalid, why);
    let padded_size =
        cipher::padded_len(size).ok_or_else(|| invalid("no file has that many bytes"))?;
    if size > MAX_UPLOAD_BYTES {
        let why = format!("the file has {size} bytes: at most {MAX_UPLOAD_BYTES} are uploaded");
        return Err(Error::new(ErrorKind::TooLarge, why));
    }
    if upload.md5.len() != 16 {
        return Err(invalid("an MD5 has 16 bytes"));
    }
    Ok(padded_size)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of a transfer nothing is shown to anybody yet, so what has no known end may be tried again.
fn may_pass(mut error: Error) -> Error {
    if matches!(
        error.kind,
        ErrorKind::UnknownOutcome | ErrorKind::RateLimited
    ) {
        error.kind = ErrorKind::Transient;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voice_is_known_by_tencents_signature() {
        let own_type = Weixin::own_type(b"\x02#!SILK_V3\x0c\0");
        assert_eq!(own_type, Some("audio/silk"));
        assert_eq!(Weixin::own_type(b"\x02text"), None);
    }
}
