//! What a fault does.

use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::mangle::Mangle;

/// Why the CDN refuses.
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

/// What happens to a request instead of, or around, its true answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Effect {
    #[default]
    TrueAnswer,
    Status(Status),
    Body(String),
    /// 200 with these of `ret`, `errcode` and `errmsg`.
    Result(Map<String, Value>),
    /// 200 with this answer of the login.
    LoginAnswer(Map<String, Value>),
    Without(Vec<String>),
    Truncated,
    Mangled(Mangle),
    Cut(CutAt),
    Stall(StallAt),
    Drip(Duration),
    Sent(SentAs),
    UploadUrl(UploadUrl),
    SlowRead(Duration),
    Download(DownloadAs),
}

impl Effect {
    /// The member of the JSON that names it; empty for the true answer.
    pub(crate) fn member(&self) -> &'static str {
        match self {
            Effect::TrueAnswer => "",
            Effect::Status(status) if status.message.is_some() => "message",
            Effect::Status(status) if status.error_code.is_some() => "code",
            Effect::Status(status) if status.redirect.is_some() => "redirect",
            Effect::Status(_) => "status",
            Effect::Body(_) => "body",
            Effect::Result(result) if result.contains_key("ret") => "ret",
            Effect::Result(_) => "errcode",
            Effect::LoginAnswer(_) | Effect::Sent(_) => "answer",
            Effect::Without(_) => "without",
            Effect::Truncated => "truncated",
            Effect::Mangled(_) => "mangled",
            Effect::Cut(_) => "cut",
            Effect::Stall(_) => "stall",
            Effect::Drip(_) => "drip_ms",
            Effect::UploadUrl(url) if url.full_url.is_some() => "upload_full_url",
            Effect::UploadUrl(_) => "answer",
            Effect::SlowRead(_) => "read_ms",
            Effect::Download(DownloadAs::WrongKey) => "wrong_key",
            Effect::Download(DownloadAs::BadPadding) => "bad_padding",
            Effect::Download(DownloadAs::Extra(_)) => "extra_bytes",
        }
    }
}

/// An HTTP status, and what its headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) redirect: Option<String>,
    /// `x-error-message` of the CDN.
    pub(crate) message: Option<String>,
    /// `x-error-code` of the CDN.
    pub(crate) error_code: Option<String>,
}

impl Status {
    pub(crate) fn of_code(code: u16) -> Status {
        Status {
            code,
            ..Status::default()
        }
    }

    pub(crate) fn code(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// The page that comes with it.
    pub(crate) fn page(&self) -> Bytes {
        format!("<html><body><h1>{}</h1></body></html>", self.code()).into()
    }

    /// Whether it says something that only the CDN says.
    pub(crate) fn is_of_cdn(&self) -> bool {
        self.message.is_some() || self.error_code.is_some()
    }

    /// The headers that come with it.
    ///
    /// # Errors
    /// The member whose text cannot be the value of a header.
    pub(crate) fn headers(&self) -> Result<HeaderMap, &'static str> {
        let mut headers = HeaderMap::new();
        for (member, name, text) in [
            ("redirect", LOCATION, &self.redirect),
            ("message", ERROR_MESSAGE, &self.message),
            ("code", ERROR_CODE, &self.error_code),
        ] {
            if let Some(text) = text {
                let value = HeaderValue::from_str(text).map_err(|_| member)?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }
}

/// Where a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutAt {
    /// Before the request takes effect.
    Before,
    /// After it took effect, without any answer.
    After,
    /// In the middle of the answer's body; of an upload, of the request's.
    Body,
}

/// After what nothing more comes, on a connection that stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StallAt {
    /// Before the request takes effect.
    Before,
    /// After it took effect, behind the headers of the answer.
    Headers,
    /// In the middle of the answer's body; of an upload, of the request's.
    Body,
}

/// How an accepted `sendmessage` is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentAs {
    /// With the id alone.
    NoRet,
    /// With the id as a string.
    StringId,
    /// With an empty object.
    Empty,
    /// As accepted, and no phone shows it.
    BlackHole,
}

/// Which references to a file are given: a parameter for the CDN, a whole URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// The parameter alone.
    Param,
    /// The URL alone.
    FullUrl,
    /// Both.
    Both,
    /// None.
    Neither,
}

impl Reference {
    pub(crate) fn has_param(self) -> bool {
        matches!(self, Reference::Param | Reference::Both)
    }

    pub(crate) fn has_full_url(self) -> bool {
        matches!(self, Reference::FullUrl | Reference::Both)
    }
}

/// What `getuploadurl` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadUrl {
    pub(crate) reference: Reference,
    /// Instead of the true one.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownloadAs {
    WrongKey,
    BadPadding,
    /// So many bytes follow.
    Extra(u64),
}
