//! The rules that the simulated WeCom goes by, and its faults.
//!
//! One JSON object, given to [`WecomSimulator::faults`](super::WecomSimulator::faults) or to `POST /sim/faults`. Keys
//! that are not named stay as they are; a mistake is refused with a sentence, and nothing changes.
//!
//! | key | value | default |
//! |---|---|---|
//! | `reset` | `true`: first back to the rules of the start | |
//! | `token_ms` | life of an access token | 7200000 |
//! | `media_ms` | life of a media id | three days |
//! | `answer_ms` | within which a callback has to be answered | 5000 |
//! | `redeliveries` | how often a callback comes again that was not answered with 200 | 3 |
//! | `send_limit` | `{"sends", "within_ms"}`: more sends than that are 45009 | `null` |
//! | `address` | 60020 on all calls but `gettoken`, for a caller with this address | `null` |
//! | `users` | who is of the corp; others are in `invaliduser`. `null` is everybody | `null` |
//! | `unlicensed` | who has no licence | `[]` |
//! | `callback` | what is wrong with callbacks, see below | `null` |
//! | an endpoint, or `*` for each one | a fault, a list of faults in order, or `null` | `null` |
//!
//! Endpoints are `gettoken`, `message/send`, `media/upload` and `media/get`. A fault has `times`,
//! `skip`, `delay_ms` and `processed` as those of the iLink server, and at most one of `status`,
//! `body`, `errcode` with `errmsg` or without, `truncated`, `mangled`, `cut` (`"before"`, `"after"`, `"body"`)
//! and `stall` (`"before"`, `"headers"`, `"body"`).
//!
//! `callback` is `{"times", "skip"}` with one of
//!
//! - `"wrong"`: `"signature"`, `"time"` (an hour ago), `"content"`, `"receiver"`, `"agent"`: the
//!   callback is made so, and signed for what it is;
//! - `"duplicate"`: `true` delivers it once more although it was answered;
//! - `"unanswered"`: `true` takes any answer for none.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::breakage::Mangle;
use crate::faults::Break;
use crate::faults::{flag, members, milliseconds, number, one_of, optional, text};

/// An endpoint of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endpoint {
    GetToken,
    Send,
    Upload,
    Get,
}

impl Endpoint {
    const ALL: [Endpoint; 4] = [
        Endpoint::GetToken,
        Endpoint::Send,
        Endpoint::Upload,
        Endpoint::Get,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Endpoint::GetToken => "gettoken",
            Endpoint::Send => "message/send",
            Endpoint::Upload => "media/upload",
            Endpoint::Get => "media/get",
        }
    }

    pub(super) fn named(name: &str) -> Option<Endpoint> {
        Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
    }

    pub(super) fn is_get(self) -> bool {
        matches!(self, Endpoint::GetToken | Endpoint::Get)
    }
}

/// What happens to a request instead of, or around, its true answer.
#[derive(Clone, Default)]
pub(super) struct Fault {
    pub(super) delay: Duration,
    pub(super) processed: bool,
    pub(super) kind: Kind,
}

#[derive(Clone, Default)]
pub(super) enum Kind {
    #[default]
    None,
    Status(u16),
    Body(String),
    Result(Map<String, Value>),
    Truncated,
    Mangled(Mangle),
    Cut(Break),
    Stall(Break),
}

impl Fault {
    pub(super) fn takes_effect(&self) -> bool {
        match self.kind {
            Kind::Status(_) | Kind::Body(_) | Kind::Result(_) => self.processed,
            Kind::Cut(at) | Kind::Stall(at) => at != Break::Before,
            Kind::None | Kind::Truncated | Kind::Mangled(_) => true,
        }
    }
}

/// What is wrong with a callback.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    Signature,
    Time,
    Content,
    Receiver,
    Agent,
    Duplicate,
    Unanswered,
}

#[derive(Clone)]
struct Limited<T> {
    skip: u64,
    /// `None` is until cleared.
    times: Option<u64>,
    what: T,
}

impl<T: Clone> Limited<T> {
    fn next(&mut self) -> Option<T> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if let Some(times) = &mut self.times {
            *times = times.checked_sub(1)?;
        }
        Some(self.what.clone())
    }

    fn is_over(&self) -> bool {
        self.skip == 0 && self.times == Some(0)
    }
}

/// More sends than this are too many.
#[derive(Clone, Copy)]
pub(super) struct SendLimit {
    pub(super) sends: usize,
    pub(super) within: Duration,
}

