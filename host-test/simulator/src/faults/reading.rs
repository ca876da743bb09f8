//! Reads rules and faults from JSON, and says in a sentence what is wrong with them.

use std::collections::VecDeque;
use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::fault::Status;
use super::{
    Break, Burst, DownloadAs, Endpoint, Expiry, Fault, Inbound, Kind, Limited, SentAs, UploadUrl,
};
use crate::breakage::Mangle;
use crate::files::{Form, KeyForm, Reference};
use crate::people::Repeat;

/// Why the CDN refuses.
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

pub(super) fn fault_queue(key: &str, value: &Value) -> Result<VecDeque<Limited<Fault>>, String> {
    match value {
        Value::Null => Ok(VecDeque::new()),
        Value::Array(faults) => faults.iter().map(|value| fault(key, value)).collect(),
        _ => Ok(VecDeque::from([fault(key, value)?])),
    }
}

pub(super) fn fault(of: &str, value: &Value) -> Result<Limited<Fault>, String> {
    let mut limited = Limited::<Fault>::default();
    let of_login = Endpoint::named(of).is_some_and(Endpoint::is_of_login);
    let of_cdn = Endpoint::named(of).is_some_and(Endpoint::is_of_cdn);
    let mut result = Map::new();
    let mut status = Status::default();
    let mut redirected = false;
    let mut upload_url = None::<UploadUrl>;
    let mut kinds = Vec::new();
    for (key, value) in members(of, value)? {
        let name = &format!("{of}.{key}");
        match key.as_str() {
            "times" => limited.times = Some(number(name, value)?),
            "skip" => limited.skip = number(name, value)?,
            "delay_ms" => limited.what.delay = milliseconds(name, value)?,
            "processed" => limited.what.processed = flag(name, value)?,
            "status" => match number(name, value)? {
                code @ 200..=599 => status.code = code as u16,
                _ => return Err(format!("`{name}` must be an HTTP status from 200 to 599.")),
            },
            "message" if of_cdn => {
                let header = (ERROR_MESSAGE, header_value(name, value)?);
                status.headers.push(header);
            }
            "code" if of_cdn => status
                .headers
                .push((ERROR_CODE, header_value(name, value)?)),
            "redirect" => {
                status.headers.push((LOCATION, header_value(name, value)?));
                redirected = true;
            }
            "body" => kinds.push(Kind::Body(text(name, value)?)),
            "ret" | "errcode" | "errmsg" => drop(result.insert(key.clone(), value.clone())),
            "without" => kinds.push(Kind::Without(texts(name, value)?)),
            "truncated" => kinds.extend(flag(name, value)?.then_some(Kind::Truncated)),
            "mangled" => kinds.push(Kind::Mangled(Mangle::read(name, value)?)),
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
            "drip_ms" => kinds.push(Kind::Drip(milliseconds(name, value)?)),
            "answer" if of == "sendmessage" => {
                let answers = [
                    ("no-ret", SentAs::NoRet),
                    ("string-id", SentAs::StringId),
                    ("empty", SentAs::Empty),
                    ("black-hole", SentAs::BlackHole),
                ];
                kinds.push(Kind::Sent(one_of(name, value, &answers)?));
            }
            "answer" if of == "getuploadurl" => {
                upload_url.get_or_insert_default().reference = Reference::read(name, value)?;
            }
            "answer" if of_login => kinds.push(Kind::Result(members(name, value)?.clone())),
            "upload_full_url" if of == "getuploadurl" => {
                upload_url.get_or_insert_default().full_url = Some(text(name, value)?);
            }
            "read_ms" if of == "upload" => {
                kinds.push(Kind::SlowRead(milliseconds(name, value)?));
            }
            "wrong_key" if of == "download" => {
                let wrong = Kind::Download(DownloadAs::WrongKey);
                kinds.extend(flag(name, value)?.then_some(wrong));
            }
            "bad_padding" if of == "download" => {
                let wrong = Kind::Download(DownloadAs::BadPadding);
                kinds.extend(flag(name, value)?.then_some(wrong));
            }
            "extra_bytes" if of == "download" => {
                kinds.push(Kind::Download(DownloadAs::Extra(number(name, value)?)));
            }
            _ => return Err(format!("`{name}` is nothing that a fault can have.")),
        }
    }
    if redirected && status.code == 0 {
        status.code = 302;
    }
    if status.code != 0 {
        kinds.push(Kind::Status(status));
    } else if !status.headers.is_empty() {
        return Err(format!("`{of}` has a message or code, but no `status`."));
    }
    kinds.extend(upload_url.map(Kind::UploadUrl));
    if !result.is_empty() {
        kinds.push(Kind::Result(result));
    }
    if kinds.len() > 1 {
        return Err(format!(
            "`{of}` names more than one fault; a list gives several in order."
        ));
    }
    limited.what.kind = kinds.pop().unwrap_or_default();
    Ok(limited)
}

