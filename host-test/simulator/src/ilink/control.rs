//! The control paths beside the iLink ones. They take requests of this machine only, and each
//! request brings `Authorization: Bearer TOKEN`.
//!
//! | request | answer |
//! |---|---|
//! | `POST /sim/messages` | a person speaks: `{"text"}`, `{"user", "text"}`, `{"user", "items": […]}`, `{"user", "files": […]}` with `"text"` or without, or `{"raw": any JSON}`; `"account"` names another bot. The stored message |
//! | `POST /sim/files?name=…` | a person sends the file that is the body, 1 GiB at most; `user`, `account`, `kind`, `mime`, `transcript` and a `text` before it may be in the query, too. The stored message |
//! | `GET /sim/messages` | what the phones show, as [`Simulator::phone`](super::Simulator::phone) |
//! | `POST /sim/login` | a person deals with a QR code, see below. The code, as in the list |
//! | `GET /sim/login` | the QR codes, oldest first: `{"qrcode", "url", "status", "user", "digits", "account", "until_ms"}` |
//! | `POST /sim/faults` | switches rules and faults, as [`super::rules`] has them; `{}` |
//! | `POST /sim/clock` | `{"advance_ms"}` moves the clock; `{"now_ms"}` |
//! | `GET /sim/log` | the wire, as [`Simulator::log`](super::Simulator::log) |
//! | `GET /sim/violations` | a list of sentences |
//!
//! A file is `{"kind"?, "name"?, "mime"?, "transcript"?}` with `"data"` (base64, 3 MB at most) or
//! `"size"` with a `"seed"` or without (bytes that are made up). `kind` is `image`, `voice`, `video` or
//! `file`; without it, the simulator derives it from `mime` or the name. All files of a request are items of one message. Files of
//! this machine are never named, and a body that brings one is not kept in memory.
//!
//! What a person does with a QR code is `{"do", "qrcode"?, "user"?}`. Without `qrcode`, which may
//! be the value or the URL that the code shows, it is the newest; without `user` it is who scanned
//! it, else the default person. `do` is
//!
//! - `"scan"`; with `"digits": true` the phone shows digits that the client must send. They are
//!   `digits` in the answer;
//! - `"redirect"`: the client is sent to another host, `"host"`: any string, `null` for none, and
//!   this server without it. Until it polls there, it gets no other answer;
//! - `"confirm"`: a new bot, `account` in the answer. The person's bot before is stale from now on;
//! - `"bound"`: the login ends, because this client has the person's live bot. A scan does so by
//!   itself when `local_token_list` has that bot's token;
//! - `"block"`, as too many wrong digits do;
//! - `"expire"`, as time does, and as when the person declines;
//! - `"elsewhere"`: without a QR code, the person binds a bot with another client.
//!
//! `redirect`, `confirm` and `bound` also scan a code that nobody has scanned.
//!
//! The answer to a mistake is `{"error": "a sentence"}` with 400, 404, 405 or 413. A wrong token gets
//! 401. A request of another machine or of a web page gets 403.

use std::sync::Arc;

use gateway_listener::Received;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::content::{Content, NotReceived};
use super::files::{self, File};
use super::rules::RuleChanges;
use super::state::{Bot, ServerState};
use super::{DEFAULT_USER, login, people};
use crate::controlled::{self, Problem, bad, object};
use crate::json::{self, Member};
use crate::query::{names, parameter};
use crate::sync::lock;

