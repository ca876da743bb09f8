//! A simulated iLink server: the platform's side of the wire, with people who write, phones that
//! show, and faults that can be switched.
//!
//! It promises to know the wire only from the protocol's description. It works on raw JSON and
//! shares no type with the component, so that a wrong field cannot be mirrored and pass. Any
//! iLink client can use it.
//!
//! - An account's state sits behind one lock that is held briefly; open polls wait without it.
//! - All time comes from the [`Clock`], so that a 24-hour rule is tested in seconds.
//! - Nothing grows without bound: messages, phones, wire log, violations and files are rings.
//! - The server ends with its last handle ([`Simulator`] or [`Account`]), open polls included.
//!
//! How to switch rules and faults is written in [`faults`], the HTTP control paths in
//! [`control`].

mod account;
mod bots;
mod breakage;
mod call;
mod cdn;
mod cipher;
#[cfg(test)]
mod client;
mod content;
pub mod control;
mod endpoint;
pub mod faults;
mod files;
mod gate;
mod login;
mod media;
mod outage;
mod people;
mod polling;
mod query;
mod recent;
mod sending;
mod server;
mod server_state;
mod stamp;
mod strict;
mod typing;
mod upload_url;
pub mod wecom;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use account::Bot;
pub use account::{Account, Counters, Typing};
use bots::{Bots, new_token};
use cdn::Cdn;
pub use content::Content;
use faults::Rules;
pub use files::{File, MediaKind};
use gate::Gate;
use gateway_listener::clock::Clock;
use gateway_listener::{ListenerLimits, Names};
use login::Login;
pub use login::{Act, LoginCounters, QrCode};
use outage::Command;
pub use people::Repeat;
use server_state::{ServerState, lock};
use wire::Wire;

/// The person who writes when a request names none.
pub const DEFAULT_USER: &str = "wxid_alice@im.wechat";

/// A message id seen on the real server. Ids start above it and above 2^53, where a client that
/// reads them as floats goes wrong.
const MESSAGE_ID_BASE: u64 = 7_497_484_083_968_569_736;

/// How a simulator starts.
pub struct SimulatorOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The time that every rule goes by.
    pub clock: Clock,
    /// Whether headers and bodies are compared with those of the official client.
    pub strict: bool,
    /// The long poll's advertised length; polls are answered slightly earlier.
    pub hold: Duration,
    /// The first account's id.
    pub account_id: String,
    /// The first account's bot token; `None` draws one.
    pub token: Option<String>,
    /// The person whom the first account is bound to; `None` is nobody, and then no login ends
    /// its session.
    pub owner: Option<String>,
    /// Exchanges that the wire log keeps; 0 switches it off.
    pub wire_log: usize,
    /// Bytes up to which a file that a bot uploads is kept whole, for
    /// [`Simulator::phone_file`]; of a larger one only size and MD5 are kept.
    pub whole_bytes: u64,
    /// The token of the control paths; `None` draws one.
    pub control_token: Option<String>,
    /// Names that clients may call it by, besides those of this machine.
    pub names: Names,
    /// What connections may take.
    pub limits: ListenerLimits,
}

impl Default for SimulatorOptions {
    fn default() -> SimulatorOptions {
        SimulatorOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Clock::new(),
            strict: false,
            hold: Duration::from_secs(35),
            account_id: "b0f5860fdecb@im.bot".to_owned(),
            token: None,
            owner: Some(DEFAULT_USER.to_owned()),
            wire_log: 10_000,
            whole_bytes: 1024 * 1024,
            control_token: None,
            names: Names::default(),
            limits: ListenerLimits::simulator(),
        }
    }
}

/// What happens while the simulator runs, for a terminal or a test that follows it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A phone shows one more bubble: an entry as in [`Simulator::phone`].
    Shown(Value),
    /// The typing indicator of `account` at `user`'s phone was switched.
    Typing {
        /// The bot account.
        account: Arc<str>,
        /// The person who sees the indicator.
        user: String,
        /// On or off.
        on: bool,
    },
}

/// A running simulator. Clones share it; the last handle to go ends the server.
#[derive(Clone)]
pub struct Simulator {
    first: Account,
}

impl Simulator {
    /// Binds and serves, with one account.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: SimulatorOptions) -> std::io::Result<Simulator> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let (late, late_entries) = mpsc::unbounded_channel();
        let initial = Rules::new(options.strict, options.hold);
        // Ids grow with the time of the start: a client that remembers an earlier run must not
        // take new messages for repeats.
        let since_2023 = options.clock.unix_ms().saturating_sub(1_700_000_000_000);
        let token = options
            .token
            .unwrap_or_else(|| new_token(&options.account_id));
        let first = Arc::new(Bot::new(
            &options.account_id,
            token.clone(),
            initial.clone(),
        ));
        let mut bots = Bots::default();
        bots.insert(&first, token);
        if let Some(owner) = &options.owner {
            bots.bind(&first, owner);
        }
        let server = Arc::new(ServerState {
            address,
            gate: Gate::new(options.names, options.control_token),
            first: first.clone(),
            rules: Mutex::new(initial.clone()),
            initial,
            bots: RwLock::new(bots),
            message_ids: AtomicU64::new(
                MESSAGE_ID_BASE.saturating_add(since_2023.saturating_mul(1_000_000)),
            ),
            start: rand::random(),
            phone: Mutex::default(),
            cdn: Cdn::new(options.whole_bytes),
            login: Login::default(),
            wire: Wire::new(options.wire_log),
            violations: Mutex::default(),
            events: broadcast::channel(1024).0,
            changed: Notify::new(),
            late,
            clock: options.clock,
        });
        let (stop, stopped) = watch::channel(false);
        let (commands, to_obey) = mpsc::unbounded_channel();
        let task = tokio::spawn(server::serve(
            listener,
            server.clone(),
            options.limits,
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
            first: Account::new(first, server, running),
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
        Some(self.server().cdn.shown(message_id)?.into())
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

    /// Switches rules and faults; [`faults`] has the shape.
    ///
    /// # Errors
    /// A sentence that names what was wrong; nothing is changed then.
    pub fn faults(&self, changes: &Value) -> Result<(), String> {
        self.server().switch(changes)
    }

    /// The wire, oldest first, secrets masked:
    /// `{"at_ms", "host", "account", "endpoint", "status", "request", "response"}`. `status` is
    /// null where the connection was closed without an answer, `at_ms` is the request's arrival,
    /// and `request` of `get_qrcode_status` is its parameters.
    pub fn log(&self) -> Vec<Value> {
        self.server().wire.entries()
    }

    /// Exchanges that the wire log holds of the last `within`: of one endpoint, or of all.
    pub fn requests(&self, endpoint: Option<&str>, within: Duration) -> usize {
        let since = self.server().clock.elapsed().saturating_sub(within);
        self.server().wire.count(endpoint, since)
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

    fn server(&self) -> &ServerState {
        &self.first.server
    }
}

/// Keeps the server alive; dropping it drops the sender, which the server takes for a stop.
struct Running {
    stop: watch::Sender<bool>,
    commands: mpsc::UnboundedSender<Command>,
    task: Mutex<Option<JoinHandle<()>>>,
}
