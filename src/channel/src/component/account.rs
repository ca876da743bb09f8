//! One account in an instance, whatever its platform.
//!
//! What a call reports as stored is stored. After a failed write the state is loaded again before
//! anything else happens. No borrow of the state is held across an `await`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::select;

use super::erased::About;
use super::imports::{self, Buckets, Log};
use super::transfer;
use super::values::Report;
use crate::channel::Channel;
use crate::error::{Error, ErrorKind};
use crate::health::{Health, Phase};
use crate::host::{Answered, Calls, Level, LocalFuture};
use crate::http::{Answer, Request, TransportError};
use crate::platform::{Batch, Description};
use crate::settings::{Dialect, Settings};
use crate::signal::Signal;
use crate::store::{self, Bucket, GENERATION, STATE_VERSION, Write};
use crate::transfer::{Content, Transform};

mod inbox;
mod sender;

pub use inbox::ADOPT_EVERY;

/// The log tells at most one refused request within this time: anybody can cause them.
const TELL_REFUSED_EVERY: Duration = Duration::from_secs(10);

/// The state of the account; a cache of what is stored.
pub struct Account {
    pub about: &'static About,
    trouble: &'static str,
    buckets: Buckets,
    pub channel: RefCell<Channel>,
    /// A write failed: the state has to be loaded again.
    pub is_stale: Cell<bool>,
    pub health: RefCell<Health>,
    logged: RefCell<Option<Phase>>,
    started: Duration,
    adopted: Cell<Duration>,
    pub last_poll_ms: Cell<Option<u64>>,
    last_event_ms: Cell<Option<u64>>,
    last_send_ms: Cell<Option<u64>>,
    pub is_receiving: Cell<bool>,
    /// The task runs that receives: it polls, or keeps ready for callbacks.
    pub is_attending: Cell<bool>,
    /// What ended it, for the next caller of `receive`.
    pub attend_error: Cell<Option<Error>>,
    pub is_running: Cell<bool>,
    pub is_draining: Cell<bool>,
    /// Draining began.
    pub drain: Signal,
    /// The time of `drain` is up: requests under way are given up.
    pub abandon: Signal,
    /// There may be something for `receive`.
    pub inbox: Signal,
    /// There may be something to send.
    pub outbox: Signal,
    /// The sender has ended.
    pub sender_ended: Signal,
    /// Something was acknowledged.
    pub acknowledged: Signal,
    /// There is something to do beside the calls.
    pub chores: Signal,
    /// Who waits for which post.
    waiting: RefCell<HashMap<String, Vec<oneshot::Sender<()>>>>,
    /// What the log said last of sends that fail.
    send_trouble: RefCell<Option<String>>,
    /// What a poll brought and the store did not take yet.
    unstored: RefCell<Option<Batch>>,
    /// What something on the way lets a poll hang at most, and since when that is known.
    pub longest_poll: Cell<Option<(Duration, Duration)>>,
    /// Requests that were refused: when the log last told of them, and how many since.
    refused: Cell<(Option<Duration>, u64)>,
}

