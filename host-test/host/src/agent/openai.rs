//! An agent that is a model, behind any server with `/chat/completions`.
//!
//! - Each request brings the last turns of the conversation. The turns are in memory, bounded, and only
//!   those that were answered. A message that comes again replaces its own turn.
//! - Only a 2xx status with a readable answer acknowledges a message. If the server refuses a request,
//!   the agent asks again without pictures, and then without the earlier turns, so that no conversation
//!   is stuck.
//! - Thoughts of a model are neither shown nor kept. An error with status 200 counts as that error.
//! - The key is sent in one header. No log and no error shows it.

mod base;
mod completion;
mod history;
mod prompt;
mod trouble;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use serde_json::json;

use super::http::{retry_after, shown};
use super::message::{Message, Reply};
use super::progress::Progress;
use super::{ANSWER_TIME, Agent, AgentError};
use crate::clock::Clock;
use crate::egress::client::{TCP_LIMIT, pool};
use crate::egress::connector::{AddressPolicy, Connector};
use crate::egress::error::innermost;
use crate::egress::resolver::SystemResolver;
use completion::{Completion, CompletionError};
use history::{History, Turn};
use prompt::Picture;
use trouble::Trouble;

pub(super) use base::is_another_api;

/// The largest answer of the server.
const MAX_COMPLETION_BYTES: usize = 16 * 1024 * 1024;

/// What the server wants to know.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The model's name.
    pub model: String,
    /// `None` if the server needs no key.
    pub key: Option<Key>,
    /// What the model is told before each conversation.
    pub system_prompt: Option<String>,
}

/// The server's key. It is shown nowhere.
#[derive(Clone)]
pub struct Key {
    plain: String,
    header: HeaderValue,
}

