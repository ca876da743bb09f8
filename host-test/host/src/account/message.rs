//! Messages and media between the component's terms and the agent's.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Shared, UploadError};
use crate::agent::message::{
    Conversation, ConversationKind, Media, MediaKind, Message, Quote, ReplyMedia, Sender,
};
use crate::bindings::exports::gateway::channel::media_transfer::Upload;
use crate::bindings::gateway::channel::types::{self, ErrorKind};
use crate::instance::{CallError, Ended};
use crate::media::MediaRules;
use crate::media::origin::Origin;
use crate::media::outgoing::{Outgoing, Refused};
use crate::media::server::{Fetch, Link, Unavailable};

/// An upload that may pass is tried this often.
const UPLOAD_TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Shared {
    /// A message as agents see it, with URLs for its media.
    pub(super) async fn message(&self, message: types::Message) -> Message {
        // The picture that a text answers is what the text is about.
        let mut items = message.media;
        if items.is_empty()
            && let Some(quote) = &message.quote
        {
            items.clone_from(&quote.media);
        }
        let mut media = Vec::with_capacity(items.len());
        for item in items {
            media.push(self.media(item).await);
        }
        Message {
            id: message.id,
            account: self.id.to_string(),
            conversation: Conversation {
                id: message.conversation.id,
                kind: match message.conversation.kind {
                    types::ChatKind::Direct => ConversationKind::Direct,
                    types::ChatKind::Group => ConversationKind::Group,
                },
            },
            sender: Sender {
                id: message.sender.id,
            },
            sent_at_ms: message.sent_at,
            text: message.text,
            quote: message.quote.map(|quote| Quote {
                id: quote.message_id,
                text: quote.text,
            }),
            media,
        }
    }

    async fn media(&self, media: types::Media) -> Media {
        // Handles are kept as long as their URLs work.
        let link = media.handle.map(|handle| Link {
            handle_bytes: handle.len(),
            fetch: self.fetch(handle),
            name: media.name.clone(),
            mime: media.mime.clone(),
            size: media.size,
            max_bytes: self.setup().media.max_in,
        });
        let url = match link {
            None => None,
            Some(link) => match self.setup().runtime.media_server().await {
                Ok(server) => {
                    let tenant = Arc::clone(&self.setup().tenant);
                    let url = server.link(&tenant, link);
                    url.inspect_err(|exceeded| drop(tenant.refuse(exceeded)))
                        .ok()
                }
                Err(error) => {
                    tracing::error!(
                        account = &*self.id,
                        instance = self.instance_number(),
                        "media can't be served: {error}"
                    );
                    None
                }
            },
        };
        Media {
            kind: match media.kind {
                types::MediaKind::Image => MediaKind::Image,
                types::MediaKind::Voice => MediaKind::Voice,
                types::MediaKind::Video => MediaKind::Video,
                types::MediaKind::File => MediaKind::File,
            },
            name: media.name,
            mime: media.mime,
            size: media.size,
            transcript: media.transcript,
            url,
            wav_url: None,
        }
    }

    /// Opens a handle with the instance that serves then.
    fn fetch(&self, handle: String) -> Fetch {
        let stages = self.stages.follow();
        Arc::new(move || {
            let instance = stages.peek(|stage| stage.instance().cloned());
            let handle = handle.clone();
            Box::pin(async move {
                let result = match instance {
                    Some(instance) => instance.fetch(handle).await,
                    None => Err(CallError::Ended(Ended("it is being replaced".into()))),
                };
                result.map_err(|error| Unavailable {
                    status: match &error {
                        CallError::Channel(error) => match error.kind {
                            ErrorKind::NotFound => StatusCode::NOT_FOUND,
                            ErrorKind::Transient => StatusCode::SERVICE_UNAVAILABLE,
                            _ => StatusCode::BAD_GATEWAY,
                        },
                        CallError::Ended(_) => StatusCode::SERVICE_UNAVAILABLE,
                    },
                    why: error.to_string(),
                })
            })
        })
    }

    /// Uploads what a reply names; also how many of them could not be.
    pub(super) async fn upload(
        &self,
        message: &Message,
        media: &[ReplyMedia],
    ) -> (Vec<types::Media>, usize) {
        let mut uploaded = Vec::new();
        for item in media {
            match self.upload_one(&message.conversation.id, item, true).await {
                Ok(media) => uploaded.push(media),
                Err(why) => {
                    self.tell(&format!("a file of a reply is not sent: {why}"));
                }
            }
        }
        let failed = media.len() - uploaded.len();
        (uploaded, failed)
    }

    /// Uploads a file. One of an answer waits, as text does, for a login, a successor or the store;
    /// the media server has three tries.
    pub(super) async fn upload_one(
        &self,
        conversation: &str,
        media: &ReplyMedia,
        is_answer: bool,
    ) -> Result<types::Media, UploadError> {
        let setup = self.setup();
        let runtime = &setup.runtime;
        let rules = self.media_rules();
        let file = Outgoing::prepare(media, &rules, &runtime.client, &runtime.clock).await?;
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.put(conversation, &file).await {
                Err(UploadError::Call(error)) => error,
                result => return result,
            };
            let may_pass = match &error {
                CallError::Channel(error) => match error.kind {
                    ErrorKind::Transient => tries < UPLOAD_TRIES,
                    ErrorKind::LoginRequired
                    | ErrorKind::Draining
                    | ErrorKind::Fenced
                    | ErrorKind::Storage => is_answer,
                    _ => false,
                },
                CallError::Ended(_) => is_answer,
            };
            if !may_pass {
                return Err(error.into());
            }
            tokio::select! {
                () = self.clock().sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.stopped() => return Err(error.into()),
            }
        }
    }

    /// What may be sent: what the operator allows, what the agent itself serves, and what it was given.
    fn media_rules(&self) -> MediaRules {
        let setup = self.setup();
        let mut rules = setup.media.clone();
        let own = self.agent.url().and_then(|url| Origin::of(url).ok());
        rules.origins.extend(own);
        rules.origins.extend(setup.runtime.media_origin());
        rules
    }

    async fn put(&self, conversation: &str, file: &Outgoing) -> Result<types::Media, UploadError> {
        let content = file
            .content()
            .map_err(|error| Refused::Other(error.to_string()))?;
        let info = Upload {
            conversation: conversation.to_owned(),
            kind: None,
            name: file.name.clone(),
            mime: file.mime.clone(),
            size: file.size,
            md5: file.md5.to_vec(),
        };
        Ok(self.instance()?.put(info, content).await?)
    }
}
