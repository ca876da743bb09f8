//! A server like that of the Bot API, written from its documentation. It shares no type with the
//! channel.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use gateway_host::clock::Clock;
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::PATIENCE;

/// A token like those of real bots.
pub const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
/// Longest text of a message, in code units of UTF-16.
const MAX_TEXT: usize = 4096;
/// Updates of one answer at most.
const MAX_UPDATES: usize = 100;

/// The server; clones share it.
#[derive(Clone)]
pub struct BotApi {
    shared: Arc<Shared>,
    base_url: String,
    /// Ends the server with its last handle.
    _alive: Arc<Serving>,
}

struct Serving(tokio::task::JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    state: Mutex<BotState>,
    changes: watch::Sender<()>,
    clock: Clock,
}

/// What a person sees of the bot.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub chat: i64,
    pub text: String,
    pub entities: Value,
    pub answers: Option<i64>,
}

#[derive(Default)]
struct BotState {
    token: String,
    /// Updates that are not confirmed.
    updates: VecDeque<(i64, Value)>,
    last_update: i64,
    last_message: i64,
    messages: BTreeMap<i64, Value>,
    /// What is handed out counts as confirmed.
    forgets: bool,
    /// Methods that get no answer.
    stalled: BTreeSet<String>,
    shown: Vec<Shown>,
    /// By method, what is answered instead of the truth, and whether the request takes effect.
    faults: HashMap<String, VecDeque<Fault>>,
    /// By method, how often it was called.
    calls: HashMap<String, u64>,
    polls_open: u64,
    polls_answered: u64,
    /// Counts polls: a newer one ends those before it.
    poll: u64,
    /// What no client may do.
    violations: Vec<String>,
}

/// One answer that is not the true one.
#[derive(Clone)]
pub struct Fault {
    status: u16,
    body: String,
    takes_effect: bool,
}

impl Fault {
    /// Any status and body.
    pub fn page(status: u16, body: &str) -> Fault {
        Fault {
            status,
            body: body.to_owned(),
            takes_effect: false,
        }
    }

    /// An error of the Bot API.
    pub fn error(code: u16, description: &str) -> Fault {
        let body = json!({"ok": false, "error_code": code, "description": description});
        Fault::page(code, &body.to_string())
    }

    /// The error of a client that sends too much.
    pub fn retry_after(seconds: u64) -> Fault {
        let body = json!({
            "ok": false,
            "error_code": 429,
            "description": format!("Too Many Requests: retry after {seconds}"),
            "parameters": {"retry_after": seconds},
        });
        Fault::page(429, &body.to_string())
    }

    /// Somewhere else.
    pub fn redirect() -> Fault {
        Fault::page(302, "")
    }

    /// The request takes effect, and something on the way answers in the server's place.
    pub fn lost() -> Fault {
        Fault {
            takes_effect: true,
            ..Fault::page(502, "Bad Gateway")
        }
    }
}

