//! The files on the CDN.
//!
//! It promises to stay small. What it keeps of a file is its key, its size and its MD5; contents
//! in memory are bounded together, the oldest are forgotten first, and the newest is always
//! kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rand::RngCore;
use serde_json::{Value, json};

use super::bot::Bot;
use crate::ilink::cipher::Key;
use crate::ilink::content::{Content, Storage};
use crate::ilink::media_kind::MediaKind;
use crate::query::parameter;
use crate::recent::Recent;
use crate::sync::lock;

/// Files, announcements and shown files that are remembered.
const REMEMBERED: usize = 10_000;
/// Bytes of all contents in memory.
pub(crate) const IN_MEMORY: u64 = 64 * 1024 * 1024;
/// Bytes of all contents in files without a name.
const ON_DISK: u64 = 4 * 1024 * 1024 * 1024;

/// What is kept between requests.
pub(crate) struct FileStore {
    /// Bytes up to which an upload is kept whole.
    pub(crate) whole_bytes: u64,
    shelf: Mutex<Shelf>,
}

struct Shelf {
    announced: Recent<String, Arc<Announced>>,
    blobs: Recent<String, Arc<Blob>>,
    /// Tickets of what phones show, by message.
    shown: Recent<u64, String>,
    in_memory: Kept,
    on_disk: Kept,
}

/// Contents that are bounded together.
struct Kept {
    /// Their tickets and sizes, oldest first.
    contents: VecDeque<(String, u64)>,
    bytes: u64,
    most: u64,
}

impl Kept {
    fn new(most: u64) -> Kept {
        Kept {
            contents: VecDeque::new(),
            bytes: 0,
            most,
        }
    }

    /// Adds one; returns the tickets of those that have to go.
    fn add(&mut self, ticket: &str, size: u64) -> Vec<String> {
        self.bytes += size;
        self.contents.push_back((ticket.to_owned(), size));
        let mut gone = Vec::new();
        while self.bytes > self.most
            && self.contents.len() > 1
            && let Some((oldest, size)) = self.contents.pop_front()
        {
            self.bytes -= size;
            gone.push(oldest);
        }
        gone
    }
}

/// An upload that `getuploadurl` allowed.
pub(crate) struct Announced {
    pub(crate) bot: Arc<Bot>,
    pub(crate) user: String,
    pub(crate) filekey: String,
    pub(crate) kind: MediaKind,
    pub(crate) size: u64,
    pub(crate) md5: String,
    pub(crate) key: Key,
}

/// A file on the CDN.
#[derive(Clone)]
pub(crate) struct Blob {
    /// The bot that put it there, or that it was sent to.
    pub(crate) bot: Arc<Bot>,
    /// `None` when it is not encrypted.
    pub(crate) key: Option<Key>,
    pub(crate) kind: MediaKind,
    pub(crate) name: Option<String>,
    pub(crate) content: Content,
    /// For whom the bot uploaded it; `None` when a person sent it.
    pub(crate) uploaded: Option<String>,
}

impl FileStore {
    pub(crate) fn new(whole_bytes: u64) -> FileStore {
        let shelf = Shelf {
            announced: Recent::new(REMEMBERED),
            blobs: Recent::new(REMEMBERED),
            shown: Recent::new(REMEMBERED),
            in_memory: Kept::new(IN_MEMORY),
            on_disk: Kept::new(ON_DISK),
        };
        FileStore {
            whole_bytes,
            shelf: Mutex::new(shelf),
        }
    }

    /// Expects an upload; returns the parameter that it must come with.
    pub(crate) fn announce(&self, announced: Announced) -> String {
        let ticket = new_ticket();
        let mut shelf = lock(&self.shelf);
        shelf
            .announced
            .remember(ticket.clone(), Arc::new(announced));
        ticket
    }

    /// Puts a file there; returns the ticket to take it with.
    pub(crate) fn store(&self, blob: Blob) -> String {
        let ticket = new_ticket();
        let mut shelf = lock(&self.shelf);
        let (size, storage) = (blob.content.size(), blob.content.storage());
        shelf.blobs.remember(ticket.clone(), Arc::new(blob));
        let gone = match storage {
            Storage::Memory => shelf.in_memory.add(&ticket, size),
            Storage::Disk => shelf.on_disk.add(&ticket, size),
            Storage::Elsewhere => Vec::new(),
        };
        for oldest in gone {
            if let Some(blob) = shelf.blobs.find_mut(&oldest) {
                Arc::make_mut(blob).content.forget();
            }
        }
        ticket
    }

    /// The file of this ticket.
    pub(crate) fn find(&self, ticket: &str) -> Option<Arc<Blob>> {
        lock(&self.shelf).blobs.find(ticket).cloned()
    }

    /// The file that an item refers to.
    pub(crate) fn of_item(&self, item: &Value) -> Option<Arc<Blob>> {
        let kind = MediaKind::of_item(item["type"].as_u64()?)?;
        let media = &item[kind.item_key()]["media"];
        if let Some(ticket) = media["encrypt_query_param"].as_str() {
            return self.find(ticket);
        }
        let (_, query) = media["full_url"].as_str()?.split_once('?')?;
        self.find(&parameter(Some(query), "encrypted_query_param"))
    }

    /// Remembers that a phone shows this file.
    pub(crate) fn shows(&self, message_id: u64, ticket: &str) {
        let mut shelf = lock(&self.shelf);
        shelf.shown.remember(message_id, ticket.to_owned());
    }

    /// The bytes of the file that this message of a bot shows, if they are in memory.
    pub(crate) fn shown(&self, message_id: u64) -> Option<Bytes> {
        let shelf = lock(&self.shelf);
        let blob = shelf.blobs.find(shelf.shown.find(&message_id)?)?;
        blob.content.in_memory().cloned()
    }

    pub(crate) fn announced(&self, ticket: &str) -> Option<Arc<Announced>> {
        lock(&self.shelf).announced.find(ticket).cloned()
    }
}

impl Blob {
    /// What a phone shows of it.
    pub(crate) fn summary(&self) -> Value {
        json!({
            "kind": self.kind.name(),
            "name": self.name,
            "size": self.content.size(),
            "md5": self.content.md5(),
        })
    }
}

/// Base64 with each of its special characters, so that a client that does not escape them is
/// caught.
fn new_ticket() -> String {
    let mut bytes = [0; 64];
    rand::rng().fill_bytes(&mut bytes);
    bytes[..3].copy_from_slice(&[0xfb, 0xff, 0xbf]);
    STANDARD.encode(bytes)
}
