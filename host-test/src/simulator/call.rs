//! One request to an endpoint: authorization, the checks of strict mode, its effect, and the
//! fault around its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::account::{Bot, STALE};
use super::breakage::{AnswerBody, Cut, cut_off, dripping, stalled, whole};
use super::endpoint::Endpoint;
use super::faults::{Break, Fault, Kind, SentAs, UploadUrl};
use super::server::json_answer;
use super::wire::Exchange;
use super::{World, polling, sending, strict, typing, upload_url};

/// One request to an endpoint.
pub(super) struct Call {
    pub(super) world: Arc<World>,
    pub(super) at: Duration,
    pub(super) at_ms: u64,
    pub(super) endpoint: Endpoint,
    pub(super) body: Bytes,
}

impl Call {
    /// Authorizes, lets the request take effect, and answers, each as far as its fault allows.
    pub(super) async fn answer(self, head: &Parts) -> Result<Response<AnswerBody>, Cut> {
        let Some(bot) = bearer(&head.headers).and_then(|token| self.world.bot_of_token(token))
        else {
            let answer = json_answer(StatusCode::OK, Bytes::from_static(STALE.as_bytes()));
            self.record(None, Some(StatusCode::OK), STALE.as_bytes());
            return Ok(answer);
        };
        let _open =
            (self.endpoint == Endpoint::GetUpdates).then(|| OpenPoll::new(&self.world, &bot));
        // A body that is no JSON is null: every field is missing then.
        let body = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let (fault, shown_at_all) = self.arrive(&bot, &head.headers, &body);
        self.world.changed.notify_waiters();
        let fault = fault.unwrap_or_default();
        let edge = bot.lock().rules.edge;
        let effect = self.process(&bot, &body, &fault.kind, shown_at_all);
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
        let clock = &self.world.clock;
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
        self.world.changed.notify_waiters();
        answer
    }

