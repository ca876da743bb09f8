//! One instance at work: what comes in, the lane that sends, and the calls beside them. What only one
//! platform needs is in the module of that platform, here called `platform`.
//!
//! Promises: what is said to be stored is stored, a failed write loads the state again before
//! anything else happens, and no borrow of the state is held across an `await`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};

use super::imports::{self, Buckets, Level, log};
use super::signal::Signal;
use super::values::{Opened, Report, Upload};
use gateway_channel_sdk::backoff::Backoff;
use gateway_channel_sdk::channel::Channel;
use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::health::{Health, Phase};
use gateway_channel_sdk::message::Event;
use gateway_channel_sdk::outbox::{Content, Job, NewPost, Outcome, Receipt};
use gateway_channel_sdk::store::{self, Bucket, GENERATION, STATE_VERSION, Write};

mod inbox;
mod lane;
mod media;
#[cfg(feature = "wecom")]
mod wecom;
#[cfg(feature = "weixin")]
mod weixin;

#[cfg(feature = "wecom")]
use wecom as platform;
#[cfg(feature = "wecom")]
pub use wecom::callback;
#[cfg(feature = "weixin")]
use weixin as platform;

pub use platform::login;

/// Events that one call of `receive` returns at most.
const MAX_EVENTS: usize = 256;

thread_local! {
    static INSTANCE: RefCell<Option<Rc<Instance>>> = const { RefCell::new(None) };
}

/// The state of the instance; a cache of what is stored.
pub struct Instance {
    options: platform::Options,
    platform: platform::State,
    buckets: Buckets,
    channel: RefCell<Channel>,
    /// A write failed: the state has to be loaded again.
    is_stale: Cell<bool>,
    health: RefCell<Health>,
    logged: RefCell<Option<Phase>>,
    started: Duration,
    adopted: Cell<Duration>,
    last_poll_ms: Cell<Option<u64>>,
    last_event_ms: Cell<Option<u64>>,
    last_send_ms: Cell<Option<u64>>,
    is_receiving: Cell<bool>,
    /// The task beside the calls runs: the poll, or what there is in its place.
    is_attending: Cell<bool>,
    /// What ended it, for the next caller of `receive`.
    attend_error: Cell<Option<Error>>,
    is_running: Cell<bool>,
    is_draining: Cell<bool>,
    /// Draining began.
    drain: Signal,
    /// The time of `drain` is up: requests under way are given up.
    abandon: Signal,
    /// There may be something for `receive`.
    inbox: Signal,
    /// There may be something to send.
    lane: Signal,
    /// The lane has ended.
    lane_ended: Signal,
    /// Something was acknowledged.
    acknowledged: Signal,
    /// Who waits for which post.
    waiting: RefCell<HashMap<String, Vec<oneshot::Sender<()>>>>,
    /// What the log said last of sends that fail.
    send_trouble: RefCell<Option<String>>,
}

/// The instance, once it was started.
pub fn current() -> Result<Rc<Instance>, Error> {
    INSTANCE.with_borrow(Clone::clone).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "the instance was not started: call `start` first",
        )
    })
}

/// Takes the account over and announces the start.
pub async fn start() -> Result<(), Error> {
    if current().is_ok() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "the instance was started before: make a new one",
        ));
    }
    let settings = platform::settings(&imports::config)?;
    let options = platform::Options::read(&imports::config)?;
    let buckets = Buckets::open()?;
    check_version(&buckets)?;
    let generation = buckets.next_generation()?;
    let keys = buckets.keys()?;
    let entries = read_state(&buckets, &keys)?;
    let (channel, problems) =
        Channel::load(settings, platform::DIALECT, generation, &keys, &entries);
    log_problems(problems);
    let instance = Rc::new(Instance {
        options,
        platform: platform::State::default(),
        buckets,
        channel: RefCell::new(channel),
        is_stale: Cell::new(false),
        health: RefCell::new(Health::new(platform::HOLD)),
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
        lane: Signal::default(),
        lane_ended: Signal::default(),
        acknowledged: Signal::default(),
        waiting: RefCell::default(),
        send_trouble: RefCell::default(),
    });
    instance.replay_peers()?;
    INSTANCE.set(Some(Rc::clone(&instance)));
    instance.announce().await;
    instance.look_at_clock();
    Ok(())
}

/// Ends `receive` and `run`; waits up to `grace_ms` for what is under way.
pub async fn drain(grace_ms: u64) {
    let Ok(instance) = current() else {
        return;
    };
    instance.begin_drain("the gateway stops this instance");
    let deadline = imports::now() + Duration::from_millis(grace_ms);
    let seen = instance.lane_ended.count();
    if instance.is_running.get() {
        let ended = std::pin::pin!(instance.lane_ended.wait(seen));
        let timer = std::pin::pin!(imports::sleep_until(deadline));
        select(ended, timer).await;
    }
    instance.abandon.raise();
    // What stays is done again by the next instance: tidying may fail.
    let _ = instance.retire(true);
}

/// Announces the stop, once.
pub async fn stop() -> Result<(), Error> {
    let instance = current()?;
    instance.begin_drain("the gateway stops this instance");
    instance.abandon.raise();
    if std::mem::replace(&mut instance.health.borrow_mut().is_stopped, true) {
        return Ok(());
    }
    instance.announce_stop().await;
    Ok(())
}

