//! An instance at work: an account with its platform.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use wit_bindgen::spawn_local;

use super::account::Account;
use super::erased::{About, AnyPlatform, Source};
use super::imports::{self, Log};
use super::transfer;
use super::values::{Opened, Report};
use crate::backoff::Backoff;
use crate::channel::Delivery;
use crate::error::{Error, ErrorKind};
use crate::health::Phase;
use crate::host::{Host, Level};
use crate::message::{Media, MediaKind};
use crate::outbox::{self, Job, NewPost, Outcome, Receipt};
use crate::platform::{Part, PartContent, Upload, unsupported};
use crate::settings::Settings;
use crate::transfer::Content;

/// A download whose begin fails is tried this often.
const DOWNLOAD_TRIES: u32 = 3;

thread_local! {
    static INSTANCE: Cell<Option<&'static Instance>> = const { Cell::new(None) };
}

/// An account with its platform. Both live as long as the component.
pub struct Instance {
    pub platform: &'static dyn AnyPlatform,
    pub source: Source,
    pub account: &'static Account,
    /// The account, as the platform sees it.
    pub host: Host,
    has_typing: bool,
}

/// The instance, once it was started.
pub fn current() -> Result<&'static Instance, Error> {
    INSTANCE.get().ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "the instance was not started: call `start` first",
        )
    })
}

/// Takes the account over and announces the start.
pub async fn start(about: &'static About) -> Result<(), Error> {
    if current().is_ok() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "the instance was started before: make a new one",
        ));
    }
    let description = (about.describe)();
    let lookup = |key: &str| imports::config(Log(about.name), key);
    let settings = Settings::read(&lookup, &description.defaults)?;
    let (platform, source) = (about.open)(&lookup)?;
    let account = Account::open(about, &description, settings)?;
    let instance: &'static Instance = Box::leak(Box::new(Instance {
        platform,
        source,
        account,
        host: Host::new(Rc::new(account)),
        has_typing: description.typing_refresh.is_some(),
    }));
    INSTANCE.set(Some(instance));
    instance.announce().await;
    account.look_at_clock();
    Ok(())
}

/// Ends `receive` and `run`; waits up to `grace_ms` for what is under way.
pub async fn drain(grace_ms: u64) {
    let Ok(instance) = current() else {
        return;
    };
    let account = instance.account;
    account.begin_drain("the gateway stops this instance");
    let deadline = imports::now() + Duration::from_millis(grace_ms);
    let seen = account.sender_ended.count();
    if account.is_running.get() {
        let ended = std::pin::pin!(account.sender_ended.wait(seen));
        let timer = std::pin::pin!(imports::sleep_until(deadline));
        select(ended, timer).await;
    }
    account.abandon.raise();
    // What stays is done again by the next instance: tidying may fail.
    let _ = account.retire(true);
}

/// Announces the stop, once.
pub async fn stop() -> Result<(), Error> {
    let instance = current()?;
    let account = instance.account;
    account.begin_drain("the gateway stops this instance");
    account.abandon.raise();
    if std::mem::replace(&mut account.health.borrow_mut().is_stopped, true) {
        return Ok(());
    }
    if let Err(error) = instance.platform.goodbye(&instance.host).await {
        account.log(
            Level::Info,
            &format!("the stop can't be announced: {error}"),
        );
    }
    Ok(())
}

/// What the instance knows of itself.
pub fn check() -> Report {
    match current() {
        Ok(instance) => instance.account.report(),
        Err(_) => Report {
            phase: Phase::Starting,
            since_ms: imports::now_ms(),
            last_poll_ms: None,
            last_event_ms: None,
            last_send_ms: None,
            unacknowledged: 0,
            queued: 0,
            reason: None,
        },
    }
}

impl Instance {
    /// Announces the start; a platform works without it.
    async fn announce(&self) {
        match self.platform.hello(&self.host).await {
            None => {}
            Some(Ok(())) => self.account.health.borrow_mut().start_accepted = true,
            Some(Err(error)) if error.kind == ErrorKind::LoginRequired => {
                self.account.failed(&error);
            }
            Some(Err(error)) => {
                let line = format!("the start can't be announced: {error}");
                self.account.log(Level::Info, &line);
            }
        }
    }

