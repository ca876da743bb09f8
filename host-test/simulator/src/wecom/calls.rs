//! What the endpoints do.

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::multipart;
use super::state::{File, Records, WecomState, random_text};
use crate::query::{escaped, parameter};
use crate::sync::lock;

/// Longest content of a text; what is longer is cut.
const TEXT_BYTES: usize = 2048;
const MIB: usize = 1024 * 1024;

/// The true answer to a request.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    fn json(value: &Value) -> Answer {
        let mut response = Response::new(());
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Answer {
            status: StatusCode::OK,
            headers: std::mem::take(response.headers_mut()),
            body: value.to_string().into(),
        }
    }

    pub(super) fn refused(errcode: i64, errmsg: &str) -> Answer {
        Answer::json(&json!({"errcode": errcode, "errmsg": errmsg}))
    }
}

/// `GET /cgi-bin/gettoken`: the valid token, or a new one.
pub(super) fn gettoken(server: &WecomState, head: &Parts) -> Answer {
    let query = head.uri.query();
    if parameter(query, "corpid") != server.app.corp_id {
        return Answer::refused(40013, "invalid corpid");
    }
    if parameter(query, "corpsecret") != server.app.secret {
        return Answer::refused(40001, "invalid credential");
    }
    let now = server.clock.elapsed();
    let life = lock(&server.rules).token_life;
    let mut records = lock(&server.records);
    let Records { tokens, token, .. } = &mut *records;
    let known = token.as_ref().and_then(|token| {
        let until = *tokens.find(token)?;
        (now < until).then(|| (token.clone(), until))
    });
    let (token, until) = known.unwrap_or_else(|| {
        let new = random_text("tok");
        let until = now.saturating_add(life);
        tokens.remember(new.clone(), until);
        *token = Some(new.clone());
        (new, until)
    });
    records.counters.tokens += 1;
    Answer::json(&json!({
        "errcode": 0,
        "errmsg": "ok",
        "access_token": token,
        "expires_in": until.saturating_sub(now).as_secs(),
    }))
}

/// What is wrong with the caller of anything else.
pub(super) fn check_caller(server: &WecomState, head: &Parts) -> Option<Answer> {
    let token = parameter(head.uri.query(), "access_token");
    if token.is_empty() {
        return Some(Answer::refused(41001, "access_token missing"));
    }
    let now = server.clock.elapsed();
    let until = lock(&server.records).tokens.find(&token).copied();
    match until {
        None => return Some(Answer::refused(40014, "invalid access_token")),
        Some(until) if now >= until => {
            return Some(Answer::refused(42001, "access_token expired"));
        }
        Some(_) => {}
    }
    let address = lock(&server.rules).address.clone()?;
    let errmsg = format!(
        "not allow to access from your ip, hint: [1700000000_1_0123456789abcdef], from ip: \
         {address}, more info at https://open.work.weixin.qq.com/devtool/query?e=60020"
    );
    Some(Answer::refused(60020, &errmsg))
}

/// `POST /cgi-bin/message/send`: shows a message.
pub(super) fn send(server: &WecomState, body: &[u8]) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        server.violation("message/send: the body is no JSON".to_owned());
        return Answer::refused(47001, "data format error");
    };
    let now = server.clock.elapsed();
    let rules = server.rules();
    if let Some(limit) = rules.send_limit {
        let mut records = lock(&server.records);
        let since = now.saturating_sub(limit.within);
        records.sends.retain(|at| *at > since);
        if records.sends.len() >= limit.sends {
            return Answer::refused(45009, "api freq out of limit");
        }
        records.sends.push_back(now);
    }
    if body["agentid"].as_u64() != Some(server.app.agent_id) {
        return Answer::refused(301_002, "no permission for this agentid");
    }
    let people = body["touser"].as_str().unwrap_or_default();
    let people: Vec<&str> = people.split('|').filter(|user| !user.is_empty()).collect();
    if people.contains(&"@all") {
        server.violation("message/send: it goes to everybody".to_owned());
    }
    let is_known = |user: &&str| match &rules.users {
        None => true,
        Some(users) => users.iter().any(|known| known == user),
    };
    let (known, invalid): (Vec<&str>, Vec<&str>) = people.into_iter().partition(is_known);
    if known.is_empty() {
        return Answer::refused(81013, "user & party & tag all invalid");
    }
    let kind = body["msgtype"].as_str().unwrap_or_default();
    let (shown, content) = match shown(server, kind, &body[kind]) {
        Ok(shown) => shown,
        Err((errcode, errmsg)) => return Answer::refused(errcode, errmsg),
    };
    let licensed = |user: &&str| !rules.unlicensed.iter().any(|other| other == user);
    let (licensed, unlicensed): (Vec<&str>, Vec<&str>) = known.into_iter().partition(licensed);
    let message_id = random_text("m");
    for user in licensed {
        let what = format!("{user} {kind} {}", body[kind]);
        if is_repeat(server, &body, &what) {
            continue;
        }
        if let Some(bytes) = &content {
            let mut records = lock(&server.records);
            records.shown.remember(message_id.clone(), bytes.clone());
        }
        let mut entry = json!({"user": user, "from": "app", "message_id": message_id});
        if let (Value::Object(entry), Value::Object(shown)) = (&mut entry, shown.clone()) {
            entry.extend(shown);
        }
        server.note(entry, |records| &mut records.phone);
    }
    lock(&server.records).counters.accepted += 1;
    Answer::json(&json!({
        "errcode": 0,
        "errmsg": "ok",
        "invaliduser": invalid.join("|"),
        "unlicenseduser": unlicensed.join("|"),
        "msgid": message_id,
    }))
}