#[derive(Clone)]
pub(super) struct Rules {
    pub(super) token_life: Duration,
    pub(super) media_life: Duration,
    pub(super) answer_within: Duration,
    pub(super) redeliveries: u64,
    pub(super) send_limit: Option<SendLimit>,
    pub(super) address: Option<String>,
    pub(super) users: Option<Vec<String>>,
    pub(super) unlicensed: Vec<String>,
    callback: Option<Limited<Odd>>,
    faults: BTreeMap<Endpoint, VecDeque<Limited<Fault>>>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            token_life: Duration::from_secs(7200),
            media_life: Duration::from_secs(3 * 24 * 60 * 60),
            answer_within: Duration::from_secs(5),
            redeliveries: 3,
            send_limit: None,
            address: None,
            users: None,
            unlicensed: Vec::new(),
            callback: None,
            faults: BTreeMap::new(),
        }
    }
}

impl Rules {
    /// The fault of this request; counts it.
    pub(super) fn fault(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let queue = self.faults.get_mut(&endpoint)?;
        while queue.front().is_some_and(Limited::is_over) {
            queue.pop_front();
        }
        queue.front_mut()?.next()
    }

    /// What is wrong with this callback; counts it.
    pub(super) fn odd(&mut self) -> Option<Odd> {
        self.callback.as_mut()?.next()
    }

    /// The rules with these changes.
    pub(super) fn changed(&self, changes: &Value) -> Result<Rules, String> {
        let changes = changes
            .as_object()
            .ok_or("faults must be a JSON object, such as {\"token_ms\": 500}.")?;
        let mut rules = match changes.get("reset") {
            Some(value) if flag("reset", value)? => Rules::default(),
            _ => self.clone(),
        };
        for (key, value) in changes {
            match key.as_str() {
                "reset" => {}
                "token_ms" => rules.token_life = milliseconds(key, value)?,
                "media_ms" => rules.media_life = milliseconds(key, value)?,
                "answer_ms" => rules.answer_within = milliseconds(key, value)?,
                "redeliveries" => rules.redeliveries = number(key, value)?,
                "send_limit" => rules.send_limit = optional(key, value, send_limit)?,
                "address" => rules.address = optional(key, value, text)?,
                "users" => rules.users = optional(key, value, names)?,
                "unlicensed" => rules.unlicensed = names(key, value)?,
                "callback" => rules.callback = optional(key, value, odd)?,
                "*" => {
                    let queue = fault_queue(key, value)?;
                    rules.faults = Endpoint::ALL
                        .map(|endpoint| (endpoint, queue.clone()))
                        .into();
                }
                _ => {
                    let endpoint = Endpoint::named(key)
                        .ok_or_else(|| format!("`{key}` is neither a rule nor an endpoint."))?;
                    rules.faults.insert(endpoint, fault_queue(key, value)?);
                }
            }
        }
        Ok(rules)
    }
}

fn names(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let list = value
        .as_array()
        .ok_or_else(|| format!("`{key}` must be a list."))?;
    list.iter().map(|name| text(key, name)).collect()
}

fn send_limit(key: &str, value: &Value) -> Result<SendLimit, String> {
    let mut limit = SendLimit {
        sends: 0,
        within: Duration::from_secs(60),
    };
    for (name, value) in members(key, value)? {
        match name.as_str() {
            "sends" => limit.sends = usize::try_from(number(name, value)?).unwrap_or(usize::MAX),
            "within_ms" => limit.within = milliseconds(name, value)?,
            _ => return Err(format!("`{key}.{name}` is nothing that a limit has.")),
        }
    }
    Ok(limit)
}

fn odd(key: &str, value: &Value) -> Result<Limited<Odd>, String> {
    let (mut skip, mut times, mut what) = (0, None, None);
    for (name, value) in members(key, value)? {
        match name.as_str() {
            "skip" => skip = number(name, value)?,
            "times" => times = Some(number(name, value)?),
            "wrong" => {
                let wrongs = [
                    ("signature", Odd::Signature),
                    ("time", Odd::Time),
                    ("content", Odd::Content),
                    ("receiver", Odd::Receiver),
                    ("agent", Odd::Agent),
                ];
                what = Some(one_of(name, value, &wrongs)?);
            }
            "duplicate" => what = flag(name, value)?.then_some(Odd::Duplicate),
            "unanswered" => what = flag(name, value)?.then_some(Odd::Unanswered),
            _ => {
                return Err(format!(
                    "`{key}.{name}` is nothing that a callback can have."
                ));
            }
        }
    }
    let what = what.ok_or_else(|| format!("`{key}` does not say what is wrong."))?;
    Ok(Limited { skip, times, what })
}

