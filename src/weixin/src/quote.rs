//! What a message quotes: sent along, or known by its id alone; the whole, or a part of it.
//!
//! The rules of a part are those of the official client 2.4.9.

use md5::{Digest, Md5};

use super::media;
use super::wire::{Content, QuoteReference, QuotedPart};
use gateway_channel_sdk::history::HistoryEntry;
use gateway_channel_sdk::message::Quote;

/// The quote; `known` is what the history has under its id, for when it was not sent along. What
/// is not known has no text and no media.
pub fn read(reference: &QuoteReference, known: Option<&HistoryEntry>) -> Quote {
    let inline = match &reference.content {
        Content::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
        Content::Voice { text, .. } => text.as_deref(),
        _ => None,
    };
    let inline_media = media::of(&reference.content);
    let known = known.filter(|_| inline.is_none() && inline_media.is_none());
    let known_text = known.map(|entry| entry.text.as_str());
    let whole = inline.or(known_text.filter(|text| !text.is_empty()));
    let text = match (whole, &reference.part) {
        // A part that can't be found leaves what it is a part of.
        (Some(whole), Some(wanted)) => Some(part(whole, wanted).unwrap_or(whole)),
        (whole, _) => whole,
    };
    let title = reference.title.as_deref().filter(|title| !title.is_empty());
    Quote {
        message_id: reference.id.clone(),
        text: text.or(title).map(str::to_owned),
        media: match known {
            Some(entry) => entry.media.clone(),
            None => inline_media.into_iter().collect(),
        },
    }
}

/// Whether the message with its id has to be looked up.
pub fn is_by_id_alone(reference: &QuoteReference) -> bool {
    match &reference.content {
        Content::Text(text) => text.is_empty(),
        Content::Hollow | Content::Unknown(_) => true,
        Content::Image { .. }
        | Content::Voice { .. }
        | Content::File { .. }
        | Content::Video { .. } => false,
    }
}

/// The chosen part of a text. The end is counted in the whole text or behind the start: the MD5 tells,
/// and where there is none, the whole text counts.
fn part<'a>(text: &'a str, wanted: &QuotedPart) -> Option<&'a str> {
    let begin = nth(text, &wanted.start, wanted.start_index, 0)?;
    let candidates = [0, begin + wanted.start.len()].map(|from| {
        let last = nth(text, &wanted.end, wanted.end_index, from)?;
        text.get(begin..(last + wanted.end.len()).max(begin))
            .filter(|_| last >= begin)
    });
    let mut candidates = candidates.into_iter().flatten();
    candidates.find(|part| {
        let md5: String = Md5::digest(part)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        wanted.md5.is_empty() || md5.eq_ignore_ascii_case(&wanted.md5)
    })
}

/// Where the `index`-th occurrence starts of those that do not overlap, from a place on.
fn nth(text: &str, wanted: &str, index: i64, from: usize) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    let index = usize::try_from(index).ok()?;
    let mut found = text.get(from..)?.match_indices(wanted);
    found.nth(index).map(|(start, _)| from + start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_as_the_official_client_finds_them() {
        let md5_of_the_long = "14655f8b907fc5ae149535d8527c1123";
        for (text, start, si, end, ei, md5, expect) in [
            (
                "abcedfabcgh",
                "a",
                1,
                "c",
                1,
                "900150983cd24fb0d6963f7d28e17f72",
                Some("abc"),
            ),
            (
                "one two one two one",
                "one",
                1,
                "two",
                1,
                "aae2c33a105ad3f28f39402d67a24b20",
                Some("one two"),
            ),
            (
                "one two one two one",
                "one",
                0,
                "two",
                1,
                md5_of_the_long,
                Some("one two one two"),
            ),
            (
                "x-end start first-end second-end",
                "start",
                0,
                "end",
                1,
                "d61274e997c6538c0eae92f48e4c86b5",
                Some("start first-end second-end"),
            ),
            (
                "x-end start first-end second-end",
                "start",
                0,
                "end",
                1,
                "",
                Some("start first-end"),
            ),
            (
                "aaaa",
                "a",
                1,
                "a",
                2,
                "4124bc0a9335c27f086f24ba207a4912",
                Some("aa"),
            ),
            (
                "第一行\n第二行\n第三行",
                "第二",
                0,
                "二行",
                0,
                "03f1a7109744c669adc5cf3273c00e57",
                Some("第二行"),
            ),
            (
                "abc",
                "a",
                0,
                "c",
                0,
                "900150983CD24FB0D6963F7D28E17F72",
                Some("abc"),
            ),
            (
                "abc",
                "a",
                0,
                "c",
                0,
                "00000000000000000000000000000000",
                None,
            ),
            ("abc", "", 0, "c", 0, "", None),
            ("abc", "a", -1, "c", 0, "", None),
            ("abc", "c", 0, "a", 0, "", None),
            ("abc", "a", 9, "c", 0, "", None),
        ] {
            let wanted = QuotedPart {
                start: start.into(),
                end: end.into(),
                start_index: si,
                end_index: ei,
                md5: md5.into(),
            };
            assert_eq!(part(text, &wanted), expect, "{text} {start} {end}");
        }
    }

    fn reference(content: Content) -> QuoteReference {
        QuoteReference {
            id: Some("5".into()),
            content,
            title: None,
            part: None,
        }
    }

    fn entry(text: &str) -> HistoryEntry {
        HistoryEntry {
            conversation: "alice".into(),
            text: text.into(),
            media: Vec::new(),
        }
    }

    #[test]
    fn what_was_sent_along_wins_and_what_is_unknown_is_unknown() {
        let inline = reference(Content::Text("inline".into()));
        assert!(!is_by_id_alone(&inline));
        assert_eq!(
            read(&inline, Some(&entry("stored"))).text.as_deref(),
            Some("inline")
        );
        let hollow = reference(Content::Hollow);
        assert!(is_by_id_alone(&hollow));
        assert_eq!(
            read(&hollow, Some(&entry("stored"))).text.as_deref(),
            Some("stored")
        );
        let unknown = read(&hollow, None);
        assert_eq!(
            (unknown.message_id.as_deref(), unknown.text),
            (Some("5"), None)
        );
    }

    #[test]
    fn a_part_of_what_was_stored_is_cut_out_of_it() {
        let mut wanted = reference(Content::Hollow);
        wanted.part = Some(QuotedPart {
            start: "部分".into(),
            end: "引用".into(),
            start_index: 0,
            end_index: 0,
            md5: "5309b9aeda4b4f32464a7e29bb858c4a".into(),
        });
        let text = |known: &HistoryEntry| read(&wanted, Some(known)).text;
        assert_eq!(
            text(&entry("一段部分引用的话")).as_deref(),
            Some("部分引用")
        );
        assert_eq!(text(&entry("别的话")).as_deref(), Some("别的话"));
        assert_eq!(read(&wanted, None).text, None);
    }
}
