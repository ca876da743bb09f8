//! Makes the strings of a component safe where they enter the host, so that no other code has to.
//!
//! A text for people is cut and made one line. An identifier is taken as it is, or refused. The texts of
//! messages keep their lines.

use crate::bindings::exports::gateway::channel::lifecycle::Health;
use crate::bindings::exports::gateway::channel::login::{Identity, Step};
use crate::bindings::gateway::channel::types::{
    Error, ErrorKind, Event, EventBody, Media, Message, Receipt,
};
use crate::text::{ID_BYTES, NAME_BYTES, REASON_BYTES, into_one_line, not_an_id};

/// The longest code of a platform in an error.
const PLATFORM_BYTES: usize = 100;
/// The longest media type.
const MIME_BYTES: usize = 127;
/// The longest handle of a piece of media.
const HANDLE_BYTES: usize = 16 * 1024;
/// The most that a QR code holds.
const QR_BYTES: usize = 2953;
/// The most settings that a login brings.
const SETTINGS: usize = 256;

/// An error as it may be shown.
pub fn error(error: Error) -> Error {
    let platform = error.platform;
    Error {
        message: into_one_line(error.message, REASON_BYTES),
        platform: platform.map(|code| into_one_line(code, PLATFORM_BYTES)),
        ..error
    }
}

/// How an instance does, as it may be shown.
pub fn health(health: Health) -> Health {
    let reason = health.reason;
    Health {
        reason: reason.map(|reason| into_one_line(reason, REASON_BYTES)),
        ..health
    }
}

/// A receipt as it may be shown. A message id that is no valid identifier counts as unknown.
pub fn receipt(mut receipt: Receipt) -> Receipt {
    for part in &mut receipt.parts {
        part.error = part.error.take().map(error);
        part.message_id = id_or_none(part.message_id.take());
    }
    receipt
}

fn id_or_none(id: Option<String>) -> Option<String> {
    id.filter(|id| not_an_id(id, ID_BYTES).is_none())
}

/// A piece of media as it may be shown. Without a valid handle it can't be fetched.
pub fn media(media: Media) -> Media {
    let is_handle = |handle: &String| not_an_id(handle, HANDLE_BYTES).is_none();
    Media {
        handle: media.handle.filter(is_handle),
        name: media.name.map(|name| into_one_line(name, NAME_BYTES)),
        mime: media.mime.map(mime),
        ..media
    }
}

/// A media type as it may be shown.
pub fn mime(mime: String) -> String {
    into_one_line(mime, MIME_BYTES)
}

/// The events that can be taken, and why the first of the others can't.
pub fn events(events: Vec<Event>) -> (Vec<Event>, Option<String>) {
    let mut refused = None;
    let mut taken = Vec::with_capacity(events.len());
    for event in events {
        match self::event(event) {
            Ok(event) => taken.push(event),
            Err(why) => {
                refused.get_or_insert(why);
            }
        }
    }
    (taken, refused)
}

fn event(event: Event) -> Result<Event, String> {
    id("the id of an event", &event.id)?;
    let body = match event.body {
        EventBody::Message(message) => EventBody::Message(self::message(message)?),
        EventBody::Settled(receipt) => {
            id("the key of a settled post", &receipt.key)?;
            EventBody::Settled(self::receipt(receipt))
        }
        body @ (EventBody::Recalled(_) | EventBody::Other(_)) => body,
    };
    Ok(Event { body, ..event })
}

fn message(message: Message) -> Result<Message, String> {
    id("the id of a message", &message.id)?;
    id("the id of a conversation", &message.conversation.id)?;
    id("the id of a sender", &message.sender.id)?;
    let media = |items: Vec<Media>| items.into_iter().map(self::media).collect();
    let mut sender = message.sender;
    sender.name = sender.name.map(|name| into_one_line(name, NAME_BYTES));
    let quote = message.quote.map(|mut quote| {
        quote.message_id = id_or_none(quote.message_id);
        quote.media = media(quote.media);
        quote
    });
    Ok(Message {
        sender,
        media: media(message.media),
        quote,
        ..message
    })
}

fn id(what: &str, id: &str) -> Result<(), String> {
    match not_an_id(id, ID_BYTES) {
        None => Ok(()),
        Some(why) => Err(format!("{what} is refused: {why}")),
    }
}

/// A step of a login as it may be shown.
///
/// # Errors
/// When a value that must not be altered can't be taken.
pub fn step(step: Step) -> Result<Step, Error> {
    let invalid = |message: String| Error {
        kind: ErrorKind::Invalid,
        retry_after: None,
        platform: None,
        message,
    };
    match step {
        Step::ShowQr(qr) => match not_an_id(&qr.text, QR_BYTES) {
            None => Ok(Step::ShowQr(qr)),
            Some(why) => Err(invalid(format!(
                "the content of the code is refused: {why}"
            ))),
        },
        // Nothing was kept yet, so it has failed like any other.
        Step::Done(identity) => Ok(match self::identity(&identity) {
            Ok(()) => Step::Done(identity),
            Err(why) => Step::Failed(why),
        }),
        Step::Failed(reason) => Ok(Step::Failed(into_one_line(reason, REASON_BYTES))),
        step @ (Step::Confirm | Step::EnterCode | Step::AlreadyBound) => Ok(step),
    }
}

