//! One request to an endpoint: authorization, the checks of strict mode, its effect, and the
//! fault around its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::endpoint::Endpoint;
use super::refusals::{INVALID, STALE};
use super::state::{Bot, Exchange, ServerState};
use super::{polling, sending, strict, typing, upload_url};
use crate::body::{AnswerBody, Cut, cut_off, dripping, stalled, whole};
use crate::faults::{CutAt, Effect, Fault, StallAt, UploadUrl};
use crate::response::json_answer;

/// One request to an endpoint.
pub(super) struct Call {
    pub(super) server: Arc<ServerState>,
    pub(super) at: Duration,
    pub(super) at_ms: u64,
    /// The name that the client has for the server.
    pub(super) host: Option<Box<str>>,
    pub(super) endpoint: Endpoint,
    pub(super) body: Bytes,
}

impl Call {
    /// Authorizes, lets the request take effect, and answers, each as far as its fault allows.
    pub(super) async fn answer(self, head: &Parts) -> Result<Response<AnswerBody>, Cut> {
        let Some(bot) = bearer(&head.headers).and_then(|token| self.server.bot_of_token(token))
        else {
            let answer = json_answer(StatusCode::OK, Bytes::from_static(STALE.as_bytes()));
            self.record(None, Some(StatusCode::OK), STALE.as_bytes());
            return Ok(answer);
        };
        let _open =
            (self.endpoint == Endpoint::GetUpdates).then(|| OpenPoll::new(&self.server, &bot));
        // A body that is no JSON is null: every field is missing then.
        let body = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let (fault, shown_at_all) = self.arrive(&bot, &head.headers, &body);
        self.server.changed.notify_waiters();
        let fault = fault.unwrap_or_default();
        let edge = bot.lock().rules.edge;
        let effect = self.process(&bot, &body, &fault.effect, shown_at_all);
        self.perform(Some(&bot), fault.clone(), edge, effect).await
    }

    /// Lets the request take effect and answers, each as far as the fault and the edge allow.
    pub(super) async fn perform(
        &self,
        bot: Option<&Bot>,
        mut fault: Fault,
        edge: Option<Duration>,
        effect: impl Future<Output = String>,
    ) -> Result<Response<AnswerBody>, Cut> {
        let clock = &self.server.clock;
        let cut_off = async {
            match edge.filter(|_| self.endpoint.is_poll()) {
                Some(edge) => clock.sleep_until(self.at.saturating_add(edge)).await,
                None => std::future::pending().await,
            }
        };
        let mut truth = String::new();
        if fault.takes_effect() {
            tokio::select! {
                biased;
                answer = effect => truth = answer,
                () = cut_off => fault = Fault::timed_out(),
            }
        }
        if !fault.delay.is_zero() {
            clock.sleep(fault.delay).await;
        }
        let answer = self.give(bot, fault, truth).await;
        self.server.changed.notify_waiters();
        answer
    }

    /// Counts and checks the request; returns its fault, and whether a phone shows what it sends.
    fn arrive(&self, bot: &Bot, headers: &HeaderMap, body: &Value) -> (Option<Fault>, bool) {
        let mut violations = Vec::new();
        let mut state = bot.lock();
        state.count(self.endpoint);
        let fault = state.rules.fault(self.endpoint);
        let strict = state.rules.strict;
        let mut shown_at_all = true;
        if strict || state.rules.needs_app_headers {
            violations = strict::app_headers(headers, body);
            shown_at_all = !state.rules.needs_app_headers
                || violations.is_empty()
                || state.counters.accepted == 0;
        }
        if strict {
            violations.extend(strict::body(self.endpoint, body));
            let uin = headers
                .get("X-WECHAT-UIN")
                .and_then(|uin| uin.to_str().ok());
            let uin = uin.unwrap_or_default();
            if !uin.is_empty() && uin == state.last_uin {
                violations.push("the header X-WECHAT-UIN is that of the request before".to_owned());
            }
            uin.clone_into(&mut state.last_uin);
        } else {
            violations.clear();
        }
        drop(state);
        for violation in violations {
            self.server
                .violation(format!("{}: {violation}", self.endpoint.name()));
        }
        (fault, shown_at_all)
    }

