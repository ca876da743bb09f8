//! Transfers of media: plain content, whose place is an id, and uploads in a frame.

use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::file_name;
use gateway_channel_sdk::host::{Answered, Host};
use gateway_channel_sdk::message::Media;
use gateway_channel_sdk::platform::{Download, MediaTransfer, Upload};
use gateway_channel_sdk::transfer::{Content, Framed, Unchanged};

use crate::Wecom;
use crate::api::{self, CallError};
use crate::media::{self, Handle, Uploaded};

impl MediaTransfer for Wecom {
    async fn open(&self, host: &Host, handle: &str) -> Result<Download, Error> {
        let Handle::Received(received) = Handle::decode(handle)? else {
            return Err(Error::new(
                ErrorKind::NotFound,
                "this handle is of an upload: only what came with a message can be fetched",
            ));
        };
        host.check_credential()?;
        let call = async || self.call_download(host, &received.media_id).await;
        let answered = self.with_token(host, call).await;
        let answered = answered.map_err(|error| may_pass(error.into_error()))??;
        Ok(Download {
            size: answered
                .header("content-length")
                .and_then(|length| length.parse().ok()),
            answered,
            transform: Box::new(Unchanged),
            name: received.name,
        })
    }

    /// The content can be read once, so the token has to be right: where it is refused, the caller puts
    /// again, with the next one.
    async fn put(&self, host: &Host, upload: Upload, content: Content) -> Result<Media, Error> {
        api::check_person(&upload.conversation)?;
        let size = content.size;
        let name = file_name::sanitize(&upload.name, "file");
        let mime = upload.mime.as_deref().unwrap_or_default();
        let kind = media::kind(upload.kind, &name, mime, size)?;
        host.check_credential()?;
        let generation = self
            .token
            .get(host, &self.config)
            .await
            .map_err(|error| may_pass(error.into_error()))?;
        let api::Upload { request, body } =
            api::upload(&self.config, host.random_bytes(), kind, &name, mime, size);
        let frame = Framed {
            head: body.head,
            tail: body.tail,
        };
        let answered = host.upload(request, content, Box::new(frame)).await?;
        let media_id = api::uploaded(answered.whole().await).map_err(|error| {
            if error.wants_new_token() {
                self.token.refused(generation);
            }
            may_pass(error.into_error())
        })?;
        let uploaded = Uploaded {
            media_id,
            kind,
            to: upload.conversation.clone(),
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
}

impl Wecom {
    /// The head of a download, or why the platform refuses it.
    async fn call_download(
        &self,
        host: &Host,
        media_id: &str,
    ) -> Result<Result<Answered, Error>, CallError> {
        let request = api::media_get(&self.config, media_id);
        let answered = match host.download(request).await {
            Ok(answered) => answered,
            Err(error) => {
                let why = format!("the download fails: {error}");
                return Ok(Err(Error::new(ErrorKind::Transient, why)));
            }
        };
        let mime = answered.header("content-type");
        let disposition = answered.header("content-disposition");
        match api::opened(answered.status, mime.as_deref(), disposition.as_deref()) {
            Ok(api::Download::Content) => Ok(Ok(answered)),
            Ok(api::Download::Refusal) => Err(api::download_refused(answered.whole().await)),
            Err(error) => Ok(Err(error)),
        }
    }
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
        let own_type = Wecom::own_type(b"\x02#!SILK_V3\x0c\0");
        assert_eq!(own_type, Some("audio/silk"));
        assert_eq!(Wecom::own_type(b"\x02text"), None);
    }
}
