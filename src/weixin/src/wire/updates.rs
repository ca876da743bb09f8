//! The answer to a poll.

use gateway_channel_sdk::json::repair;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Map;
use serde_json::value::RawValue;

use super::{Object, Status, status};

/// The member with the next cursor.
const CURSOR: &str = "get_updates_buf";

/// An answer to `getupdates`, its messages unread.
#[derive(Debug, Default)]
pub struct Updates {
    /// What every answer has.
    pub status: Status,
    /// The next cursor; none keeps the one before.
    pub cursor: Option<String>,
    /// How long the server holds a poll, in milliseconds.
    pub hold_ms: Option<u64>,
    /// The messages, each as it came.
    pub messages: Vec<String>,
    /// How much of the answer this is.
    pub condition: Condition,
}

impl Updates {
    /// Whether the next poll would ask for the same once more: its messages can be taken in, and the poll
    /// has failed all the same.
    pub fn leads_nowhere(&self) -> bool {
        self.condition == Condition::Broken && self.cursor.is_none()
    }
}

/// What had to be done to an answer before it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Sound,
    /// It was no JSON, and became some; a message in it may be lost.
    Repaired,
    /// It breaks off, or makes no sense: what can't be read of it is lost.
    Broken,
}

/// The members of an object in their order, each as it came.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// Reads an answer to `getupdates`. Each message stays text, so that one that can't be read does not
/// take the others with it. None when the answer is no JSON object, or was cut off.
pub fn updates(json: &str) -> Option<Updates> {
    if let Some(updates) = strict_updates(json) {
        return Some(updates);
    }
    let repaired = repair(json).filter(|repaired| repaired.is_whole)?;
    let updates = strict_updates(&repaired.json)?;
    Some(Updates {
        cursor: updates.cursor.or_else(|| find_cursor(json)),
        condition: Condition::Repaired,
        ..updates
    })
}

/// What can be read of an answer that [`updates`] can't read: whole messages before it breaks off, and
/// the cursor wherever it stands.
pub fn salvage(json: &str) -> Option<Updates> {
    let repaired = repair(json)?;
    let updates = strict_updates(&repaired.json)?;
    Some(Updates {
        cursor: updates.cursor.or_else(|| find_cursor(json)),
        condition: Condition::Broken,
        ..updates
    })
}

fn strict_updates(json: &str) -> Option<Updates> {
    let Members(members) = serde_json::from_str(json).ok()?;
    let mut messages = Vec::new();
    let mut rest = Map::new();
    for (name, raw) in members {
        if name == "msgs" {
            // A repeated member takes no message with it.
            messages.extend(elements(raw));
        } else if let Ok(value) = serde_json::from_str(raw.get()) {
            rest.insert(name, value);
        }
    }
    let rest = Object(rest);
    Some(Updates {
        status: status(&rest),
        // A number is one, too: a cursor that is not taken is asked with for ever.
        cursor: rest
            .text(CURSOR)
            .map(str::to_owned)
            .or_else(|| rest.id(CURSOR))
            .filter(|cursor| !cursor.is_empty()),
        hold_ms: rest.unsigned("longpolling_timeout_ms").filter(|ms| *ms > 0),
        messages,
        condition: Condition::Sound,
    })
}

/// The elements of a list; something else that is not empty is one, so that it is told.
fn elements(list: &RawValue) -> Vec<String> {
    match serde_json::from_str::<Vec<&RawValue>>(list.get()) {
        Ok(elements) => elements.iter().map(|raw| raw.get().to_owned()).collect(),
        Err(_) => match list.get() {
            "null" | "{}" | "\"\"" | "false" | "0" => Vec::new(),
            other => vec![other.to_owned()],
        },
    }
}

/// The cursor of an answer whose structure can't be trusted. A text that a person wrote has its quotes
/// escaped and is not found; where there are several that differ, there is none.
pub(super) fn find_cursor(json: &str) -> Option<String> {
    let name = format!("\"{CURSOR}\"");
    let mut found: Option<String> = None;
    for (index, _) in json.match_indices(&name) {
        let is_escaped = json
            .get(..index)
            .is_none_or(|before| before.ends_with('\\'));
        let rest = json.get(index + name.len()..).unwrap_or_default();
        let value = rest.trim_start().strip_prefix(':').unwrap_or_default();
        let value = serde_json::Deserializer::from_str(value).into_iter().next();
        let Some(Ok(cursor)) = value.filter(|_| !is_escaped) else {
            continue;
        };
        if found.as_ref().is_some_and(|found| *found != cursor) {
            return None;
        }
        found = Some(cursor);
    }
    found.filter(|cursor| !cursor.is_empty())
}