/// Whether the sender asked not to send the same twice, and this is the same.
fn is_repeat(server: &WecomState, body: &Value, what: &str) -> bool {
    let now = server.clock.elapsed();
    let interval = body["duplicate_check_interval"].as_u64().unwrap_or(1800);
    let since = now.saturating_sub(std::time::Duration::from_secs(interval.min(4 * 3600)));
    let mut records = lock(&server.records);
    let is_repeat = body["enable_duplicate_check"] == 1
        && records
            .recent_sends
            .iter()
            .any(|(at, sent)| *at >= since && sent == what);
    if is_repeat {
        records.counters.repeats += 1;
    } else {
        if records.recent_sends.len() == 10_000 {
            records.recent_sends.pop_front();
        }
        records.recent_sends.push_back((now, what.to_owned()));
    }
    is_repeat
}

type Shown = (Value, Option<Bytes>);

/// What a phone shows of a message, and the file in it.
fn shown(server: &WecomState, kind: &str, content: &Value) -> Result<Shown, (i64, &'static str)> {
    match kind {
        "text" | "markdown" => {
            let text = content["content"].as_str().unwrap_or_default();
            if text.is_empty() {
                return Err((44004, "empty content"));
            }
            if text.len() > TEXT_BYTES {
                server.violation(format!("message/send: a {kind} has {} bytes", text.len()));
            }
            let (text, _) = text.split_at(text.floor_char_boundary(TEXT_BYTES));
            Ok((json!({kind: text}), None))
        }
        "image" | "voice" | "video" | "file" => {
            let media_id = content["media_id"].as_str().unwrap_or_default();
            let file = server
                .file(media_id)
                .filter(|file| file.kind == kind)
                .ok_or((40007, "invalid media_id"))?;
            let item = json!({"kind": kind, "name": file.name, "size": file.bytes.len()});
            Ok((json!({"item": item}), Some(file.bytes)))
        }
        _ => Err((40058, "invalid msgtype")),
    }
}

/// `POST /cgi-bin/media/upload`: keeps a file.
pub(super) async fn upload(server: &WecomState, head: &Parts, body: &Bytes) -> Answer {
    let kind = parameter(head.uri.query(), "type");
    let limit = match kind.as_str() {
        "image" | "video" => 10 * MIB,
        "voice" => 2 * MIB,
        "file" => 20 * MIB,
        _ => return Answer::refused(40004, "invalid media type"),
    };
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let part = match multipart::read(content_type.unwrap_or_default(), body).await {
        Ok(part) if part.name == "media" => part,
        Ok(_) => {
            server.violation("media/upload: the part is not called media".to_owned());
            return Answer::refused(41005, "media data missing");
        }
        Err(why) => {
            server.violation(format!("media/upload: {why}"));
            return Answer::refused(41005, "media data missing");
        }
    };
    if part.content.len() < 5 || part.content.len() > limit {
        return Answer::refused(40006, "invalid media size");
    }
    let now = server.clock.elapsed();
    let media_id = server.keep(File {
        kind: kind.clone(),
        name: part.filename,
        mime: part.content_type.unwrap_or_default(),
        bytes: part.content,
        since: now,
    });
    Answer::json(&json!({
        "errcode": 0,
        "errmsg": "",
        "type": kind,
        "media_id": media_id,
        "created_at": server.clock.unix().as_secs().to_string(),
    }))
}

/// `GET /cgi-bin/media/get`: the bytes of a file, or of a range of it.
pub(super) fn get(server: &WecomState, head: &Parts) -> Answer {
    let media_id = parameter(head.uri.query(), "media_id");
    let Some(file) = server.file(&media_id) else {
        return Answer::refused(40007, "invalid media_id");
    };
    let mut headers = HeaderMap::new();
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    set(CONTENT_TYPE, file.mime.clone());
    let name = escaped(&file.name);
    let disposition = format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}");
    set(CONTENT_DISPOSITION, disposition);
    let range = head
        .headers
        .get(RANGE)
        .and_then(|range| range.to_str().ok());
    let whole = file.bytes.len();
    let range = range.and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        let from: usize = from.parse().ok()?;
        let to = to
            .parse()
            .map_or(whole, |to: usize| to.saturating_add(1).min(whole));
        (from < to).then_some(from..to)
    });
    let (status, body) = match range {
        Some(range) => {
            let of = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
            set(CONTENT_RANGE, of);
            (StatusCode::PARTIAL_CONTENT, file.bytes.slice(range))
        }
        None => (StatusCode::OK, file.bytes),
    };
    Answer {
        status,
        headers,
        body,
    }
}
