//! The control paths beside the iLink ones, for this machine only, and for who has their token: each
//! request brings `Authorization: Bearer TOKEN`.
//!
//! | request | answer |
//! |---|---|
//! | `POST /sim/messages` | a person speaks: `{"text"}`, `{"user", "text"}`, `{"user", "items": […]}`, `{"user", "files": […]}` with `"text"` or without, or `{"raw": any JSON}`; `"account"` names another bot. The stored message |
//! | `POST /sim/files?name=…` | a person sends the file that is the body, 1 GiB at most; `user`, `account`, `kind`, `mime`, `transcript` and a `text` before it may be in the query, too. The stored message |
//! | `GET /sim/messages` | what the phones show, as [`Simulator::phone`](super::Simulator::phone) |
//! | `POST /sim/login` | a person deals with a QR code, see below. The code, as in the list |
//! | `GET /sim/login` | the QR codes, oldest first: `{"qrcode", "url", "status", "user", "digits", "account", "until_ms"}` |
//! | `POST /sim/faults` | switches rules and faults, as [`super::faults`] has them; `{}` |
//! | `POST /sim/clock` | `{"advance_ms"}` moves the clock; `{"now_ms"}` |
//! | `GET /sim/log` | the wire, as [`Simulator::log`](super::Simulator::log) |
//! | `GET /sim/violations` | a list of sentences |
//!
//! A file is `{"kind"?, "name"?, "mime"?, "transcript"?}` with `"data"` (base64, 3 MB at most) or
//! `"size"` with a `"seed"` or without (bytes that are made up). `kind` is `image`, `voice`, `video` or
//! `file`; without it `mime` or the name tells. All files of a request are items of one message. Files of
//! this machine are never named, and a body that brings one is not kept in memory.
//!
//! What a person does with a QR code is `{"do", "qrcode"?, "user"?}`. Without `qrcode`, which may
//! be the value or the URL that the code shows, it is the newest; without `user` it is who scanned
//! it, else the default person. `do` is
//!
//! - `"scan"`; with `"digits": true` the phone shows digits, told as `digits` in the answer, that
//!   the client must send;
//! - `"redirect"`: the client is sent to another host, `"host"`: any string, `null` for none, and
//!   this server without it. Until it polls there, it is told nothing else;
//! - `"confirm"`: a new bot, `account` in the answer. The person's bot before is stale from now on;
//! - `"bound"`: the login ends, because this client has the person's live bot. A scan does so by
//!   itself when `local_token_list` has that bot's token;
//! - `"block"`, as too many wrong digits do;
//! - `"expire"`, as time does, and as when the person declines;
//! - `"elsewhere"`: without a QR code, the person binds a bot with another client.
//!
//! `redirect`, `confirm` and `bound` also scan a code that nobody has scanned.
//!
//! What is wrong with a request is told in `{"error": "a sentence"}`, with 400, 404, 405 or 413; 401 is a
//! wrong token, and 403 another machine, or a web page.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::account::Bot;
use super::content::NotReceived;
use super::query::{names, parameter};
use super::{Content, DEFAULT_USER, File, ServerState, files, lock, login, people};
use gateway_listener::Received;

/// A clock moved further could overflow.
const CENTURY_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

type Problem = (StatusCode, String);

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
            server.switch(&Value::Object(object(body)?)).map_err(bad)?;
            Ok(json!({}))
        }
        ("clock", "POST") => {
            let advance = object(body)?.get("advance_ms").and_then(Value::as_u64);
            let advance = advance.filter(|advance| *advance <= CENTURY_MS).ok_or_else(|| {
                bad("`advance_ms` must be milliseconds, from 0 to a hundred years.".to_owned())
            })?;
            server.clock.advance(Duration::from_millis(advance));
            Ok(json!({"now_ms": server.clock.unix_ms()}))
        }
        ("log", "GET") => Ok(server.wire.entries().into()),
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