/// Answers the control path after `/sim/`.
pub(super) fn answer(
    server: &ServerState,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Value, Problem> {
    match (path, method.as_str()) {
        ("messages", "GET") => Ok(lock(&server.phone).iter().cloned().collect()),
        ("messages", "POST") => speak(server, &object(body)?),
        ("login", "GET") => Ok(login::list(server)),
        ("login", "POST") => login::control(server, &object(body)?).map_err(bad),
        ("faults", "POST") => {
            let changes = RuleChanges::read(&object(body)?).map_err(bad)?;
            server.change(&changes).map_err(bad)?;
            Ok(json!({}))
        }
        ("clock", "POST") => controlled::advance(&server.clock, body),
        ("log", "GET") => Ok(server.wire_log.entries().into()),
        ("violations", "GET") => Ok(lock(&server.violations).clone().into()),
        ("messages" | "files" | "login" | "faults" | "clock" | "log" | "violations", _) => {
            Err((StatusCode::METHOD_NOT_ALLOWED, format!("/sim/{path} does not take {method}.")))
        }
        _ => Err((
            StatusCode::NOT_FOUND,
            "The control paths are /sim/messages, /sim/files, /sim/login, /sim/faults, /sim/clock, /sim/log and /sim/violations.".to_owned(),
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
struct SpeakRequest {
    #[serde(default)]
    account: Member<String>,
    #[serde(default)]
    user: Member<String>,
    #[serde(default)]
    text: Member<String>,
    #[serde(default)]
    items: Member<Vec<Value>>,
    #[serde(default)]
    files: Member<Vec<File>>,
    #[serde(default)]
    raw: Member<Value>,
}

fn speak(server: &ServerState, request: &Value) -> Result<Value, Problem> {
    // All files are read before one is placed, so that a mistake changes nothing.
    let request: SpeakRequest = json::read(request).map_err(bad)?;
    let user = request.user.given();
    let user = user.unwrap_or_else(|| DEFAULT_USER.to_owned());
    if user.is_empty() {
        return Err(bad("`user` must be a person's id."));
    }
    let bot = addressed(server, request.account.given().as_deref(), &user)?;
    let text = request.text.given().map(|text| people::text_item(&text));
    let content = (
        request.items.given(),
        request.files.given(),
        request.raw.given(),
    );
    let items = match (text, content) {
        (Some(text), (None, None, None)) => vec![text],
        (None, (Some(items), None, None)) => items,
        (text, (None, Some(files), None)) => {
            let placed = files.iter().map(|file| files::store(server, &bot, file));
            text.into_iter().chain(placed).collect()
        }
        (None, (None, None, Some(raw))) => {
            people::store_raw(server, &bot, &raw);
            return Ok(raw);
        }
        _ => {
            return Err(bad(
                "Exactly one of `text` (a string), `items` (a list), `files` (a list, with `text` \
                 or without) and `raw` must be given.",
            ));
        }
    };
    Ok(people::store(server, &bot, &user, items))
}

/// Answers `POST /sim/files`: the body is the file.
pub(super) async fn take_file(
    server: &ServerState,
    query: Option<&str>,
    body: Received,
) -> Result<Value, Problem> {
    let known = [
        "account",
        "user",
        "text",
        "name",
        "kind",
        "mime",
        "transcript",
    ];
    if let Some(unknown) = names(query).find(|name| !known.contains(name)) {
        return Err(bad(format!("`{unknown}` is no parameter of a file.")));
    }
    let given = |name: &str| Some(parameter(query, name)).filter(|value| !value.is_empty());
    let user = given("user").unwrap_or_else(|| DEFAULT_USER.to_owned());
    let bot = addressed(server, given("account").as_deref(), &user)?;
    let file = File::of_query(query).map_err(bad)?;
    let content = Content::received(body, files::LARGEST).await;
    let content = content.map_err(|why| match why {
        NotReceived::TooLarge => {
            let sentence = "A file must have 1 GiB at most.".to_owned();
            (StatusCode::PAYLOAD_TOO_LARGE, sentence)
        }
        NotReceived::BrokeOff => bad("The body broke off.".to_owned()),
        NotReceived::Disk(error) => {
            let sentence = format!("The file can't be kept: {error}.");
            (StatusCode::INTERNAL_SERVER_ERROR, sentence)
        }
    })?;
    let placed = files::store(server, &bot, &File { content, ..file });
    let text = given("text").map(|text| people::text_item(&text));
    let items = text.into_iter().chain([placed]).collect();
    Ok(people::store(server, &bot, &user, items))
}

/// The account that is named, or the one that this person writes to.
fn addressed(server: &ServerState, account: Option<&str>, user: &str) -> Result<Arc<Bot>, Problem> {
    match account {
        None => Ok(server.bot_of(user)),
        Some(account) => server
            .bot(account)
            .ok_or_else(|| bad(format!("There is no account {account:?}."))),
    }
}
