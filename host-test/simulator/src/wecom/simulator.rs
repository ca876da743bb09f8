//! The handle of a running server.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::callbacks::{self, SealedCallback};
use super::counters::Counters;
use super::endpoint::Endpoint;
use super::media_kind::MediaKind;
use super::options::WecomOptions;
use super::rules::RuleChanges;
use super::seal::Seal;
use super::state::{App, File, WecomState, random_text};
use super::{people, server, xml};
use crate::faults::Fault;
use crate::gate::Gate;
use crate::sync::lock;

/// A running simulated WeCom. Clones share it; the last handle to go ends it.
#[derive(Clone)]
pub struct WecomSimulator {
    pub(super) server: Arc<WecomState>,
    running: Arc<Running>,
}

/// Keeps the server alive; dropping it drops the sender, which the server takes for a stop.
struct Running {
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for WecomSimulator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let simulator = &mut out.debug_struct("WecomSimulator");
        simulator
            .field("base_url", &self.base_url())
            .finish_non_exhaustive()
    }
}

impl WecomSimulator {
    /// Binds and serves. Callbacks go nowhere until [`WecomSimulator::verify`] or [`WecomSimulator::callback_to`].
    ///
    /// # Errors
    /// When the address cannot be bound, or the key is none.
    pub async fn start(options: WecomOptions) -> std::io::Result<WecomSimulator> {
        let seal = Seal {
            token: options
                .token
                .unwrap_or_else(|| random_text("").chars().take(24).collect()),
            encoding_aes_key: options
                .encoding_aes_key
                .unwrap_or_else(|| random_text("").chars().take(43).collect()),
            receive_id: options.corp_id.clone(),
        };
        if !seal.is_usable() {
            return Err(std::io::Error::other("the EncodingAESKey is none"));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let app = App {
            corp_id: options.corp_id,
            agent_id: options.agent_id,
            secret: options.secret.unwrap_or_else(|| random_text("")),
            seal,
        };
        let (callbacks, to_deliver) = mpsc::unbounded_channel();
        let http = Client::builder(TokioExecutor::new()).build_http();
        let address = listener.local_addr()?;
        let gate = Gate::new(options.names, options.control_token);
        let server = WecomState::new(address, gate, options.clock, app, callbacks, http);
        let server = Arc::new(server);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(server::serve(
            listener,
            server.clone(),
            options.limits,
            to_deliver,
            stopped,
        ));
        let running = Running {
            stop,
            task: Mutex::new(Some(task)),
        };
        Ok(WecomSimulator {
            server,
            running: Arc::new(running),
        })
    }

    /// `http://HOST:PORT`, what a client takes as the API's base URL.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What the control paths want as a bearer token.
    pub fn control_token(&self) -> &str {
        self.server.gate.token()
    }

    /// The corp's id.
    pub fn corp_id(&self) -> &str {
        &self.server.app.corp_id
    }

    /// The app's id.
    pub fn agent_id(&self) -> u64 {
        self.server.app.agent_id
    }

    /// The app's secret.
    pub fn secret(&self) -> &str {
        &self.server.app.secret
    }

    /// The Token of the callback settings.
    pub fn token(&self) -> &str {
        &self.server.app.seal.token
    }

    /// The EncodingAESKey of the callback settings.
    pub fn encoding_aes_key(&self) -> &str {
        &self.server.app.seal.encoding_aes_key
    }

    /// Saves the callback settings as the console does: asks the URL to prove that it knows them.
    ///
    /// # Errors
    /// What the console would say; the URL is then what it was.
    pub async fn verify(&self, url: &str) -> Result<(), String> {
        callbacks::verify(&self.server, url).await?;
        self.callback_to(url);
        Ok(())
    }

    /// Where callbacks go from now on, redeliveries too.
    pub fn callback_to(&self, url: &str) {
        lock(&self.server.records).callback_url = Some(url.to_owned());
    }

    /// A person writes; returns the message's id.
    pub fn say(&self, user: &str, text: &str) -> String {
        people::speak(&self.server, user, &xml::text(text), true)
    }

    /// A person sends a file; returns the message's id.
    pub fn send_file(
        &self,
        user: &str,
        kind: MediaKind,
        name: &str,
        mime: &str,
        bytes: impl Into<Bytes>,
    ) -> String {
        let bytes = bytes.into();
        let size = bytes.len();
        let media_id = self.server.keep(File {
            kind: kind.name().to_owned(),
            name: name.to_owned(),
            mime: mime.to_owned(),
            bytes,
            since: self.server.clock.elapsed(),
        });
        let elements = xml::file(kind.name(), name, &media_id, size);
        people::speak(&self.server, user, &elements, true)
    }

    /// A person sends a place; returns the message's id.
    pub fn send_location(&self, user: &str, latitude: f64, longitude: f64, label: &str) -> String {
        people::speak(
            &self.server,
            user,
            &xml::location(latitude, longitude, label),
            true,
        )
    }

    /// A person sends a link; returns the message's id.
    pub fn send_link(&self, user: &str, title: &str, description: &str, url: &str) -> String {
        people::speak(
            &self.server,
            user,
            &xml::link(title, description, url),
            true,
        )
    }

    /// Something happens that is no message (`enter_agent`, `subscribe`, `click` with a key); returns
    /// the name of its deliveries.
    pub fn happen(&self, user: &str, event: &str, key: &str) -> String {
        people::speak(&self.server, user, &xml::event(event, key), false)
    }

    /// A person sends a message of these elements, such as `<MsgType>hologram</MsgType>`; returns its
    /// id.
    pub fn push_elements(&self, user: &str, elements: &str) -> String {
        people::speak(&self.server, user, elements, true)
    }

    /// A callback with this XML in it as it would be posted now, to be posted by the test.
    pub fn sealed(&self, xml: &str) -> SealedCallback {
        callbacks::sealed(&self.server, xml, None)
    }

    /// The text of the reply in this answer to a callback of a person, which is not shown to anybody.
    ///
    /// # Errors
    /// Why it would not be shown.
    pub fn opened(&self, user: &str, answer: &[u8]) -> Result<String, String> {
        callbacks::open_reply(&self.server, user, &String::from_utf8_lossy(answer))
    }

    /// Ends the life of the access token that was given last: 42001.
    pub fn expire_token(&self) {
        let mut records = lock(&self.server.records);
        let Some(token) = records.token.take() else {
            return;
        };
        let now = self.server.clock.elapsed();
        if let Some(until) = records.tokens.find_mut(&token) {
            *until = now;
        }
    }

    /// What the phones show, in order: `{"user", "from": "user"|"app", "text" | "markdown" | "item",
    /// "message_id", "at_ms"}`; a reply in the answer to a callback has `"passive": true`. An `item`
    /// is `{"kind", "name", "size"}`.
    pub fn phone(&self) -> Vec<Value> {
        lock(&self.server.records).phone.iter().cloned().collect()
    }

    /// The file that this message of the app shows.
    pub fn phone_file(&self, message_id: &str) -> Option<Bytes> {
        lock(&self.server.records).shown.find(message_id).cloned()
    }

    /// The texts of the app's bubbles at this person's phone, in order.
    pub fn answers(&self, user: &str) -> Vec<String> {
        let records = lock(&self.server.records);
        let entries = records
            .phone
            .iter()
            .filter(|entry| entry["user"] == user && entry["from"] == "app");
        let text = |entry: &Value| {
            let text = entry["text"].as_str().or(entry["markdown"].as_str());
            text.map(str::to_owned)
        };
        entries.filter_map(text).collect()
    }

    /// Each delivery of each callback, in order: `{"id", "user", "delivery": 1…, "status", "error",
    /// "reply", "at_ms"}`. `status` is null where there was no answer in time.
    pub fn deliveries(&self) -> Vec<Value> {
        lock(&self.server.records)
            .deliveries
            .iter()
            .cloned()
            .collect()
    }

    /// Whether a callback was answered with 200 in time.
    pub fn is_answered(&self, id: &str) -> bool {
        lock(&self.server.records).answered.find(id).is_some()
    }

    /// Changes rules and faults.
    ///
    /// # Errors
    /// A sentence that names what was wrong; nothing is changed then.
    pub fn change(&self, changes: &RuleChanges) -> Result<(), String> {
        self.server.change(changes)
    }

    /// Gives an endpoint a fault, in place of those that it had.
    ///
    /// # Errors
    /// A sentence that says why the endpoint cannot have it; nothing is changed then.
    pub fn fault(&self, endpoint: Endpoint, fault: Fault) -> Result<(), String> {
        self.change(&RuleChanges::new().fault(endpoint, fault))
    }

    /// Changes rules and faults as `POST /sim/faults` does; [`rules`](super::rules) has the shape.
    ///
    /// # Errors
    /// A sentence that names what was wrong; nothing is changed then.
    pub fn faults(&self, changes: &Value) -> Result<(), String> {
        self.change(&RuleChanges::read(changes)?)
    }

    /// The API's wire, oldest first, without secrets: `{"endpoint", "status", "request", "response",
    /// "at_ms"}`. `status` is null where the connection was closed without an answer.
    pub fn log(&self) -> Vec<Value> {
        lock(&self.server.records).log.iter().cloned().collect()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        lock(&self.server.records).counters
    }

    /// What clients did that they must not do; one sentence each, in order.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.server.records).violations.clone()
    }

    /// Waits until `what` is true; looks again after each request, answer, delivery and message.
    pub async fn wait_for(&self, mut what: impl FnMut(&WecomSimulator) -> bool) {
        loop {
            let changed = self.server.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a change in between is not missed.
            changed.as_mut().enable();
            if what(self) {
                return;
            }
            changed.await;
        }
    }

    /// Ends the server and all deliveries now; the port is free when this returns.
    pub async fn shutdown(&self) {
        self.running.stop.send_replace(true);
        let task = lock(&self.running.task).take();
        if let Some(task) = task {
            // A server that panicked has ended, which is what was asked for.
            let _ = task.await;
        }
    }
}
