//! A message, and what is in it.

use super::*;

/// A message as the platform has it.
#[derive(Debug, Clone, Default)]
pub struct WeixinMessage {
    /// The server's id.
    pub message_id: Option<String>,
    /// The sender's own id of it.
    pub client_id: Option<String>,
    /// Its number in the account's sequence.
    pub seq: Option<u64>,
    /// Who wrote it.
    pub from_user_id: Option<String>,
    /// Which group it was written in.
    pub group_id: Option<String>,
    /// Whether a bot wrote it.
    pub is_from_bot: bool,
    /// Whether it was taken back.
    pub is_recalled: bool,
    /// When it was written, in milliseconds since the Unix epoch.
    pub create_time_ms: u64,
    /// What an answer has to carry.
    pub context_token: Option<String>,
    /// Its content.
    pub items: Vec<Item>,
}

/// One item of a message.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// The server's id of the item.
    pub msg_id: Option<String>,
    /// What it is.
    pub content: Content,
    /// What it quotes.
    pub quote: Option<QuoteReference>,
}

/// The content of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// Where it is.
        reference: Reference,
    },
    /// A voice message, its playing time and the server's transcript.
    Voice {
        /// Where it is.
        reference: Reference,
        /// In milliseconds.
        playtime_ms: Option<u64>,
        /// Speech-to-text.
        text: Option<String>,
    },
    /// A file.
    File {
        /// Where it is.
        reference: Reference,
        /// As the sender gave it.
        name: Option<String>,
        /// In bytes.
        size: Option<u64>,
    },
    /// A film.
    Video {
        /// Where it is.
        reference: Reference,
        /// In milliseconds.
        play_length_ms: Option<u64>,
    },
    /// Nothing, as quotes have it.
    #[default]
    Hollow,
    /// A kind that this version does not know.
    Unknown(i64),
}

/// What an item quotes.
#[derive(Debug, Clone, Default)]
pub struct QuoteReference {
    /// The server's id of the quoted message.
    pub id: Option<String>,
    /// The quoted item, where it was sent along.
    pub content: Content,
    /// A summary.
    pub title: Option<String>,
    /// Which part of its text was chosen.
    pub part: Option<QuotedPart>,
}

/// A chosen part of a text: from the `start_index`-th `start` to the `end_index`-th `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotedPart {
    /// How it begins.
    pub start: String,
    /// How it ends.
    pub end: String,
    /// Counted from zero; negative is none.
    pub start_index: i64,
    /// Counted from zero; negative is none.
    pub end_index: i64,
    /// MD5 of the part in hex; may be empty.
    pub md5: String,
}

/// Reads a message; none for what is no object.
pub fn message(json: &str) -> Option<(WeixinMessage, Object)> {
    let object = Object::parse(json)?;
    let message = WeixinMessage {
        message_id: object.id("message_id"),
        client_id: object.id("client_id"),
        seq: object.unsigned("seq").filter(|seq| *seq > 0),
        from_user_id: object.id("from_user_id"),
        group_id: object.id("group_id"),
        is_from_bot: object.integer("message_type") == Some(i64::from(BOT)),
        is_recalled: object.integer("delete_time_ms").is_some_and(|ms| ms > 0),
        create_time_ms: object.unsigned("create_time_ms").unwrap_or(0),
        context_token: object.id("context_token"),
        items: object.objects("item_list").iter().map(item).collect(),
    };
    Some((message, object))
}

fn item(object: &Object) -> Item {
    Item {
        msg_id: object.id("msg_id"),
        content: content(object),
        quote: object.object("ref_msg").map(|quote| {
            let quoted = quote.object("message_item");
            QuoteReference {
                id: quote
                    .id("svr_id")
                    .or_else(|| quoted.as_ref().and_then(|item| item.id("msg_id"))),
                content: quoted.as_ref().map(content).unwrap_or_default(),
                title: quote.text("title").map(str::to_owned),
                part: quote.object("partial_text").map(|part| QuotedPart {
                    start: part.text("start").unwrap_or_default().to_owned(),
                    end: part.text("end").unwrap_or_default().to_owned(),
                    start_index: part.integer("startindex").unwrap_or(0),
                    end_index: part.integer("endindex").unwrap_or(0),
                    md5: part.text("quotemd5").unwrap_or_default().to_owned(),
                }),
            }
        }),
    }
}

fn content(object: &Object) -> Content {
    let part = |name: &str| object.object(name).unwrap_or_default();
    let text = |object: &Object, name: &str| {
        object
            .text(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    match object.integer("type") {
        Some(TEXT) => Content::Text(text(&part("text_item"), "text").unwrap_or_default()),
        Some(IMAGE) => Content::Image {
            reference: reference(&part("image_item")),
        },
        Some(VOICE) => {
            let voice = part("voice_item");
            Content::Voice {
                reference: reference(&voice),
                playtime_ms: voice.unsigned("playtime"),
                text: text(&voice, "text"),
            }
        }
        Some(FILE) => {
            let file = part("file_item");
            Content::File {
                reference: reference(&file),
                name: text(&file, "file_name"),
                size: file.unsigned("len"),
            }
        }
        Some(VIDEO) => {
            let video = part("video_item");
            Content::Video {
                reference: reference(&video),
                play_length_ms: video.unsigned("play_length"),
            }
        }
        Some(0) | None => Content::Hollow,
        Some(other) => Content::Unknown(other),
    }
}

/// Where a piece of media is, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// A ready-made URL.
    pub full_url: Option<String>,
    /// A ticket for the CDN.
    pub ticket: Option<String>,
    /// The texts that may hold the key, in the order of their trust; none is empty.
    pub keys: Vec<String>,
}

fn reference(item: &Object) -> Reference {
    let media = item.object("media").unwrap_or_default();
    let text = |object: &Object, name: &str| {
        object
            .text(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Reference {
        full_url: text(&media, "full_url"),
        ticket: text(&media, "encrypt_query_param"),
        keys: [text(item, "aeskey"), text(&media, "aes_key")]
            .into_iter()
            .flatten()
            .collect(),
    }
}
