//! Between the WIT's types and the core's: exhaustive, without decisions.

use std::time::Duration;

use super::bindings::exports::gateway::channel::lifecycle::{Health, Phase};
use super::bindings::exports::gateway::channel::outbound::Post;
use super::bindings::exports::gateway::channel::{login, media_transfer, meta};
use super::bindings::gateway::channel::types as wit;
use super::imports;
use super::values::{Opened, Report};
use crate::channel::Delivery;
use crate::error::{Error, ErrorKind};
use crate::health;
use crate::message::{Body, ChatKind, Conversation, Event, Media, MediaKind, Quote};
use crate::outbox::{NewPost, Part, PartState, Receipt};
use crate::platform::{
    Capture, CredentialUse, Description, Egress, Keeping, Placement, Step, Upload,
};
use crate::store::STATE_VERSION;

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the component of a platform says of itself.
pub fn descriptor(platform: &str, about: Description) -> meta::Descriptor {
    let defaults = about.defaults;
    meta::Descriptor {
        platform: platform.to_owned(),
        version: about.version.to_owned(),
        text_limit: u32::try_from(defaults.text_limit).unwrap_or(u32::MAX),
        media: about.media.into_iter().map(wit::MediaKind::from).collect(),
        typing_refresh: about.typing_refresh.map(ms),
        reply_window: (!defaults.reply_window.is_zero()).then(|| ms(defaults.reply_window)),
        egress: about.egress.into_iter().map(meta::Egress::from).collect(),
        origins: about.origins.into_iter().map(str::to_owned).collect(),
        captures: about
            .captures
            .into_iter()
            .map(meta::Capture::from)
            .collect(),
        config_schema: about.config_schema.to_owned(),
        state_version: STATE_VERSION,
        state_reads_from: STATE_VERSION,
    }
}

impl From<Egress> for meta::Egress {
    fn from(egress: Egress) -> meta::Egress {
        meta::Egress {
            scheme: egress.scheme.to_owned(),
            host: egress.host.to_owned(),
            port: egress.port,
            path_prefix: egress.path_prefix.to_owned(),
            credential: egress.credential.map(meta::CredentialUse::from),
        }
    }
}

impl From<CredentialUse> for meta::CredentialUse {
    fn from(credential: CredentialUse) -> meta::CredentialUse {
        meta::CredentialUse {
            name: credential.name.to_owned(),
            placement: match credential.placement {
                Placement::Header => meta::Placement::Header,
                Placement::JsonBody => meta::Placement::JsonBody,
                Placement::Query => meta::Placement::Query,
                Placement::PathSegment => meta::Placement::PathSegment,
            },
        }
    }
}

impl From<Capture> for meta::Capture {
    fn from(capture: Capture) -> meta::Capture {
        meta::Capture {
            path_prefix: capture.path_prefix.to_owned(),
            json_pointer: capture.json_pointer.to_owned(),
            credential: capture.credential.to_owned(),
            keep: match capture.keep {
                Keeping::Aside => meta::Keeping::Aside,
                Keeping::InUse => meta::Keeping::InUse,
            },
        }
    }
}

