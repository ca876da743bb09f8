//! A message in words for a model, and its pictures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use serde_json::{Value, json};

use crate::agent::message::{Media, MediaKind, Message};
use crate::egress::connector::Connector;
use crate::egress::error::innermost;

/// The largest picture that a model gets.
const MAX_PICTURE_BYTES: usize = 5 * 1024 * 1024;
/// How many of one message.
const MAX_PICTURES: usize = 8;

/// A picture as a `data:` URL.
pub struct Picture(String);

/// The message in words: what it answers, what it says, and a line for each file.
pub fn text(message: &Message) -> String {
    let mut lines: Vec<String> = Vec::new();
    let quoted = message.quote.as_ref().and_then(|quote| quote.text.as_ref());
    if let Some(quoted) = quoted {
        lines.extend(quoted.lines().map(|line| format!("> {line}")));
    }
    if !message.text.is_empty() {
        lines.push(message.text.clone());
    }
    for media in &message.media {
        lines.push(line(media));
        lines.extend(media.transcript.clone());
    }
    lines.join("\n")
}

/// Such as `[file report.pdf, application/pdf, 12345 bytes]`.
fn line(media: &Media) -> String {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Voice => "voice message",
        MediaKind::Video => "video",
        MediaKind::File => "file",
    };
    let mut line = format!("[{kind}");
    if let Some(name) = &media.name {
        line.push_str(&format!(" {name}"));
    }
    if let Some(mime) = &media.mime {
        line.push_str(&format!(", {mime}"));
    }
    if let Some(size) = media.size {
        line.push_str(&format!(", {size} bytes"));
    }
    line.push(']');
    line
}

/// What a message of the API holds: words alone, or words and pictures.
pub fn content(said: &str, pictures: &[Picture]) -> Value {
    if pictures.is_empty() {
        return json!(said);
    }
    let words = json!({"type": "text", "text": said});
    let shown = pictures
        .iter()
        .map(|picture| json!({"type": "image_url", "image_url": {"url": picture.0}}));
    std::iter::once(words).chain(shown).collect()
}

/// Fetches the pictures of a message; what can't be had, or is too large, is named in words alone.
pub async fn pictures(client: &Client<Connector, Full<Bytes>>, message: &Message) -> Vec<Picture> {
    let mut pictures = Vec::new();
    let images = message
        .media
        .iter()
        .filter(|media| media.kind == MediaKind::Image);
    for url in images.filter_map(|media| media.url.as_deref()) {
        if pictures.len() == MAX_PICTURES {
            break;
        }
        match picture(client, url).await {
            Ok(picture) => pictures.push(picture),
            Err(why) => tracing::warn!("a picture is not given to the agent: {why}"),
        }
    }
    pictures
}

async fn picture(client: &Client<Connector, Full<Bytes>>, url: &str) -> Result<Picture, String> {
    let url: Uri = url.parse().map_err(|_| "its URL is none".to_owned())?;
    let request = Request::get(url)
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let response = client.request(request).await;
    let response = response.map_err(|error| innermost(&error))?;
    if !response.status().is_success() {
        return Err(format!("HTTP {}", response.status().as_u16()));
    }
    let mime = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|mime| mime.to_str().ok())
        .filter(|mime| mime.starts_with("image/"))
        .ok_or("it is no picture")?
        .to_owned();
    let body = Limited::new(response.into_body(), MAX_PICTURE_BYTES);
    let body = body.collect().await.map_err(|error| innermost(&*error))?;
    let data = STANDARD.encode(body.to_bytes());
    Ok(Picture(format!("data:{mime};base64,{data}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::message::Quote;
    use crate::agent::message::tests::hello;

    fn media(kind: MediaKind) -> Media {
        Media {
            kind,
            name: None,
            mime: None,
            size: None,
            transcript: None,
            url: None,
            wav_url: None,
        }
    }

    #[test]
    fn a_message_is_put_in_words() {
        assert_eq!(text(&hello("1")), "hello");
        let mut message = hello("1");
        message.quote = Some(Quote {
            id: None,
            text: Some("one\ntwo".to_owned()),
        });
        message.media = vec![
            Media {
                name: Some("a.pdf".to_owned()),
                mime: Some("application/pdf".to_owned()),
                size: Some(5),
                ..media(MediaKind::File)
            },
            Media {
                transcript: Some("good morning".to_owned()),
                ..media(MediaKind::Voice)
            },
        ];
        assert_eq!(
            text(&message),
            "> one\n> two\nhello\n[file a.pdf, application/pdf, 5 bytes]\n[voice message]\n\
             good morning"
        );
        message.quote = None;
        message.text.clear();
        message.media = vec![media(MediaKind::Image)];
        assert_eq!(text(&message), "[image]");
    }

    #[test]
    fn pictures_go_beside_the_words() {
        assert_eq!(content("hi", &[]), json!("hi"));
        let picture = Picture("data:image/png;base64,AA==".to_owned());
        assert_eq!(
            content("hi", &[picture]),
            json!([
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ])
        );
    }
}