fn speak(server: &ServerState, request: &Map<String, Value>) -> Result<Value, Problem> {
    if let Some(unknown) = request
        .keys()
        .find(|key| !["account", "user", "text", "items", "files", "raw"].contains(&key.as_str()))
    {
        return Err(bad(format!("`{unknown}` is no member of a message.")));
    }
    let user = match request.get("user") {
        None => DEFAULT_USER,
        Some(user) => user
            .as_str()
            .filter(|user| !user.is_empty())
            .ok_or_else(|| bad("`user` must be a person's id.".to_owned()))?,
    };
    let bot = addressed(server, request.get("account"), user)?;
    let items = match (
        request.get("text"),
        request.get("items"),
        request.get("files"),
        request.get("raw"),
    ) {
        (Some(Value::String(text)), None, None, None) => vec![people::text_item(text)],
        (None, Some(Value::Array(items)), None, None) => items.clone(),
        (None | Some(Value::String(_)), None, Some(Value::Array(list)), None) => {
            // All are read before one is placed, so that a mistake changes nothing.
            let read: Result<Vec<File>, String> = list.iter().map(File::read).collect();
            let read = read.map_err(bad)?;
            let text = request.get("text").and_then(Value::as_str);
            let placed = read.iter().map(|file| files::place(server, &bot, file));
            text.map(people::text_item)
                .into_iter()
                .chain(placed)
                .collect()
        }
        (None, None, None, Some(raw)) => {
            people::store_raw(server, &bot, raw);
            return Ok(raw.clone());
        }
        _ => {
            return Err(bad(
                "Exactly one of `text` (a string), `items` (a list), `files` (a \
                            list, with `text` or without) and `raw` must be given."
                    .to_owned(),
            ));
        }
    };
    Ok(people::store(server, &bot, user, items))
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
    let account = given("account").map(Value::from);
    let bot = addressed(server, account.as_ref(), &user)?;
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
    let placed = files::place(server, &bot, &File { content, ..file });
    let text = given("text").map(|text| people::text_item(&text));
    let items = text.into_iter().chain([placed]).collect();
    Ok(people::store(server, &bot, &user, items))
}

/// The account that is named, or the one that this person writes to.
fn addressed(
    server: &ServerState,
    account: Option<&Value>,
    user: &str,
) -> Result<Arc<Bot>, Problem> {
    match account {
        None => Ok(server.bot_of(user)),
        Some(account) => account
            .as_str()
            .and_then(|account_id| server.bot(account_id))
            .ok_or_else(|| bad(format!("There is no account {account}."))),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(bad("The body must be a JSON object.".to_owned())),
        Err(error) => Err(bad(format!("The body is no JSON: {error}."))),
    }
}

fn bad(sentence: String) -> Problem {
    (StatusCode::BAD_REQUEST, sentence)
}

#[cfg(test)]
mod tests {
    use super::super::client::{Client, strict_simulator, texts};
    use super::*;

    #[tokio::test]
    async fn a_person_speaks_over_http() {
        let simulator = strict_simulator().await;
        simulator.add_account("0123456789ab@im.bot");
        let client = Client::new(&simulator);
        let post = |body| client.control(Method::POST, "/sim/messages", body);
        let (status, message) = post(json!({"text": "hello"})).await;
        assert_eq!(
            (status, &message["from_user_id"]),
            (200, &json!(DEFAULT_USER))
        );
        assert!(message["message_id"].is_u64());
        let items = json!([{"type": 1, "text_item": {"text": "from bob"}}]);
        assert_eq!(
            post(json!({"user": "bob@im.wechat", "items": items}))
                .await
                .0,
            200
        );
        assert_eq!(post(json!({"raw": null})).await, (200, json!(null)));
        let elsewhere = json!({"account": "0123456789ab@im.bot", "text": "elsewhere"});
        assert_eq!(post(elsewhere).await.0, 200);
        assert_eq!(texts(&client.poll("").await), ["hello", "from bob"]);
        let (_, phone) = client
            .control(Method::GET, "/sim/messages", json!(null))
            .await;
        assert_eq!(phone, Value::from(simulator.phone()));
        assert_eq!(phone.as_array().map(Vec::len), Some(3));
    }

