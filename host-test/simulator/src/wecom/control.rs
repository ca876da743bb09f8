//! The control paths beside the API, for this machine only, and for who has their token: each request
//! brings `Authorization: Bearer TOKEN`.
//!
//! | request | answer |
//! |---|---|
//! | `POST /sim/callback` | `{"url"}`: verified first, as the console does, unless `"verify"` is `false`; `{}` |
//! | `POST /sim/messages` | a person: `{"user"?, "text"}`, `{"user"?, "event", "key"?}`, or `{"user"?, "xml"}` for the elements of any message; `{"id"}` |
//! | `GET /sim/messages` | what the phones show |
//! | `GET /sim/deliveries` | the callbacks, each delivery |
//! | `POST /sim/faults` | rules and faults, as [`super::rules`] has them; `{}` |
//! | `POST /sim/clock` | `{"advance_ms"}`; `{"now_ms"}` |
//! | `GET /sim/log`, `GET /sim/violations` | the wire; what was done wrong |

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::state::WecomState;
use super::{DEFAULT_USER, callbacks, people, speak};
use crate::lock;

/// A clock moved further could overflow.
const CENTURY_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// Answers the control path after `/sim/`.
pub(super) async fn answer(
    server: &WecomState,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Value, (StatusCode, String)> {
    let bad = |sentence: &str| (StatusCode::BAD_REQUEST, sentence.to_owned());
    let request = || -> Result<Value, (StatusCode, String)> {
        let value = serde_json::from_slice::<Value>(body).ok();
        value
            .filter(Value::is_object)
            .ok_or_else(|| bad("The body must be a JSON object."))
    };
    let ring = |entries: &std::collections::VecDeque<Value>| entries.iter().cloned().collect();
    match (path, method.as_str()) {
        ("messages", "GET") => Ok(ring(&lock(&server.records).phone)),
        ("deliveries", "GET") => Ok(ring(&lock(&server.records).deliveries)),
        ("log", "GET") => Ok(ring(&lock(&server.records).log)),
        ("violations", "GET") => Ok(lock(&server.records).violations.clone().into()),
        ("callback", "POST") => {
            let request = request()?;
            let url = request["url"]
                .as_str()
                .ok_or_else(|| bad("`url` must be a URL."))?;
            if request["verify"] != false {
                let verified = callbacks::verify(server, url).await;
                verified.map_err(|why| bad(&format!("The URL is not verified: {why}.")))?;
            }
            lock(&server.records).callback_url = Some(url.to_owned());
            Ok(json!({}))
        }
        ("messages", "POST") => {
            let request = request()?;
            let user = request["user"].as_str().unwrap_or(DEFAULT_USER);
            let text = |name: &str| request[name].as_str();
            let id = match (text("text"), text("event"), text("xml")) {
                (Some(content), None, None) => speak(server, user, &people::text(content), true),
                (None, Some(name), None) => {
                    let key = text("key").unwrap_or_default();
                    speak(server, user, &people::event(name, key), false)
                }
                (None, None, Some(xml)) => speak(server, user, xml, true),
                _ => {
                    return Err(bad(
                        "Exactly one of `text`, `event` and `xml` must be given.",
                    ));
                }
            };
            Ok(json!({"id": id}))
        }
        ("faults", "POST") => {
            server.switch(&request()?).map_err(|why| bad(&why))?;
            Ok(json!({}))
        }
        ("clock", "POST") => {
            let advance = request()?["advance_ms"].as_u64();
            let advance = advance
                .filter(|advance| *advance <= CENTURY_MS)
                .ok_or_else(|| bad("`advance_ms` must be milliseconds."))?;
            server.clock.advance(Duration::from_millis(advance));
            Ok(json!({"now_ms": server.clock.unix_ms()}))
        }
        _ => Err((
            StatusCode::NOT_FOUND,
            "GET or POST /sim/messages, GET /sim/deliveries, log and violations, POST \
             /sim/callback, faults and clock."
                .to_owned(),
        )),
    }
}