fn fault_queue(key: &str, value: &Value) -> Result<VecDeque<Limited<Fault>>, String> {
    match value {
        Value::Null => Ok(VecDeque::new()),
        Value::Array(faults) => faults.iter().map(|value| fault(key, value)).collect(),
        _ => Ok(VecDeque::from([fault(key, value)?])),
    }
}

fn fault(of: &str, value: &Value) -> Result<Limited<Fault>, String> {
    let (mut skip, mut times, mut what) = (0, None, Fault::default());
    let mut result = Map::new();
    let mut kinds = Vec::new();
    for (key, value) in members(of, value)? {
        let name = &format!("{of}.{key}");
        match key.as_str() {
            "skip" => skip = number(name, value)?,
            "times" => times = Some(number(name, value)?),
            "delay_ms" => what.delay = milliseconds(name, value)?,
            "processed" => what.processed = flag(name, value)?,
            "status" => match number(name, value)? {
                code @ 200..=599 => kinds.push(Kind::Status(code as u16)),
                _ => return Err(format!("`{name}` must be an HTTP status from 200 to 599.")),
            },
            "body" => kinds.push(Kind::Body(text(name, value)?)),
            "errcode" | "errmsg" => drop(result.insert(key.clone(), value.clone())),
            "mangled" => kinds.push(Kind::Mangled(Mangle::read(name, value)?)),
            "truncated" => kinds.extend(flag(name, value)?.then_some(Kind::Truncated)),
            "cut" => {
                let names = [
                    ("before", Break::Before),
                    ("after", Break::After),
                    ("body", Break::Body),
                ];
                kinds.push(Kind::Cut(one_of(name, value, &names)?));
            }
            "stall" => {
                let names = [
                    ("before", Break::Before),
                    ("headers", Break::After),
                    ("body", Break::Body),
                ];
                kinds.push(Kind::Stall(one_of(name, value, &names)?));
            }
            _ => return Err(format!("`{name}` is nothing that a fault can have.")),
        }
    }
    if !result.is_empty() {
        kinds.push(Kind::Result(result));
    }
    if kinds.len() > 1 {
        return Err(format!(
            "`{of}` names more than one fault; a list gives several in order."
        ));
    }
    what.kind = kinds.pop().unwrap_or_default();
    Ok(Limited { skip, times, what })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mistake_is_named_and_changes_nothing() {
        for (changes, expect) in [
            (json!([]), "must be a JSON object"),
            (
                json!({"tokens": 1}),
                "`tokens` is neither a rule nor an endpoint",
            ),
            (json!({"token_ms": "x"}), "token_ms"),
            (json!({"message/send": {"status": 99}}), "from 200 to 599"),
            (
                json!({"message/send": {"cut": "body", "errcode": 1}}),
                "more than one",
            ),
            (json!({"*": {"speed": 1}}), "`*.speed`"),
            (json!({"callback": {"times": 1}}), "does not say"),
            (json!({"callback": {"wrong": "all"}}), "wrong"),
            (json!({"users": "alice"}), "must be a list"),
            (json!({"send_limit": {"per": 1}}), "`send_limit.per`"),
        ] {
            let mistake = Rules::default().changed(&changes).err().unwrap_or_default();
            assert!(mistake.contains(expect), "{changes}: {mistake}");
        }
    }

    #[test]
    fn faults_come_in_their_order_and_end() {
        let changes = json!({"gettoken": [
            {"status": 500, "skip": 1, "times": 1},
            {"errcode": -1, "times": 1},
        ]});
        let mut rules = Rules::default().changed(&changes).unwrap();
        let mut next = || match rules.fault(Endpoint::GetToken).map(|fault| fault.kind) {
            Some(Kind::Status(status)) => i64::from(status),
            Some(Kind::Result(result)) => result["errcode"].as_i64().unwrap(),
            _ => 0,
        };
        assert_eq!([next(), next(), next(), next()], [0, 500, -1, 0]);
        let reset = rules.changed(&json!({"reset": true})).unwrap();
        assert!(reset.faults.is_empty());
    }
}
