//! The typing indicator (`getconfig`, `sendtyping`) and the client's coming and going
//! (`notifystart`, `notifystop`). None of it uses up a person's window.

use serde_json::Value;

use super::account::Bot;
use super::sending::INVALID;
use super::stamp::{Kind, Stamp, mark};
use super::{Event, ServerState};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::Typing;
    use super::super::client::{Client, strict_simulator};
    use super::*;

    const ALICE: &str = "wxid_alice@im.wechat";

    async fn typing(client: &Client, user: &str, ticket: &Value, status: u64) -> Value {
        let body = json!({"ilink_user_id": user, "typing_ticket": ticket, "status": status});
        client.call("sendtyping", body).await
    }

    #[tokio::test]
    async fn a_ticket_switches_its_persons_indicator() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        let mut events = simulator.subscribe();
        let config = client
            .call("getconfig", json!({"ilink_user_id": ALICE}))
            .await;
        let ticket = &config["typing_ticket"];
        assert_eq!(config["ret"], 0);
        for status in [1, 1, 2] {
            assert_eq!(
                typing(&client, ALICE, ticket, status).await,
                json!({"ret": 0})
            );
            assert_eq!(simulator.first().typing(ALICE).on, status == 1);
        }
        let seen = simulator.first().typing(ALICE);
        assert_eq!(
            seen,
            Typing {
                on: false,
                started: 2,
                stopped: 1
            }
        );
        for expected in [true, false] {
            let Event::Typing { on, user, .. } = events.recv().await.unwrap() else {
                panic!("nothing was shown")
            };
            assert_eq!((on, user.as_str()), (expected, ALICE));
        }
        assert_eq!(simulator.violations(), Vec::<String>::new());
        assert_ne!(
            typing(&client, "wxid_bob@im.wechat", ticket, 1).await["ret"],
            0
        );
        assert_eq!(simulator.violations().len(), 1);
        assert_ne!(typing(&client, ALICE, ticket, 3).await["ret"], 0);
        assert_ne!(typing(&client, ALICE, &json!("forged"), 1).await["ret"], 0);
    }

    #[tokio::test]
    async fn a_ticket_expires_by_the_clock() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        let config = client
            .call("getconfig", json!({"ilink_user_id": ALICE}))
            .await;
        simulator.faults(&json!({"ticket_ms": 60_000})).unwrap();
        simulator
            .first()
            .server
            .clock
            .advance(Duration::from_secs(59));
        assert_eq!(
            typing(&client, ALICE, &config["typing_ticket"], 1).await["ret"],
            0
        );
        simulator
            .first()
            .server
            .clock
            .advance(Duration::from_secs(2));
        assert_ne!(
            typing(&client, ALICE, &config["typing_ticket"], 2).await["ret"],
            0
        );
        assert!(simulator.first().typing(ALICE).on);
    }

    #[tokio::test]
    async fn coming_and_going_is_counted_and_can_be_required() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        simulator.faults(&json!({"needs_start": true})).unwrap();
        assert_eq!(client.poll("").await["errcode"], -14);
        assert_eq!(
            client.call("msg/notifystart", json!({})).await,
            json!({"ret": 0})
        );
        assert_eq!(client.poll("").await["ret"], 0);
        assert_eq!(
            client.call("msg/notifystop", json!({})).await,
            json!({"ret": 0})
        );
        let counters = simulator.counters();
        assert_eq!((counters.starts, counters.stops, counters.polls), (1, 1, 2));
        assert_eq!(simulator.violations(), Vec::<String>::new());
    }
}
