//! A platform that calls back: its HTTP requests as plain values, what they bring, and their answers.
//!
//! A body that is too long or breaks off never reaches the platform's code. What a callback brings is
//! stored before the callback is answered. The head of an answer leaves before its body is written.

use std::time::Duration;

use futures::future::{Either, select};
use wit_bindgen::spawn_local;

use super::account::{ADOPT_EVERY, Account};
use super::bindings::wasi::http::types::{ErrorCode, Fields, Method, Request, Response};
use super::bindings::{wit_future, wit_stream};
use super::erased::{AnyWebhook, Source};
use super::imports::Body;
use super::instance::{self, Instance};
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind};
use crate::host::{Level, whole};
use crate::message::Event;
use crate::platform::{Callback, HttpAnswer, HttpRequest};

/// How often the store is tidied when nothing else happens.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// A renewal is trusted for at least this long.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Reads a whole request; or what it is answered instead.
async fn read(request: Request, max_bytes: usize) -> Result<HttpRequest, HttpAnswer> {
    let is_post = match request.get_method() {
        Method::Post => true,
        Method::Get => false,
        _ => return Err(HttpAnswer::empty(405)),
    };
    let path = request.get_path_with_query().unwrap_or_default();
    let (_, query) = path.split_once('?').unwrap_or((&path, ""));
    let query = query.to_owned();
    let body = whole(&mut Body::of_request(request), max_bytes).await;
    let body = body.map_err(|_| HttpAnswer::empty(400))?;
    Ok(HttpRequest {
        is_post,
        query,
        body: body.ok_or_else(|| HttpAnswer::empty(413))?,
    })
}

/// The answer for the host; its body is written beside.
pub fn respond(answer: HttpAnswer) -> Result<Response, ErrorCode> {
    let length = answer.body.len().to_string();
    let headers = [
        (
            "Content-Type".to_owned(),
            answer.content_type.as_bytes().to_vec(),
        ),
        ("Content-Length".to_owned(), length.into_bytes()),
    ];
    let headers = Fields::from_list(&headers).map_err(|_| ErrorCode::InternalError(None))?;
    let (mut writer, content) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let (response, sent) = Response::new(headers, Some(content), trailers_reader);
    let sent = answer.sent.map(|tell| (tell, sent));
    response
        .set_status_code(answer.status)
        .map_err(|()| ErrorCode::InternalError(None))?;
    spawn_local(async move {
        // Who asked may have gone.
        let left = writer.write_all(answer.body).await;
        drop(writer);
        let _ = trailers.write(Ok(None)).await;
        if let Some((tell, sent)) = sent {
            let is_sent = left.is_empty() && sent.await.is_ok();
            tell(is_sent);
        }
    });
    Ok(response)
}

/// Answers a request.
pub async fn handle(request: Request) -> HttpAnswer {
    let Ok(instance) = instance::current() else {
        return HttpAnswer::empty(503);
    };
    let Source::CallsBack(platform) = instance.source else {
        return HttpAnswer::empty(404);
    };
    match read(request, platform.max_body_bytes()).await {
        Ok(request) => instance.answer(platform, &request).await,
        Err(refusal) => refusal,
    }
}

impl Instance {
    async fn answer(&self, platform: &dyn AnyWebhook, request: &HttpRequest) -> HttpAnswer {
        let (account, host) = (self.account, &self.host);
        match platform.callback(host, request) {
            Callback::Events { events, held } => match account.take_callback(events) {
                // A repeat has no second answer.
                Ok(true) => match held {
                    Some(held) => platform.answer(host, &held).await,
                    None => HttpAnswer::empty(200),
                },
                Ok(false) => HttpAnswer::empty(200),
                Err(error) => {
                    let line = format!("a callback is left for later: {error}");
                    account.log(Level::Warn, &line);
                    HttpAnswer::empty(503)
                }
            },
            Callback::Answered(answer) => answer,
            Callback::Refused { status, why } => {
                account.refuse(&why);
                HttpAnswer::empty(status)
            }
        }
    }

    /// What has to be done beside the calls, until draining: what requests need is kept fresh, what an
    /// older instance stored is taken in, the store is tidied.
    pub async fn keep_ready(&self, platform: &dyn AnyWebhook) -> Result<(), Error> {
        let account = self.account;
        let mut failures = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            account.ready()?;
            account.adopt()?;
            account.sweep()?;
            if account.is_draining.get() {
                return Ok(());
            }
            account.check_fence()?;
            if account.pause().await {
                continue;
            }
            let seen = account.chores.count();
            let refreshing = std::pin::pin!(platform.refresh(&self.host));
            let drained = std::pin::pin!(account.drain.wait(0));
            let pause = match select(drained, refreshing).await {
                Either::Left(_) => return Ok(()),
                Either::Right((Ok(left), _)) => {
                    failures.reset();
                    left.max(SHORTEST_PAUSE).min(match account.may_adopt() {
                        true => ADOPT_EVERY,
                        false => TIDY_EVERY,
                    })
                }
                Either::Right((Err(_), _)) => {
                    let pause = account.refusal_pause(&mut failures);
                    account.sleep(pause).await;
                    continue;
                }
            };
            let chores = std::pin::pin!(account.chores.wait(seen));
            select(chores, std::pin::pin!(account.sleep(pause))).await;
        }
    }
}

impl Account {
    /// Stores what a callback tells; whether it is new.
    fn take_callback(&self, events: Vec<Event>) -> Result<bool, Error> {
        if self.is_draining.get() {
            let why = "this instance is being drained";
            return Err(Error::new(ErrorKind::Draining, why));
        }
        self.ready()?;
        self.check_fence()?;
        if self.is_full_for(&events) {
            // Tells when it is over.
            self.chores.raise();
            let why = "too much is unacknowledged";
            return Err(Error::new(ErrorKind::Transient, why));
        }
        // Callbacks have no cursor.
        self.take_in(String::new(), events)
    }

    /// Whether there is no room for the events; those that are stored already have their own.
    fn is_full_for(&self, events: &[Event]) -> bool {
        let mut channel = self.channel.borrow_mut();
        let journal = channel.journal();
        journal.is_paused() && !events.iter().all(|event| journal.knows(&event.id))
    }
}
