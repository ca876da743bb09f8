//! The one part of an upload. The parser is another one than the components' writer.

use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_DISPOSITION;
use multer::{Field, Multipart};

/// A file as a client sends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) filename: String,
    pub(super) content_type: Option<String>,
    pub(super) content: Bytes,
}

/// Reads the body of an upload.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn read(content_type: &str, body: &Bytes) -> Result<Part, String> {
    let boundary = multer::parse_boundary(content_type).map_err(|error| error.to_string())?;
    let body = stream::iter([Ok::<_, multer::Error>(body.clone())]);
    let mut parts = Multipart::new(body, boundary);
    let part = parts
        .next_field()
        .await
        .map_err(|error| error.to_string())?;
    let part = part.ok_or("the body has no part")?;
    let announced = file_length(&part);
    let name = part.name().ok_or("the part has no name")?.to_owned();
    let filename = part.file_name().ok_or("the part has no filename")?;
    let filename = filename.to_owned();
    let content_type = part.content_type().map(ToString::to_string);
    let content = part.bytes().await.map_err(|error| error.to_string())?;
    if announced.is_some_and(|length| length != content.len().to_string()) {
        return Err("filelength is not the length of the file".to_owned());
    }
    match parts.next_field().await {
        Ok(None) => Ok(Part {
            name,
            filename,
            content_type,
            content,
        }),
        Ok(Some(_)) => {
            Err("the body has more than one part, or the file has its boundary".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// `filelength`, a parameter of the disposition that only this platform has.
fn file_length(part: &Field<'_>) -> Option<String> {
    let disposition = part.headers().get(CONTENT_DISPOSITION)?;
    let disposition = String::from_utf8_lossy(disposition.as_bytes());
    let (_, length) = disposition.split_once("filelength=")?;
    let length = length.split(';').next().unwrap_or_default();
    Some(length.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_documented_body_is_read_and_others_are_named() {
        let body = "--acebdf13572468\r\nContent-Disposition: form-data; name=\"media\"; \
                    filename=\"报告.txt\"; filelength=6\r\nContent-Type: application/octet-stream\
                    \r\n\r\nmytext\r\n--acebdf13572468--\r\n";
        let kind = "multipart/form-data; boundary=acebdf13572468";
        let part = read(kind, &Bytes::from(body)).await.unwrap();
        assert_eq!(
            (part.name.as_str(), part.filename.as_str()),
            ("media", "报告.txt")
        );
        assert_eq!(part.content, "mytext");
        assert_eq!(
            part.content_type.as_deref(),
            Some("application/octet-stream")
        );
        for (kind, body) in [
            ("application/json", body.to_owned()),
            (kind, String::new()),
            (kind, body.replace("--\r\n", "")),
            (kind, body.replace("filelength=6", "filelength=7")),
            (kind, body.replace("filename=", "file=")),
            (
                kind,
                body.replace("mytext", "my\r\n--acebdf13572468\r\ntext"),
            ),
            (kind, body.replace("\r\n\r\n", "\r\n")),
        ] {
            let bytes = Bytes::from(body.clone());
            assert!(read(kind, &bytes).await.is_err(), "{body}");
        }
    }
}