/// What the instance knows of itself.
pub fn check() -> Report {
    let now = imports::now();
    let now_ms = imports::now_ms();
    let Ok(instance) = current() else {
        return Report {
            phase: Phase::Starting,
            since_ms: now_ms,
            last_poll_ms: None,
            last_event_ms: None,
            last_send_ms: None,
            unacknowledged: 0,
            queued: 0,
            reason: None,
        };
    };
    let (phase, since, reason) = instance.health.borrow_mut().check(now);
    let ago = u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(0);
    let mut channel = instance.channel.borrow_mut();
    Report {
        phase,
        since_ms: now_ms.saturating_sub(ago),
        last_poll_ms: instance.last_poll_ms.get(),
        last_event_ms: instance.last_event_ms.get(),
        last_send_ms: instance.last_send_ms.get(),
        unacknowledged: channel.journal().unacknowledged(),
        queued: channel.outbox().queued(),
        reason,
    }
}

fn check_version(buckets: &Buckets) -> Result<(), Error> {
    let Some(value) = buckets.get(Bucket::State, store::VERSION)? else {
        let value = STATE_VERSION.to_string().into_bytes();
        return buckets.write(Write::set(store::VERSION.to_owned(), value));
    };
    let version = String::from_utf8_lossy(&value).into_owned();
    if version == STATE_VERSION.to_string() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "the stored state has version {version}, this component reads version \
             {STATE_VERSION}: run the component that wrote it, or start with an empty state"
        ),
    ))
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

fn log_problems(problems: Vec<String>) {
    for problem in problems {
        log(Level::Error, &problem);
    }
}

impl Instance {
    /// Acknowledges events that no post answers.
    pub fn ack(&self, ids: &[String]) -> Result<(), Error> {
        self.ready()?;
        let writes = self.channel.borrow_mut().acknowledge(ids);
        self.store(writes)?;
        self.not_answered(ids);
        self.acknowledged.raise();
        self.retire(false)
    }

    /// Why nothing may be asked of the platform now: it refuses the credential, and requests beside
    /// those of the poll would tell nothing new.
    fn check_credential(&self) -> Result<(), Error> {
        let (phase, _, reason) = self.health.borrow_mut().check(imports::now());
        if phase != Phase::LoginRequired {
            return Ok(());
        }
        let reason = reason.unwrap_or_default();
        Err(Error::new(ErrorKind::LoginRequired, reason))
    }

    fn load_peer(&self, id: &str) -> Result<(), Error> {
        if self.channel.borrow_mut().peers().peer(id).is_some() {
            return Ok(());
        }
        let value = self
            .buckets
            .get(Bucket::State, &gateway_channel_sdk::peers::key(id))?;
        let mut channel = self.channel.borrow_mut();
        channel.peers().load(id, value.as_deref());
        Ok(())
    }

    /// What the stored batches tell of the peers is newer than what is stored of these.
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
    fn ready(&self) -> Result<(), Error> {
        if !self.is_stale.get() {
            return Ok(());
        }
        let keys = self.buckets.keys()?;
        let entries = read_state(&self.buckets, &keys)?;
        let problems = self.channel.borrow_mut().reload(&keys, &entries);
        log_problems(problems);
        self.replay_peers()?;
        self.is_stale.set(false);
        self.lane.raise();
        self.inbox.raise();
        Ok(())
    }

    /// Makes changes in their order.
    fn store(&self, writes: impl IntoIterator<Item = Write>) -> Result<(), Error> {
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
    fn retire(&self, at_once: bool) -> Result<(), Error> {
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
    fn check_fence(&self) -> Result<(), Error> {
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

    fn begin_drain(&self, reason: &str) {
        if !self.is_draining.replace(true) {
            self.health.borrow_mut().draining = Some(reason.to_owned());
            self.drain.raise();
            self.lane.raise();
        }
    }

    /// Takes in what the platform's clock shows, and says in the log when ours is another.
    fn look_at_clock(&self) {
        let Some(date) = imports::take_date() else {
            return;
        };
        let told = {
            let mut channel = self.channel.borrow_mut();
            channel.clock().saw(date.at, date.own_ms, date.date_ms)
        };
        if let Some(told) = told {
            log(Level::Warn, &told);
        }
    }

    /// Notes that the platform can't be reached as it should, and says so once in the log.
    fn failed(&self, reason: String, is_login: bool) {
        let now = imports::now();
        self.look_at_clock();
        self.health.borrow_mut().poll_failed(now, reason, is_login);
        self.log_phase();
    }

    /// One line at each change of the phase, and none between.
    fn log_phase(&self) {
        let (phase, _, reason) = self.health.borrow_mut().check(imports::now());
        if self.logged.replace(Some(phase)) == Some(phase) {
            return;
        }
        let reason = reason.unwrap_or_default();
        match phase {
            Phase::Connected => log(Level::Info, "connected"),
            Phase::Degraded => log(Level::Warn, &format!("{}: {reason}", platform::TROUBLE)),
            Phase::LoginRequired => log(Level::Error, &reason),
            Phase::Paused => log(Level::Warn, &reason),
            Phase::Starting | Phase::Draining | Phase::Stopped => {}
        }
    }
}
