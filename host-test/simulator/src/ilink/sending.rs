//! `sendmessage`: from the bot to people's phones, through the platform's limits.
//!
//! The checks, in order: the shape (exactly one item), the length of a text, the burst, the
//! person's window (they must have written, lately, and not too many sends ago). Only what is
//! accepted uses up the window's budget; tool-call items are accepted, shown nowhere, answered
//! with an empty body, and use none of it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::media;
use super::media_kind::MediaKind;
use super::people::entry;
use super::refusals::INVALID;
use super::stamp::{Kind, Stamp, mark};
use super::state::{Bot, BotState, Sent, ServerState};
use crate::faults::SentAs;

/// UTF-8 bytes of a text that the real server takes.
const TEXT_BYTES: usize = 16_384;

const TOO_LONG: &str = r#"{"ret":-2,"errmsg":""}"#;
const REFUSED: &str = r#"{"ret":-2,"errmsg":"prepare failed"}"#;

/// Answers `sendmessage`. With `shown_at_all` false the send is accepted and lost.
pub(super) fn sendmessage(
    server: &ServerState,
    bot: &Bot,
    body: &Value,
    sent_as: Option<SentAs>,
    shown_at_all: bool,
) -> String {
    let mut state = bot.lock();
    let Some(send) = Send::read(body) else {
        state.counters.refused += 1;
        return INVALID.to_owned();
    };
    let context = context(server, bot, &state, &send);
    if context == "other-peer" {
        server.violation(format!(
            "sendmessage: a send to {} carries another person's context token",
            send.user
        ));
    }
    if let Some(refusal) = state.refusal(server, &send) {
        state.counters.refused += 1;
        return refusal.to_owned();
    }
    state.counters.accepted += 1;
    if matches!(send.kind, 11 | 12) {
        return String::new();
    }
    let content = Sent {
        message_id: server.next_message_id(),
        mark: mark(send.user) ^ mark(&send.item.to_string()),
    };
    let before = state.client_ids.find(send.client_id).copied();
    if let Some(before) = before {
        state.counters.repeats += 1;
        if before.mark != content.mark {
            server.violation(format!(
                "sendmessage: client_id {} is used for two different messages",
                send.client_id
            ));
        }
    }
    let repeated = before.filter(|_| state.rules.dedupe);
    let id = repeated.unwrap_or(content).message_id;
    if !send.client_id.is_empty() {
        let client_id = send.client_id.to_owned();
        state.client_ids.remember(client_id, content);
    }
    if repeated.is_none() {
        if let Some(person) = state.people.get_mut(send.user) {
            person.sent += 1;
        }
        if sent_as != Some(SentAs::BlackHole) && shown_at_all {
            let mut entry = entry(bot, send.user, "bot", id);
            entry.insert("client_id".to_owned(), send.client_id.into());
            entry.insert("context".to_owned(), context.into());
            if let Some(shown) = shown(server, bot, &send, id) {
                entry.extend(shown);
                server.show_after(entry.into(), state.rules.delivery_delay);
            }
        }
    }
    match sent_as {
        None => format!(r#"{{"ret":0,"message_id":{id}}}"#),
        Some(SentAs::NoRet) => format!(r#"{{"message_id":{id}}}"#),
        Some(SentAs::StringId) => format!(r#"{{"ret":0,"message_id":"{id}"}}"#),
        Some(SentAs::Empty) => "{}".to_owned(),
        Some(SentAs::BlackHole) => r#"{"ret":0}"#.to_owned(),
    }
}

/// What a phone shows of an item that a bot sent; nothing of voice, whatever is in it.
fn shown(server: &ServerState, bot: &Bot, send: &Send<'_>, id: u64) -> Option<Map<String, Value>> {
    match MediaKind::of_item(send.kind) {
        Some(MediaKind::Voice) => None,
        Some(kind) => Some(media::bubble(server, bot, send.user, kind, send.item, id)),
        None => {
            let text = send.item["text_item"]["text"].clone();
            Some(Map::from_iter([("text".to_owned(), text)]))
        }
    }
}

/// The parts of a request that the server goes by.
struct Send<'a> {
    user: &'a str,
    client_id: &'a str,
    context_token: &'a str,
    item: &'a Value,
    kind: u64,
}

impl<'a> Send<'a> {
    fn read(body: &'a Value) -> Option<Send<'a>> {
        let message = &body["msg"];
        let [item] = message["item_list"].as_array()?.as_slice() else {
            return None;
        };
        let kind = item["type"].as_u64()?;
        if !item[payload_key(kind)?].is_object() {
            return None;
        }
        let text = &item["text_item"]["text"];
        if kind == 1 && text.as_str().is_none_or(str::is_empty) {
            return None;
        }
        Some(Send {
            user: message["to_user_id"]
                .as_str()
                .filter(|user| !user.is_empty())?,
            client_id: message["client_id"].as_str().unwrap_or_default(),
            context_token: message["context_token"].as_str().unwrap_or_default(),
            item,
            kind,
        })
    }
}

/// The member that holds the payload of an item that a bot can send.
fn payload_key(kind: u64) -> Option<&'static str> {
    if let Some(kind) = MediaKind::of_item(kind) {
        return Some(kind.item_key());
    }
    Some(match kind {
        1 => "text_item",
        11 => "tool_call_start_item",
        12 => "tool_call_result_item",
        _ => return None,
    })
}

impl BotState {
    fn refusal(&mut self, server: &ServerState, send: &Send<'_>) -> Option<&'static str> {
        let now = server.clock.elapsed();
        let text = send.item["text_item"]["text"].as_str().unwrap_or_default();
        if text.len() > TEXT_BYTES {
            return Some(TOO_LONG);
        }
        if let Some(burst) = self.rules.burst
            && !self.bucket.admits(burst, now)
        {
            return Some(REFUSED);
        }
        let person = self
            .people
            .get(send.user)
            .and_then(|person| Some((person, person.wrote_at?)));
        let Some((person, wrote_at)) = person else {
            return Some(REFUSED);
        };
        let silent = now.saturating_sub(wrote_at);
        let closed = self.rules.window.is_some_and(|window| silent > window);
        let used_up = self
            .rules
            .budget
            .is_some_and(|budget| person.sent >= budget);
        (closed || used_up).then_some(REFUSED)
    }
}

/// What a send's context token is to its recipient.
fn context(server: &ServerState, bot: &Bot, state: &BotState, send: &Send<'_>) -> &'static str {
    if send.context_token.is_empty() {
        return "absent";
    }
    match Stamp::open(Kind::Context, server.start, send.context_token) {
        None => "unknown",
        Some(stamp) if stamp.account != bot.mark || stamp.user != mark(send.user) => "other-peer",
        Some(stamp) => match state.people.get(send.user) {
            Some(person) if person.context == stamp.number => "newest",
            _ => "older",
        },
    }
}

impl ServerState {
    /// Shows an entry now, or later and then in order.
    fn show_after(&self, entry: Value, delay: Duration) {
        if delay.is_zero() {
            self.show(entry);
            return;
        }
        // Nobody takes it once the server has ended, and then no phone shows anything.
        let _ = self
            .late
            .send((self.clock.elapsed().saturating_add(delay), entry));
    }
}

#[cfg(test)]
mod tests;
