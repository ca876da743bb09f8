//! What can happen to a request, to a person's message, and how often.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::breakage::Mangle;
use crate::files::Reference;
use crate::people::Repeat;

/// What happens to a request instead of, or around, its true answer.
#[derive(Clone, Default)]
pub(crate) struct Fault {
    pub(crate) delay: Duration,
    pub(crate) processed: bool,
    pub(crate) kind: Kind,
}

#[derive(Clone, Default)]
pub(crate) enum Kind {
    /// The true answer.
    #[default]
    None,
    Status(Status),
    Body(String),
    Result(Map<String, Value>),
    Without(Vec<String>),
    Truncated,
    Mangled(Mangle),
    Cut(Break),
    Stall(Break),
    Drip(Duration),
    Sent(SentAs),
    UploadUrl(UploadUrl),
    SlowRead(Duration),
    Download(DownloadAs),
}

/// An HTTP status, and the headers that come with it.
#[derive(Clone, Default)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Status {
    pub(crate) fn code(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// The page that comes with it.
    pub(crate) fn page(&self) -> Bytes {
        format!("<html><body><h1>{}</h1></body></html>", self.code()).into()
    }
}

/// What `getuploadurl` gives.
#[derive(Clone)]
pub(crate) struct UploadUrl {
    pub(crate) reference: Reference,
    /// In the place of the true one.
    pub(crate) full_url: Option<String>,
}

impl Default for UploadUrl {
    /// What the real server gives today.
    fn default() -> UploadUrl {
        UploadUrl {
            reference: Reference::FullUrl,
            full_url: None,
        }
    }
}

/// How a download goes wrong in its content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DownloadAs {
    WrongKey,
    BadPadding,
    /// So many bytes follow.
    Extra(u64),
}

/// Where an exchange breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Before the request takes effect.
    Before,
    /// After it took effect: before any answer when cut, after the headers when stalled.
    After,
    /// In the middle of the answer's body.
    Body,
}

/// How an accepted send is answered.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SentAs {
    #[default]
    Id,
    NoRet,
    StringId,
    Empty,
    BlackHole,
}

impl Fault {
    /// What a proxy says that waited for too long.
    pub(crate) fn timed_out() -> Fault {
        let status = Status {
            code: 524,
            headers: Vec::new(),
        };
        Fault {
            kind: Kind::Status(status),
            ..Fault::default()
        }
    }

    /// Whether the request takes effect.
    pub(crate) fn takes_effect(&self) -> bool {
        match self.kind {
            Kind::Status(_) | Kind::Body(_) | Kind::Result(_) => self.processed,
            Kind::Cut(at) | Kind::Stall(at) => at != Break::Before,
            _ => true,
        }
    }
}

/// What happens to a person's message.
#[derive(Clone, Default)]
pub(crate) struct Inbound {
    pub(crate) set: Map<String, Value>,
    pub(crate) without: Vec<String>,
    pub(crate) string_ids: bool,
    pub(crate) duplicate: Option<Repeat>,
}

/// Something that passes over a number of requests and then happens a number of times.
#[derive(Clone, Default)]
pub(crate) struct Limited<T> {
    pub(super) skip: u64,
    /// `None` is until cleared.
    pub(super) times: Option<u64>,
    pub(super) what: T,
}

impl<T: Clone> Limited<T> {
    pub(super) fn next(&mut self) -> Option<T> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if let Some(times) = &mut self.times {
            *times = times.checked_sub(1)?;
        }
        Some(self.what.clone())
    }

    pub(super) fn is_over(&self) -> bool {
        self.skip == 0 && self.times == Some(0)
    }
}