impl From<ErrorKind> for wit::ErrorKind {
    fn from(kind: ErrorKind) -> wit::ErrorKind {
        match kind {
            ErrorKind::Transient => wit::ErrorKind::Transient,
            ErrorKind::RateLimited => wit::ErrorKind::RateLimited,
            ErrorKind::UnknownOutcome => wit::ErrorKind::UnknownOutcome,
            ErrorKind::LoginRequired => wit::ErrorKind::LoginRequired,
            ErrorKind::WindowClosed => wit::ErrorKind::WindowClosed,
            ErrorKind::Forbidden => wit::ErrorKind::Forbidden,
            ErrorKind::NotFound => wit::ErrorKind::NotFound,
            ErrorKind::Invalid => wit::ErrorKind::Invalid,
            ErrorKind::TooLarge => wit::ErrorKind::TooLarge,
            ErrorKind::Unsupported => wit::ErrorKind::Unsupported,
            ErrorKind::KeyConflict => wit::ErrorKind::KeyConflict,
            ErrorKind::Fenced => wit::ErrorKind::Fenced,
            ErrorKind::Draining => wit::ErrorKind::Draining,
            ErrorKind::Storage => wit::ErrorKind::Storage,
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> wit::Error {
        wit::Error {
            kind: error.kind.into(),
            retry_after: error.retry_after.map(ms),
            platform: error.platform,
            message: error.message,
        }
    }
}

impl From<Conversation> for wit::Conversation {
    fn from(conversation: Conversation) -> wit::Conversation {
        wit::Conversation {
            id: conversation.id,
            kind: match conversation.kind {
                ChatKind::Direct => wit::ChatKind::Direct,
                ChatKind::Group => wit::ChatKind::Group,
            },
        }
    }
}

impl From<MediaKind> for wit::MediaKind {
    fn from(kind: MediaKind) -> wit::MediaKind {
        match kind {
            MediaKind::Image => wit::MediaKind::Image,
            MediaKind::Voice => wit::MediaKind::Voice,
            MediaKind::Video => wit::MediaKind::Video,
            MediaKind::File => wit::MediaKind::File,
        }
    }
}

impl From<Media> for wit::Media {
    fn from(media: Media) -> wit::Media {
        wit::Media {
            handle: media.handle,
            kind: media.kind.into(),
            name: media.name,
            mime: media.mime,
            size: media.size,
            length: media.length.map(ms),
            transcript: media.transcript,
        }
    }
}

impl From<Quote> for wit::Quote {
    fn from(quote: Quote) -> wit::Quote {
        wit::Quote {
            message_id: quote.message_id,
            text: quote.text,
            media: quote.media.into_iter().map(wit::Media::from).collect(),
        }
    }
}

impl From<Event> for wit::Event {
    fn from(event: Event) -> wit::Event {
        let body = match event.body {
            Body::Message(message) => wit::EventBody::Message(wit::Message {
                id: event.id.clone(),
                conversation: message.conversation.into(),
                sender: wit::Sender {
                    id: message.sender,
                    name: None,
                },
                sent_at: message.sent_at_ms,
                text: message.text,
                media: message.media.into_iter().map(wit::Media::from).collect(),
                quote: message.quote.map(wit::Quote::from),
            }),
            Body::Recalled {
                conversation,
                message_id,
            } => wit::EventBody::Recalled(wit::Recalled {
                conversation: conversation.into(),
                message_id,
            }),
            Body::Other { name, json, .. } => wit::EventBody::Other(wit::Other { name, json }),
        };
        wit::Event { id: event.id, body }
    }
}

impl From<Delivery> for wit::Event {
    fn from(delivery: Delivery) -> wit::Event {
        match delivery {
            Delivery::Event(event) => event.into(),
            Delivery::Settled { id, receipt } => wit::Event {
                id,
                body: wit::EventBody::Settled(receipt.into()),
            },
        }
    }
}

impl From<Post> for NewPost {
    fn from(post: Post) -> NewPost {
        NewPost {
            key: post.key,
            conversation: post.conversation,
            answers: post.answers,
            text: post.text,
            media: post
                .media
                .into_iter()
                .filter_map(|media| media.handle)
                .collect(),
            is_progress: post.progress,
            queue_until_ms: post.queue_until,
        }
    }
}

impl From<media_transfer::Upload> for Upload {
    fn from(upload: media_transfer::Upload) -> Upload {
        Upload {
            conversation: upload.conversation,
            kind: upload.kind.map(|kind| match kind {
                wit::MediaKind::Image => MediaKind::Image,
                wit::MediaKind::Voice => MediaKind::Voice,
                wit::MediaKind::Video => MediaKind::Video,
                wit::MediaKind::File => MediaKind::File,
            }),
            name: upload.name,
            mime: upload.mime,
            md5: upload.md5,
        }
    }
}

impl From<Opened> for media_transfer::Content {
    fn from(opened: Opened) -> media_transfer::Content {
        media_transfer::Content {
            mime: opened.mime.to_owned(),
            bytes: opened.bytes,
            done: opened.done,
        }
    }
}

impl From<Part> for wit::Part {
    fn from(part: Part) -> wit::Part {
        wit::Part {
            state: match part.state {
                PartState::Pending => wit::PartState::Pending,
                PartState::Accepted => wit::PartState::Accepted,
                PartState::Unconfirmed => wit::PartState::Unconfirmed,
                PartState::Queued => wit::PartState::Queued,
                PartState::Dropped => wit::PartState::Dropped,
                PartState::Failed => wit::PartState::Failed,
                PartState::Unknown => wit::PartState::Unknown,
            },
            message_id: part.message_id,
            error: part.error.map(wit::Error::from),
        }
    }
}

impl From<Receipt> for wit::Receipt {
    fn from(receipt: Receipt) -> wit::Receipt {
        wit::Receipt {
            key: receipt.key,
            parts: receipt.parts.into_iter().map(wit::Part::from).collect(),
        }
    }
}

impl From<Step> for login::Step {
    fn from(step: Step) -> login::Step {
        match step {
            Step::ShowQr(text, life) => login::Step::ShowQr(login::Qr {
                text,
                until: imports::now_ms().saturating_add(ms(life)),
            }),
            Step::Confirm => login::Step::Confirm,
            Step::EnterCode => login::Step::EnterCode,
            Step::Done(identity) => login::Step::Done(login::Identity {
                account: identity.account,
                owner: identity.owner,
                config: identity.config,
            }),
            Step::AlreadyBound => login::Step::AlreadyBound,
            Step::Failed(why) => login::Step::Failed(why),
        }
    }
}

impl From<Report> for Health {
    fn from(report: Report) -> Health {
        Health {
            phase: match report.phase {
                health::Phase::Starting => Phase::Starting,
                health::Phase::Connected => Phase::Connected,
                health::Phase::Degraded => Phase::Degraded,
                health::Phase::LoginRequired => Phase::LoginRequired,
                health::Phase::Paused => Phase::Paused,
                health::Phase::Draining => Phase::Draining,
                health::Phase::Stopped => Phase::Stopped,
            },
            since: report.since_ms,
            last_poll: report.last_poll_ms,
            last_event: report.last_event_ms,
            last_send: report.last_send_ms,
            unacknowledged: u32::try_from(report.unacknowledged).unwrap_or(u32::MAX),
            queued: u32::try_from(report.queued).unwrap_or(u32::MAX),
            reason: report.reason,
        }
    }
}