impl BotApi {
    /// A server on a port of its own, which holds polls by this clock.
    pub async fn start(clock: Clock) -> BotApi {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let state = BotState {
            token: TOKEN.to_owned(),
            ..BotState::default()
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changes: watch::channel(()).0,
            clock,
        });
        let app = Router::new()
            .route("/{bot}/{method}", any(call))
            .with_state(Arc::clone(&shared));
        let serving = async move {
            let _ = axum::serve(listener, app).await;
        };
        BotApi {
            shared,
            base_url,
            _alive: Arc::new(Serving(tokio::spawn(serving))),
        }
    }

    pub fn base_url(&self) -> String {
        self.base_url.clone()
    }

    fn state(&self) -> MutexGuard<'_, BotState> {
        self.shared.state()
    }

    /// A person writes to the bot in private; the message's number.
    pub fn say(&self, person: i64, text: &str) -> i64 {
        let chat = json!({"id": person, "type": "private"});
        self.write(chat, person, json!({"text": text}))
    }

    /// A person writes in a group; the message's number.
    pub fn say_in_group(&self, group: i64, person: i64, text: &str) -> i64 {
        let chat = json!({"id": group, "type": "supergroup", "title": "Friends"});
        self.write(chat, person, json!({"text": text}))
    }

    /// A person answers a message in private; the new one's number.
    pub fn reply(&self, person: i64, text: &str, answered: i64) -> Option<i64> {
        let answered = self.message(answered)?;
        let chat = json!({"id": person, "type": "private"});
        let content = json!({"text": text, "reply_to_message": answered});
        Some(self.write(chat, person, content))
    }

    fn write(&self, chat: Value, person: i64, mut message: Value) -> i64 {
        let from = json!({"id": person, "is_bot": false, "first_name": "P", "language_code": "en"});
        message["from"] = from;
        message["chat"] = chat;
        message["date"] = self.shared.clock.unix().as_secs().into();
        self.shared.change(|state| {
            state.last_message += 1;
            let id = state.last_message;
            message["message_id"] = id.into();
            state.messages.insert(id, message.clone());
            state.hand_out(message);
            id
        })
    }

    /// A message that a person wrote.
    pub fn message(&self, number: i64) -> Option<Value> {
        self.state().messages.get(&number).cloned()
    }

    /// An update with this message, whatever it is.
    pub fn hand_out(&self, message: Value) {
        self.shared.change(|state| state.hand_out(message));
    }

    /// What is handed out counts as confirmed from now on, or does not any more.
    pub fn forget_handed_out(&self, is_on: bool) {
        self.shared.change(|state| state.forgets = is_on);
    }

    /// The next calls of a method get these answers.
    pub fn fail(&self, method: &str, faults: impl IntoIterator<Item = Fault>) {
        self.shared.change(|state| {
            let list = state.faults.entry(method.to_owned()).or_default();
            list.extend(faults);
        });
    }

    /// Calls get their true answers.
    pub fn heal(&self) {
        self.shared.change(|state| state.faults.clear());
    }

    /// Calls of a method get no answer and have no effect.
    pub fn stall(&self, method: &str, is_on: bool) {
        self.shared.change(|state| match is_on {
            true => state.stalled.insert(method.to_owned()),
            false => state.stalled.remove(method),
        });
    }

    /// The bot gets another token.
    pub fn set_token(&self, token: &str) {
        self.shared
            .change(|state| token.clone_into(&mut state.token));
    }

    /// What a person sees of the bot in a chat.
    pub fn shown(&self, chat: i64) -> Vec<Shown> {
        let state = self.state();
        let shown = state.shown.iter().filter(|shown| shown.chat == chat);
        shown.cloned().collect()
    }

    /// The texts of that.
    pub fn texts(&self, chat: i64) -> Vec<String> {
        let shown = self.shown(chat).into_iter();
        shown.map(|shown| shown.text).collect()
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> u64 {
        self.state().calls.get(method).copied().unwrap_or_default()
    }

    /// Polls that hang.
    pub fn polls_open(&self) -> u64 {
        self.state().polls_open
    }

    /// Polls that were answered.
    pub fn polls_answered(&self) -> u64 {
        self.state().polls_answered
    }

    /// What no client may do.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Waits until something is true.
    pub async fn wait_for(&self, mut is: impl FnMut(&BotApi) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        let waiting = async {
            while !is(self) {
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.expect("the condition did not come true");
    }
}

impl BotState {
    fn hand_out(&mut self, message: Value) {
        self.last_update += 1;
        let update = json!({"update_id": self.last_update, "message": message});
        self.updates.push_back((self.last_update, update));
    }

    /// The next updates, if there are any.
    fn take(&mut self) -> Option<Vec<Value>> {
        let updates = self.updates.iter().take(MAX_UPDATES);
        let found: Vec<Value> = updates.map(|(_, update)| update.clone()).collect();
        if self.forgets {
            self.updates.drain(..found.len());
        }
        (!found.is_empty()).then_some(found)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, BotState> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut BotState) -> T) -> T {
        let changed = change(&mut self.state());
        self.changes.send_replace(());
        changed
    }

    /// `getUpdates`: a newer call ends the one before it.
    async fn updates(&self, query: &str) -> Response {
        let offset: i64 = number(query, "offset");
        let timeout = Duration::from_secs(number(query, "timeout"));
        let own = self.change(|state| {
            state.updates.retain(|(id, _)| *id >= offset);
            state.poll += 1;
            state.polls_open += 1;
            state.poll
        });
        let _open = OpenPoll(self);
        let deadline = self.clock.elapsed().saturating_add(timeout);
        let mut changes = self.changes.subscribe();
        let updates = loop {
            {
                let mut state = self.state();
                if state.poll != own {
                    return error(409, "Conflict: terminated by other getUpdates request");
                }
                let found = state.take();
                let is_over = self.clock.elapsed() >= deadline;
                if found.is_some() || is_over {
                    break found.unwrap_or_default();
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = self.clock.sleep_until(deadline) => {}
            }
        };
        self.change(|state| state.polls_answered += 1);
        result(json!(updates))
    }

    fn send(&self, body: &Value) -> Response {
        let chat = match &body["chat_id"] {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        let (Some(chat), Some(text)) = (chat, body["text"].as_str()) else {
            return error(400, "Bad Request: chat not found");
        };
        let length = text.encode_utf16().count();
        if text.trim().is_empty() {
            return error(400, "Bad Request: message text is empty");
        }
        if length > MAX_TEXT {
            return error(400, "Bad Request: message is too long");
        }
        for entity in body["entities"].as_array().into_iter().flatten() {
            let place = entity["offset"].as_u64().zip(entity["length"].as_u64());
            if place.is_none_or(|(start, count)| start + count > length as u64) {
                return error(400, "Bad Request: an entity is out of the text");
            }
        }
        self.change(|state| {
            state.last_message += 1;
            state.shown.push(Shown {
                chat,
                text: text.to_owned(),
                entities: body["entities"].clone(),
                answers: body["reply_parameters"]["message_id"].as_i64(),
            });
            let id = state.last_message;
            result(json!({"message_id": id, "chat": {"id": chat}, "date": 1, "text": text}))
        })
    }
}

/// A poll that hangs, until it is answered or its client is gone.
struct OpenPoll<'a>(&'a Shared);

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.polls_open -= 1);
    }
}