impl Account {
    /// Takes the account over. It lives as long as the component.
    pub fn open(
        about: &'static About,
        description: &Description,
        settings: Settings,
    ) -> Result<&'static Account, Error> {
        let dialect = Dialect {
            plain: about.plain,
            native: about.native,
            has_files: !description.media.is_empty(),
        };
        let buckets = Buckets::open()?;
        check_state(&buckets, about.name)?;
        let generation = buckets.next_generation()?;
        let keys = buckets.keys()?;
        let entries = read_state(&buckets, &keys)?;
        let (channel, problems) = Channel::load(settings, dialect, generation, &keys, &entries);
        let account = Box::leak(Box::new(Account {
            about,
            trouble: description.trouble,
            buckets,
            channel: RefCell::new(channel),
            is_stale: Cell::new(false),
            health: RefCell::new(Health::new(description.hold)),
            logged: RefCell::new(None),
            started: imports::now(),
            adopted: Cell::new(imports::now()),
            last_poll_ms: Cell::new(None),
            last_event_ms: Cell::new(None),
            last_send_ms: Cell::new(None),
            is_receiving: Cell::new(false),
            is_attending: Cell::new(false),
            attend_error: Cell::default(),
            is_running: Cell::new(false),
            is_draining: Cell::new(false),
            drain: Signal::default(),
            abandon: Signal::default(),
            inbox: Signal::default(),
            outbox: Signal::default(),
            sender_ended: Signal::default(),
            acknowledged: Signal::default(),
            chores: Signal::default(),
            waiting: RefCell::default(),
            send_trouble: RefCell::default(),
            unstored: RefCell::default(),
            longest_poll: Cell::default(),
            refused: Cell::default(),
        }));
        account.log_problems(problems);
        account.replay_peers()?;
        Ok(account)
    }

    /// One line for the host's log.
    pub fn log(&self, level: Level, line: &str) {
        Log(self.about.name).line(level, line);
    }

    fn log_problems(&self, problems: Vec<String>) {
        for problem in problems {
            self.log(Level::Error, &problem);
        }
    }

    /// What the account knows of itself.
    pub fn report(&self) -> Report {
        let (now, now_ms) = (imports::now(), imports::now_ms());
        let (phase, since, reason) = self.health.borrow_mut().check(now);
        let ago = u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(0);
        let mut channel = self.channel.borrow_mut();
        Report {
            phase,
            since_ms: now_ms.saturating_sub(ago),
            last_poll_ms: self.last_poll_ms.get(),
            last_event_ms: self.last_event_ms.get(),
            last_send_ms: self.last_send_ms.get(),
            unacknowledged: channel.journal().unacknowledged(),
            queued: channel.outbox().queued(),
            reason,
        }
    }

    /// Acknowledges events that no post answers.
    pub fn acknowledge(&self, ids: &[String]) -> Result<(), Error> {
        self.ready()?;
        let writes = self.channel.borrow_mut().acknowledge(ids);
        self.store(writes)?;
        self.acknowledged.raise();
        Ok(())
    }

    pub fn load_peer(&self, id: &str) -> Result<(), Error> {
        if self.channel.borrow_mut().peers().peer(id).is_some() {
            return Ok(());
        }
        let value = self.buckets.get(Bucket::State, &crate::peers::key(id))?;
        let mut channel = self.channel.borrow_mut();
        channel.peers().load(id, value.as_deref());
        Ok(())
    }

    /// What an answer to a peer has to carry.
    pub fn reply_token(&self, peer: &str) -> Result<Option<String>, Error> {
        self.load_peer(peer)?;
        let mut channel = self.channel.borrow_mut();
        let peer = channel.peers().peer(peer);
        Ok(peer.and_then(|peer| peer.reply_token.clone()))
    }

    /// Brings the stored peers up to date: the stored batches and posts know more of them.
    fn replay_peers(&self) -> Result<(), Error> {
        let replay = self.channel.borrow_mut().take_replay();
        for replay in replay {
            if let Some(peer) = replay.peer() {
                self.load_peer(peer)?;
            }
            self.channel.borrow_mut().replay(replay);
        }
        Ok(())
    }

    /// Makes memory follow the store again after a failed write.
    pub fn ready(&self) -> Result<(), Error> {
        if !self.is_stale.get() {
            return Ok(());
        }
        let keys = self.buckets.keys()?;
        let entries = read_state(&self.buckets, &keys)?;
        let problems = self.channel.borrow_mut().reload(&keys, &entries);
        self.log_problems(problems);
        self.replay_peers()?;
        self.is_stale.set(false);
        self.outbox.raise();
        self.inbox.raise();
        Ok(())
    }

    /// Makes changes in their order.
    pub fn store(&self, writes: impl IntoIterator<Item = Write>) -> Result<(), Error> {
        for write in writes {
            if let Err(error) = self.buckets.write(write) {
                self.is_stale.set(true);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes what is done. What memory says of it has to be what is stored, and the account has to
    /// be this instance's.
    pub fn retire(&self, at_once: bool) -> Result<(), Error> {
        if self.is_stale.get() {
            return Ok(());
        }
        let writes = self.channel.borrow_mut().retire(imports::now_ms(), at_once);
        if writes.is_empty() {
            return Ok(());
        }
        self.check_fence()?;
        self.store(writes)
    }

    /// Whether a newer instance owns the account.
    pub fn check_fence(&self) -> Result<(), Error> {
        let stored = self.buckets.get(Bucket::State, GENERATION)?;
        let generation = self.channel.borrow().generation();
        let is_newer = stored
            .and_then(|value| String::from_utf8(value).ok())
            .and_then(|value| value.parse::<u64>().ok())
            .is_some_and(|stored| stored > generation);
        if !is_newer {
            return Ok(());
        }
        let reason = "a newer instance owns the account: stop this one";
        self.begin_drain(reason);
        Err(Error::new(ErrorKind::Fenced, reason))
    }

    pub fn begin_drain(&self, reason: &str) {
        if !self.is_draining.replace(true) {
            self.health.borrow_mut().draining = Some(reason.to_owned());
            self.drain.raise();
            self.outbox.raise();
        }
    }

    /// Takes in what the platform's clock shows, and says in the log when ours is another.
    pub fn look_at_clock(&self) {
        let Some(date) = imports::take_date() else {
            return;
        };
        let told = {
            let mut channel = self.channel.borrow_mut();
            channel.clock().saw(date.at, date.own_ms, date.date_ms)
        };
        if let Some(told) = told {
            self.log(Level::Warn, &told);
        }
    }

    /// Notes that the platform can't be reached as it should, and says so once in the log.
    pub fn failed(&self, error: &Error) {
        let is_login = error.kind == ErrorKind::LoginRequired;
        let now = imports::now();
        self.look_at_clock();
        let reason = error.message.clone();
        self.health.borrow_mut().poll_failed(now, reason, is_login);
        self.log_phase();
    }

    /// The platform takes the credential: what waited for that goes on.
    pub fn resume(&self) {
        self.look_at_clock();
        self.log_phase();
        self.channel.borrow_mut().outbox().resume();
        self.outbox.raise();
    }

    /// Fails while the platform refuses the credential. Only the poll asks then; other requests would be
    /// refused as well.
    pub fn check_credential(&self) -> Result<(), Error> {
        let (phase, _, reason) = self.health.borrow_mut().check(imports::now());
        if phase != Phase::LoginRequired {
            return Ok(());
        }
        let reason = reason.unwrap_or_default();
        Err(Error::new(ErrorKind::LoginRequired, reason))
    }

    /// Waits, but not longer than until draining.
    pub async fn sleep(&self, pause: Duration) {
        let timer = std::pin::pin!(imports::sleep_until(imports::now().saturating_add(pause)));
        let drained = std::pin::pin!(self.drain.wait(0));
        select(drained, timer).await;
    }

    /// One line at each change of the phase, and none between.
    pub fn log_phase(&self) {
        let (phase, _, reason) = self.health.borrow_mut().check(imports::now());
        if self.logged.replace(Some(phase)) == Some(phase) {
            return;
        }
        let reason = reason.unwrap_or_default();
        match phase {
            Phase::Connected => self.log(Level::Info, "connected"),
            Phase::Degraded => {
                self.log(Level::Warn, &format!("{}: {reason}", self.trouble));
            }
            Phase::LoginRequired => self.log(Level::Error, &reason),
            Phase::Paused => self.log(Level::Warn, &reason),
            Phase::Starting | Phase::Draining | Phase::Stopped => {}
        }
    }

    /// Counts a request that should be a callback and is none, and says so in the log now and then.
    pub fn refuse(&self, why: &str) {
        let now = imports::now();
        let (told, count) = self.refused.get();
        let count = count.saturating_add(1);
        if told.is_some_and(|told| now.saturating_sub(told) < TELL_REFUSED_EVERY) {
            self.refused.set((told, count));
            return;
        }
        self.refused.set((Some(now), 0));
        let line =
            format!("requests refused that should be callbacks: {count}; the last one: {why}");
        self.log(Level::Warn, &line);
    }

    /// Whether the platform took the announcement of the start.
    pub fn has_started(&self) -> bool {
        self.health.borrow().start_accepted
    }

    /// Whether the log has said that the account is connected.
    pub fn is_shown_connected(&self) -> bool {
        *self.logged.borrow() == Some(Phase::Connected)
    }
}

/// What a platform may ask for.
impl Calls for &'static Account {
    fn now(&self) -> Duration {
        imports::now()
    }

    fn now_ms(&self) -> u64 {
        imports::now_ms()
    }

    fn random(&self) -> u64 {
        imports::random()
    }

    fn log(&self, level: Level, line: &str) {
        Log(self.about.name).line(level, line);
    }

    fn sleep(&self, pause: Duration) -> LocalFuture<'_, ()> {
        Box::pin(Account::sleep(self, pause))
    }

    fn fetch(&self, request: Request) -> LocalFuture<'_, Answer> {
        Box::pin(imports::fetch(request))
    }

    fn download(&self, request: Request) -> LocalFuture<'_, Result<Answered, TransportError>> {
        Box::pin(imports::download(request))
    }

    fn upload(
        &self,
        request: Request,
        content: Content,
        transform: Box<dyn Transform>,
    ) -> LocalFuture<'_, Result<Answered, Error>> {
        Box::pin(transfer::upload(request, content, transform))
    }

    fn check_credential(&self) -> Result<(), Error> {
        Account::check_credential(self)
    }

    fn is_alive(&self) {
        self.health.borrow_mut().poll_answered(imports::now());
        self.resume();
    }

    fn fails(&self, error: &Error) {
        self.failed(error);
    }

    fn refresh(&self) {
        self.chores.raise();
    }
}

