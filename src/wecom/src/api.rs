//! The endpoints: requests as values, and the one reading of all answers.
//!
//! No request holds a credential: the query has `{{corp-secret}}` and `{{access-token}}`, percent-encoded,
//! each as the whole value of its parameter, and the host puts the values there.

use std::time::Duration;

use super::WecomConfig;
use super::errcode;
use super::media::{Handle, Multipart, multipart};
use super::query::encoded;
use super::wire::{self, Item, Object, Status};
use super::{SECRET_CREDENTIAL, TOKEN_CREDENTIAL};
use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::http::{Method, Request, Response, TransportError};
use gateway_channel_sdk::message::MediaKind;
use gateway_channel_sdk::outbox::Outcome;
use gateway_channel_sdk::platform::{Part, PartContent};
use gateway_channel_sdk::settings::Markdown;

const SHORT_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// What a transfer may take to begin or to go on.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an access token is valid where the platform does not say; its documentation says so.
const TOKEN_LIFE_S: u64 = 7200;
/// How far back the platform looks for a message that is perhaps sent again, in seconds. A longer time
/// would take an answer that is meant to be the same for a repeat, and swallow it.
const AGAIN_WITHIN_S: u64 = 120;
/// Longest id of a person, by the platform's documentation.
const MAX_USER_BYTES: usize = 64;

/// Why a call has no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// There is no answer.
    Transport(TransportError),
    /// The HTTP status is no success.
    Http(u16),
    /// The answer is not what this endpoint answers.
    Malformed(&'static str),
    /// The platform answered with a code.
    Refused(Status),
}

impl CallError {
    /// Whether the access token has to be renewed, and the call then repeated once.
    pub fn wants_new_token(&self) -> bool {
        matches!(self, CallError::Refused(status) if errcode::wants_new_token(status.errcode))
    }

    /// The error for a caller.
    pub fn into_error(self) -> Error {
        let message = self.to_string();
        match &self {
            CallError::Transport(TransportError::NotSent(_)) | CallError::Http(503 | 429) => {
                Error::new(ErrorKind::Transient, message)
            }
            CallError::Transport(_) | CallError::Http(500..) | CallError::Malformed(_) => {
                Error::new(ErrorKind::UnknownOutcome, message)
            }
            CallError::Http(_) => Error::new(ErrorKind::Forbidden, message),
            CallError::Refused(status) => Error::new(errcode::kind(status.errcode), message)
                .with_platform(errcode::platform(status)),
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::Transport(failure) => write!(f, "{failure}"),
            CallError::Http(status) => write!(f, "the server answered HTTP {status}"),
            CallError::Malformed(what) => write!(f, "the server's answer is {what}"),
            CallError::Refused(status) => f.write_str(&errcode::sentence(status)),
        }
    }
}

/// Reads any answer but the content of media: HTTP status, then JSON, then `errcode`.
///
/// # Errors
/// All of [`CallError`].
pub fn read(answer: Result<Response, TransportError>) -> Result<Object, CallError> {
    let response = answer.map_err(CallError::Transport)?;
    if !(200..300).contains(&response.status) {
        return Err(CallError::Http(response.status));
    }
    let start = response.body.trim_ascii_start();
    let object = Object::parse(start).ok_or(CallError::Malformed(if start.is_empty() {
        "empty"
    } else if start.starts_with(b"<") {
        "HTML instead of JSON: a proxy or a wrong base URL may be in the way"
    } else {
        "no whole JSON object"
    }))?;
    match wire::status(&object) {
        Status { errcode: 0, .. } => Ok(object),
        status => Err(CallError::Refused(status)),
    }
}

/// Asks for an access token; the host keeps the one in the answer.
pub fn get_token(config: &WecomConfig) -> Request {
    let url = format!(
        "{}cgi-bin/gettoken?corpid={}&corpsecret={}",
        config.base_url,
        encoded(&config.corp_id),
        placeholder(SECRET_CREDENTIAL)
    );
    request(Method::Get, url, SHORT_TIMEOUT)
}

/// How long the token is valid that the host was given.
///
/// # Errors
/// All of [`CallError`].
pub fn read_token(answer: Result<Response, TransportError>) -> Result<Duration, CallError> {
    let object = read(answer)?;
    if !wire::has_token(&object) {
        return Err(CallError::Malformed("without an access token"));
    }
    let seconds = wire::expires_in(&object).unwrap_or(TOKEN_LIFE_S);
    Ok(Duration::from_secs(seconds.min(TOKEN_LIFE_S)))
}

/// One part of a post.
///
/// # Errors
/// `not-found` and `invalid` when a stored part holds no upload, or the conversation is no person.
pub fn send_message(config: &WecomConfig, part: &Part<'_>) -> Result<Request, Error> {
    check_person(part.conversation)?;
    let uploaded;
    let item = match (part.content, part.markdown) {
        (PartContent::Text(text), Markdown::Plain) => Item::Text(text),
        (PartContent::Text(text), Markdown::Native) => Item::Markdown(text),
        (PartContent::Media(handle), _) => {
            uploaded = Handle::uploaded(handle)?;
            Item::Media {
                kind: uploaded.kind,
                media_id: &uploaded.media_id,
                name: &uploaded.name,
            }
        }
    };
    let again_within = part.is_again.then_some(AGAIN_WITHIN_S);
    let body = wire::message(part.conversation, config.agent_id, item, again_within);
    let mut request = request(
        Method::Post,
        with_token(config, "message/send", ""),
        SEND_TIMEOUT,
    );
    let json = "application/json".to_owned();
    request.headers.push(("Content-Type", json));
    request.body = body.to_string().into_bytes();
    Ok(request)
}

