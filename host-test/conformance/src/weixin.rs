//! The iLink simulator as a platform of this suite, and the checks for `weixin` alone.

pub(crate) mod lifecycle;
pub(crate) mod login;
pub(crate) mod media;
pub(crate) mod odd;
pub(crate) mod outbound;

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_host::account::AccountOptions;
use gateway_host::clock::Clock;
use gateway_host::media::MediaRules;
use gateway_simulator::{MediaKind, Repeat, Simulator, SimulatorOptions};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Outcome};
use crate::platform::{Ability, Counters, Fault, Person, PlatformServer, SimulatedPlatform};

/// The platform that the simulator plays.
pub const PLATFORM: &str = "weixin";

/// A person.
pub(crate) const ALICE: &str = "wxid_alice@im.wechat";
/// Another one.
const BOB: &str = "wxid_bob@im.wechat";
/// Where nothing is.
const ELSEWHERE: &str = "http://127.0.0.1:9/elsewhere";
/// The shapes in which the platform says that a session has expired.
const EXPIRED: [&str; 3] = ["errcode", "ret", "both"];

/// iLink, as `gateway-simulator` plays it.
#[derive(Debug, Clone)]
pub struct IlinkPlatform {
    faults: Value,
}

impl Default for IlinkPlatform {
    fn default() -> IlinkPlatform {
        IlinkPlatform::with_faults(json!({}))
    }
}

impl IlinkPlatform {
    /// iLink with these faults from the start of each check, see [`gateway_simulator::faults`]. What
    /// needs the opposite fails, which shows that the suite can.
    pub fn with_faults(faults: Value) -> IlinkPlatform {
        IlinkPlatform { faults }
    }
}

impl SimulatedPlatform for IlinkPlatform {
    fn name(&self) -> &str {
        PLATFORM
    }

    fn can(&self, ability: Ability) -> bool {
        matches!(
            ability,
            Ability::Media | Ability::Repeats | Ability::ReplyWindow | Ability::Typing
        )
    }

    fn start(&self, clock: Clock) -> BoxFuture<'_, Result<Box<dyn PlatformServer>, String>> {
        async move {
            let options = SimulatorOptions {
                clock,
                ..SimulatorOptions::default()
            };
            let simulator = Simulator::start(options)
                .await
                .map_err(|error| format!("the simulated server does not start: {error}"))?;
            simulator.faults(&self.faults)?;
            let server: Box<dyn PlatformServer> = Box::new(IlinkServer {
                simulator,
                said: Mutex::default(),
                is_next_new_token: AtomicBool::new(false),
            });
            Ok(server)
        }
        .boxed()
    }
}

/// A simulator of one check.
struct IlinkServer {
    simulator: Simulator,
    /// What Alice wrote, by its id.
    said: Mutex<HashMap<String, Value>>,
    is_next_new_token: AtomicBool,
}

impl IlinkServer {
    fn said(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a message; its id as the component has it.
    fn remember(&self, message: Value) -> String {
        let id = match message.get("message_id") {
            Some(Value::String(id)) => id.clone(),
            Some(id) => id.to_string(),
            None => String::new(),
        };
        self.said().insert(id.clone(), message);
        id
    }
}

impl PlatformServer for IlinkServer {
    fn account(&self) -> AccountOptions {
        AccountOptions {
            id: self.simulator.account_id(),
            secrets: BTreeMap::from([("bot-token".to_owned(), self.simulator.token())]),
            config: BTreeMap::from([
                ("base-url".to_owned(), self.simulator.base_url()),
                ("cdn-base-url".to_owned(), self.simulator.cdn_base_url()),
                ("send-interval-ms".to_owned(), "0".to_owned()),
            ]),
            media: MediaRules::default(),
        }
    }

    fn people(&self) -> [Person; 2] {
        [ALICE, BOB].map(|id| Person {
            id: id.to_owned(),
            conversation: id.to_owned(),
        })
    }

    fn say(&self, text: &str) -> String {
        self.remember(self.simulator.say(ALICE, text))
    }