pub(super) fn inbound(of: &str, value: &Value) -> Result<Limited<Inbound>, String> {
    let mut limited = Limited::<Inbound>::default();
    for (key, value) in members(of, value)? {
        let name = &format!("{of}.{key}");
        match key.as_str() {
            "times" => limited.times = Some(number(name, value)?),
            "skip" => limited.skip = number(name, value)?,
            "set" => limited.what.set = members(name, value)?.clone(),
            "without" => limited.what.without = texts(name, value)?,
            "string_ids" => limited.what.string_ids = flag(name, value)?,
            "duplicate" => limited.what.duplicate = optional(name, value, Repeat::read)?,
            _ => return Err(format!("`{name}` is nothing that can happen to a message.")),
        }
    }
    Ok(limited)
}

pub(super) fn files(of: &str, value: &Value) -> Result<Limited<Form>, String> {
    let mut limited = Limited::<Form>::default();
    for (key, value) in members(of, value)? {
        let name = &format!("{of}.{key}");
        match key.as_str() {
            "times" => limited.times = Some(number(name, value)?),
            "skip" => limited.skip = number(name, value)?,
            "key" => limited.what.key = KeyForm::read(name, value)?,
            "reference" => limited.what.reference = Reference::read(name, value)?,
            "full_url" => limited.what.full_url = optional(name, value, text)?,
            _ => return Err(format!("`{name}` is nothing that can happen to a file.")),
        }
    }
    Ok(limited)
}

pub(super) fn burst(of: &str, value: &Value) -> Result<Burst, String> {
    let mut burst = Burst {
        size: 3,
        per_second: 3.0,
        penalty: Duration::from_secs(60 * 60),
    };
    for (key, value) in members(of, value)? {
        let name = &format!("{of}.{key}");
        match key.as_str() {
            "size" => burst.size = number(name, value)?,
            "per_second" => {
                burst.per_second = value
                    .as_f64()
                    .filter(|rate| rate.is_finite() && *rate >= 0.0)
                    .ok_or_else(|| format!("`{name}` must be a number from 0."))?;
            }
            "penalty_ms" => burst.penalty = milliseconds(name, value)?,
            _ => {
                return Err(format!(
                    "`{name}` is unknown; a burst has `size`, `per_second` and `penalty_ms`."
                ));
            }
        }
    }
    Ok(burst)
}

pub(super) fn expiry(of: &str, value: &Value, now: Duration) -> Result<Expiry, String> {
    let answers = [
        ("errcode", r#"{"errcode":-14,"errmsg":"session timeout"}"#),
        ("ret", r#"{"ret":-14,"errmsg":"session timeout"}"#),
        (
            "both",
            r#"{"ret":-14,"errcode":-14,"errmsg":"session timeout"}"#,
        ),
    ];
    let mut expiry = Expiry {
        from: now,
        until: None,
        answer: answers[0].1,
    };
    let mut lasts = None;
    for (key, value) in members(of, value)? {
        let name = &format!("{of}.{key}");
        match key.as_str() {
            "expired" => expiry.answer = one_of(name, value, &answers)?,
            "after_ms" => expiry.from = now.saturating_add(milliseconds(name, value)?),
            "for_ms" => lasts = Some(milliseconds(name, value)?),
            _ => {
                return Err(format!(
                    "`{name}` is unknown; a session has `expired`, `after_ms` and `for_ms`."
                ));
            }
        }
    }
    expiry.until = lasts.map(|lasts| expiry.from.saturating_add(lasts));
    Ok(expiry)
}

fn header_value(key: &str, value: &Value) -> Result<HeaderValue, String> {
    HeaderValue::from_str(&text(key, value)?)
        .map_err(|_| format!("`{key}` cannot be the value of a header."))
}

/// `null` is none; all else is read.
pub(crate) fn optional<T>(
    key: &str,
    value: &Value,
    read: impl FnOnce(&str, &Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value.is_null() {
        Ok(None)
    } else {
        read(key, value).map(Some)
    }
}

pub(crate) fn members<'a>(key: &str, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("`{key}` must be a JSON object."))
}

pub(crate) fn flag(key: &str, value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("`{key}` must be true or false."))
}

pub(crate) fn number(key: &str, value: &Value) -> Result<u64, String> {
    value
        .as_u64()
        .ok_or_else(|| format!("`{key}` must be a whole number from 0."))
}

pub(crate) fn milliseconds(key: &str, value: &Value) -> Result<Duration, String> {
    number(key, value).map(Duration::from_millis)
}

pub(crate) fn text(key: &str, value: &Value) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("`{key}` must be a string."))
}

pub(super) fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let list = value
        .as_array()
        .ok_or_else(|| format!("`{key}` must be a list of strings."))?;
    list.iter().map(|value| text(key, value)).collect()
}

pub(crate) fn one_of<T: Copy>(
    key: &str,
    value: &Value,
    choices: &[(&str, T)],
) -> Result<T, String> {
    let chosen = choices.iter().find(|(name, _)| value == name);
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        format!("`{key}` must be one of {}.", names.join(", "))
    })
}
