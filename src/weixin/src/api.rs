//! The endpoints: requests as values, and the one reading of all answers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::media::Handle;
use super::url_policy::percent_encoded;
use super::wire::{self, Object, Status};
use super::{CLIENT_VERSION, TOKEN_PLACEHOLDER, WeixinConfig};
use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::http::{Method, Request, Response, TransportError};
use gateway_channel_sdk::outbox::Outcome;
use gateway_channel_sdk::platform::{Part, PartContent, PollError, UnreadableAnswers, hold};

/// How long the server holds a poll until it says otherwise.
pub const DEFAULT_HOLD: Duration = Duration::from_secs(35);
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// What a transfer may take to begin or to go on.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
const SHORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The only kind of bot that the server makes a code for.
const BOT_TYPE: u8 = 3;

/// The answer by which the server refuses a token.
const SESSION_EXPIRED: i64 = -14;
/// The answer for a throttle, a used-up budget, a closed window or a stale context.
const REFUSED_FOR_NOW: i64 = -2;
/// Reported as a throttle by one bridge.
const RATE_LIMITED: i64 = -12;

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
    /// What the error means for a poll.
    pub fn into_poll_error(self) -> PollError {
        match &self {
            CallError::Transport(TransportError::TimedOut) => PollError::Silent,
            // Something between here and the server may have given up waiting.
            CallError::Http(502 | 504 | 524) => PollError::CutShort(self.into_error()),
            _ => PollError::Failed(self.into_error()),
        }
    }

    /// Whether the platform says that there is too much; its code alone may mean anything.
    fn is_throttle(&self) -> bool {
        let CallError::Refused(Status { errmsg, .. }) = self else {
            return false;
        };
        let errmsg = errmsg.as_deref().unwrap_or_default().to_ascii_lowercase();
        ["rate limit", "freq limit"]
            .iter()
            .any(|words| errmsg.contains(words))
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
            CallError::Refused(status) => {
                let kind = match status.code() {
                    SESSION_EXPIRED => ErrorKind::LoginRequired,
                    REFUSED_FOR_NOW | RATE_LIMITED => ErrorKind::RateLimited,
                    _ => ErrorKind::Forbidden,
                };
                Error::new(kind, message).with_platform(status.to_string())
            }
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::Transport(failure) => write!(f, "{failure}"),
            CallError::Http(status) => write!(f, "the server answered HTTP {status}"),
            CallError::Malformed(what) => write!(f, "the server's answer is {what}"),
            CallError::Refused(status) if status.is_session_expired() => write!(
                f,
                "WeChat refuses the bot's token ({status}): another client was probably bound by \
                 the same person; log in again"
            ),
            CallError::Refused(status) => write!(f, "WeChat refused ({status})"),
        }
    }
}

impl Status {
    /// The code that says most: `ret`, and `errcode` where that is zero.
    fn code(&self) -> i64 {
        if self.is_session_expired() {
            return SESSION_EXPIRED;
        }
        if self.ret == 0 {
            self.errcode
        } else {
            self.ret
        }
    }

    fn is_session_expired(&self) -> bool {
        self.ret == SESSION_EXPIRED || self.errcode == SESSION_EXPIRED
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ret={} errcode={}", self.ret, self.errcode)?;
        if let Some(errmsg) = &self.errmsg {
            write!(f, " errmsg={}", printable(errmsg))?;
        }
        Ok(())
    }
}