    /// Waits for events; empty when draining.
    pub async fn receive(&'static self) -> Result<Vec<Delivery>, Error> {
        if self.account.is_receiving.replace(true) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "another call of `receive` is open: keep one",
            ));
        }
        let result = self.next_events().await;
        self.account.is_receiving.set(false);
        result
    }

    async fn next_events(&'static self) -> Result<Vec<Delivery>, Error> {
        let account = self.account;
        loop {
            let seen = account.inbox.count();
            if let Some(deliveries) = account.take_events()? {
                return Ok(deliveries);
            }
            if !account.is_attending.replace(true) {
                // It goes on when this call returns: a poll that is given up may take messages with
                // it.
                spawn_local(self.keep_attending());
            }
            account.wait_for_events(seen).await;
        }
    }

    async fn keep_attending(&self) {
        let result = match self.source {
            Source::Polled(platform) => self.poll_all(platform).await,
            Source::CallsBack(platform) => self.keep_ready(platform).await,
        };
        self.account.is_attending.set(false);
        self.account.attend_error.replace(result.err());
        self.account.inbox.raise();
    }

    /// Acknowledges events that no post answers.
    pub fn ack(&self, ids: &[String]) -> Result<(), Error> {
        self.account.acknowledge(ids)?;
        self.platform.not_answered(ids);
        self.account.retire(false)
    }

    /// Stores a post and waits until it is settled.
    pub async fn send(&self, post: NewPost) -> Result<Receipt, Error> {
        self.account.send(post).await
    }

    /// Sends what is stored, until draining.
    pub async fn run(&self) -> Result<(), Error> {
        self.account.begin_run()?;
        let result = self.send_all().await;
        self.account.end_run(result.is_err());
        result
    }

    async fn send_all(&self) -> Result<(), Error> {
        let account = self.account;
        let mut requests = FuturesUnordered::new();
        loop {
            let seen = account.outbox.count();
            account.begin_round()?;
            while let Some(job) = account.next_job()? {
                requests.push(self.perform(job));
            }
            account.wake_callers();
            if account.is_draining.get() && requests.is_empty() {
                return Ok(());
            }
            let news = std::pin::pin!(account.news(seen));
            let abandoned = std::pin::pin!(account.abandon.wait(0));
            let done = std::pin::pin!(next(&mut requests));
            match select(done, select(abandoned, news)).await {
                Either::Left(((job, outcome), _)) => account.finish(&job, outcome)?,
                Either::Right((Either::Left(_), _)) => return Ok(()),
                Either::Right((Either::Right(_), _)) => {}
            }
        }
    }

    /// Makes the requests of a job.
    async fn perform(&self, job: Job) -> (Job, Outcome) {
        let uploaded;
        let content = match &job.content {
            outbox::Content::Text(text) => PartContent::Text(text),
            outbox::Content::Media(handle) => PartContent::Media(handle),
            outbox::Content::Document { name, text } => {
                match self.put_text(&job.conversation, name, text).await {
                    Ok(handle) => uploaded = handle,
                    Err(error) => {
                        let outcome = match error.kind {
                            ErrorKind::LoginRequired => Outcome::LoginRequired(error),
                            ErrorKind::Forbidden => Outcome::Refused(error),
                            _ => Outcome::NotUploaded(error),
                        };
                        return (job, outcome);
                    }
                }
                PartContent::Media(&uploaded)
            }
        };
        let reply_token = match self.account.reply_token(&job.conversation) {
            Ok(token) => token,
            Err(error) => return (job, Outcome::NotSent(error)),
        };
        let part = Part {
            conversation: &job.conversation,
            content,
            markdown: self.account.channel.borrow().settings().markdown,
            answers: job.answers.as_deref(),
            client_id: &job.client_id,
            is_again: job.is_again,
            reply_token: reply_token.as_deref(),
        };
        let outcome = self.platform.deliver(&self.host, &part).await;
        (job, outcome)
    }

    /// Uploads a text as a file; returns the handle.
    async fn put_text(&self, conversation: &str, name: &str, text: &str) -> Result<String, Error> {
        let upload = Upload {
            conversation: conversation.to_owned(),
            kind: Some(MediaKind::File),
            name: name.to_owned(),
            mime: None,
            md5: (self.account.about.md5)(text.as_bytes()),
        };
        let content = transfer::text(text);
        let media = self.platform.put(&self.host, upload, content).await?;
        media
            .handle
            .ok_or_else(|| Error::new(ErrorKind::Transient, "the upload has no handle"))
    }

    /// Uploads content.
    pub async fn put(&self, upload: Upload, content: Content) -> Result<Media, Error> {
        self.platform.put(&self.host, upload, content).await
    }

    /// Shows or ends the typing indicator.
    pub async fn typing(&self, conversation: &str, on: bool) -> Result<(), Error> {
        if !self.has_typing {
            return Err(unsupported("a typing indicator"));
        }
        self.account.check_credential()?;
        let token = self.account.reply_token(conversation)?;
        self.platform
            .typing(&self.host, conversation, token.as_deref(), on)
            .await
    }

    /// Opens the content of a handle that came with a message. A passing failure before the content is
    /// tried again.
    pub async fn open(&self, handle: &str) -> Result<Opened, Error> {
        let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let download = loop {
            match self.platform.open(&self.host, handle).await {
                Err(error)
                    if error.kind == ErrorKind::Transient
                        && pause.failures() + 1 < DOWNLOAD_TRIES =>
                {
                    let pause = pause.fail(imports::random());
                    imports::sleep_until(imports::now() + pause).await;
                }
                result => break result?,
            }
        };
        transfer::hand_on(download, self.account.about).await
    }
}

async fn next<F: Future>(requests: &mut FuturesUnordered<F>) -> F::Output {
    match requests.next().await {
        Some(done) => done,
        None => std::future::pending().await,
    }
}
