//! An agent's answer in JSON, read leniently.

use serde_json::{Map, Value};

use super::message::{Reply, ReplyMedia};
use super::progress::Progress;
use super::{AgentError, thought};

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
mod tests {
    use super::*;
    use crate::json;

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