fn identity(identity: &Identity) -> Result<(), String> {
    id("the account of the login", &identity.account)?;
    if let Some(owner) = &identity.owner {
        id("the owner of the login", owner)?;
    }
    if identity.config.len() > SETTINGS {
        return Err(format!("the login brings more than {SETTINGS} settings"));
    }
    for (key, value) in &identity.config {
        id("a key of the login's configuration", key)?;
        id("a value of the login's configuration", value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::gateway::channel::types::{
        ChatKind, Conversation, MediaKind, Part, PartState, Sender,
    };

    fn event(id: &str, person: &str) -> Event {
        Event {
            id: id.to_owned(),
            body: EventBody::Message(Message {
                id: id.to_owned(),
                conversation: Conversation {
                    id: person.to_owned(),
                    kind: ChatKind::Direct,
                },
                sender: Sender {
                    id: person.to_owned(),
                    name: Some("a\nb".to_owned()),
                },
                sent_at: 0,
                text: "two\nlines".to_owned(),
                media: vec![Media {
                    handle: Some("h\n".to_owned()),
                    kind: MediaKind::File,
                    name: Some("n".repeat(1_000_000)),
                    mime: Some("text/plain\r\nx: y".to_owned()),
                    size: None,
                    length: None,
                    transcript: None,
                }],
                quote: None,
            }),
        }
    }

    #[test]
    fn what_people_read_is_one_line_and_texts_keep_theirs() {
        let (taken, refused) = events(vec![event("1", "alice")]);
        assert_eq!(refused, None);
        let EventBody::Message(message) = &taken[0].body else {
            panic!("it is a message");
        };
        assert_eq!(message.text, "two\nlines");
        assert_eq!(message.sender.name.as_deref(), Some("a b"));
        let media = &message.media[0];
        assert_eq!(media.handle, None);
        assert_eq!(media.name.as_ref().map(String::len), Some(NAME_BYTES));
        assert_eq!(media.mime.as_deref(), Some("text/plain  x: y"));
        let shown = error(Error {
            kind: ErrorKind::Transient,
            retry_after: None,
            platform: Some("x\u{2028}".repeat(1000)),
            message: "2026-11-28 ERROR forged\n".repeat(50_000),
        });
        assert!(shown.message.len() <= REASON_BYTES && !shown.message.contains('\n'));
        assert!(
            shown
                .platform
                .is_some_and(|code| code.len() <= PLATFORM_BYTES)
        );
    }

    #[test]
    fn what_names_something_is_refused_where_it_can_not_be_a_name() {
        let long = "i".repeat(1_000_000);
        for (id, person, why) in [
            (
                "a\nb",
                "alice",
                "the id of an event is refused: it has the character U+000A",
            ),
            (
                &*long,
                "alice",
                "the id of an event is refused: it has 1000000 bytes",
            ),
            ("1", "al\u{202e}ice", "the id of a conversation is refused"),
            ("1", &*long, "the id of a conversation is refused"),
            ("\u{2028}", "alice", "U+2028"),
        ] {
            let (taken, refused) = events(vec![event(id, person), event("2", "bob")]);
            assert_eq!(taken.len(), 1, "the other one is taken");
            let refused = refused.unwrap();
            assert!(refused.contains(why), "{refused}");
        }
        let settled = |key: &str| Event {
            id: "1".to_owned(),
            body: EventBody::Settled(Receipt {
                key: key.to_owned(),
                parts: vec![Part {
                    state: PartState::Failed,
                    message_id: Some("\x1b[2J".to_owned()),
                    error: None,
                }],
            }),
        };
        assert!(events(vec![settled("k\n")]).0.is_empty());
        let (taken, _) = events(vec![settled("k")]);
        let EventBody::Settled(receipt) = &taken[0].body else {
            panic!("it is a receipt");
        };
        assert_eq!(receipt.parts[0].message_id, None);
    }

    #[test]
    fn a_step_of_a_login_is_shown_as_it_is_or_refused() {
        use crate::bindings::exports::gateway::channel::login::Qr;
        let qr = |text: &str| {
            step(Step::ShowQr(Qr {
                text: text.to_owned(),
                until: 0,
            }))
        };
        assert!(qr("https://liteapp.weixin.qq.com/q/abc").is_ok());
        assert!(qr("\x1b]52;c;aGk=\x07").is_err() && qr(&"x".repeat(3000)).is_err());
        let Ok(Step::Failed(reason)) = step(Step::Failed("a\nb".repeat(1000))) else {
            panic!("it has failed");
        };
        assert!(reason.len() <= REASON_BYTES && !reason.contains('\n'));
        let identity = |account: &str, value: &str| {
            step(Step::Done(Identity {
                account: account.to_owned(),
                owner: None,
                config: vec![("key".to_owned(), value.to_owned())],
            }))
        };
        assert!(matches!(identity("a@im.bot", "v"), Ok(Step::Done(_))));
        for (account, value) in [("a\n", "v"), ("a", "\0"), ("a\u{202e}", "v")] {
            let Ok(Step::Failed(reason)) = identity(account, value) else {
                panic!("{account:?} and {value:?} are none");
            };
            assert!(reason.contains("of the login"), "{reason}");
        }
    }
}
