//! A channel for Telegram: the Bot API as a platform of the SDK.
//!
//! It takes text both ways, in private chats and in groups. `getUpdates` is the poll, its offset is the
//! cursor, and `sendMessage` delivers. The token is a part of the path (`/bot<token>/…`). The component
//! writes a placeholder there, and the host puts the token in.
//!
//! Telegram has no id of the sender's own for a message. So a message whose answer is lost is sent
//! twice in the worst case, as the contract allows it.

mod api;
mod entities;

use std::time::Duration;

use gateway_channel_sdk::prelude::*;
use serde_json::json;

use api::{Refusal, Update, read};

gateway_channel_sdk::export!(Telegram);

/// How long Telegram holds a poll.
const HOLD: Duration = Duration::from_secs(25);
/// Longest text of a message, in code units of UTF-16.
const MAX_TEXT: usize = 4096;
/// How long an answer other than a poll's may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often the indicator has to be repeated: Telegram shows it for five seconds.
const TYPING_REFRESH: Duration = Duration::from_secs(4);

/// One bot.
#[derive(Debug)]
pub struct Telegram {
    /// Where the Bot API is, without a slash at the end.
    base_url: String,
}

impl Platform for Telegram {
    const NAME: &'static str = "telegram";
    const TITLE: &'static str = "Telegram";

    fn describe() -> Description {
        let api = |host| {
            let api = Egress::https(host, "/bot{{bot-token}}/");
            api.with("bot-token", Placement::PathSegment)
        };
        Description {
            defaults: Defaults {
                text_limit: MAX_TEXT,
                max_text: MAX_TEXT,
                unit: Unit::Utf16,
                send_interval: Duration::from_millis(50),
                ..Defaults::default()
            },
            typing_refresh: Some(TYPING_REFRESH),
            hold: HOLD,
            egress: vec![api("api.telegram.org"), api("{base-url}")],
            origins: vec!["base-url"],
            ..Description::new(
                env!("CARGO_PKG_VERSION"),
                include_str!("../config.schema.json"),
            )
        }
    }

    fn new(config: Lookup<'_>) -> Result<Telegram, Error> {
        let base_url = config("base-url").unwrap_or_else(|| "https://api.telegram.org".to_owned());
        if !base_url.starts_with("https://") && !base_url.starts_with("http://") {
            let why = "configuration key base-url is no URL: write http(s)://host[:port]";
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        Ok(Telegram {
            base_url: base_url.trim_end_matches('/').to_owned(),
        })
    }

    async fn deliver(&self, host: &Host, part: &Part<'_>) -> Outcome {
        let PartContent::Text(text) = part.content else {
            return Outcome::Refused(unsupported("media"));
        };
        let (text, entities) = match part.markdown {
            Markdown::Plain => (text.to_owned(), Vec::new()),
            Markdown::Native => entities::render(text),
        };
        let mut body = json!({"chat_id": part.conversation, "text": text, "entities": entities});
        // In a group it has to be seen what is answered.
        let answered = part.answers.and_then(|id| id.split_once(':'));
        if let Some((chat, message)) = answered
            && chat.starts_with('-')
            && let Ok(message) = message.parse::<i64>()
            && let Some(body) = body.as_object_mut()
        {
            let reply = json!({"message_id": message, "allow_sending_without_reply": true});
            body.insert("reply_parameters".to_owned(), reply);
        }
        let request = Request::post_json(self.url("sendMessage"), &body, TIMEOUT);
        match read::<api::Sent>(host.fetch(request).await) {
            Ok(sent) => Outcome::Accepted {
                message_id: Some(format!("{}:{}", part.conversation, sent.message_id)),
            },
            Err(refusal) => Outcome::of(refusal.into_error()),
        }
    }

    /// The SDK splits the Markdown, and each part is rendered when it is sent: entities count the text's
    /// characters, which splitting would shift.
    fn native(markdown: &str) -> String {
        markdown.to_owned()
    }

    fn check_conversation(id: &str) -> Result<(), Error> {
        match id.parse::<i64>() {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(
                ErrorKind::Invalid,
                "a conversation of Telegram is the id of a chat, which is a number",
            )),
        }
    }

    /// Telegram ends the indicator by itself: with the next message, or after five seconds.
    async fn typing(
        &self,
        host: &Host,
        conversation: &str,
        _reply_token: Option<&str>,
        on: bool,
    ) -> Result<(), Error> {
        if !on {
            return Ok(());
        }
        let body = json!({"chat_id": conversation, "action": "typing"});
        let request = Request::post_json(self.url("sendChatAction"), &body, TIMEOUT);
        let answer = read::<bool>(host.fetch(request).await);
        answer.map(drop).map_err(Refusal::into_error)
    }

    async fn hello(&self, host: &Host) -> Option<Result<(), Error>> {
        let request = Request::get(self.url("getMe"), TIMEOUT);
        let answer = read::<api::User>(host.fetch(request).await);
        Some(answer.map(drop).map_err(Refusal::into_error))
    }
}

impl Polling for Telegram {
    async fn poll(&self, host: &Host, poll: &Poll<'_>) -> Result<Batch, PollError> {
        let hold = poll.hold.as_secs();
        let offset = poll.cursor.parse::<i64>().unwrap_or(0);
        let query = format!("offset={offset}&timeout={hold}&allowed_updates=%5B%22message%22%5D");
        let url = format!("{}?{query}", self.url("getUpdates"));
        let answer = host.fetch(Request::get(url, poll.timeout)).await;
        let updates = read::<Vec<Update>>(answer).map_err(Refusal::into_poll_error)?;
        let last = updates.iter().map(|update| update.update_id).max();
        let mut batch = Batch {
            cursor: last.map(|last| last.saturating_add(1).to_string()),
            ..Batch::default()
        };
        for update in updates {
            match update.read() {
                Ok(incoming) => batch.events.extend(incoming),
                Err(why) => host.log(Level::Warn, &format!("an update was skipped: it {why}")),
            }
        }
        Ok(batch)
    }
}

impl Telegram {
    /// The URL of a method. The host puts the token there.
    fn url(&self, method: &str) -> String {
        format!("{}/bot{{{{bot-token}}}}/{method}", self.base_url)
    }
}

#[cfg(test)]
mod tests;