/// What the server sent, as text. Bytes that are no UTF-8 become U+FFFD.
fn body(answer: Result<Response, TransportError>) -> Result<String, CallError> {
    let response = answer.map_err(CallError::Transport)?;
    if !(200..300).contains(&response.status) {
        return Err(CallError::Http(response.status));
    }
    Ok(match String::from_utf8(response.body) {
        Ok(body) => body,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn refused(status: Status) -> Result<(), CallError> {
    if status.ret == 0 && status.errcode == 0 {
        Ok(())
    } else {
        Err(CallError::Refused(status))
    }
}

/// Reads any answer but that of a poll: HTTP status, then JSON, then `ret` and `errcode`, either of
/// which is zero when absent.
///
/// # Errors
/// All of [`CallError`].
pub fn read(answer: Result<Response, TransportError>) -> Result<Object, CallError> {
    let body = body(answer)?;
    let object = Object::parse(&body).ok_or(not_json(&body))?;
    refused(wire::status(&object))?;
    Ok(object)
}

fn not_json(body: &str) -> CallError {
    let start = body.trim_start();
    CallError::Malformed(if start.is_empty() {
        "empty"
    } else if start.starts_with('<') {
        "HTML instead of JSON: a proxy or a wrong base URL may be in the way"
    } else {
        "no whole JSON object"
    })
}

/// A poll that is given up after `wait`, which is no failure.
pub fn get_updates(config: &WeixinConfig, random: u64, cursor: &str, wait: Duration) -> Request {
    let body = wire::get_updates(cursor, &config.bot_agent);
    post(config, random, "getupdates", wait, &body)
}

/// Reads the answer to a poll.
///
/// # Errors
/// All of [`CallError`].
pub fn read_updates(
    answer: Result<Response, TransportError>,
    unreadable: &mut UnreadableAnswers,
) -> Result<wire::Updates, CallError> {
    let body = body(answer)?;
    let updates = match wire::updates(&body) {
        Some(updates) => {
            *unreadable = UnreadableAnswers::default();
            updates
        }
        None if unreadable.is_hopeless(&body) => {
            let updates = wire::salvage(&body).ok_or(not_json(&body))?;
            if updates.cursor.is_some() {
                *unreadable = UnreadableAnswers::default();
            }
            updates
        }
        None => return Err(not_json(&body)),
    };
    refused(updates.status.clone())?;
    Ok(updates)
}

/// One part of a post.
///
/// # Errors
/// `not-found` and `invalid` when a stored part holds no upload.
pub fn send_message(config: &WeixinConfig, random: u64, part: &Part<'_>) -> Result<Request, Error> {
    let item = match part.content {
        PartContent::Text(text) => wire::text_item(text),
        PartContent::Media(handle) => wire::media_item(&Handle::uploaded(handle)?.item()),
    };
    let body = wire::send_message(
        part.conversation,
        &item,
        part.client_id,
        part.reply_token,
        &config.bot_agent,
    );
    Ok(post(config, random, "sendmessage", SEND_TIMEOUT, &body))
}

/// Asks where an upload goes.
pub fn get_upload_url(
    config: &WeixinConfig,
    random: u64,
    upload: &wire::UploadRequest<'_>,
) -> Request {
    let body = wire::get_upload_url(upload, &config.bot_agent);
    post(config, random, "getuploadurl", SEND_TIMEOUT, &body)
}

/// The download of a piece of media, without any credential.
pub fn download(url: String) -> Request {
    Request {
        method: Method::Get,
        url,
        headers: Vec::new(),
        body: Vec::new(),
        timeout: TRANSFER_TIMEOUT,
    }
}

/// The upload of `padded_size` bytes that are streamed, without any credential.
pub fn upload(url: String, padded_size: u64) -> Request {
    Request {
        method: Method::Post,
        url,
        headers: vec![
            ("Content-Type", "application/octet-stream".to_owned()),
            ("Content-Length", padded_size.to_string()),
        ],
        body: Vec::new(),
        timeout: TRANSFER_TIMEOUT,
    }
}

/// What the CDN says about an upload: its ticket for downloads.
///
/// # Errors
/// `forbidden` for what is final, `transient` for what may pass.
pub fn uploaded(
    status: u16,
    ticket: Option<String>,
    message: Option<String>,
) -> Result<String, Error> {
    let why = message
        .map(|message| format!(": {}", printable(&message)))
        .unwrap_or_default();
    match (status, ticket.filter(|ticket| !ticket.is_empty())) {
        (200..=299, Some(ticket)) => Ok(ticket),
        (200..=299, None) => Err(Error::new(
            ErrorKind::Transient,
            "the media server took the upload and gave no ticket for it",
        )),
        (400..=499, _) => Err(Error::new(
            ErrorKind::Forbidden,
            format!("the media server refuses the upload with HTTP {status}{why}"),
        )),
        _ => Err(Error::new(
            ErrorKind::Transient,
            format!("the media server answered the upload with HTTP {status}{why}"),
        )),
    }
}

/// What the CDN says about a download.
///
/// # Errors
/// `transient` for 5xx, `forbidden` for anything else that is no success, redirects too.
pub fn opened(status: u16) -> Result<(), Error> {
    let message = format!("the media server answered the download with HTTP {status}");
    match status {
        200..=299 => Ok(()),
        500.. => Err(Error::new(ErrorKind::Transient, message)),
        _ => Err(Error::new(ErrorKind::Forbidden, message)),
    }
}

/// The start of a foreign text, fit for one line.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_control())
        .take(100)
        .collect()
}

/// What became of a part.
pub fn sent(answer: Result<Response, TransportError>) -> Outcome {
    match read(answer) {
        Ok(object) => Outcome::Accepted {
            message_id: wire::sent_message_id(&object),
        },
        Err(error) => {
            let is_throttle = error.is_throttle();
            let error = error.into_error();
            match error.kind {
                ErrorKind::RateLimited => Outcome::Declined { error, is_throttle },
                _ => Outcome::of(error),
            }
        }
    }
}

/// Asks for a typing ticket.
pub fn get_config(
    config: &WeixinConfig,
    random: u64,
    user: &str,
    context_token: Option<&str>,
) -> Request {
    let body = wire::get_config(user, context_token, &config.bot_agent);
    post(config, random, "getconfig", SHORT_TIMEOUT, &body)
}

/// Shows or ends the typing indicator.
pub fn send_typing(
    config: &WeixinConfig,
    random: u64,
    user: &str,
    ticket: &str,
    on: bool,
) -> Request {
    let body = wire::send_typing(user, ticket, on, &config.bot_agent);
    post(config, random, "sendtyping", SHORT_TIMEOUT, &body)
}

/// Announces the start.
pub fn notify_start(config: &WeixinConfig, random: u64) -> Request {
    let body = wire::notify(&config.bot_agent);
    post(config, random, "msg/notifystart", SHORT_TIMEOUT, &body)
}

/// Announces the stop.
pub fn notify_stop(config: &WeixinConfig, random: u64) -> Request {
    let body = wire::notify(&config.bot_agent);
    post(config, random, "msg/notifystop", SHORT_TIMEOUT, &body)
}

/// Asks for a code to be scanned, with the tokens that the host has or without. Always where the operator
/// says or the platform is, never where an earlier login led to.
pub fn get_bot_qrcode(base_url: &str, random: u64, with_tokens: bool) -> Request {
    let mut headers = app_headers();
    headers.extend([
        ("Content-Type", "application/json".to_owned()),
        ("AuthorizationType", "ilink_bot_token".to_owned()),
        ("X-WECHAT-UIN", wechat_uin(random)),
    ]);
    Request {
        method: Method::Post,
        url: format!("{base_url}ilink/bot/get_bot_qrcode?bot_type={BOT_TYPE}"),
        headers,
        body: wire::get_bot_qrcode(with_tokens.then_some(TOKEN_PLACEHOLDER))
            .to_string()
            .into_bytes(),
        timeout: SHORT_TIMEOUT,
    }
}

/// Asks how far a login has come; the server holds the answer.
pub fn get_qrcode_status(base_url: &str, qrcode: &str, verify_code: Option<&str>) -> Request {
    let mut url = format!(
        "{base_url}ilink/bot/get_qrcode_status?qrcode={}",
        percent_encoded(qrcode)
    );
    if let Some(code) = verify_code {
        url.push_str("&verify_code=");
        url.push_str(&percent_encoded(code));
    }
    Request {
        method: Method::Get,
        url,
        headers: app_headers(),
        body: Vec::new(),
        timeout: DEFAULT_HOLD + hold::MARGIN,
    }
}

fn app_headers() -> Vec<(&'static str, String)> {
    vec![
        ("iLink-App-Id", "bot".to_owned()),
        (
            "iLink-App-ClientVersion",
            app_client_version(CLIENT_VERSION).to_string(),
        ),
    ]
}

fn post(
    config: &WeixinConfig,
    random: u64,
    endpoint: &str,
    timeout: Duration,
    body: &Value,
) -> Request {
    let mut headers = app_headers();
    headers.extend([
        ("Content-Type", "application/json".to_owned()),
        ("AuthorizationType", "ilink_bot_token".to_owned()),
        ("Authorization", format!("Bearer {TOKEN_PLACEHOLDER}")),
        ("X-WECHAT-UIN", wechat_uin(random)),
    ]);
    Request {
        method: Method::Post,
        url: format!("{}ilink/bot/{endpoint}", config.base_url),
        headers,
        body: body.to_string().into_bytes(),
        timeout,
    }
}

/// Base64 of a random 32-bit number in decimal, new for each request.
fn wechat_uin(random: u64) -> String {
    STANDARD.encode((random >> 32).to_string())
}

/// `0x00MMNNPP` of a version; the leading digits of each part count.
fn app_client_version(version: &str) -> u32 {
    let mut parts = version.split('.').map(|part| {
        let digits = part.len()
            - part
                .trim_start_matches(|char: char| char.is_ascii_digit())
                .len();
        part.get(..digits)
            .and_then(|digits| digits.parse::<u32>().ok())
            .unwrap_or(0)
            & 0xff
    });
    let mut next = || parts.next().unwrap_or(0);
    (next() << 16) | (next() << 8) | next()
}

#[cfg(test)]
mod tests;