/// Only a person can be written to: `@all` would be everybody who sees the app, and `|` stands between
/// several.
///
/// # Errors
/// `invalid`.
pub fn check_person(user: &str) -> Result<(), Error> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-@.".contains(&byte);
    let starts_well = user.starts_with(|char: char| char.is_ascii_alphanumeric());
    if user.len() <= MAX_USER_BYTES && starts_well && user.bytes().all(is_name) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "the conversation is no person's id: it has 1 to 64 letters, digits and `_-@.`",
    ))
}

/// What became of a part.
pub fn sent(answer: Result<Response, TransportError>) -> Outcome {
    let error = match read(answer) {
        Ok(object) if wire::has_invalid_user(&object) => Error::new(
            ErrorKind::NotFound,
            "WeCom knows no such person, or the person may not see the app",
        ),
        Ok(object) if wire::has_unlicensed_user(&object) => Error::new(
            ErrorKind::Forbidden,
            "the person has no licence for the app",
        ),
        Ok(object) => {
            return Outcome::Accepted {
                message_id: wire::message_id(&object),
            };
        }
        Err(error) => error.into_error(),
    };
    Outcome::of(error)
}

/// An upload whose body is streamed: `body.head`, the file's bytes as they are, `body.tail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Without the body; with its type and its whole length.
    pub request: Request,
    /// What is before and behind the file.
    pub body: Multipart,
}

/// The upload of a file of `size` bytes as the `kind` that [`super::media::kind`] gave it.
pub fn upload(
    config: &WecomConfig,
    random: [u8; 16],
    kind: MediaKind,
    name: &str,
    mime: &str,
    size: u64,
) -> Upload {
    let body = multipart(random, name, mime, size);
    let kind = format!("&type={}", wire::media_type(kind));
    let url = with_token(config, "media/upload", &kind);
    let mut request = request(Method::Post, url, TRANSFER_TIMEOUT);
    request.headers = vec![
        ("Content-Type", body.content_type.clone()),
        ("Content-Length", body.length.to_string()),
    ];
    Upload { request, body }
}

/// The platform's id of an upload. Nothing was sent yet, so what has an unknown outcome may be tried
/// again.
///
/// # Errors
/// All of [`CallError`].
pub fn uploaded(answer: Result<Response, TransportError>) -> Result<String, CallError> {
    wire::media_id(&read(answer)?).ok_or(CallError::Malformed("without a media_id"))
}

/// The download of content that came with a message.
pub fn media_get(config: &WecomConfig, media_id: &str) -> Request {
    let media_id = format!("&media_id={}", encoded(media_id));
    let url = with_token(config, "media/get", &media_id);
    request(Method::Get, url, TRANSFER_TIMEOUT)
}

/// What the head of a download says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Download {
    /// The content follows.
    Content,
    /// A short JSON with the reason follows: give it to [`download_refused`].
    Refusal,
}

/// What follows the head of a download, from its status and its headers `Content-Type` and
/// `Content-Disposition`. A file that is JSON itself comes with a disposition, a refusal without one.
///
/// # Errors
/// `transient` for 5xx, `forbidden` for anything else that is no success.
pub fn opened(
    status: u16,
    content_type: Option<&str>,
    content_disposition: Option<&str>,
) -> Result<Download, Error> {
    if !(200..300).contains(&status) {
        let message = format!("the server answered the download with HTTP {status}");
        let kind = match status {
            500.. | 429 => ErrorKind::Transient,
            _ => ErrorKind::Forbidden,
        };
        return Err(Error::new(kind, message));
    }
    let mime = content_type.and_then(|mime| mime.split(';').next());
    let mime = mime.unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = mime == "text/plain" || mime.ends_with("json");
    Ok(match content_disposition {
        None if is_text => Download::Refusal,
        _ => Download::Content,
    })
}

/// Why there is no content: the whole answer behind [`Download::Refusal`].
pub fn download_refused(answer: Result<Response, TransportError>) -> CallError {
    match read(answer) {
        Ok(_) => CallError::Malformed("neither content nor a reason"),
        Err(error) => error,
    }
}

fn with_token(config: &WecomConfig, endpoint: &str, more: &str) -> String {
    let token = placeholder(TOKEN_CREDENTIAL);
    let base = &config.base_url;
    format!("{base}cgi-bin/{endpoint}?access_token={token}{more}")
}

/// What the host replaces. Braces have no place in a URL as they are.
fn placeholder(credential: &str) -> String {
    format!("%7B%7B{credential}%7D%7D")
}

fn request(method: Method, url: String, timeout: Duration) -> Request {
    Request {
        method,
        url,
        headers: Vec::new(),
        body: Vec::new(),
        timeout,
    }
}

#[cfg(test)]
mod tests;
