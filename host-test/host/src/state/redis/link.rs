//! The connection to a server. The process has one, and makes it again when it is lost.
//!
//! Promises:
//! - An operation fails if it has no connection within [`CONNECT_WAIT`], or no answer within
//!   [`ANSWER_WAIT`]. Between two attempts to connect it fails at once. Nothing is retried here.
//! - A command of an earlier connection never takes effect after a command of a later one, even if
//!   nobody waits for its answer any more: the host has the server close the earlier connection before
//!   it uses the later one.
//! - The log has one line when the server goes away or refuses, and one when it is back or takes writes.
//! - After a failure, the host tries a write now and then until one succeeds: [`Link::trouble`].

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, cmd, pipe};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::address::Address;
use super::server::{About, is_lost, words};
use crate::state::StateError;

/// How long making a connection may take, with all that belongs to it.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How long the server may take to answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Pauses between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The key that is written and removed to see whether the server takes writes.
const PROBE: &str = "weixin:probe";

/// The connection to a server, if there is one right now.
pub struct Link {
    address: Address,
    client: Client,
    held: Mutex<Held>,
    /// Why the last operation failed, until the server takes writes again.
    trouble: std::sync::Mutex<Option<Trouble>>,
}

debug_by_name!(Link);

/// Why the server did not do what it was asked.
enum Trouble {
    /// There is no connection, or it was lost, for this reason.
    Away(String),
    /// The server answers, and refuses for this reason.
    Refuses(String),
}

impl Trouble {
    fn reason(&self) -> &str {
        let (Trouble::Away(reason) | Trouble::Refuses(reason)) = self;
        reason
    }
}

#[derive(Default)]
struct Held {
    line: Line,
    /// How many connections there were.
    number: u64,
    /// What the server calls the last connection.
    last: Option<Identity>,
}

/// Whether there is a connection.
#[derive(Default)]
enum Line {
    /// None yet.
    #[default]
    Closed,
    Open(MultiplexedConnection),
    /// The server is away.
    Away(Outage),
}

struct Identity {
    /// The run of the server. Another run does not know the connection.
    run: String,
    client: u64,
}

struct Outage {
    since: Instant,
    reason: String,
    next_attempt: Instant,
    pause: Duration,
}

impl Link {
    /// Connects for the first time.
    pub async fn open(address: &Address) -> Result<(Arc<Link>, About), String> {
        let client = address.client().map_err(|error| words(&error))?;
        let link = Link {
            address: address.clone(),
            client,
            held: Mutex::default(),
            trouble: std::sync::Mutex::default(),
        };
        let (_, about) = link.connect(&mut *link.held.lock().await).await?;
        Ok((Arc::new(link), about))
    }

    /// Checks whether the server takes writes.
    pub async fn probe(&self) -> Result<(), String> {
        self.try_ask(async |mut connection| {
            pipe()
                .cmd("HSET")
                .arg(&[PROBE, "", ""])
                .cmd("DEL")
                .arg(PROBE)
                .exec_async(&mut connection)
                .await
        })
        .await
    }

