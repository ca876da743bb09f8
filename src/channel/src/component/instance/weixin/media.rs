//! WeChat's media: where they are, and their encryption.

use wit_bindgen::StreamReader;

use super::*;
use crate::cipher::{self, Decryptor, Encryptor};
use crate::component::instance::media::{
    download_failed, hand_on, is_upload, may_pass, random_bytes, send_content,
    uploaded as uploaded_media,
};
use crate::media::{self, MAX_UPLOAD_BYTES, Uploaded};
use crate::media_key::Key;
use gateway_channel_sdk::message::{Media, MediaKind};
use gateway_channel_sdk::{file_name, sniff};

/// What an upload becomes on its way.
pub type Sealer = Encryptor;

impl Instance {
    /// Opens the content of a handle that came with a message.
    pub async fn open(&self, handle: &str) -> Result<Opened, Error> {
        let Handle::Received(received) = Handle::decode(handle)? else {
            return Err(is_upload());
        };
        let decryptor = match received.key()? {
            Some(key) => Decryptor::new(key.bytes()),
            None => Decryptor::plain(),
        };
        let url = received.url(&self.options).inspect_err(|error| {
            log(Level::Warn, &error.message);
        })?;
        let answered = self
            .begin_download(async || {
                let answer = imports::download(api::download(url.clone())).await;
                let answered = answer.map_err(download_failed)?;
                api::opened(answered.status)?;
                Ok(answered)
            })
            .await?;
        hand_on(answered, decryptor, received.size, received.name.as_deref()).await
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
        let place = api::read(imports::fetch(request).await)
            .map_err(|error| may_pass(error.into_error()))?;
        let url = media::upload_url(&self.options, &wire::upload_place(&place), &file_key)
            .inspect_err(|error| log(Level::Warn, &error.message))?;

        let request = api::upload(url, padded_size);
        let encryptor = Encryptor::new(key.bytes());
        let answer = send_content(request, content, encryptor, upload.size).await?;
        let (ticket, message) = (
            answer.header("x-encrypted-param"),
            answer.header("x-error-message"),
        );
        let ticket = api::uploaded(answer.status, ticket, message)?;
        let uploaded = Uploaded {
            kind,
            to: upload.conversation,
            ticket,
            key: key.to_base64_of_hex(),
            size: upload.size,
            padded_size,
            name: name.clone(),
        };
        Ok(uploaded_media(
            Handle::Uploaded(uploaded).encode(),
            kind,
            name,
            upload.mime,
            upload.size,
        ))
    }
}
