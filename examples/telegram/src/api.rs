//! The Bot API's JSON: what it sends, and what its errors mean.

use std::time::Duration;

use gateway_channel_sdk::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every answer: a result, or a description of an error.
#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize, Default)]
struct Parameters {
    /// Seconds after which a request may be repeated.
    retry_after: Option<u64>,
}

/// A bot or a person.
#[derive(Deserialize)]
pub struct User {
    id: i64,
}

/// The answer to `sendMessage`.
#[derive(Deserialize)]
pub struct Sent {
    pub message_id: i64,
}

/// One update. Its message is read on its own, so that one that can't be read stops no other.
#[derive(Deserialize)]
pub struct Update {
    pub update_id: i64,
    message: Option<Value>,
}

#[derive(Deserialize)]
struct TelegramMessage {
    message_id: i64,
    from: Option<User>,
    chat: Chat,
    /// Seconds since the Unix epoch.
    date: u64,
    text: Option<String>,
    caption: Option<String>,
    reply_to_message: Option<Replied>,
    photo: Option<Vec<File>>,
    voice: Option<File>,
    video: Option<File>,
    document: Option<File>,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Replied {
    message_id: i64,
    text: Option<String>,
}

#[derive(Deserialize)]
struct File {
    file_name: Option<String>,
    mime_type: Option<String>,
    file_size: Option<u64>,
}

impl Update {
    /// What the update brings; nothing for kinds that the channel does not have.
    ///
    /// # Errors
    /// What is wrong with it, to complete "it …".
    pub fn read(self) -> Result<Option<Incoming>, &'static str> {
        let Some(message) = self.message else {
            return Ok(None);
        };
        let message: TelegramMessage =
            serde_json::from_value(message).map_err(|_| "is no message")?;
        let chat = message.chat.id.to_string();
        let conversation = match message.chat.kind.as_str() {
            "private" => Conversation::direct(&chat),
            "group" | "supergroup" => Conversation::group(&chat),
            _ => return Ok(None),
        };
        let sender = message.from.ok_or("has no sender")?.id.to_string();
        let id = format!("{chat}:{}", message.message_id);
        let text = message.text.or(message.caption).unwrap_or_default();
        let quote = message.reply_to_message.map(|replied| Quote {
            message_id: Some(format!("{chat}:{}", replied.message_id)),
            text: replied.text,
            media: Vec::new(),
        });
        // The largest size of a picture comes last.
        let photo = message.photo.and_then(|sizes| sizes.into_iter().last());
        let media: Vec<Media> = [
            (MediaKind::Image, photo),
            (MediaKind::Voice, message.voice),
            (MediaKind::Video, message.video),
            (MediaKind::File, message.document),
        ]
        .into_iter()
        .filter_map(|(kind, file)| file.map(|file| file.told(kind)))
        .collect();
        if text.is_empty() && media.is_empty() {
            return Ok(None);
        }
        let sent_at_ms = message.date.saturating_mul(1000);
        let mut incoming = Incoming::message(&id, conversation, &sender, sent_at_ms, &text);
        if let Body::Message(message) = &mut incoming.event.body {
            message.quote = quote;
            message.media = media;
        }
        Ok(Some(incoming))
    }
}

impl File {
    /// The agent is told of the file, which this channel does not fetch.
    fn told(self, kind: MediaKind) -> Media {
        Media {
            handle: None,
            kind,
            name: self.file_name,
            mime: self.mime_type,
            size: self.file_size,
            length: None,
            transcript: None,
        }
    }
}

/// Why there is no result.
pub enum Refusal {
    /// There is no answer.
    Transport(TransportError),
    /// The Bot API says so, or something on the way does.
    Refused {
        code: u16,
        description: String,
        retry_after: Option<Duration>,
    },
}

/// The result of an answer.
pub fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, Refusal> {
    let Response { status, body } = answer.map_err(Refusal::Transport)?;
    let of_status = |description: &str| Refusal::Refused {
        code: status,
        description: description.to_owned(),
        retry_after: None,
    };
    let envelope: Envelope =
        serde_json::from_slice(&body).map_err(|_| of_status("no answer of the Bot API"))?;
    match envelope.ok {
        true => serde_json::from_value(envelope.result)
            .map_err(|_| of_status("the result has another form than is documented")),
        false => Err(Refusal::Refused {
            code: match envelope.error_code {
                0 => status,
                code => code,
            },
            description: envelope.description,
            retry_after: envelope.parameters.retry_after.map(Duration::from_secs),
        }),
    }
}

impl Refusal {
    /// The error of a call.
    pub fn into_error(self) -> Error {
        let (code, description, retry_after) = match self {
            Refusal::Transport(error) => return error.into(),
            Refusal::Refused {
                code,
                description,
                retry_after,
            } => (code, description, retry_after),
        };
        let has = |words: &str| description.to_lowercase().contains(words);
        let kind = match code {
            // A token that is none at all is an unknown path.
            401 | 404 => ErrorKind::LoginRequired,
            429 => ErrorKind::RateLimited,
            403 => ErrorKind::Forbidden,
            400 if has("chat not found") => ErrorKind::NotFound,
            400 if has("too long") => ErrorKind::TooLarge,
            400..=499 => ErrorKind::Invalid,
            503 => ErrorKind::Transient,
            _ => ErrorKind::UnknownOutcome,
        };
        let error = Error::new(kind, format!("Telegram answers {code}: {description}"));
        let error = error.with_platform(format!("error_code={code} description={description}"));
        match retry_after {
            Some(retry_after) => error.with_retry_after(retry_after),
            None => error,
        }
    }

    /// The error of a poll.
    pub fn into_poll_error(self) -> PollError {
        match self {
            Refusal::Transport(error) => error.into(),
            Refusal::Refused {
                code: 502 | 504 | 524,
                ..
            } => PollError::CutShort(self.into_error()),
            refusal => PollError::Failed(refusal.into_error()),
        }
    }
}
