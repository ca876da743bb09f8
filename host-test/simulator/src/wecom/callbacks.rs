//! Callbacks on their way: sealed, posted, and posted again until they are answered.
//!
//! What a person writes goes out in order, one after the other; people do not wait for each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::rules::Odd;
use super::seal::Seal;
use super::state::{Callback, WecomState};
use super::xml::{element, envelope};
use crate::query::escaped;
use crate::sync::lock;

/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 256 * 1024;
const HOUR_S: u64 = 3600;
/// Bytes of a text that is not cut.
const TEXT_BYTES: usize = 2048;

/// A callback as it is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCallback {
    /// Without the question mark.
    pub query: String,
    /// XML.
    pub body: String,
}

/// Sends out what comes, until the senders are gone.
pub(super) async fn deliver_all(
    server: Arc<WecomState>,
    mut incoming: mpsc::UnboundedReceiver<Callback>,
) {
    let mut queues: HashMap<String, mpsc::UnboundedSender<Callback>> = HashMap::new();
    // Dropping the set ends what is in it.
    let mut running = JoinSet::new();
    while let Some(callback) = incoming.recv().await {
        let queue = queues.entry(callback.user.clone()).or_insert_with(|| {
            let (queue, mut waiting) = mpsc::unbounded_channel();
            let server = server.clone();
            running.spawn(async move {
                while let Some(callback) = waiting.recv().await {
                    deliver(&server, callback).await;
                }
            });
            queue
        });
        // The queue lives as long as its sender.
        let _ = queue.send(callback);
    }
}

async fn deliver(server: &WecomState, callback: Callback) {
    let odd = lock(&server.rules).odd();
    let mut left = server.rules().redeliveries;
    for delivery in 1u64.. {
        let began = server.clock.elapsed();
        let within = server.rules().answer_within;
        let url = lock(&server.records).callback_url.clone();
        lock(&server.records).counters.callbacks += 1;
        let answer = match url {
            None => Err("no callback URL is set".to_owned()),
            Some(url) => {
                let post = sealed(server, &callback.xml, odd);
                let exchange = exchange(server, Method::POST, &url, &post.query, post.body);
                tokio::select! {
                    answer = exchange => answer,
                    () = server.clock.sleep_until(began.saturating_add(within)) => {
                        Err("no answer in time".to_owned())
                    }
                }
            }
        };
        let is_answered = matches!(&answer, Ok((200, _)));
        let (status, body) = match &answer {
            Ok((status, body)) => (Some(*status), body.clone()),
            Err(_) => (None, Bytes::new()),
        };
        let entry = json!({
            "id": callback.id,
            "user": callback.user,
            "delivery": delivery,
            "status": status,
            "error": answer.err(),
            "reply": !body.is_empty(),
        });
        if is_answered {
            if odd != Some(Odd::Unanswered) {
                take_reply(server, &callback.user, &body);
            }
            let mut records = lock(&server.records);
            records.counters.answered += 1;
            records.answered.remember(callback.id.clone(), ());
        }
        server.note(entry, |records| &mut records.deliveries);
        match odd {
            Some(Odd::Duplicate) if is_answered && delivery == 1 => continue,
            Some(Odd::Unanswered) => {}
            _ if is_answered => return,
            _ => {}
        }
        if left == 0 {
            lock(&server.records).counters.given_up += 1;
            server.changed.notify_waiters();
            return;
        }
        left -= 1;
        server.clock.sleep_until(began.saturating_add(within)).await;
    }
}

/// Seals a message, with what is to be wrong about it.
pub(super) fn sealed(server: &WecomState, xml: &str, odd: Option<Odd>) -> SealedCallback {
    let app = &server.app;
    let now_s = server.clock.unix().as_secs();
    let at_s = match odd {
        Some(Odd::Time) => now_s.saturating_sub(HOUR_S),
        _ => now_s,
    };
    let seal = match odd {
        Some(Odd::Receiver) => Seal {
            receive_id: "wwsomeoneelse".to_owned(),
            ..app.seal.clone()
        },
        _ => app.seal.clone(),
    };
    let agent = format!("<AgentID>{}</AgentID>", app.agent_id);
    let xml = match odd {
        Some(Odd::Agent) => xml.replace(&agent, "<AgentID>999</AgentID>"),
        _ => xml.to_owned(),
    };
    let mut encrypt = seal.encrypt(rand::random(), xml.as_bytes());
    if odd == Some(Odd::Content) {
        // Whole blocks of something else.
        encrypt = encrypt.chars().rev().collect::<String>().replace('=', "A");
        let whole = encrypt.len() / 128 * 128;
        encrypt.truncate(whole.max(128));
    }
    let (timestamp, nonce) = (at_s.to_string(), rand::random::<u32>().to_string());
    let mut signature = seal.sign(&timestamp, &nonce, &encrypt);
    if odd == Some(Odd::Signature) {
        signature = seal.sign(&timestamp, &nonce, "another");
    }
    SealedCallback {
        query: format!("msg_signature={signature}&timestamp={timestamp}&nonce={nonce}"),
        body: envelope(&app.corp_id, app.agent_id, &encrypt),
    }
}