    /// Why it does not work right now.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = trouble.as_ref()?;
        Some(format!("{}: {}", self.address, trouble.reason()))
    }

    /// Notes a failure, and looks for its end.
    fn in_trouble(self: &Arc<Self>, now: Trouble) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() {
            *trouble = Some(now);
            return;
        }
        // If the server is away, the connection reports it.
        if let Trouble::Refuses(reason) = &now {
            let address = &self.address;
            tracing::warn!("the state at {address} refuses: {reason}; it is asked again");
        }
        *trouble = Some(now);
        drop(trouble);
        tokio::spawn(look_for_the_end(Arc::downgrade(self)));
    }

    /// Asks the server something.
    pub async fn ask<T, F>(
        self: &Arc<Self>,
        question: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StateError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.asked(question).await.map_err(|trouble| {
            let reason = format!("{}: {}", self.address, trouble.reason());
            self.in_trouble(trouble);
            StateError::Storage { reason }
        })
    }

    /// The same, with the bare reason as the error.
    pub async fn try_ask<T, F>(
        &self,
        question: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, String>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let answer = self.asked(question).await;
        answer.map_err(|trouble| trouble.reason().to_owned())
    }

    async fn asked<T, F>(
        &self,
        question: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let connection = self.connection().await;
        let (connection, number) = connection.map_err(Trouble::Away)?;
        let reason = match timeout(ANSWER_WAIT, question(connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if !is_lost(&error) => return Err(Trouble::Refuses(words(&error))),
            Ok(Err(error)) => words(&error),
            Err(_) => format!("it does not answer for {} s", ANSWER_WAIT.as_secs()),
        };
        self.lose(number, &reason).await;
        Err(Trouble::Away(reason))
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), String> {
        let mut held = self.held.lock().await;
        let away_since = match &held.line {
            Line::Open(connection) => return Ok((connection.clone(), held.number)),
            Line::Away(outage) if Instant::now() < outage.next_attempt => {
                return Err(outage.reason.clone());
            }
            Line::Away(outage) => Some(outage.since),
            Line::Closed => None,
        };
        match self.connect(&mut held).await {
            Ok((connection, _)) => {
                if let Some(since) = away_since {
                    let seconds = since.elapsed().as_secs_f32();
                    tracing::info!("the state at {} is back after {seconds:.1} s", self.address);
                }
                Ok((connection, held.number))
            }
            Err(reason) => {
                self.note(&mut held, &reason, true);
                Err(reason)
            }
        }
    }

    /// A caller that waits for the lock meanwhile finds a connection, or fails at once.
    async fn connect(&self, held: &mut Held) -> Result<(MultiplexedConnection, About), String> {
        let attempt = async {
            // The limits of time are ours, and cover all of it.
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None);
            let connecting = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            let mut connection = connecting.await.map_err(|error| words(&error))?;
            let about = About::ask(&mut connection)
                .await
                .map_err(|error| words(&error))?;
            if let Some(obstacle) = about.obstacle() {
                return Err(obstacle.to_owned());
            }
            let identity = match about.run() {
                Some(run) => Some(Identity {
                    run: run.to_owned(),
                    client: cmd("CLIENT")
                        .arg("ID")
                        .query_async(&mut connection)
                        .await
                        .map_err(|error| words(&error))?,
                }),
                None => None,
            };
            if let (Some(last), Some(now)) = (&held.last, &identity)
                && last.run == now.run
            {
                // Mostly there is none of that number any more.
                cmd("CLIENT")
                    .arg(&["KILL", "ID"])
                    .arg(last.client)
                    .query_async::<()>(&mut connection)
                    .await
                    .map_err(|error| words(&error))?;
            }
            Ok((connection, about, identity))
        };
        let (connection, about, identity) = match timeout(CONNECT_WAIT, attempt).await {
            Ok(result) => result?,
            Err(_) => {
                let waited = CONNECT_WAIT.as_secs();
                return Err(format!("it does not answer for {waited} s"));
            }
        };
        held.line = Line::Open(connection.clone());
        held.number += 1;
        held.last = identity;
        Ok((connection, about))
    }

    async fn lose(&self, number: u64, reason: &str) {
        let mut held = self.held.lock().await;
        if held.number == number && matches!(held.line, Line::Open(_)) {
            self.note(&mut held, reason, false);
        }
    }

    /// Notes that the server is away; `failed` when connecting failed.
    fn note(&self, held: &mut MutexGuard<'_, Held>, reason: &str, failed: bool) {
        let now = Instant::now();
        if !matches!(held.line, Line::Away(_)) {
            tracing::warn!(
                "the state at {} is away: {reason}; what is under way is done again when it is back",
                self.address
            );
            held.line = Line::Away(Outage {
                since: now,
                reason: String::new(),
                next_attempt: now,
                pause: FIRST_PAUSE,
            });
        }
        let Line::Away(outage) = &mut held.line else {
            return;
        };
        outage.reason = reason.to_owned();
        if failed {
            outage.next_attempt = now + outage.pause;
            outage.pause = (outage.pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn look_for_the_end(link: Weak<Link>) {
    loop {
        tokio::time::sleep(LONGEST_PAUSE).await;
        let Some(link) = link.upgrade() else {
            return;
        };
        let probed = link.probe().await;
        let mut trouble = link.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (probed, trouble.as_mut()) {
            (Err(now), Some(Trouble::Away(reason) | Trouble::Refuses(reason))) => *reason = now,
            (Ok(()), was) => {
                if let Some(Trouble::Refuses(_)) = was {
                    tracing::info!("the state at {} takes writes again", link.address);
                }
                *trouble = None;
                return;
            }
            (Err(_), None) => return,
        }
    }
}