async fn call(
    State(shared): State<Arc<Shared>>,
    Path((bot, method)): Path<(String, String)>,
    uri: Uri,
    body: Bytes,
) -> Response {
    if bot.strip_prefix("bot") != Some(shared.state().token.as_str()) {
        // Some servers repeat what they were asked.
        let mut response = error(401, &format!("Unauthorized: /{bot}/{method}"));
        let url = format!("/{bot}/{method}").parse().unwrap();
        response.headers_mut().insert("x-original-url", url);
        return response;
    }
    let (fault, is_stalled) = shared.change(|state| {
        *state.calls.entry(method.clone()).or_default() += 1;
        let faults = state.faults.get_mut(&method);
        let fault = faults.and_then(VecDeque::pop_front);
        (fault, state.stalled.contains(&method))
    });
    if is_stalled {
        std::future::pending::<()>().await;
    }
    if let Some(fault) = &fault
        && !fault.takes_effect
    {
        return fault.response();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let response = match method.as_str() {
        "getMe" => result(json!({"id": 1, "is_bot": true, "first_name": "B", "username": "b"})),
        "getUpdates" => shared.updates(uri.query().unwrap_or_default()).await,
        "sendMessage" => shared.send(&body),
        "sendChatAction" if body["action"] == "typing" => result(json!(true)),
        _ => {
            let violation = format!("the method {method} is called: {body}");
            shared.change(|state| state.violations.push(violation));
            error(404, "Not Found")
        }
    };
    match fault {
        Some(fault) => fault.response(),
        None => response,
    }
}

impl Fault {
    fn response(&self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap();
        let location = [(header::LOCATION, "https://elsewhere.example/")];
        match status.is_redirection() {
            true => (status, location).into_response(),
            false => (status, self.body.clone()).into_response(),
        }
    }
}

fn result(result: Value) -> Response {
    Json(json!({"ok": true, "result": result})).into_response()
}

fn error(code: u16, description: &str) -> Response {
    Fault::error(code, description).response()
}

/// A number of a query.
fn number<T: std::str::FromStr + Default>(query: &str, name: &str) -> T {
    let mut parameters = query.split('&').filter_map(|each| each.split_once('='));
    let value = parameters.find(|(key, _)| *key == name);
    value
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or_default()
}
