//! Changes of the rules and faults, built or read.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::callback_fault::CallbackFault;
use super::current::{Rules, SendLimit};
use crate::faults::{Effect, Fault, FaultQueue};
use crate::json::{Member, Millis, read};
use crate::wecom::endpoint::Endpoint;

/// Changes of rules and faults; what is not named stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
pub struct RuleChanges {
    reset: bool,
    token_ms: Member<Millis>,
    media_ms: Member<Millis>,
    answer_ms: Member<Millis>,
    redeliveries: Member<u64>,
    send_limit: Member<Option<SendLimit>>,
    address: Member<Option<String>>,
    users: Member<Option<Vec<String>>>,
    unlicensed: Member<Vec<String>>,
    callback: Member<Option<CallbackFault>>,

    #[serde(rename = "*")]
    everywhere: Member<FaultQueue>,
    gettoken: Member<FaultQueue>,
    #[serde(rename = "message/send")]
    send: Member<FaultQueue>,
    #[serde(rename = "media/upload")]
    upload: Member<FaultQueue>,
    #[serde(rename = "media/get")]
    get: Member<FaultQueue>,
}

/// A method for each rule.
impl RuleChanges {
    /// Nothing yet.
    pub fn new() -> RuleChanges {
        RuleChanges::default()
    }

    /// First back to the rules of the start.
    #[must_use]
    pub fn reset(mut self) -> RuleChanges {
        self.reset = true;
        self
    }

    /// The life of an access token.
    #[must_use]
    pub fn token_life(mut self, life: Duration) -> RuleChanges {
        self.token_ms = Member::Given(Millis(life));
        self
    }

    /// The life of a media id.
    #[must_use]
    pub fn media_life(mut self, life: Duration) -> RuleChanges {
        self.media_ms = Member::Given(Millis(life));
        self
    }

    /// Within which a callback has to be answered.
    #[must_use]
    pub fn answer_within(mut self, time: Duration) -> RuleChanges {
        self.answer_ms = Member::Given(Millis(time));
        self
    }

    /// How often a callback comes again that was not answered with 200.
    #[must_use]
    pub fn redeliveries(mut self, count: u64) -> RuleChanges {
        self.redeliveries = Member::Given(count);
        self
    }

    /// More sends than that are 45009; `None` is no limit.
    #[must_use]
    pub fn send_limit(mut self, limit: Option<SendLimit>) -> RuleChanges {
        self.send_limit = Member::Given(limit);
        self
    }

    /// A caller with this address gets 60020 on all calls but `gettoken`; `None` is nobody.
    #[must_use]
    pub fn refuse_address(mut self, address: Option<String>) -> RuleChanges {
        self.address = Member::Given(address);
        self
    }

    /// Who is of the corp; `None` is everybody.
    #[must_use]
    pub fn users(mut self, users: Option<Vec<String>>) -> RuleChanges {
        self.users = Member::Given(users);
        self
    }

    /// Who has no licence.
    #[must_use]
    pub fn unlicensed(mut self, users: Vec<String>) -> RuleChanges {
        self.unlicensed = Member::Given(users);
        self
    }

    /// What is wrong with callbacks; `None` is nothing.
    #[must_use]
    pub fn callback(mut self, fault: Option<CallbackFault>) -> RuleChanges {
        self.callback = Member::Given(fault);
        self
    }

    /// A fault of an endpoint, in place of those that it had.
    #[must_use]
    pub fn fault(self, endpoint: Endpoint, fault: Fault) -> RuleChanges {
        self.faults(endpoint, [fault])
    }

    /// The endpoint has no faults any more.
    #[must_use]
    pub fn clear(self, endpoint: Endpoint) -> RuleChanges {
        self.faults(endpoint, [])
    }

    /// Faults of an endpoint, one after the other, in place of those that it had.
    #[must_use]
    pub fn faults(
        mut self,
        endpoint: Endpoint,
        faults: impl IntoIterator<Item = Fault>,
    ) -> RuleChanges {
        *match endpoint {
            Endpoint::GetToken => &mut self.gettoken,
            Endpoint::Send => &mut self.send,
            Endpoint::Upload => &mut self.upload,
            Endpoint::Get => &mut self.get,
        } = Member::Given(faults.into_iter().collect());
        self
    }

    /// A fault of each endpoint that has none in these changes.
    #[must_use]
    pub fn fault_everywhere(mut self, fault: Fault) -> RuleChanges {
        self.everywhere = Member::Given([fault].into_iter().collect());
        self
    }
}

impl RuleChanges {
    /// Reads the JSON of `POST /sim/faults`.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub(crate) fn read(changes: &Value) -> Result<RuleChanges, String> {
        if !changes.is_object() {
            return Err("faults must be a JSON object, such as {\"token_ms\": 500}.".to_owned());
        }
        read(changes)
    }

    /// Whether the server can do all of it.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let endpoints = Endpoint::ALL.map(|endpoint| (endpoint.name(), self.queue(endpoint)));
        for (name, queue) in endpoints.into_iter().chain([("*", &self.everywhere)]) {
            if let Member::Given(queue) = queue {
                for fault in queue.iter() {
                    fault.check(name, allows)?;
                }
            }
        }
        Ok(())
    }

    /// The rules with these changes.
    pub(crate) fn applied(&self, rules: &Rules) -> Rules {
        let mut rules = match self.reset {
            true => Rules::default(),
            false => rules.clone(),
        };
        for (member, duration) in [
            (&self.token_ms, &mut rules.token_life),
            (&self.media_ms, &mut rules.media_life),
            (&self.answer_ms, &mut rules.answer_within),
        ] {
            if let Member::Given(Millis(given)) = *member {
                *duration = given;
            }
        }
        self.redeliveries.set(&mut rules.redeliveries);
        self.send_limit.set(&mut rules.send_limit);
        self.address.set(&mut rules.address);
        self.users.set(&mut rules.users);
        self.unlicensed.set(&mut rules.unlicensed);
        self.callback.set(&mut rules.callback);
        for endpoint in Endpoint::ALL {
            let own = self.queue(endpoint);
            if let Member::Given(queue) = if own.is_given() {
                own
            } else {
                &self.everywhere
            } {
                rules.faults.insert(endpoint, queue.clone());
            }
        }
        rules
    }

    fn queue(&self, endpoint: Endpoint) -> &Member<FaultQueue> {
        match endpoint {
            Endpoint::GetToken => &self.gettoken,
            Endpoint::Send => &self.send,
            Endpoint::Upload => &self.upload,
            Endpoint::Get => &self.get,
        }
    }
}

/// Whether this server's endpoints can have this effect.
fn allows(effect: &Effect) -> bool {
    match effect {
        Effect::Status(status) => !status.is_of_cdn() && status.redirect.is_none(),
        Effect::Result(result) => !result.contains_key("ret"),
        Effect::TrueAnswer
        | Effect::Body(_)
        | Effect::Truncated
        | Effect::Mangled(_)
        | Effect::Cut(_)
        | Effect::Stall(_) => true,
        Effect::LoginAnswer(_)
        | Effect::Without(_)
        | Effect::Drip(_)
        | Effect::Sent(_)
        | Effect::UploadUrl(_)
        | Effect::SlowRead(_)
        | Effect::Download(_) => false,
    }
}
