//! The exports of the component. Each of them can perform the attack.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "channel",
        generate_all,
    });
}

use std::hint::black_box;

use bindings::exports::gateway::channel::{
    inbound, lifecycle, login, media_transfer, meta, outbound,
};
use bindings::gateway::channel::types;
pub use bindings::wasi;
pub use bindings::{wit_future, wit_stream};
use wit_bindgen::StreamReader;

use crate::attacks;

struct Component;

bindings::export!(Component with_types_in bindings);

/// `describe` has no configuration, so tests write into the file itself.
static AT_DESCRIBE: &[u8] = b"hostile at describe: no ";

/// What a platform's error says, as long as it may be.
const FORGED: &str = "\n2026-11-28T00:00:00Z ERROR host_test: forged\u{2028}\x1b[2J";

impl meta::Guest for Component {
    fn describe() -> meta::Descriptor {
        if black_box(AT_DESCRIBE).ends_with(b"yes") {
            attacks::spin();
        }
        let is_large = black_box(AT_DESCRIBE).ends_with(b"big");
        let platform = match is_large {
            true => "hostile".repeat(1024 * 1024),
            false => "hostile".to_owned(),
        };
        let egress = |host: &str, path: &str, credential: Option<&str>| meta::Egress {
            scheme: "https".to_owned(),
            host: host.to_owned(),
            port: None,
            path_prefix: path.to_owned(),
            credential: credential.map(|name| meta::CredentialUse {
                name: name.to_owned(),
                placement: meta::Placement::Header,
            }),
        };
        meta::Descriptor {
            platform,
            version: "0".to_owned(),
            text_limit: 100,
            media: Vec::new(),
            typing_refresh: None,
            reply_window: None,
            egress: vec![
                egress("{base-url}", "/api/", Some("bot-token")),
                egress("{base-url}", "/media/", None),
                egress("*.slow.example", "/", None),
            ],
            origins: vec!["base-url".to_owned()],
            captures: Vec::new(),
            config_schema: "{}".to_owned(),
            state_version: 1,
            state_reads_from: 1,
        }
    }
}

async fn call(name: &str) {
    let at = attacks::config("at").unwrap_or_else(|| "receive".to_owned());
    if at == name {
        attacks::perform(&attacks::config("attack").unwrap_or_default()).await;
    }
}

impl lifecycle::Guest for Component {
    async fn start() -> Result<(), types::Error> {
        call("start").await;
        Ok(())
    }

    async fn drain(_: types::Duration) -> Result<(), types::Error> {
        call("drain").await;
        Ok(())
    }

    async fn stop() -> Result<(), types::Error> {
        call("stop").await;
        Ok(())
    }

    fn check() -> lifecycle::Health {
        lifecycle::Health {
            phase: lifecycle::Phase::Connected,
            since: 0,
            last_poll: None,
            last_event: None,
            last_send: None,
            unacknowledged: 0,
            queued: 0,
            reason: None,
        }
    }
}

impl inbound::Guest for Component {
    async fn receive() -> Result<Vec<types::Event>, types::Error> {
        call("receive").await;
        if attacks::config("attack").as_deref() == Some("errors") {
            return Err(types::Error {
                kind: types::ErrorKind::Transient,
                retry_after: None,
                platform: Some(FORGED.repeat(1000)),
                message: FORGED.repeat(20_000),
            });
        }
        Ok(attacks::events().await)
    }

    async fn ack(_: Vec<String>) -> Result<(), types::Error> {
        call("ack").await;
        Ok(())
    }
}

impl outbound::Guest for Component {
    async fn send(post: outbound::Post) -> Result<types::Receipt, types::Error> {
        call("send").await;
        Ok(types::Receipt {
            key: post.key,
            parts: Vec::new(),
        })
    }

    async fn find(key: String) -> Result<Option<types::Receipt>, types::Error> {
        if key == "work" {
            attacks::digest();
        }
        call("find").await;
        Ok(None)
    }

    async fn run() -> Result<(), types::Error> {
        call("run").await;
        std::future::pending().await
    }

    async fn typing(_: String, _: bool) -> Result<(), types::Error> {
        call("typing").await;
        Ok(())
    }
}

impl media_transfer::Guest for Component {
    async fn fetch(_: String) -> Result<media_transfer::Content, types::Error> {
        call("fetch").await;
        let (mut content, bytes) = wit_stream::new();
        let (verdict, done) = wit_future::new(|| Ok(()));
        wit_bindgen::spawn_local(async move {
            // One write of everything: the host must not take it all at once.
            content.write_all(vec![7; 64 * 1024 * 1024]).await;
            drop(content);
            let _ = verdict.write(Ok(())).await;
        });
        Ok(media_transfer::Content {
            mime: "application/octet-stream".to_owned(),
            bytes,
            done,
        })
    }

    async fn put(
        _: media_transfer::Upload,
        _: StreamReader<u8>,
    ) -> Result<types::Media, types::Error> {
        call("put").await;
        Err(nothing())
    }
}

impl login::Guest for Component {
    async fn begin() -> Result<login::Step, types::Error> {
        call("begin").await;
        Err(nothing())
    }

    async fn next() -> Result<login::Step, types::Error> {
        Err(nothing())
    }

    async fn submit(_: String) -> Result<login::Step, types::Error> {
        Err(nothing())
    }
}

fn nothing() -> types::Error {
    types::Error {
        kind: types::ErrorKind::Unsupported,
        retry_after: None,
        platform: None,
        message: "it does harm and nothing else".to_owned(),
    }
}

pub use types::{Event, EventBody};

/// An event that means nothing.
pub fn event(id: String, json: String) -> Event {
    Event {
        id,
        body: EventBody::Other(types::Other {
            name: "other".to_owned(),
            json,
        }),
    }
}

/// A post that had waited and failed, with words for the log.
pub fn settled(id: String, key: String) -> Event {
    let failed = || types::Part {
        state: types::PartState::Failed,
        message_id: None,
        error: Some(types::Error {
            kind: types::ErrorKind::Forbidden,
            retry_after: None,
            platform: Some(FORGED.repeat(100)),
            message: FORGED.to_owned(),
        }),
    };
    Event {
        id,
        body: EventBody::Settled(types::Receipt {
            key,
            parts: vec![failed()],
        }),
    }
}

/// A message with many pieces of media, each with all that a handle may be.
pub fn album(id: String) -> Event {
    let mut event = message(id, "somebody".to_owned(), String::new());
    if let EventBody::Message(message) = &mut event.body {
        let mut media = message.media[0].clone();
        media.handle = Some("h".repeat(16 * 1024));
        media.name = Some("n".repeat(16 * 1024));
        message.media = vec![media; 100];
    }
    event
}

/// A message of somebody.
pub fn message(id: String, person: String, text: String) -> Event {
    Event {
        id: id.clone(),
        body: EventBody::Message(types::Message {
            id,
            conversation: types::Conversation {
                id: person.clone(),
                kind: types::ChatKind::Direct,
            },
            sender: types::Sender {
                id: person,
                name: None,
            },
            sent_at: u64::MAX,
            text,
            media: vec![types::Media {
                handle: Some("x".to_owned()),
                kind: types::MediaKind::File,
                name: Some("../../\0\u{202e}".to_owned()),
                mime: Some("\r\n".to_owned()),
                size: Some(u64::MAX),
                length: Some(u64::MAX),
                transcript: None,
            }],
            quote: None,
        }),
    }
}
