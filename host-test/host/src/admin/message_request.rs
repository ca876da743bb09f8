//! A message that a caller wants to be sent: read from the body of a request, and sent.

use serde_json::{Map, Value};

use super::api_error::ApiError;
use crate::account::{Handle, Post, Receipt};
use crate::agent::message::ReplyMedia;

/// Longest key of a post.
const MAX_KEY_BYTES: usize = 64;

/// A message that a caller wants to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct MessageRequest {
    conversation: String,
    text: String,
    media: Vec<ReplyMedia>,
    progress: bool,
    queue_until: Option<u64>,
}

impl MessageRequest {
    /// Reads a body, and the key if it has one.
    pub fn read(body: &[u8]) -> Result<(Option<String>, MessageRequest), ApiError> {
        let mut members = match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => members,
            Ok(_) => return Err(ApiError::invalid("the body is JSON but no object")),
            Err(_) => return Err(ApiError::invalid("the body is no JSON")),
        };
        let key = string(&mut members, "key")?;
        if let Some(key) = &key
            && !(1..=MAX_KEY_BYTES).contains(&key.len())
        {
            let message = format!("\"key\" must have 1 to {MAX_KEY_BYTES} bytes");
            return Err(ApiError::invalid(message));
        }
        let conversation = string(&mut members, "conversation")?.filter(|id| !id.is_empty());
        let request = MessageRequest {
            conversation: conversation.ok_or_else(|| {
                ApiError::invalid("\"conversation\" is missing: name where the message goes")
            })?,
            text: string(&mut members, "text")?.unwrap_or_default(),
            media: media(members.remove("media"))?,
            progress: match members.remove("progress") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(progress)) => progress,
                Some(_) => return Err(ApiError::invalid("\"progress\" must be true or false")),
            },
            queue_until: match members.remove("queue_until_ms") {
                None | Some(Value::Null) => None,
                Some(until) => Some(until.as_u64().ok_or_else(|| {
                    ApiError::invalid(
                        "\"queue_until_ms\" must be a number: milliseconds since the Unix epoch",
                    )
                })?),
            },
        };
        if request.text.trim().is_empty() && request.media.is_empty() {
            return Err(ApiError::invalid(
                "\"text\" and \"media\" are both missing or empty: say something",
            ));
        }
        Ok((key, request))
    }

    /// Uploads the files and sends the post. A post with files that is known is not compared: the
    /// same file is another upload each time.
    pub async fn send(&self, account: &Handle, key: String) -> Result<Receipt, ApiError> {
        if !self.media.is_empty()
            && let Some(receipt) = account.find(key.clone()).await?
        {
            return Ok(receipt);
        }
        let mut media = Vec::with_capacity(self.media.len());
        for (place, item) in self.media.iter().enumerate() {
            let uploaded = account.upload(&self.conversation, item).await;
            media.push(uploaded.map_err(|error| ApiError::of_upload(place, error))?);
        }
        let post = Post {
            key,
            conversation: self.conversation.clone(),
            answers: None,
            text: self.text.clone(),
            media,
            progress: self.progress,
            queue_until: self.queue_until,
        };
        Ok(account.send(post).await?)
    }
}

fn string(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiError::invalid(format!("\"{name}\" must be a string"))),
    }
}

fn media(items: Option<Value>) -> Result<Vec<ReplyMedia>, ApiError> {
    let items = match items {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(ApiError::invalid("\"media\" must be an array")),
    };
    let mut media = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        for name in ["path", "url", "data", "name", "mime"] {
            if !matches!(item.get(name), None | Some(Value::Null | Value::String(_))) {
                let message = format!("\"media[{place}].{name}\" must be a string");
                return Err(ApiError::invalid(message));
            }
        }
        media.push(ReplyMedia::of(item).ok_or_else(|| {
            let message = format!("\"media[{place}]\" must have a path, a url or data");
            ApiError::invalid(message)
        })?);
    }
    Ok(media)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_and_unknown_members_ignored() {
        let (key, wanted) = MessageRequest::read(
            br#"{"key": "k", "conversation": "c", "text": "hi", "new": [1], "progress": true,
                "queue_until_ms": 1795359559736, "media": [{"path": "/a", "new": 1}]}"#,
        )
        .unwrap();
        assert_eq!(key.as_deref(), Some("k"));
        let expected = MessageRequest {
            conversation: "c".to_owned(),
            text: "hi".to_owned(),
            media: vec![ReplyMedia::Path("/a".to_owned())],
            progress: true,
            queue_until: Some(1_795_359_559_736),
        };
        assert_eq!(wanted, expected);
        let sparse = br#"{"key": null, "conversation": "c", "text": null, "progress": null,
            "queue_until_ms": null, "media": [{"data": "", "name": null}]}"#;
        assert!(MessageRequest::read(sparse).unwrap().0.is_none());
    }

    #[test]
    fn mistakes_name_the_member() {
        let long = format!(r#"{{"key": "{}"}}"#, "x".repeat(65));
        for (body, expect) in [
            ("", "body"),
            ("[]", "body"),
            ("{\"conversation\": \"c\", \"text\": \"", "body"),
            ("{}", "conversation"),
            (r#"{"conversation": ""}"#, "conversation"),
            (r#"{"conversation": 5}"#, "conversation"),
            (r#"{"conversation": "c", "text": 5}"#, "text"),
            (r#"{"conversation": "c"}"#, "text"),
            (r#"{"conversation": "c", "text": " ", "media": []}"#, "text"),
            (r#"{"conversation": "c", "key": 5}"#, "key"),
            (r#"{"conversation": "c", "key": ""}"#, "key"),
            (&long, "key"),
            (r#"{"conversation": "c", "media": {}}"#, "media"),
            (r#"{"conversation": "c", "media": ["x"]}"#, "media[0]"),
            (
                r#"{"conversation": "c", "media": [{"data": ""}, {}]}"#,
                "media[1]",
            ),
            (
                r#"{"conversation": "c", "media": [{"data": "", "name": 5}]}"#,
                "media[0].name",
            ),
            (
                r#"{"conversation": "c", "text": "x", "progress": "yes"}"#,
                "progress",
            ),
            (
                r#"{"conversation": "c", "text": "x", "queue_until_ms": -1}"#,
                "queue_until_ms",
            ),
        ] {
            let failure = MessageRequest::read(body.as_bytes()).unwrap_err();
            let failure = serde_json::to_value(failure).unwrap();
            assert_eq!(failure["kind"], "invalid");
            let message = failure["message"].as_str().unwrap();
            assert!(message.contains(expect), "{body}: {message}");
        }
    }
}