/// Asks the URL to prove that it knows the callback settings, as the console does when they are saved.
///
/// # Errors
/// What the console would say.
pub(super) async fn verify(server: &WecomState, url: &str) -> Result<(), String> {
    let echo = rand::random::<u64>().to_string();
    let app = &server.app;
    let encrypt = app.seal.encrypt(rand::random(), echo.as_bytes());
    let timestamp = server.clock.unix().as_secs().to_string();
    let nonce = rand::random::<u32>().to_string();
    let signature = app.seal.sign(&timestamp, &nonce, &encrypt);
    let query = format!(
        "msg_signature={signature}&timestamp={timestamp}&nonce={nonce}&echostr={}",
        escaped(&encrypt)
    );
    let deadline = server
        .clock
        .elapsed()
        .saturating_add(Duration::from_secs(1));
    let answer = tokio::select! {
        answer = exchange(server, Method::GET, url, &query, String::new()) => answer?,
        () = server.clock.sleep_until(deadline) => return Err("no answer within a second".to_owned()),
    };
    match answer {
        (200, body) if body == echo => Ok(()),
        (200, _) => Err("the answer is not the content of echostr alone".to_owned()),
        (status, _) => Err(format!("the answer is HTTP {status}")),
    }
}

async fn exchange(
    server: &WecomState,
    method: Method,
    url: &str,
    query: &str,
    body: String,
) -> Result<(u16, Bytes), String> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let mut request = Request::new(Full::from(body));
    *request.uri_mut() = format!("{url}{separator}{query}")
        .parse()
        .map_err(|_| format!("{url} is no URL"))?;
    if method == Method::POST {
        let xml = HeaderValue::from_static("text/xml");
        request.headers_mut().insert(CONTENT_TYPE, xml);
    }
    *request.method_mut() = method;
    let answer = server.http.request(request).await;
    let answer = answer.map_err(|error| format!("no connection: {error}"))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES)
        .collect()
        .await;
    let body = body.map_err(|_| "the answer broke off, or is too long".to_owned())?;
    Ok((status, body.to_bytes()))
}

/// Opens the reply in an answer, and shows it.
fn take_reply(server: &WecomState, user: &str, body: &[u8]) {
    let body = String::from_utf8_lossy(body);
    if matches!(body.trim(), "" | "success") {
        return;
    }
    match open_reply(server, user, &body) {
        Ok(text) => {
            lock(&server.records).counters.passive += 1;
            let entry = json!({"user": user, "from": "app", "text": text, "passive": true});
            server.note(entry, |records| &mut records.phone);
        }
        Err(why) => server.violation(format!("a passive reply is not shown: {why}")),
    }
}

/// The text of a reply to this person, if its signature, times, sender and recipient are right.
pub(super) fn open_reply(server: &WecomState, user: &str, body: &str) -> Result<String, String> {
    let of = |xml: &str, name: &str| element(xml, name).ok_or_else(|| format!("it has no {name}"));
    let encrypt = of(body, "Encrypt")?;
    let signature = of(body, "MsgSignature")?;
    let seal = &server.app.seal;
    let timestamp = of(body, "TimeStamp")?;
    if seal.sign(&timestamp, &of(body, "Nonce")?, &encrypt) != signature {
        return Err("its signature is wrong".to_owned());
    }
    let is_now = |time: &str| {
        let time: Option<u64> = time.parse().ok();
        time.is_some_and(|time| server.clock.unix().as_secs().abs_diff(time) < HOUR_S)
    };
    if !is_now(&timestamp) {
        return Err("its time is not ours".to_owned());
    }
    let message = seal.decrypt(&encrypt)?;
    let message = String::from_utf8(message).map_err(|_| "it is no UTF-8")?;
    if of(&message, "ToUserName")? != user {
        return Err("it is for somebody else".to_owned());
    }
    if of(&message, "FromUserName")? != server.app.corp_id {
        return Err("it is from another corp".to_owned());
    }
    if !is_now(&of(&message, "CreateTime")?) {
        return Err("its message is of another time".to_owned());
    }
    let text = of(&message, "Content");
    match of(&message, "MsgType")?.as_str() {
        "text" if text.as_ref().is_ok_and(|text| text.len() <= TEXT_BYTES) => text,
        "text" => Err("its text is none, or too long".to_owned()),
        other => Err(format!("the simulator does not show the type {other}")),
    }
}
