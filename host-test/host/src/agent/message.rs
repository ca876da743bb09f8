//! What goes to an agent and what comes back.

use serde::Serialize;
use serde_json::Value;

/// A message of a person, as every agent gets it. Absent values are `null`, never left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same for the same message, however often it is delivered.
    pub id: String,
    /// The id of the account that got it.
    pub account: String,
    /// Where it was written.
    pub conversation: Conversation,
    /// Who wrote it.
    pub sender: Sender,
    /// Milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
    /// May be empty.
    pub text: String,
    /// The message that it answers, where it answers one.
    pub quote: Option<Quote>,
    /// Its files, in order.
    pub media: Vec<Media>,
}

/// Where people and the bot write to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// The platform's id.
    pub id: String,
    /// Who takes part.
    pub kind: ConversationKind,
}

/// Who takes part in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationKind {
    /// One person and the bot.
    Direct,
    /// Several people and the bot.
    Group,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// The platform's id of the person.
    pub id: String,
}

/// The message that a message answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// The quoted message, where the platform told its id.
    pub id: Option<String>,
    /// What is quoted of its text.
    pub text: Option<String>,
}

/// A file of a message.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Media {
    /// What the platform shows it as.
    pub kind: MediaKind,
    /// The file name, where there is one.
    pub name: Option<String>,
    /// The media type, where it is known.
    pub mime: Option<String>,
    /// Bytes of the decrypted content, where the platform told it.
    pub size: Option<u64>,
    /// The platform's own speech-to-text of a voice message.
    pub transcript: Option<String>,
    /// Where the host serves the content, `None` without a usable reference. Whoever knows it
    /// can read the content.
    pub url: Option<String>,
    /// The same for voice that can be decoded.
    pub wav_url: Option<String>,
}

impl std::fmt::Debug for Media {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Media")
            .field("kind", &self.kind)
            .field("mime", &self.mime)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// What a platform shows a file as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A voice message.
    Voice,
    /// A video.
    Video,
    /// Any other file.
    File,
}

/// What an agent says, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Markdown, not blank.
    pub text: Option<String>,
    /// The files, in order.
    pub media: Vec<ReplyMedia>,
}

/// A file of a reply.
#[derive(Clone, PartialEq, Eq)]
pub enum ReplyMedia {
    /// A file of this machine.
    Path(String),
    /// Where to fetch it.
    Url(String),
    /// The content itself.
    Data {
        /// The file name.
        name: Option<String>,
        /// The media type.
        mime: Option<String>,
        /// In base64, as the agent wrote it.
        data: String,
    },
}

impl ReplyMedia {
    /// Reads an item of `media`; none when it names neither a path nor a URL nor data.
    pub fn of(item: Value) -> Option<ReplyMedia> {
        let Value::Object(mut members) = item else {
            return None;
        };
        let mut string = |name| match members.remove(name) {
            Some(Value::String(value)) => Some(value),
            _ => None,
        };
        if let Some(path) = string("path") {
            return Some(ReplyMedia::Path(path));
        }
        if let Some(url) = string("url") {
            return Some(ReplyMedia::Url(url));
        }
        let data = string("data")?;
        Some(ReplyMedia::Data {
            name: string("name"),
            mime: string("mime"),
            data,
        })
    }
}

impl std::fmt::Debug for ReplyMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplyMedia::Path(path) => f.debug_tuple("Path").field(path).finish(),
            // It may be signed.
            ReplyMedia::Url(_) => f.write_str("Url(…)"),
            ReplyMedia::Data { name, mime, data } => f
                .debug_struct("Data")
                .field("name", name)
                .field("mime", mime)
                .field("base64_bytes", &data.len())
                .finish(),
        }
    }
}

impl Reply {
    /// A reply of text alone, `None` when it is blank.
    pub fn of_text(text: String) -> Option<Reply> {
        Reply::of(Some(text), Vec::new())
    }

    pub(super) fn of(text: Option<String>, media: Vec<ReplyMedia>) -> Option<Reply> {
        let text = text.filter(|text| !text.trim().is_empty());
        (text.is_some() || !media.is_empty()).then_some(Reply { text, media })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub fn hello(id: &str) -> Message {
        Message {
            id: id.to_owned(),
            account: "bot0001@im.bot".to_owned(),
            conversation: Conversation {
                id: "wxid_alice@im.wechat".to_owned(),
                kind: ConversationKind::Direct,
            },
            sender: Sender {
                id: "wxid_alice@im.wechat".to_owned(),
            },
            sent_at_ms: 1_795_359_559_736,
            text: "hello".to_owned(),
            quote: None,
            media: Vec::new(),
        }
    }

    #[test]
    fn messages_have_every_member() {
        assert_eq!(
            serde_json::to_value(hello("9007199254740995")).unwrap(),
            json!({
                "id": "9007199254740995",
                "account": "bot0001@im.bot",
                "conversation": {"id": "wxid_alice@im.wechat", "kind": "direct"},
                "sender": {"id": "wxid_alice@im.wechat"},
                "sent_at_ms": 1_795_359_559_736_u64,
                "text": "hello",
                "quote": null,
                "media": []
            })
        );
        let mut message = hello("1");
        message.conversation.kind = ConversationKind::Group;
        message.quote = Some(Quote {
            id: Some("2".to_owned()),
            text: Some("the quoted part".to_owned()),
        });
        let media = |kind| Media {
            kind,
            name: None,
            mime: Some("image/png".to_owned()),
            size: Some(12345),
            transcript: None,
            url: Some("http://127.0.0.1:1/media/x".to_owned()),
            wav_url: None,
        };
        use MediaKind::*;
        message.media = [Image, Voice, Video, File].map(media).into();
        let json = serde_json::to_value(message).unwrap();
        assert_eq!(json["conversation"]["kind"], "group");
        assert_eq!(json["quote"], json!({"id": "2", "text": "the quoted part"}));
        assert_eq!(
            json["media"][0],
            json!({"kind": "image", "name": null, "mime": "image/png", "size": 12345,
                   "transcript": null, "url": "http://127.0.0.1:1/media/x", "wav_url": null})
        );
        let kinds: Vec<_> = json["media"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| &item["kind"])
            .collect();
        assert_eq!(kinds, ["image", "voice", "video", "file"]);
    }
}