    /// Lets the request take effect; returns the true answer.
    async fn process(
        &self,
        bot: &Arc<Bot>,
        body: &Value,
        effect: &Effect,
        shown_at_all: bool,
    ) -> String {
        let server = &*self.server;
        let stale = bot
            .lock()
            .session_answer(self.endpoint, server.clock.elapsed());
        if let Some(stale) = stale {
            return stale.to_owned();
        }
        if !body.is_object() {
            server.violation(format!(
                "{}: the body is no JSON object",
                self.endpoint.name()
            ));
            return INVALID.to_owned();
        }
        match self.endpoint {
            Endpoint::GetUpdates => polling::getupdates(server, bot, body).await,
            Endpoint::SendMessage => {
                let sent_as = match effect {
                    Effect::Sent(sent_as) => Some(*sent_as),
                    _ => None,
                };
                sending::sendmessage(server, bot, body, sent_as, shown_at_all)
            }
            Endpoint::GetConfig => typing::getconfig(server, bot, body),
            Endpoint::SendTyping => typing::sendtyping(server, bot, body).to_owned(),
            Endpoint::NotifyStart => typing::notifystart(bot).to_owned(),
            Endpoint::NotifyStop => typing::notifystop(bot).to_owned(),
            Endpoint::GetUploadUrl => {
                let given = match effect {
                    Effect::UploadUrl(given) => given.clone(),
                    _ => UploadUrl::default(),
                };
                upload_url::getuploadurl(server, bot, body, &given)
            }
            // The login answers its own, and no path of the API leads to the CDN.
            Endpoint::GetBotQrcode
            | Endpoint::GetQrcodeStatus
            | Endpoint::Upload
            | Endpoint::Download => INVALID.to_owned(),
        }
    }

    /// Puts the fault around the true answer.
    async fn give(
        &self,
        bot: Option<&Bot>,
        fault: Fault,
        truth: String,
    ) -> Result<Response<AnswerBody>, Cut> {
        let truth = Bytes::from(truth);
        let ok = StatusCode::OK;
        let (status, bytes) = match &fault.effect {
            Effect::Status(status) => (status.code(), status.page()),
            Effect::Body(text) => (ok, Bytes::from(text.clone())),
            Effect::Result(result) | Effect::LoginAnswer(result) => {
                (ok, Value::Object(result.clone()).to_string().into())
            }
            Effect::Without(keys) => (ok, without(&truth, keys)),
            Effect::Truncated => (ok, truth.slice(..truth.len() / 2)),
            Effect::Mangled(mangle) => (ok, mangle.apply(&truth)),
            _ => (ok, truth),
        };
        let cut = matches!(fault.effect, Effect::Cut(CutAt::Before | CutAt::After));
        let silent = matches!(fault.effect, Effect::Stall(StallAt::Before));
        self.record(bot, (!cut && !silent).then_some(status), &bytes);
        let length = bytes.len();
        let body = match &fault.effect {
            Effect::Cut(CutAt::Body) => cut_off(&bytes),
            Effect::Cut(_) => return Err(Cut),
            Effect::Stall(StallAt::Before) => std::future::pending().await,
            Effect::Stall(StallAt::Headers) => stalled(&bytes, 0),
            Effect::Stall(StallAt::Body) => stalled(&bytes, length / 2),
            Effect::Drip(every) => dripping(bytes.clone(), *every, self.server.clock.clone()),
            _ => whole(bytes.clone()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let page = bytes.starts_with(b"<");
        let kind = if page {
            "text/html"
        } else {
            "application/json"
        };
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Effect::Status(status) = fault.effect {
            // They were checked when the fault was given.
            let headers = status.headers().unwrap_or_default();
            response.headers_mut().extend(headers);
        }
        // Said also of a body that will break off, so that the client can tell.
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(response)
    }

    fn record(&self, bot: Option<&Bot>, status: Option<StatusCode>, response: &[u8]) {
        self.server.wire_log.record(|| Exchange {
            at: self.at,
            at_ms: self.at_ms,
            host: self.host.clone(),
            account: bot.map(|bot| bot.account.clone()),
            endpoint: self.endpoint.name(),
            status: status.map(|status| status.as_u16()),
            request: (*self.body).into(),
            response: response.into(),
        });
    }
}

/// A poll that is open, for the counters; a client that goes away closes it.
struct OpenPoll<'a> {
    server: &'a ServerState,
    bot: &'a Bot,
}

impl<'a> OpenPoll<'a> {
    fn new(server: &'a ServerState, bot: &'a Bot) -> OpenPoll<'a> {
        let state = &mut *bot.lock();
        let counters = &mut state.counters;
        counters.polls_open += 1;
        counters.polls_open_max = counters.polls_open_max.max(counters.polls_open);
        let starts = counters.starts;
        state.handovers.opened(starts, server.clock.elapsed());
        OpenPoll { server, bot }
    }
}

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        let mut state = self.bot.lock();
        state.counters.polls_open -= 1;
        state.handovers.ended = Some(self.server.clock.elapsed());
        drop(state);
        self.server.changed.notify_waiters();
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

/// The JSON object without these members; anything else as it is.
fn without(truth: &Bytes, keys: &[String]) -> Bytes {
    match serde_json::from_slice(truth) {
        Ok(Value::Object(mut members)) => {
            members.retain(|key, _| !keys.contains(key));
            Value::Object(members).to_string().into()
        }
        _ => truth.clone(),
    }
}

#[cfg(test)]
mod tests;
