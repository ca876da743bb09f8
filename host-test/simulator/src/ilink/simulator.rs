//! The handle of a running server.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::account::Account;
use super::endpoint::Endpoint;
use super::login::{self, Act, QrCode};
use super::media_kind::MediaKind;
use super::options::SimulatorOptions;
use super::rules::RuleChanges;
use super::running::{Command, Running};
use super::server;
use super::state::{Bot, Counters, Event, LoginCounters, ServerState};
use crate::faults::Fault;
use crate::sync::lock;

/// A running simulator. Clones share it; the last handle to go ends the server.
#[derive(Clone)]
pub struct Simulator {
    first: Account,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let simulator = &mut out.debug_struct("Simulator");
        simulator
            .field("base_url", &self.base_url())
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// Binds and serves, with one account.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: SimulatorOptions) -> io::Result<Simulator> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let limits = options.limits.clone();
        let (late, late_entries) = mpsc::unbounded_channel();
        let server = Arc::new(ServerState::new(address, options, late));
        let (stop, stopped) = watch::channel(false);
        let (commands, to_obey) = mpsc::unbounded_channel();
        let task = tokio::spawn(server::serve(
            listener,
            server.clone(),
            limits,
            late_entries,
            to_obey,
            stopped,
        ));
        let running = Arc::new(Running {
            stop,
            commands,
            task: Mutex::new(Some(task)),
        });
        Ok(Simulator {
            first: Account::new(server.first.clone(), server, running),
        })
    }

    /// `http://HOST:PORT`, what a client takes as the API's base URL.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server().address_to_call())
    }

    /// `http://HOST:PORT/c2c`, what a client takes as the CDN's base URL.
    pub fn cdn_base_url(&self) -> String {
        format!("http://{}/c2c", self.server().address_to_call())
    }

    /// What the control paths want as a bearer token.
    pub fn control_token(&self) -> &str {
        self.server().gate.token()
    }

    /// The first account. Most of its methods are also the simulator's, for a test with one bot.
    pub fn first(&self) -> &Account {
        &self.first
    }

    /// The account with this id.
    pub fn account(&self, account_id: &str) -> Option<Account> {
        Some(self.handle(self.server().bot(account_id)?))
    }

    /// Adds an account with a token of its own, under the rules that hold for all. Adding one
    /// that exists gives it a new token.
    pub fn add_account(&self, account_id: &str) -> Account {
        self.handle(self.server().add(account_id))
    }

    /// The account that this person writes to: their own live one, else the first, and if a login
    /// has ended the first one's session, the one that was bound last.
    pub fn bot_of(&self, user: &str) -> Account {
        self.handle(self.server().bot_of(user))
    }

    /// Binds a new bot to this person, as a login with another client does: the one before gets
    /// -14 from now on.
    pub fn log_in_elsewhere(&self, user: &str) -> Account {
        self.handle(self.server().bind_new(user))
    }

    /// The first account's bot token.
    pub fn token(&self) -> String {
        self.first.token()
    }

    /// The first account's id.
    pub fn account_id(&self) -> String {
        self.first.id().to_owned()
    }

    /// A person writes to [the account](Simulator::bot_of) that is theirs, or else to the first;
    /// returns the stored message.
    pub fn say(&self, user: &str, text: &str) -> Value {
        self.bot_of(user).say(user, text)
    }

    /// A person sends items, addressed as by [`Simulator::say`]; returns the stored message.
    pub fn push(&self, user: &str, items: Vec<Value>) -> Value {
        self.bot_of(user).push(user, items)
    }

    /// A person sends a file, addressed as by [`Simulator::say`]; returns the stored message.
    pub fn send_file(
        &self,
        user: &str,
        kind: MediaKind,
        name: &str,
        bytes: impl Into<Bytes>,
    ) -> Value {
        self.bot_of(user).send_file(user, kind, name, bytes)
    }

    /// A person sends a made-up file, addressed as by [`Simulator::say`]; see
    /// [`Account::push_generated`].
    pub fn push_generated(&self, user: &str, kind: MediaKind, size: u64, seed: u64) -> Value {
        self.bot_of(user).push_generated(user, kind, size, seed)
    }

    /// Puts any JSON at all among the first account's next messages.
    pub fn push_raw(&self, message: Value) {
        self.first.push_raw(message);
    }

    /// The first account's counters.
    pub fn counters(&self) -> Counters {
        self.first.counters()
    }

    /// What the phones show, in order, all accounts together:
    /// `{"account", "user", "from": "user"|"bot", "text" | "item", "message_id", "at_ms"}`, and
    /// for what a bot sent also `client_id` and `context`, which says what the send's context
    /// token was: `newest`, `older`, `other-peer`, `unknown` or `absent`. The `item` of a file is
    /// `{"kind", "name", "size", "md5"}`; where the phone could not show what a bot sent, `broken`
    /// says why.
    pub fn phone(&self) -> Vec<Value> {
        lock(&self.server().phone).iter().cloned().collect()
    }

    /// The file that this message of a bot shows; `None` when it shows none, or the file was too
    /// large to be kept.
    pub fn phone_file(&self, message_id: u64) -> Option<Vec<u8>> {
        Some(self.server().files.shown(message_id)?.into())
    }

    /// The texts of the bots' bubbles at this person's phone, in order.
    pub fn answers(&self, user: &str) -> Vec<String> {
        let phone = lock(&self.server().phone);
        let entries = phone
            .iter()
            .filter(|entry| entry["user"] == user && entry["from"] == "bot");
        entries
            .filter_map(|entry| entry["text"].as_str().map(str::to_owned))
            .collect()
    }

    /// Changes rules and faults.
    ///
    /// # Errors
    /// A sentence that names what was wrong; nothing is changed then.
    pub fn change(&self, changes: &RuleChanges) -> Result<(), String> {
        self.server().change(changes)
    }

    /// Gives an endpoint a fault of all accounts, in place of those that it had.
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

    /// The wire, oldest first, secrets masked:
    /// `{"at_ms", "host", "account", "endpoint", "status", "request", "response"}`. `status` is
    /// null where the connection was closed without an answer, `at_ms` is the request's arrival,
    /// and `request` of `get_qrcode_status` is its parameters.
    pub fn log(&self) -> Vec<Value> {
        self.server().wire_log.entries()
    }

    /// Exchanges that the wire log holds of the last `within`: of one endpoint, or of all.
    pub fn requests(&self, endpoint: Option<&str>, within: Duration) -> usize {
        let since = self.server().clock.elapsed().saturating_sub(within);
        self.server().wire_log.count(endpoint, since)
    }

    /// What clients did that they must not do, and in strict mode what the official client does
    /// otherwise; one sentence each, in order.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.server().violations).clone()
    }

    /// Events from now on. A receiver that lags loses the oldest of more than 1024.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.server().events.subscribe()
    }

    /// Waits until `what` is true; looks again after each request, answer and message.
    pub async fn wait_for(&self, mut what: impl FnMut(&Simulator) -> bool) {
        loop {
            let changed = self.server().changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a change in between is not missed.
            changed.as_mut().enable();
            if what(self) {
                return;
            }
            changed.await;
        }
    }

    /// A person does something with the newest QR code; returns the code as it is then.
    ///
    /// # Errors
    /// A sentence that says why it is not possible; nothing is changed then.
    pub fn login(&self, user: &str, act: Act) -> Result<QrCode, String> {
        login::act(self.server(), None, Some(user), act)
    }

    /// A person does something with this QR code, given as its value or its URL; returns the code
    /// as it is then.
    ///
    /// # Errors
    /// A sentence that says why it is not possible; nothing is changed then.
    pub fn login_at(&self, qrcode: &str, user: &str, act: Act) -> Result<QrCode, String> {
        login::act(self.server(), Some(qrcode), Some(user), act)
    }

    /// The QR codes that are remembered, oldest first.
    pub fn qr_codes(&self) -> Vec<QrCode> {
        login::qr_codes(self.server())
    }

    /// What the login has counted.
    pub fn login_counters(&self) -> LoginCounters {
        *lock(&self.server().login.counters)
    }

    /// Makes the server unreachable: when this returns, every connection is closed and new ones
    /// are refused, on the control paths too, until [`Simulator::come_online`]. People can write
    /// all the same.
    pub async fn go_offline(&self) {
        let (done, when_done) = oneshot::channel();
        // A server that has ended cannot be reached either.
        if self
            .first
            .running
            .commands
            .send(Command::GoOffline(done))
            .is_ok()
        {
            let _ = when_done.await;
        }
    }

    /// Makes the server reachable again, at the same address.
    ///
    /// # Errors
    /// When somebody else took the port, or the server was shut down.
    pub async fn come_online(&self) -> io::Result<()> {
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the simulator has ended");
        let (done, when_done) = oneshot::channel();
        let sent = self.first.running.commands.send(Command::ComeOnline(done));
        sent.map_err(|_| ended())?;
        when_done.await.map_err(|_| ended())?
    }

    /// Ends the server now: open polls and other connections are closed, the port is free when
    /// this returns. What was recorded can still be read.
    pub async fn shutdown(&self) {
        let running = &self.first.running;
        running.stop.send_replace(true);
        let task = lock(&running.task).take();
        if let Some(task) = task {
            // A server that panicked has ended, which is what was asked for.
            let _ = task.await;
        }
    }

    fn handle(&self, bot: Arc<Bot>) -> Account {
        Account::new(bot, self.first.server.clone(), self.first.running.clone())
    }

    pub(super) fn server(&self) -> &ServerState {
        &self.first.server
    }
}
