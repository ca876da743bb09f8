//! `get_bot_qrcode` and `get_qrcode_status`: the two requests of a client that has no bot yet.

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use serde_json::{Map, Value, json};

use crate::body::{AnswerBody, Cut};
use crate::ilink::call::Call;
use crate::ilink::endpoint::Endpoint;
use crate::ilink::refusals::INVALID;
use crate::ilink::rules::{LoginBaseUrl, LoginRules};
use crate::ilink::state::{Confirmed, ServerState, Session, Status};
use crate::ilink::strict;
use crate::query::{names, parameter};
use crate::sync::lock;

/// Tokens that a client may name.
const TOKENS: usize = 10;
/// The answer to tokens that are not taken.
const TOKENS_REFUSED: &str = r#"{"ret":-1,"errmsg":"invalid token"}"#;
/// The answer to another kind of bot.
const OTHER_TYPE: &str = r#"{"ret":2}"#;

/// Answers a request of the login, as far as its fault allows.
pub(crate) async fn answer(mut call: Call, head: &Parts) -> Result<Response<AnswerBody>, Cut> {
    let server = call.server.clone();
    let query = head.uri.query();
    let body = match call.body.is_empty() {
        true => json!({}),
        false => serde_json::from_slice(&call.body).unwrap_or(Value::Null),
    };
    let is_status = call.endpoint == Endpoint::GetQrcodeStatus;
    if is_status {
        // What the wire log is to show.
        call.body = known_parameters(query);
    }
    let _open = is_status.then(|| OpenPoll::new(&server));
    let (fault, edge, is_strict) = {
        let mut rules = lock(&server.rules);
        (rules.fault(call.endpoint), rules.edge, rules.strict)
    };
    {
        let mut counters = lock(&server.login.counters);
        *match is_status {
            true => &mut counters.status_polls,
            false => &mut counters.qr_codes,
        } += 1;
    }
    if is_strict {
        let (method, headers) = (&head.method, &head.headers);
        for sentence in strict::login(call.endpoint, method, headers, query, &body) {
            violation(&server, call.endpoint, &sentence);
        }
    }
    server.changed.notify_waiters();
    let host = call.host.as_deref().unwrap_or_default();
    let effect = async {
        match is_status {
            true => get_qrcode_status(&server, query, host).await,
            false => get_bot_qrcode(&server, query, &body),
        }
    };
    let fault = fault.unwrap_or_default();
    call.perform(None, fault, edge, effect).await
}

fn get_bot_qrcode(server: &ServerState, query: Option<&str>, body: &Value) -> String {
    if parameter(query, "bot_type") != "3" {
        return OTHER_TYPE.to_owned();
    }
    let mut tokens = match tokens(body) {
        Ok(tokens) => tokens,
        Err(sentence) => {
            violation(server, Endpoint::GetBotQrcode, sentence);
            return INVALID.to_owned();
        }
    };
    let rules = lock(&server.rules).login.clone();
    if rules.refuses_tokens && !tokens.is_empty() {
        return TOKENS_REFUSED.to_owned();
    }
    // Others never become a bot's.
    tokens.retain(|token| server.bot_of_token(token).is_some());
    let session = Session::new(server, &rules, tokens);
    let answer = json!({"qrcode": session.qrcode, "qrcode_img_content": session.url});
    lock(&server.login.codes).add(session);
    answer.to_string()
}

/// The tokens that the client says to have.
fn tokens(body: &Value) -> Result<Vec<String>, &'static str> {
    let body = body.as_object().ok_or("the body is no JSON object")?;
    let list = match body.get("local_token_list") {
        None => return Ok(Vec::new()),
        Some(list) => list.as_array().ok_or("local_token_list is no list")?,
    };
    if list.len() > TOKENS {
        return Err("local_token_list has more than 10 tokens");
    }
    let tokens = list.iter().map(|token| token.as_str().map(str::to_owned));
    let tokens: Option<Vec<String>> = tokens.collect();
    tokens.ok_or("local_token_list holds something else than strings")
}

/// Waits while nobody has scanned the code, at most for the hold.
async fn get_qrcode_status(server: &ServerState, query: Option<&str>, host: &str) -> String {
    let qrcode = parameter(query, "qrcode");
    let digits = parameter(query, "verify_code");
    let began = server.clock.elapsed();
    let mut first = true;
    loop {
        let changed = server.login.changed.notified();
        tokio::pin!(changed);
        // Registered before the look, so that an act in between is not missed.
        changed.as_mut().enable();
        let rules = lock(&server.rules).login.clone();
        let (status, due) = {
            let mut codes = lock(&server.login.codes);
            match codes.find(&qrcode) {
                None => (Status::Expired, began),
                Some(session) => {
                    session.catch_up(server, &rules);
                    if first && !digits.is_empty() && !session.asks() {
                        let sentence = "verify_code is sent for a QR code that asks for none";
                        violation(server, Endpoint::GetQrcodeStatus, sentence);
                    }
                    let status = session.look(server, &rules, host, &digits);
                    (status, session.due(&rules))
                }
            }
        };
        let deadline = began.saturating_add(rules.hold);
        if !matches!(status, Status::Wait) || server.clock.elapsed() >= deadline {
            return rendered(server, &rules, status);
        }
        first = false;
        tokio::select! {
            () = changed => {}
            () = server.clock.sleep_until(deadline.min(due)) => {}
        }
    }
}

fn rendered(server: &ServerState, rules: &LoginRules, status: Status) -> String {
    let mut answer = json!({"status": status.name()});
    match status {
        Status::Redirected(Some(host)) => answer["redirect_host"] = host.into(),
        Status::Confirmed(Confirmed { bot, token, user }) => {
            answer["bot_token"] = token.into();
            answer["ilink_bot_id"] = (*bot.account).into();
            answer["ilink_user_id"] = user.into();
            match &rules.base_url {
                LoginBaseUrl::Own => {
                    answer["baseurl"] = format!("http://{}", server.address_to_call()).into()
                }
                LoginBaseUrl::Absent => {}
                LoginBaseUrl::Given(url) => answer["baseurl"] = url.as_str().into(),
            }
        }
        _ => {}
    }
    answer.to_string()
}

/// The parameters of a status poll, as JSON.
fn known_parameters(query: Option<&str>) -> Bytes {
    let known = |name: &&str| ["qrcode", "verify_code"].contains(name);
    let values = names(query).filter(known);
    let values = values.map(|name| (name.to_owned(), parameter(query, name).into()));
    let values: Map<String, Value> = values.collect();
    Value::Object(values).to_string().into()
}

fn violation(server: &ServerState, endpoint: Endpoint, sentence: &str) {
    server.violation(format!("{}: {sentence}", endpoint.name()));
}

/// A status poll that is open, for the counters; a client that goes away closes it.
struct OpenPoll<'a>(&'a ServerState);

impl<'a> OpenPoll<'a> {
    fn new(server: &'a ServerState) -> OpenPoll<'a> {
        lock(&server.login.counters).status_polls_open += 1;
        OpenPoll(server)
    }
}

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        lock(&self.0.login.counters).status_polls_open -= 1;
        self.0.changed.notify_waiters();
    }
}
