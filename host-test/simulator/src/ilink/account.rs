//! The handle of a bot account, which tests hold.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::content::Content;
use super::files::{self, File};
use super::media_kind::MediaKind;
use super::people;
use super::rules::Repeat;
use super::running::Running;
use super::state::{Bot, Counters, ServerState, Typing};

/// An account of a running simulator, with what can be done to it and read of it.
#[derive(Clone)]
pub struct Account {
    pub(super) bot: Arc<Bot>,
    pub(super) server: Arc<ServerState>,
    pub(super) running: Arc<Running>,
}

impl fmt::Debug for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &mut out.debug_struct("Account");
        account.field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Account {
    pub(super) fn new(bot: Arc<Bot>, server: Arc<ServerState>, running: Arc<Running>) -> Account {
        Account {
            bot,
            server,
            running,
        }
    }

    /// The account's id.
    pub fn id(&self) -> &str {
        &self.bot.account
    }

    /// The bot token that is valid now.
    pub fn token(&self) -> String {
        self.bot.lock().token.clone()
    }

    /// Gives the account a new token, as a new login does: the old one is answered with -14, and
    /// an expired session is over.
    pub fn replace_token(&self) -> String {
        self.server.add(&self.bot.account);
        self.token()
    }

    /// The person whom the account is bound to.
    pub fn owner(&self) -> Option<String> {
        self.bot.owner()
    }

    /// Binds the account to this person, as a login does. The session of the one that they had
    /// before ends.
    pub fn bind(&self, user: &str) {
        self.server.bind(&self.bot, user);
    }

    /// Whether the account's person was not bound to another one since.
    pub fn is_live(&self) -> bool {
        !self.bot.is_displaced()
    }

    /// A person writes; returns the stored message.
    pub fn say(&self, user: &str, text: &str) -> Value {
        self.push(user, vec![people::text_item(text)])
    }

    /// A person sends items; returns the stored message. What the server adds to an item is
    /// added where it is missing.
    pub fn push(&self, user: &str, items: Vec<Value>) -> Value {
        people::store(&self.server, &self.bot, user, items)
    }

    /// A person sends a file; returns the stored message.
    pub fn send_file(
        &self,
        user: &str,
        kind: MediaKind,
        name: &str,
        bytes: impl Into<Bytes>,
    ) -> Value {
        let file = File::new(kind, name, Content::bytes(bytes));
        self.push(user, vec![self.store_file(&file)])
    }

    /// A person sends a file of so many bytes, which are made up from the seed while they are
    /// served and take no memory; returns the stored message.
    pub fn push_generated(&self, user: &str, kind: MediaKind, size: u64, seed: u64) -> Value {
        let file = File::new(kind, "generated.bin", Content::generated(size, seed));
        self.push(user, vec![self.store_file(&file)])
    }

    /// Puts a file on the CDN; returns the item that refers to it, as the account's `files` rule
    /// wants it, for [`Account::push`] or as a part of another item.
    pub fn store_file(&self, file: &File) -> Value {
        files::store(&self.server, &self.bot, file)
    }

    /// Puts any JSON at all among the next messages.
    pub fn push_raw(&self, message: Value) {
        people::store_raw(&self.server, &self.bot, &message);
    }

    /// Delivers a message of [`Account::push`] again; returns it as it is delivered.
    pub fn repeat(&self, message: &Value, how: Repeat) -> Value {
        people::repeat(&self.server, &self.bot, message, how)
    }

    /// Messages that are not behind a cursor that came back: the client may not have them yet.
    pub fn unacknowledged(&self) -> u64 {
        let state = self.bot.lock();
        state.inbox.end().saturating_sub(state.inbox.acknowledged)
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.bot.lock().counters
    }

    /// How long nobody polled around each announced start but the first: the first 10,000.
    pub fn handovers(&self) -> Vec<Duration> {
        self.bot.lock().handovers.gaps.clone()
    }

    /// The typing indicator at this person's phone.
    pub fn typing(&self, user: &str) -> Typing {
        self.bot
            .lock()
            .people
            .get(user)
            .map(|person| person.typing)
            .unwrap_or_default()
    }
}