    fn say_with_quote(&self, text: &str, quoted: &str) -> Option<String> {
        let quoted: Value = serde_json::from_str(quoted).ok()?;
        let item = json!({
            "type": 1,
            "text_item": {"text": text},
            "ref_msg": {"svr_id": quoted, "message_item": {"type": 0, "msg_id": quoted}},
        });
        Some(self.remember(self.simulator.push(ALICE, vec![item])))
    }

    fn sent_at(&self, message: &str) -> Option<u64> {
        self.said().get(message)?["create_time_ms"].as_u64()
    }

    fn answers(&self) -> Vec<String> {
        self.simulator.answers(ALICE)
    }

    fn counters(&self) -> Counters {
        let counters = self.simulator.counters();
        let log = self.simulator.log();
        let polls = log.iter().filter(|entry| entry["endpoint"] == "getupdates");
        let answered = polls.filter(|entry| entry["status"] == 200).count();
        Counters {
            polls: counters.polls,
            polls_open: counters.polls_open,
            polls_answered: answered as u64,
            sends: counters.sends,
        }
    }

    fn fault(&self, fault: Fault, is_on: bool) -> Result<(), String> {
        let (on, off) = match fault {
            Fault::NothingTwice => (json!({"cursor": "consume"}), json!({"cursor": "rewind"})),
            Fault::PollsFail => (
                json!({"getupdates": [
                    {"status": 502, "times": 1},
                    {"body": "<html>busy</html>", "times": 1},
                    {"truncated": true, "times": 1},
                    {"cut": "before", "times": 1},
                    {"ret": -1, "times": 1},
                ]}),
                json!({"getupdates": null}),
            ),
            Fault::Redirects => {
                let elsewhere = json!({"redirect": ELSEWHERE, "times": 2});
                (
                    json!({"getupdates": elsewhere, "sendmessage": elsewhere}),
                    json!({"getupdates": null, "sendmessage": null}),
                )
            }
            Fault::SendsStall => (
                json!({"sendmessage": {"stall": "before"}}),
                json!({"sendmessage": null}),
            ),
            Fault::SendsRefusedForNow => (
                json!({"sendmessage": [
                    {"status": 503, "times": 1},
                    {"status": 429, "times": 1},
                ]}),
                json!({"sendmessage": null}),
            ),
            Fault::CredentialRefused(way) => (
                json!({"session": {"expired": EXPIRED.get(way)}}),
                json!({"session": null}),
            ),
        };
        self.simulator.faults(if is_on { &on } else { &off })
    }

    fn credential_refusals(&self) -> usize {
        EXPIRED.len()
    }

    fn violations(&self) -> Vec<String> {
        self.simulator.violations()
    }

    fn repeat(&self, message: &str) {
        let said = self.said().get(message).cloned();
        let how = match self.is_next_new_token.fetch_xor(true, Ordering::Relaxed) {
            true => Repeat::NewToken,
            false => Repeat::SameId,
        };
        if let Some(said) = said {
            self.simulator.first().repeat(&said, how);
        }
    }

    fn is_typing(&self) -> bool {
        self.simulator.first().typing(ALICE).on
    }

    fn send_file(&self, name: &str, bytes: Vec<u8>) -> Option<String> {
        let kind = MediaKind::File;
        Some(self.remember(self.simulator.send_file(ALICE, kind, name, bytes)))
    }

    fn file(&self, message: &str) -> Option<Vec<u8>> {
        let id: u64 = message.parse().ok()?;
        let phone = self.simulator.phone();
        let is_broken = |bubble: &Value| bubble["message_id"] == id && bubble["broken"].is_string();
        match phone.iter().any(is_broken) {
            true => None,
            false => self.simulator.phone_file(id),
        }
    }
}

/// The simulator of a check for `weixin` alone.
pub(crate) fn simulator(fixture: &Fixture) -> Result<&Simulator, String> {
    let server: &dyn Any = &*fixture.server;
    let server = server.downcast_ref::<IlinkServer>();
    server
        .map(|server| &server.simulator)
        .ok_or_else(|| "this check is for the simulator of iLink alone".to_owned())
}

/// Switches faults of iLink's own.
pub(crate) fn faults(fixture: &Fixture, changes: Value) -> Outcome {
    simulator(fixture)?.faults(&changes)
}
