//! The typing indicator (`getconfig`, `sendtyping`) and the client's coming and going
//! (`notifystart`, `notifystop`). None of it uses up a person's window.

use serde_json::Value;

use super::refusals::INVALID;
use super::stamp::{Kind, Stamp, mark};
use super::state::{Bot, Event, ServerState};

const OK: &str = r#"{"ret":0}"#;
const NO_TICKET: &str = r#"{"ret":-1,"errmsg":"invalid typing ticket"}"#;

/// Answers `getconfig` with a ticket for this person's indicator.
pub(super) fn getconfig(server: &ServerState, bot: &Bot, body: &Value) -> String {
    let Some(user) = person(body) else {
        return INVALID.to_owned();
    };
    if let Some(token) = body["context_token"].as_str()
        && let Some(stamp) = Stamp::open(Kind::Context, server.start, token)
        && (stamp.account != bot.mark || stamp.user != mark(user))
    {
        server.violation(format!(
            "getconfig: a request for {user} carries another person's context token"
        ));
    }
    let number = u64::try_from(server.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ticket = Stamp {
        kind: Kind::Ticket,
        account: bot.mark,
        user: mark(user),
        number,
    };
    format!(
        r#"{{"ret":0,"typing_ticket":"{}"}}"#,
        ticket.seal(server.start)
    )
}

/// Answers `sendtyping`, if the ticket is this person's and still good.
pub(super) fn sendtyping(server: &ServerState, bot: &Bot, body: &Value) -> &'static str {
    let Some(user) = person(body) else {
        return INVALID;
    };
    let on = match body["status"].as_u64() {
        Some(1) => true,
        Some(2) => false,
        _ => return INVALID,
    };
    let ticket = body["typing_ticket"].as_str().unwrap_or_default();
    let Some(ticket) = Stamp::open(Kind::Ticket, server.start, ticket) else {
        return NO_TICKET;
    };
    if ticket.account != bot.mark || ticket.user != mark(user) {
        server.violation(format!(
            "sendtyping: a request for {user} carries another ticket"
        ));
        return NO_TICKET;
    }
    let mut state = bot.lock();
    let age = server
        .clock
        .elapsed()
        .as_millis()
        .saturating_sub(u128::from(ticket.number));
    if state
        .rules
        .ticket_life
        .is_some_and(|life| age > life.as_millis())
    {
        return NO_TICKET;
    }
    let typing = &mut state.people.entry(user.to_owned()).or_default().typing;
    *if on {
        &mut typing.started
    } else {
        &mut typing.stopped
    } += 1;
    let switched = typing.on != on;
    typing.on = on;
    if switched && server.events.receiver_count() > 0 {
        let event = Event::Typing {
            account: bot.account.clone(),
            user: user.to_owned(),
            on,
        };
        // A receiver that went away meanwhile misses nothing.
        let _ = server.events.send(event);
    }
    OK
}

/// Answers `notifystart`.
pub(super) fn notifystart(bot: &Bot) -> &'static str {
    bot.lock().started = true;
    OK
}

/// Answers `notifystop`.
pub(super) fn notifystop(bot: &Bot) -> &'static str {
    bot.lock().started = false;
    OK
}

fn person(body: &Value) -> Option<&str> {
    body["ilink_user_id"]
        .as_str()
        .filter(|user| !user.is_empty())
}
