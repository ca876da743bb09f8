//! `getupdates`: the long poll that hands people's messages to the bot.
//!
//! A poll returns at once when there is a message, else slightly before the advertised time.
//! Cursors are opaque; what an old one does is a rule of the account ([`super::rules`]). A
//! second poll of the same bot ends the first one, with nothing in it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::endpoint::Endpoint;
use super::rules::{Cursors, Rules};
use super::stamp::{Kind, Stamp};
use super::state::{Bot, BotState, ServerState};

/// Answers `getupdates`, after the hold if nothing comes.
pub(super) async fn getupdates(server: &ServerState, bot: &Bot, body: &Value) -> String {
    let cursor = body["get_updates_buf"].as_str().unwrap_or_default();
    let position = cursor_position(server, bot, cursor);
    let began = server.clock.elapsed();
    let own = {
        let mut state = bot.lock();
        let acknowledged = position.unwrap_or(0).min(state.inbox.end());
        state.inbox.acknowledged = state.inbox.acknowledged.max(acknowledged);
        state.newest_poll += 1;
        state.newest_poll
    };
    // The poll that this one replaces is answered now.
    bot.arrived.notify_waiters();
    loop {
        let arrived = bot.arrived.notified();
        tokio::pin!(arrived);
        // Registered before the look, so that a message in between is not missed.
        arrived.as_mut().enable();
        let deadline = {
            let mut state = bot.lock();
            let now = server.clock.elapsed();
            if let Some(stale) = state.session_answer(Endpoint::GetUpdates, now) {
                return stale.to_owned();
            }
            if own < state.newest_poll {
                return state.empty_batch(cursor);
            }
            let from = state.next_delivery(position);
            if from < state.inbox.end() {
                return state.batch(server, bot, from);
            }
            let deadline = began.saturating_add(state.rules.held());
            if now >= deadline {
                return state.empty_batch(cursor);
            }
            deadline
        };
        tokio::select! {
            () = arrived => {}
            () = server.clock.sleep_until(deadline) => {}
        }
    }
}

impl BotState {
    /// Where a poll with this cursor goes on.
    fn next_delivery(&self, cursor: Option<u64>) -> u64 {
        let position = cursor.unwrap_or(0).min(self.inbox.end());
        let from = match self.rules.cursors {
            Cursors::Rewind => position,
            Cursors::Acknowledge => position.max(self.inbox.acknowledged),
            Cursors::Consume => self.inbox.delivered,
        };
        from.max(self.inbox.first())
    }

    fn batch(&mut self, server: &ServerState, bot: &Bot, from: u64) -> String {
        let messages = self.inbox.from(from);
        let count = messages.len().min(self.rules.batch);
        let messages: Vec<&str> = messages.take(count).collect();
        let next = from + count as u64;
        let cursor = Stamp {
            kind: Kind::Cursor,
            account: bot.mark,
            user: 0,
            number: next,
        };
        let answer = self
            .rules
            .poll_answer(&messages.join(","), &cursor.seal(server.start).into());
        self.inbox.delivered = self.inbox.delivered.max(next);
        self.counters.delivered += count as u64;
        answer
    }

    fn empty_batch(&self, cursor: &str) -> String {
        self.rules.poll_answer("", &cursor.into())
    }
}

impl Rules {
    /// How long a poll waits: the advertised time less a tenth, at most a second.
    fn held(&self) -> Duration {
        self.hold
            .saturating_sub((self.hold / 10).min(Duration::from_secs(1)))
    }

    fn poll_answer(&self, messages: &str, cursor: &Value) -> String {
        let mut answer = format!(r#"{{"ret":0,"msgs":[{messages}],"get_updates_buf":{cursor}"#);
        let advertised = self.advertise.unwrap_or(self.hold).as_millis();
        if advertised > 0 {
            // Writing to a string cannot fail.
            let _ = write!(answer, r#","longpolling_timeout_ms":{advertised}"#);
        }
        answer.push('}');
        answer
    }
}

/// The position of a cursor; `None` for an empty one and for one of an earlier start.
fn cursor_position(server: &ServerState, bot: &Bot, cursor: &str) -> Option<u64> {
    let stamp = Stamp::open(Kind::Cursor, server.start, cursor)?;
    if stamp.account != bot.mark {
        server.violation(format!(
            "getupdates: {} polls with another account's cursor",
            bot.account
        ));
        return None;
    }
    Some(stamp.number)
}
