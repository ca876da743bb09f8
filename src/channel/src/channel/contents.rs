//! What a post becomes: rendered, split, or a file.

use std::borrow::Cow;

use super::Channel;
use crate::outbox::Content;
use crate::settings::Markdown;
use crate::split::{Limits, SplitOptions};
use crate::{control, split};

/// What a text is called that goes as a file.
pub(super) const DOCUMENT_NAME: &str = "message.md";
/// Ends the first part of such a text.
pub(super) const DOCUMENT_NOTE: &str = "\n\n… message.md";
impl Channel {
    fn render(&self, markdown: &str) -> String {
        let text = match self.settings.markdown {
            Markdown::Plain => (self.dialect.plain)(markdown),
            Markdown::Native => (self.dialect.native)(markdown),
        };
        // An entity may be a control character: `&#27;`.
        match control::clean(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(text) => text,
        }
    }

    fn split(&self, text: &str, limits: Limits) -> Vec<String> {
        let options = SplitOptions {
            fences: self.settings.markdown == Markdown::Native,
            marks: self.settings.part_marks,
        };
        split::split(text, limits, options)
    }

    /// The platform messages of a text. Where the platform has files, a text of too many goes as one
    /// behind its first part.
    pub(super) fn contents(&self, markdown: &str) -> Vec<Content> {
        let text = self.render(markdown);
        let limits = self.settings.limits;
        let parts = self.split(&text, limits);
        if parts.len() <= self.settings.max_parts || !self.dialect.has_files {
            return parts.into_iter().map(Content::Text).collect();
        }
        let (chars, bytes) = (DOCUMENT_NOTE.chars().count(), DOCUMENT_NOTE.len());
        let has_room = limits.chars > 2 * chars && limits.size > 2 * bytes;
        let note = if has_room { DOCUMENT_NOTE } else { "" };
        let limits = Limits {
            chars: limits.chars.saturating_sub(note.chars().count()).max(1),
            size: limits.size.saturating_sub(note.len()).max(4),
            unit: limits.unit,
        };
        let options = SplitOptions {
            marks: false,
            fences: self.settings.markdown == Markdown::Native,
        };
        let parts = split::split(&text, limits, options);
        let first = parts.first().map_or("", |part| part.trim_end());
        vec![
            Content::Text(format!("{first}{note}")),
            Content::Document {
                name: DOCUMENT_NAME.to_owned(),
                text: markdown.to_owned(),
            },
        ]
    }

    /// The one platform message of a progress text and of those that it finds waiting: their newest
    /// lines.
    pub(super) fn progress(&self, markdown: &str, mut waiting: Vec<String>) -> Vec<Content> {
        waiting.push(self.render(markdown));
        let options = SplitOptions {
            marks: false,
            fences: false,
        };
        let mut parts = split::split(&waiting.join("\n"), self.settings.limits, options);
        parts.pop().map(Content::Text).into_iter().collect()
    }
}
