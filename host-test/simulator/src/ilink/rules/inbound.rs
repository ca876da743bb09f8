//! What happens to the messages and the files that people send.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::faults::{Limit, Reference};
use crate::json::Member;

/// How a message is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// Exactly as it was.
    SameId,
    /// With a new message id, a new `seq` and a new context token.
    NewId,
    /// With the same id and a new context token.
    NewToken,
}

/// What happens to the messages that people send, and to how many of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "InboundMembers")]
pub struct Inbound {
    pub(super) limit: Limit,
    pub(crate) set: Map<String, Value>,
    pub(crate) without: Vec<String>,
    pub(crate) string_ids: bool,
    pub(crate) duplicate: Option<Repeat>,
}

impl Inbound {
    /// Changes nothing yet, of all messages.
    pub fn new() -> Inbound {
        Inbound::default()
    }

    /// Sets a member of the message.
    #[must_use]
    pub fn set(mut self, member: impl Into<String>, value: impl Into<Value>) -> Inbound {
        self.set.insert(member.into(), value.into());
        self
    }

    /// Takes a member away.
    #[must_use]
    pub fn without(mut self, member: impl Into<String>) -> Inbound {
        self.without.push(member.into());
        self
    }

    /// Turns the message's ids into strings.
    #[must_use]
    pub fn string_ids(mut self) -> Inbound {
        self.string_ids = true;
        self
    }

    /// Delivers the message twice.
    #[must_use]
    pub fn duplicate(mut self, how: Repeat) -> Inbound {
        self.duplicate = Some(how);
        self
    }

    /// It ends after so many messages.
    #[must_use]
    pub fn times(mut self, messages: u64) -> Inbound {
        self.limit.times = Some(messages);
        self
    }

    /// So many messages pass untouched first.
    #[must_use]
    pub fn skip(mut self, messages: u64) -> Inbound {
        self.limit.skip = messages;
        self
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
struct InboundMembers {
    times: Member<u64>,
    skip: u64,
    set: Map<String, Value>,
    without: Vec<String>,
    string_ids: bool,
    duplicate: Option<Repeat>,
}

impl From<InboundMembers> for Inbound {
    fn from(members: InboundMembers) -> Inbound {
        Inbound {
            limit: Limit {
                skip: members.skip,
                times: members.times.given(),
            },
            set: members.set,
            without: members.without,
            string_ids: members.string_ids,
            duplicate: members.duplicate,
        }
    }
}

/// How the files that people send are referred to, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "FileFormMembers")]
pub struct FileForm {
    pub(super) limit: Limit,
    pub(crate) key: KeyForm,
    pub(crate) reference: Reference,
    /// Instead of the true one.
    pub(crate) full_url: Option<String>,
}

impl Default for FileForm {
    fn default() -> FileForm {
        FileForm {
            limit: Limit::default(),
            key: KeyForm::Usual,
            reference: Reference::Both,
            full_url: None,
        }
    }
}

impl FileForm {
    /// As the real server writes it, of all files.
    pub fn new() -> FileForm {
        FileForm::default()
    }

    /// Where the file's key stands.
    #[must_use]
    pub fn key(mut self, form: KeyForm) -> FileForm {
        self.key = form;
        self
    }

    /// Which references are given.
    #[must_use]
    pub fn reference(mut self, reference: Reference) -> FileForm {
        self.reference = reference;
        self
    }

    /// This string instead of the true URL.
    #[must_use]
    pub fn full_url(mut self, url: impl Into<String>) -> FileForm {
        self.full_url = Some(url.into());
        self
    }

    /// It ends after so many files.
    #[must_use]
    pub fn times(mut self, files: u64) -> FileForm {
        self.limit.times = Some(files);
        self
    }

    /// So many files are referred to as usual first.
    #[must_use]
    pub fn skip(mut self, files: u64) -> FileForm {
        self.limit.skip = files;
        self
    }
}

/// Where a file's key stands, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// In hex in `image_item.aeskey`, and in `media.aes_key` the base64 of the hex.
    Usual,
    /// Of an image in hex in `aeskey` alone, else in bare hex in `aes_key`.
    Hex,
    /// The base64 of the raw key.
    Base64,
    /// The base64 of the hex.
    Base64Hex,
    /// The base64 of upper-case hex.
    Base64HexUpper,
    /// Nowhere; an image is then served as it is.
    None,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
struct FileFormMembers {
    times: Member<u64>,
    skip: u64,
    key: Member<KeyForm>,
    reference: Member<Reference>,
    full_url: Option<String>,
}

impl From<FileFormMembers> for FileForm {
    fn from(members: FileFormMembers) -> FileForm {
        let mut form = FileForm {
            limit: Limit {
                skip: members.skip,
                times: members.times.given(),
            },
            full_url: members.full_url,
            ..FileForm::default()
        };
        members.key.set(&mut form.key);
        members.reference.set(&mut form.reference);
        form
    }
}