/// Whether the stored state can be read: it is of this version, and of this platform.
fn check_state(buckets: &Buckets, platform: &str) -> Result<(), Error> {
    let invalid = |why: String| Err(Error::new(ErrorKind::Invalid, why));
    let stored = |key: &str| {
        let value = buckets.get(Bucket::State, key)?;
        Ok::<_, Error>(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    };
    let set = |key: &str, value: &str| {
        buckets.write(Write::set(key.to_owned(), value.as_bytes().to_vec()))
    };
    match stored(store::VERSION)? {
        None => set(store::VERSION, &STATE_VERSION.to_string())?,
        Some(version) if version == STATE_VERSION.to_string() => {}
        Some(version) => {
            return invalid(format!(
                "the stored state has version {version}, this component reads version \
                 {STATE_VERSION}: run the component that wrote it, or start with an empty state"
            ));
        }
    }
    match stored(store::PLATFORM)? {
        // An empty state, or one from before states had this mark.
        None => set(store::PLATFORM, platform),
        Some(other) if other == platform => Ok(()),
        Some(other) => invalid(format!(
            "the stored state is of the platform {other}, this component is of {platform}: run a \
             component of {other}, or start with an empty state"
        )),
    }
}

/// The entries that a start reads.
fn read_state(buckets: &Buckets, keys: &[String]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut entries = Vec::new();
    for key in keys {
        if store::is_read_at_start(key)
            && let Some(value) = buckets.get(Bucket::State, key)?
        {
            entries.push((key.clone(), value));
        }
    }
    Ok(entries)
}