    #[tokio::test]
    async fn a_person_sends_files_over_http() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        let files = json!([
            {"data": "YWJj", "name": "a.png"},
            {"data": "YWJj", "name": "note.txt"},
            {"size": 100_000, "seed": 3, "kind": "voice", "transcript": "hello"},
        ]);
        let body = json!({"text": "look", "files": files});
        let (status, message) = client.control(Method::POST, "/sim/messages", body).await;
        let items = &message["item_list"];
        assert_eq!((status, items.as_array().map(Vec::len)), (200, Some(4)));
        assert_eq!(items[0]["text_item"]["text"], "look");
        assert!(items[1]["image_item"]["aeskey"].is_string());
        assert_eq!(items[2]["file_item"]["file_name"], "note.txt");
        assert_eq!(items[2]["file_item"]["len"], "3");
        assert_eq!(items[3]["voice_item"]["text"], "hello");
        let phone = simulator.phone();
        assert_eq!(phone[1]["item"]["name"], "a.png");
        assert_eq!(phone[3]["item"]["size"], 100_000);
        let body = json!({"files": [{"data": "YWJj"}, {"data": "?"}]});
        let (status, answer) = client.control(Method::POST, "/sim/messages", body).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!(simulator.phone().len(), 4);
    }

    #[tokio::test]
    async fn a_file_is_the_body_and_never_a_path() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        // Larger than a body of JSON may be.
        let content: Vec<u8> = (0..5_000_000_u32)
            .map(|index| (index % 251) as u8)
            .collect();
        let post = async |query: &str, content: Vec<u8>| {
            let url = format!("{}/sim/files{query}", client.base_url);
            let headers = client.control_headers();
            let answer = client.fetch(Method::POST, &url, headers, content).await;
            let (head, body) = answer.unwrap().into_parts();
            let body: Value = serde_json::from_slice(&body).unwrap();
            (head.status.as_u16(), body)
        };
        let query = "?user=bob&name=re%20port.pdf&text=look+here";
        let (status, message) = post(query, content.clone()).await;
        assert_eq!((status, &message["from_user_id"]), (200, &json!("bob")));
        let items = &message["item_list"];
        assert_eq!(items[0]["text_item"]["text"], "look here");
        let file = &items[1]["file_item"];
        assert_eq!(
            (&file["file_name"], &file["len"]),
            (&json!("re port.pdf"), &json!("5000000"))
        );
        let url = file["media"]["full_url"].as_str().unwrap();
        let sealed = client.download(url).await.unwrap();
        assert_eq!(sealed.body().len(), 5_000_016);
        assert_eq!(file["md5"], Content::bytes(content).md5());
        let (status, message) = post("?kind=image", b"abc".to_vec()).await;
        assert_eq!(status, 200);
        assert!(message["item_list"][0]["image_item"].is_object());
        for (query, named) in [
            ("?path=/etc/passwd", "path"),
            ("?kind=picture", "kind"),
            ("?account=nobody", "nobody"),
            ("?nam=x", "nam"),
        ] {
            let (status, answer) = post(query, b"abc".to_vec()).await;
            assert_eq!(status, 400, "{query}");
            assert!(
                answer["error"].as_str().unwrap().contains(named),
                "{answer}"
            );
        }
        // What was the way to read a file of this machine.
        let path = json!({"files": [{"path": "/etc/passwd"}]});
        let (status, answer) = client.control(Method::POST, "/sim/messages", path).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!(simulator.phone().len(), 3);
    }

    #[tokio::test]
    async fn faults_clock_log_and_violations_are_at_hand() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        let fault = json!({"getconfig": {"ret": -1, "times": 1}});
        assert_eq!(
            client.control(Method::POST, "/sim/faults", fault).await,
            (200, json!({}))
        );
        assert_eq!(
            client
                .call("getconfig", json!({"ilink_user_id": "a"}))
                .await["ret"],
            -1
        );
        let before = simulator.first().server.clock.unix_ms();
        let advance = json!({"advance_ms": 86_400_000});
        let (_, now) = client.control(Method::POST, "/sim/clock", advance).await;
        assert!(now["now_ms"].as_u64() >= Some(before + 86_400_000));
        let (_, log) = client.control(Method::GET, "/sim/log", json!(null)).await;
        assert_eq!(log[0]["endpoint"], "getconfig");
        assert_eq!(log[0]["response"], json!({"ret": -1}));
        let violations = client
            .control(Method::GET, "/sim/violations", json!(null))
            .await;
        assert_eq!(violations, (200, json!([])));
    }

    #[tokio::test]
    async fn mistakes_are_answered_with_a_sentence() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        for (method, path, body, status) in [
            (Method::POST, "/sim/messages", json!({}), 400),
            (Method::POST, "/sim/messages", json!({"text": 3}), 400),
            (
                Method::POST,
                "/sim/messages",
                json!({"text": "a", "items": []}),
                400,
            ),
            (
                Method::POST,
                "/sim/messages",
                json!({"text": "a", "user": ""}),
                400,
            ),
            (
                Method::POST,
                "/sim/messages",
                json!({"text": "a", "account": "x"}),
                400,
            ),
            (
                Method::POST,
                "/sim/messages",
                json!({"text": "a", "usr": "x"}),
                400,
            ),
            (Method::POST, "/sim/messages", json!(null), 400),
            (Method::POST, "/sim/faults", json!({"nothing": 1}), 400),
            (
                Method::POST,
                "/sim/faults",
                json!({"account": "x", "batch": 1}),
                400,
            ),
            (Method::POST, "/sim/faults", json!([]), 400),
            (Method::POST, "/sim/clock", json!({"advance_ms": -1}), 400),
            (
                Method::POST,
                "/sim/clock",
                json!({"advance_ms": u64::MAX}),
                400,
            ),
            (Method::GET, "/sim/faults", json!(null), 405),
            (Method::GET, "/sim/files", json!(null), 405),
            (Method::GET, "/sim/", json!(null), 404),
            (Method::GET, "/sim/other", json!(null), 404),
            (Method::GET, "/", json!(null), 404),
            (Method::GET, "/ilink/bot/getupdates", json!(null), 405),
        ] {
            let (got, answer) = client.control(method, path, body.clone()).await;
            assert_eq!(got, status, "{path} {body}: {answer}");
            assert!(
                answer["error"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.')),
                "{answer}"
            );
        }
        assert!(simulator.phone().is_empty());
    }
}
