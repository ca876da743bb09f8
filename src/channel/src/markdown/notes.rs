//! Footnotes: numbered as they are met, written at the end.

use std::collections::BTreeMap;

use super::page::{Gap, Page};

/// The footnotes of a text.
#[derive(Debug, Default)]
pub struct Notes {
    by_label: BTreeMap<String, Note>,
    numbered: usize,
}

#[derive(Debug, Default)]
struct Note {
    number: Option<usize>,
    text: String,
}

impl Notes {
    /// The number of a note that the text refers to.
    pub fn number(&mut self, label: &str) -> usize {
        let note = self.by_label.entry(label.to_lowercase()).or_default();
        *note.number.get_or_insert_with(|| {
            self.numbered += 1;
            self.numbered
        })
    }

    /// Keeps the text of a note.
    pub fn define(&mut self, label: &str, text: &str) {
        let note = self.by_label.entry(label.to_lowercase()).or_default();
        if !note.text.is_empty() {
            note.text.push('\n');
        }
        note.text.push_str(text);
    }

    /// Writes the notes; those that nothing refers to come last.
    pub fn write(&mut self, page: &mut Page) {
        let mut notes: Vec<Note> = std::mem::take(&mut self.by_label).into_values().collect();
        notes.retain(|note| !note.text.is_empty());
        notes.sort_by_key(|note| note.number.unwrap_or(usize::MAX));
        for note in notes {
            let number = note.number.unwrap_or_else(|| {
                self.numbered += 1;
                self.numbered
            });
            page.text(&format!("[{number}] "));
            page.lines(&note.text);
            page.gap(Gap::Line);
        }
    }
}
