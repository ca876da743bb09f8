//! What goes to an agent and what comes back.

use serde::Serialize;
use serde_json::{Map, Value};

use super::progress::Progress;
use super::{AgentError, thought};

/// A message of a person, as every agent gets it. Absent values are `null`, never left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same for the same message, however often it is delivered.
    pub id: String,
    pub account: String,
    pub conversation: Conversation,
    pub sender: Sender,
    /// Milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
    /// May be empty.
    pub text: String,
    pub quote: Option<Quote>,
    pub media: Vec<Media>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conversation {
    pub id: String,
    pub kind: ConversationKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationKind {
    Direct,
    Group,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sender {
    pub id: String,
}

/// The message that a message answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quote {
    pub id: Option<String>,
    pub text: Option<String>,
}

/// A file of a message.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Media {
    pub kind: MediaKind,
    pub name: Option<String>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    Image,
    Voice,
    Video,
    File,
}

/// What an agent says, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Markdown, not blank.
    pub text: Option<String>,
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
        name: Option<String>,
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

    fn of(text: Option<String>, media: Vec<ReplyMedia>) -> Option<Reply> {
        let text = text.filter(|text| !text.trim().is_empty());
        (text.is_some() || !media.is_empty()).then_some(Reply { text, media })
    }
}

/// An answer of an agent as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// `None` when there is nothing to say.
    pub reply: Option<Reply>,
    /// Which message it answers, where it says so.
    pub in_reply_to: Option<String>,
    /// Whether it is only a sign of life before the answer itself.
    pub progress: bool,
    /// What made no sense and was left out; without any of the answer's content.
    pub wrong: Option<&'static str>,
}

impl Answer {
    /// The reply; none where the agent has nothing to say.
    ///
    /// # Errors
    /// [`AgentError::NoAnswer`] where it wanted to say something, and nothing of it can be used.
    pub fn reply(self) -> Result<Option<Reply>, AgentError> {
        match (self.reply, self.wrong) {
            (None, Some(wrong)) => Err(AgentError::NoAnswer(wrong.to_owned())),
            (reply, Some(wrong)) => {
                tracing::warn!("a part of the agent's answer is left out: {wrong}");
                Ok(reply)
            }
            (reply, None) => Ok(reply),
        }
    }

    /// Says a line of progress; only its text counts.
    pub fn say(self, progress: &Progress) {
        if let Some(wrong) = self.wrong {
            tracing::warn!("a part of the agent's progress is left out: {wrong}");
        }
        let Some(reply) = self.reply else {
            return;
        };
        if !reply.media.is_empty() {
            tracing::warn!(
                "the files of the agent's progress are left out: only replies have files"
            );
        }
        if let Some(text) = reply.text {
            progress.say(text);
        }
    }

    /// Reads an answer.
    pub fn of(mut members: Map<String, Value>) -> Answer {
        let mut wrong = None;
        let progress = members.get("progress") == Some(&Value::Bool(true));
        let text = match members.remove("text") {
            Some(Value::String(text)) => {
                let said = thought::without(&text);
                if said.trim().is_empty() && !text.trim().is_empty() && !progress {
                    wrong = Some("\"text\" is a thought without an answer");
                }
                Some(said.to_owned())
            }
            None | Some(Value::Null) => None,
            Some(_) => {
                wrong = Some("\"text\" is no string");
                None
            }
        };
        let mut media = Vec::new();
        match members.remove("media") {
            Some(Value::Array(items)) => {
                for item in items {
                    match ReplyMedia::of(item) {
                        Some(item) => media.push(item),
                        None => wrong = Some("an item of \"media\" has no path, url or data"),
                    }
                }
            }
            None | Some(Value::Null) => {}
            Some(_) => wrong = Some("\"media\" is no array"),
        }
        let reply = Reply::of(text, media);
        // Unknown members are ignored, but who says that it failed has not answered.
        let says_error = |error: &Value| !matches!(error, Value::Null | Value::Bool(false));
        if reply.is_none() && !progress && members.get("error").is_some_and(says_error) {
            wrong = Some("it has an \"error\" and no text");
        }
        Answer {
            reply,
            // Ids are strings, but an agent's JSON library may have thought otherwise.
            in_reply_to: match members.remove("in_reply_to") {
                Some(Value::String(id)) => Some(id),
                Some(Value::Number(id)) => Some(id.to_string()),
                _ => None,
            },
            progress,
            wrong,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::json;

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

    fn read(json: &[u8]) -> Result<Answer, &'static str> {
        match json::first(json)? {
            (Value::Object(members), _) => Ok(Answer::of(members)),
            _ => Err("it is no object"),
        }
    }

    #[test]
    fn answers_are_read_with_all_their_media() {
        let answer = read(
            br#"{"text": "hi", "new": [1], "in_reply_to": "7", "media": [
                {"path": "/a"}, {"url": "http://b", "new": 1},
                {"name": "a.txt", "mime": "text/plain", "data": "aGk="}, {"data": ""}]}"#,
        );
        let data = |name: Option<&str>, mime: Option<&str>, data: &str| ReplyMedia::Data {
            name: name.map(str::to_owned),
            mime: mime.map(str::to_owned),
            data: data.to_owned(),
        };
        let expected = Answer {
            reply: Some(Reply {
                text: Some("hi".to_owned()),
                media: vec![
                    ReplyMedia::Path("/a".to_owned()),
                    ReplyMedia::Url("http://b".to_owned()),
                    data(Some("a.txt"), Some("text/plain"), "aGk="),
                    data(None, None, ""),
                ],
            }),
            in_reply_to: Some("7".to_owned()),
            ..Answer::default()
        };
        assert_eq!(answer, Ok(expected));
    }

    #[test]
    fn answers_without_content_are_no_replies() {
        for json in [
            "{}",
            r#"{"text": ""}"#,
            r#"{"text": " \n"}"#,
            r#"{"text": null, "media": null}"#,
            r#"{"media": []}"#,
        ] {
            assert_eq!(read(json.as_bytes()), Ok(Answer::default()), "{json}");
        }
        for thought in [
            r#"{"text": "<think>hm</think>"}"#,
            r#"{"text": "<think>hm"}"#,
        ] {
            let answer = read(thought.as_bytes()).unwrap();
            assert!(matches!(answer.reply(), Err(AgentError::NoAnswer(_))));
        }
        let answer = read(br#"{"text": "<think>hm</think>\nHello"}"#).unwrap();
        let said = answer.reply().unwrap().unwrap();
        assert_eq!(said.text.as_deref(), Some("Hello"));
        let answer = read(br#"{"text": "<think>", "progress": true}"#).unwrap();
        assert_eq!(answer.reply(), Ok(None));
        let number = read(br#"{"in_reply_to": 9007199254740995}"#).unwrap();
        assert_eq!(number.in_reply_to.as_deref(), Some("9007199254740995"));
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_named() {
        let answer = read(br#"{"text": 5, "media": ["x", {}, {"path": 1}, {"path": "/a"}]}"#);
        let answer = answer.unwrap();
        assert_eq!(answer.reply.unwrap().media.len(), 1);
        assert!(answer.wrong.is_some());
        let nothing = read(br#"{"text": ["a"]}"#).unwrap().reply();
        assert!(matches!(nothing, Err(AgentError::NoAnswer(_))));
        assert!(read(br#"{"media": {}}"#).unwrap().wrong.is_some());
        for json in [
            "",
            "null",
            "[]",
            "\"hi\"",
            "hi",
            "{\"text\": \"h",
            "\u{fffd}",
        ] {
            assert!(read(json.as_bytes()).is_err(), "{json}");
        }
    }
}
