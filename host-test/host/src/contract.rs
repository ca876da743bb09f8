//! The types of the contract `gateway:channel`: what a component says of itself, what it brings, and
//! what it is told. They are generated from `wit/`, whose comments are their documentation.
//!
//! ```
//! use gateway_host::contract::Post;
//!
//! let post = Post::new("report-7", "wxid_alice@im.wechat", "The **build** is done.")
//!     .queued_until(1_795_359_559_736);
//! assert_eq!(post.key, "report-7");
//! ```

pub use crate::bindings::exports::gateway::channel::lifecycle::{Health, Phase};
pub use crate::bindings::exports::gateway::channel::login::{Identity, Qr, Step};
pub use crate::bindings::exports::gateway::channel::media_transfer::Upload;
pub use crate::bindings::exports::gateway::channel::meta::{
    Capture, CredentialUse, Descriptor, Egress, Keeping, Placement,
};
pub use crate::bindings::exports::gateway::channel::outbound::Post;
pub use crate::bindings::gateway::channel::types::{
    ChatKind, Conversation, Error, ErrorKind, Event, EventBody, Media, MediaKind, Message, Other,
    Part, PartState, Quote, Recalled, Receipt, Sender,
};

impl Post {
    /// A text to a conversation. The key makes a repeated call harmless: the same key with the same
    /// content is sent once.
    pub fn new(
        key: impl Into<String>,
        conversation: impl Into<String>,
        text: impl Into<String>,
    ) -> Post {
        Post {
            key: key.into(),
            conversation: conversation.into(),
            answers: None,
            text: text.into(),
            media: Vec::new(),
            progress: false,
            queue_until: None,
        }
    }

    /// The same as the answer to a message, which it acknowledges.
    pub fn answering(self, message: impl Into<String>) -> Post {
        Post {
            answers: Some(message.into()),
            ..self
        }
    }

    /// The same with files that were uploaded before.
    pub fn with_media(self, media: Vec<Media>) -> Post {
        Post { media, ..self }
    }

    /// The same as progress: it may be left out where the platform has no room for it.
    pub fn as_progress(self) -> Post {
        Post {
            progress: true,
            ..self
        }
    }

    /// The same, which waits where the platform does not take it now, until this time in milliseconds
    /// since the Unix epoch.
    pub fn queued_until(self, unix_ms: u64) -> Post {
        Post {
            queue_until: Some(unix_ms),
            ..self
        }
    }
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Descriptor) -> bool {
        // A new member has to be compared, too.
        let Descriptor {
            platform,
            version,
            text_limit,
            media,
            typing_refresh,
            reply_window,
            egress,
            origins,
            captures,
            config_schema,
            state_version,
            state_reads_from,
        } = self;
        *platform == other.platform
            && *version == other.version
            && *text_limit == other.text_limit
            && *media == other.media
            && *typing_refresh == other.typing_refresh
            && *reply_window == other.reply_window
            && *egress == other.egress
            && *origins == other.origins
            && *captures == other.captures
            && *config_schema == other.config_schema
            && *state_version == other.state_version
            && *state_reads_from == other.state_reads_from
    }
}

impl Eq for Descriptor {}

impl PartialEq for Egress {
    fn eq(&self, other: &Egress) -> bool {
        let Egress {
            scheme,
            host,
            port,
            path_prefix,
            credential,
        } = self;
        *scheme == other.scheme
            && *host == other.host
            && *port == other.port
            && *path_prefix == other.path_prefix
            && *credential == other.credential
    }
}

impl Eq for Egress {}

impl PartialEq for CredentialUse {
    fn eq(&self, other: &CredentialUse) -> bool {
        let CredentialUse { name, placement } = self;
        *name == other.name && *placement == other.placement
    }
}

impl Eq for CredentialUse {}

impl PartialEq for Capture {
    fn eq(&self, other: &Capture) -> bool {
        let Capture {
            path_prefix,
            json_pointer,
            credential,
            keep,
        } = self;
        *path_prefix == other.path_prefix
            && *json_pointer == other.json_pointer
            && *credential == other.credential
            && *keep == other.keep
    }
}

impl Eq for Capture {}