impl Key {
    /// A key; none when it is empty or can't stand in a header.
    pub fn new(plain: &str) -> Option<Key> {
        if plain.is_empty() {
            return None;
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {plain}")).ok()?;
        header.set_sensitive(true);
        Some(Key {
            plain: plain.to_owned(),
            header,
        })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A model behind a server.
pub struct OpenAiAgent {
    /// The URLs at which completions may be, the likelier one first.
    urls: Vec<Uri>,
    /// The index of the one that worked last.
    place: AtomicUsize,
    settings: Settings,
    client: Client<Connector, Full<Bytes>>,
    clock: Clock,
    history: Mutex<History>,
}

debug_by_name!(OpenAiAgent);

impl OpenAiAgent {
    /// The model at `base`, to which `/chat/completions` is added where it is missing, with connections
    /// of its own.
    pub fn new(base: &Uri, settings: Settings, clock: Clock) -> OpenAiAgent {
        let connector = Connector::new(
            Arc::new(SystemResolver::new()),
            AddressPolicy::Anywhere,
            TCP_LIMIT,
        );
        OpenAiAgent {
            urls: base::completions(base),
            place: AtomicUsize::new(0),
            settings,
            client: pool(connector),
            clock,
            history: Mutex::default(),
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // A panic of another holder leaves a valid value: each change is one assignment.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reply(&self, message: &Message) -> Result<Option<Reply>, AgentError> {
        let conversation = (message.account.clone(), message.conversation.id.clone());
        let mut turns = self.history().of(&conversation);
        // The message was answered and comes again. The model answers it as if for the first time.
        turns.retain(|turn| turn.id != message.id);
        let said = prompt::text(message);
        if said.trim().is_empty() {
            return Ok(None);
        }
        let mut pictures = prompt::pictures(&self.client, message).await;
        let completion = loop {
            match self.complete(&turns, &said, &pictures).await {
                Err(AgentError::Refused { status, reason, .. })
                    if !pictures.is_empty() && may_be_the_pictures(status) =>
                {
                    tracing::warn!(
                        "the agent's server does not take pictures (status {status}: {reason}): \
                         asking without"
                    );
                    pictures.clear();
                }
                Err(AgentError::Refused { status, reason, .. })
                    if !turns.is_empty() && may_be_the_length(status) =>
                {
                    tracing::warn!(
                        "the agent's server refuses a conversation (status {status}: {reason}): \
                         asking without its earlier turns"
                    );
                    turns.clear();
                }
                result => break result?,
            }
        };
        let answer = match completion {
            Completion::Said(answer) => answer,
            Completion::Nothing(why) => return Err(AgentError::NoAnswer(why)),
        };
        turns.push(Turn {
            id: message.id.clone(),
            said,
            answer: answer.clone(),
        });
        self.history().set(conversation, turns);
        Ok(Reply::of_text(answer))
    }

    async fn complete(
        &self,
        turns: &[Turn],
        said: &str,
        pictures: &[Picture],
    ) -> Result<Completion, AgentError> {
        let mut messages = Vec::new();
        if let Some(system_prompt) = &self.settings.system_prompt {
            messages.push(json!({"role": "system", "content": system_prompt}));
        }
        for turn in turns {
            messages.push(json!({"role": "user", "content": turn.said}));
            messages.push(json!({"role": "assistant", "content": turn.answer}));
        }
        messages.push(json!({"role": "user", "content": prompt::content(said, pictures)}));
        let body = json!({
            "model": self.settings.model,
            "messages": messages,
            "stream": false,
        })
        .to_string();
        self.post_anywhere(&body.into()).await
    }

    /// Asks for a completion. A URL without a path does not say where completions are: if one URL has
    /// nothing, the other one is tried.
    async fn post_anywhere(&self, body: &Bytes) -> Result<Completion, AgentError> {
        let place = self.place.load(Ordering::Relaxed);
        #[expect(clippy::indexing_slicing, reason = "a base has at least one URL")]
        let first = self.urls.get(place).unwrap_or(&self.urls[0]);
        let result = self.post(first, body).await;
        if !is_nowhere(&result) {
            return result;
        }
        for (place, url) in self.urls.iter().enumerate() {
            if url == first {
                continue;
            }
            let other = self.post(url, body).await;
            if !is_nowhere(&other) {
                self.place.store(place, Ordering::Relaxed);
                return other;
            }
            // An error in words comes from a server with models that lacks this model.
            if has_words(&other) && !has_words(&result) {
                return other;
            }
        }
        result
    }

    async fn post(&self, url: &Uri, body: &Bytes) -> Result<Completion, AgentError> {
        let mut request = Request::new(Full::from(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        let json = HeaderValue::from_static("application/json");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        if let Some(key) = &self.settings.key {
            headers.insert(AUTHORIZATION, key.header.clone());
        }
        let response = self.client.request(request).await.map_err(|error| {
            let reason = format!("{}: {}", shown(url), innermost(&error));
            match error.is_connect() {
                true => AgentError::Unreachable(reason),
                false => AgentError::Incomplete(reason),
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_COMPLETION_BYTES).collect().await;
        let refused = |trouble: Trouble| {
            let words = match &self.settings.key {
                // Some servers repeat the key.
                Some(key) => trouble.words.replace(&key.plain, "…"),
                None => trouble.words,
            };
            AgentError::Refused {
                server: shown(url),
                status: trouble.status,
                reason: trouble::one_line(&words),
                fault: trouble.fault,
                retry_after: retry_after(&head.headers),
            }
        };
        if !head.status.is_success() {
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(refused(trouble::of_status(head.status.as_u16(), &body)));
        }
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => AgentError::TooLarge,
            false => AgentError::Incomplete(innermost(&*error)),
        })?;
        completion::read(&body.to_bytes()).map_err(|failure| match failure {
            CompletionError::Unreadable(why) => AgentError::Unreadable(why),
            CompletionError::Trouble(trouble) => refused(trouble),
        })
    }
}

impl Agent for OpenAiAgent {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        _: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        async move {
            tokio::select! {
                biased;
                result = self.reply(message) => result,
                () = self.clock.sleep(ANSWER_TIME) => Err(AgentError::TimedOut),
            }
        }
        .boxed()
    }
}

/// Whether there is nothing at the URL.
fn is_nowhere(result: &Result<Completion, AgentError>) -> bool {
    matches!(
        result,
        Err(AgentError::Refused {
            status: 404 | 405,
            ..
        })
    )
}

fn has_words(result: &Result<Completion, AgentError>) -> bool {
    matches!(result, Err(AgentError::Refused { reason, .. }) if reason != trouble::NO_WORDS)
}

/// Servers differ in how they refuse pictures. These errors mean something else.
fn may_be_the_pictures(status: u16) -> bool {
    !matches!(status, 401..=403 | 408 | 429 | 502..=504 | 529)
}

/// More than the model's context holds.
fn may_be_the_length(status: u16) -> bool {
    matches!(status, 400 | 413 | 422)
}

#[cfg(test)]
mod tests;
