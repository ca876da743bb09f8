//! The control paths beside the API. They take requests of this machine only, and each request
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

use std::collections::VecDeque;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::people::speak;
use super::rules::RuleChanges;
use super::state::WecomState;
use super::{DEFAULT_USER, callbacks, xml};
use crate::controlled::{self, Problem, bad, object};
use crate::json::{self, Member};
use crate::sync::lock;

/// `POST /sim/messages`.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct SpeakRequest {
    user: Option<String>,
    #[serde(default)]
    text: Member<String>,
    #[serde(default)]
    event: Member<String>,
    key: Option<String>,
    #[serde(default)]
    xml: Member<String>,
}

/// `POST /sim/callback`.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct CallbackRequest {
    url: String,
    verify: Option<bool>,
}

/// Answers the control path after `/sim/`.
pub(super) async fn answer(
    server: &WecomState,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Value, Problem> {
    let ring = |entries: &VecDeque<Value>| entries.iter().cloned().collect();
    match (path, method.as_str()) {
        ("messages", "GET") => Ok(ring(&lock(&server.records).phone)),
        ("deliveries", "GET") => Ok(ring(&lock(&server.records).deliveries)),
        ("log", "GET") => Ok(ring(&lock(&server.records).log)),
        ("violations", "GET") => Ok(lock(&server.records).violations.clone().into()),
        ("callback", "POST") => {
            let request: CallbackRequest = json::read(&object(body)?).map_err(bad)?;
            if request.verify != Some(false) {
                let verified = callbacks::verify(server, &request.url).await;
                verified.map_err(|why| bad(format!("The URL is not verified: {why}.")))?;
            }
            lock(&server.records).callback_url = Some(request.url);
            Ok(json!({}))
        }
        ("messages", "POST") => say(server, &object(body)?),
        ("faults", "POST") => {
            let changes = RuleChanges::read(&object(body)?).map_err(bad)?;
            server.change(&changes).map_err(bad)?;
            Ok(json!({}))
        }
        ("clock", "POST") => controlled::advance(&server.clock, body),
        _ => Err((
            StatusCode::NOT_FOUND,
            "GET or POST /sim/messages, GET /sim/deliveries, log and violations, POST \
             /sim/callback, faults and clock."
                .to_owned(),
        )),
    }
}

fn say(server: &WecomState, request: &Value) -> Result<Value, Problem> {
    let request: SpeakRequest = json::read(request).map_err(bad)?;
    let user = request.user.as_deref().unwrap_or(DEFAULT_USER);
    let content = (
        request.text.given(),
        request.event.given(),
        request.xml.given(),
    );
    let id = match content {
        (Some(text), None, None) => speak(server, user, &xml::text(&text), true),
        (None, Some(name), None) => {
            let key = request.key.unwrap_or_default();
            speak(server, user, &xml::event(&name, &key), false)
        }
        (None, None, Some(elements)) => speak(server, user, &elements, true),
        _ => {
            return Err(bad(
                "Exactly one of `text`, `event` and `xml` must be given.",
            ));
        }
    };
    Ok(json!({"id": id}))
}