    /// Counts and checks the request; tells its fault, and whether a send of it is shown.
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
            self.world
                .violation(format!("{}: {violation}", self.endpoint.name()));
        }
        (fault, shown_at_all)
    }

    /// Lets the request take effect; returns the true answer.
    async fn process(
        &self,
        bot: &Arc<Bot>,
        body: &Value,
        kind: &Kind,
        shown_at_all: bool,
    ) -> String {
        let world = &*self.world;
        let stale = bot
            .lock()
            .session_answer(self.endpoint, world.clock.elapsed());
        if let Some(stale) = stale {
            return stale.to_owned();
        }
        if !body.is_object() {
            world.violation(format!(
                "{}: the body is no JSON object",
                self.endpoint.name()
            ));
            return sending::INVALID.to_owned();
        }
        match self.endpoint {
            Endpoint::GetUpdates => polling::getupdates(world, bot, body).await,
            Endpoint::SendMessage => {
                let sent_as = match kind {
                    Kind::Sent(sent_as) => *sent_as,
                    _ => SentAs::Id,
                };
                sending::sendmessage(world, bot, body, sent_as, shown_at_all)
            }
            Endpoint::GetConfig => typing::getconfig(world, bot, body),
            Endpoint::SendTyping => typing::sendtyping(world, bot, body).to_owned(),
            Endpoint::NotifyStart => typing::notifystart(bot).to_owned(),
            Endpoint::NotifyStop => typing::notifystop(bot).to_owned(),
            Endpoint::GetUploadUrl => {
                let given = match kind {
                    Kind::UploadUrl(given) => given.clone(),
                    _ => UploadUrl::default(),
                };
                upload_url::getuploadurl(world, bot, body, &given)
            }
            // No path of the API leads to the CDN.
            Endpoint::Upload | Endpoint::Download => sending::INVALID.to_owned(),
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
        let (status, bytes) = match &fault.kind {
            Kind::Status(status) => (status.code(), status.page()),
            Kind::Body(text) => (ok, Bytes::from(text.clone())),
            Kind::Result(result) => (ok, Value::Object(result.clone()).to_string().into()),
            Kind::Without(keys) => (ok, without(&truth, keys)),
            Kind::Truncated => (ok, truth.slice(..truth.len() / 2)),
            _ => (ok, truth),
        };
        let cut = matches!(fault.kind, Kind::Cut(Break::Before | Break::After));
        let silent = matches!(fault.kind, Kind::Stall(Break::Before));
        self.record(bot, (!cut && !silent).then_some(status), &bytes);
        let length = bytes.len();
        let body = match &fault.kind {
            Kind::Cut(Break::Body) => cut_off(&bytes),
            Kind::Cut(_) => return Err(Cut),
            Kind::Stall(Break::Before) => std::future::pending().await,
            Kind::Stall(Break::After) => stalled(&bytes, 0),
            Kind::Stall(Break::Body) => stalled(&bytes, length / 2),
            Kind::Drip(every) => dripping(bytes.clone(), *every, self.world.clock.clone()),
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
        if let Kind::Status(status) = fault.kind {
            response.headers_mut().extend(status.headers);
        }
        // Said also of a body that will break off, so that the client can tell.
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(response)
    }

    fn record(&self, bot: Option<&Bot>, status: Option<StatusCode>, response: &[u8]) {
        self.world.wire.record(|| Exchange {
            at: self.at,
            at_ms: self.at_ms,
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
    world: &'a World,
    bot: &'a Bot,
}

impl<'a> OpenPoll<'a> {
    fn new(world: &'a World, bot: &'a Bot) -> OpenPoll<'a> {
        let counters = &mut bot.lock().counters;
        counters.polls_open += 1;
        counters.polls_open_max = counters.polls_open_max.max(counters.polls_open);
        OpenPoll { world, bot }
    }
}

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        self.bot.lock().counters.polls_open -= 1;
        self.world.changed.notify_waiters();
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
mod tests {
    use http::Method;
    use serde_json::json;

    use super::super::client::{Client, strict_simulator};
    use super::super::server::REQUEST_BYTES;
    use super::super::{Options, Simulator};
    use super::*;

    #[tokio::test]
    async fn a_missing_or_unknown_token_is_a_stale_session() {
        let simulator = strict_simulator().await;
        let mut client = Client::new(&simulator);
        let stale = json!({"errcode": -14, "errmsg": "session timeout"});
        client
            .headers
            .insert("authorization", HeaderValue::from_static("Bearer nobody"));
        assert_eq!(client.poll("").await, stale);
        client.headers.remove("authorization");
        assert_eq!(client.call("msg/notifystart", json!({})).await, stale);
        assert_eq!(simulator.counters(), super::super::Counters::default());
    }

    #[tokio::test]
    async fn strict_mode_reports_what_the_official_client_does_otherwise() {
        let simulator = strict_simulator().await;
        let mut client = Client::new(&simulator);
        client.headers.remove("ilink-app-id");
        client
            .headers
            .insert("ilink-app-clientversion", HeaderValue::from_static("1"));
        client
            .headers
            .insert("x-wechat-uin", HeaderValue::from_static("EjRWeA=="));
        assert_eq!(
            client.call("msg/notifystart", json!({"extra": 1})).await["ret"],
            0
        );
        let named = [
            "X-WECHAT-UIN",
            "iLink-App-Id",
            "iLink-App-ClientVersion",
            "extra",
        ];
        let violations = simulator.violations();
        assert_eq!(violations.len(), named.len(), "{violations:?}");
        for (violation, name) in violations.iter().zip(named) {
            assert!(
                violation.starts_with("notifystart: ") && violation.contains(name),
                "{violation}"
            );
        }
        client
            .headers
            .insert("x-wechat-uin", HeaderValue::from_static("MA=="));
        client.call("msg/notifystart", json!({})).await;
        let before = simulator.violations().len();
        client.call("msg/notifystart", json!({})).await;
        let repeated = |sentence: &String| sentence.contains("the request before");
        assert!(simulator.violations()[before..].iter().any(repeated));
    }

    #[tokio::test]
    async fn a_lax_server_takes_a_bare_client() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let mut client = Client::new(&simulator);
        let bearer = client
            .headers
            .remove("authorization")
            .expect("the client has a token");
        client.headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        simulator.say("a@im.wechat", "hi");
        let poll = client
            .request(Method::POST, "/ilink/bot/getupdates", "{}".to_owned())
            .await;
        assert!(poll.unwrap().1.contains("\"hi\""));
        assert_eq!(simulator.violations(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn hostile_bodies_are_answered_and_reported() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        let of_api = |endpoint: &Endpoint| !endpoint.is_of_cdn();
        for endpoint in Endpoint::ALL.into_iter().filter(of_api) {
            let folder = if endpoint.name().starts_with("notify") {
                "msg/"
            } else {
                ""
            };
            let path = format!("/ilink/bot/{folder}{}", endpoint.name());
            for body in [
                "",
                "{",
                "null",
                "[1]",
                "\"text\"",
                "{\"msg\":[],\"status\":[]}",
            ] {
                let answer = client.request(Method::POST, &path, body.to_owned()).await;
                assert_eq!(
                    answer.map(|(status, _)| status),
                    Ok(StatusCode::OK),
                    "{path} {body}"
                );
            }
        }
        assert!(!simulator.violations().is_empty());
        let huge = "x".repeat(REQUEST_BYTES + 1);
        let answer = client
            .request(Method::POST, "/ilink/bot/getupdates", huge)
            .await;
        // The client may still be writing when it is told.
        assert!(answer.is_ok_and(|(status, _)| status == 413) || simulator.log().len() == 42);
    }

    #[tokio::test]
    async fn the_log_counts_requests_of_the_last_while() {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        client.call("msg/notifystart", json!({})).await;
        simulator
            .first()
            .world
            .clock
            .advance(Duration::from_secs(60));
        client.call("msg/notifystop", json!({})).await;
        assert_eq!(simulator.requests(None, Duration::from_secs(3600)), 2);
        assert_eq!(simulator.requests(None, Duration::from_secs(30)), 1);
        assert_eq!(
            simulator.requests(Some("notifystart"), Duration::from_secs(30)),
            0
        );
        assert!(!simulator.log()[0].to_string().contains(&simulator.token()));
    }
}
