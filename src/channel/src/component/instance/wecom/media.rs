//! WeCom's media: plain content, whose place is an id, and uploads in a frame.

use wit_bindgen::StreamReader;

use super::*;
use crate::cipher::Decryptor;
use crate::component::imports::Answered;
use crate::component::instance::media::{
    download_failed, hand_on, is_upload, may_pass, random_bytes, send_content,
    uploaded as uploaded_media,
};
use crate::media::{self, Uploaded};
use gateway_channel_sdk::file_name;
use gateway_channel_sdk::message::Media;

/// What an upload becomes on its way: the content as it is, between what the platform wants before and
/// behind it.
pub struct Sealer {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Sealer {
    /// Empties `buffer`, and begins it with what stands before the content.
    pub fn reuse(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.append(&mut self.head);
    }

    /// The content stays as it is.
    pub fn update(&mut self, _: &mut Vec<u8>) {}

    /// Appends what stands behind the content.
    pub fn finish(mut self, buffer: &mut Vec<u8>) {
        buffer.append(&mut self.tail);
    }
}

impl Instance {
    /// Opens the content of a handle that came with a message.
    pub async fn open(&self, handle: &str) -> Result<Opened, Error> {
        let Handle::Received(received) = Handle::decode(handle)? else {
            return Err(is_upload());
        };
        self.check_credential()?;
        let answered = self
            .begin_download(async || {
                let call = async || self.call_download(&received.media_id).await;
                self.with_token(call)
                    .await
                    .map_err(|error| may_pass(error.into_error()))?
            })
            .await?;
        let size = answered
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let name = received.name.as_deref();
        hand_on(answered, Decryptor::plain(), size, name).await
    }

    /// The head of a download, or why the platform refuses it.
    async fn call_download(&self, media_id: &str) -> Result<Result<Answered, Error>, CallError> {
        let request = api::media_get(&self.options, media_id);
        let answered = match imports::download(request).await {
            Ok(answered) => answered,
            Err(failure) => return Ok(Err(download_failed(failure))),
        };
        let mime = answered.header("content-type");
        let disposition = answered.header("content-disposition");
        match api::opened(answered.status, mime.as_deref(), disposition.as_deref()) {
            Ok(api::Download::Content) => Ok(Ok(answered)),
            Ok(api::Download::Refusal) => Err(api::download_refused(answered.whole().await)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Uploads. The content can be read once, so the token has to be right: where it is refused, the
    /// caller puts again, with the next one.
    pub async fn put(&self, upload: Upload, content: StreamReader<u8>) -> Result<Media, Error> {
        check_conversation(&upload.conversation)?;
        let name = file_name::sanitize(&upload.name, "file");
        let mime = upload.mime.as_deref().unwrap_or_default();
        let kind = media::kind(upload.kind, &name, mime, upload.size)?;
        self.check_credential()?;
        let generation = self
            .token()
            .await
            .map_err(|error| may_pass(error.into_error()))?;
        let api::Upload { request, body } = api::upload(
            &self.options,
            random_bytes(),
            kind,
            &name,
            mime,
            upload.size,
        );
        let sealer = Sealer {
            head: body.head,
            tail: body.tail,
        };
        let answered = send_content(request, content, sealer, upload.size).await?;
        let media_id = api::uploaded(answered.whole().await).map_err(|error| {
            if error.wants_new_token() {
                self.platform.access.borrow_mut().refused(generation);
            }
            may_pass(error.into_error())
        })?;
        let uploaded = Uploaded {
            media_id,
            kind,
            to: upload.conversation,
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
