//! Changes of the rules and faults, built or read.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::inbound::{FileForm, Inbound};
use super::login::{AutoLogin, AutoLoginRule, LoginBaseUrl};
use super::of_account::Rules;
use super::session::{Burst, Cursors, ExpiredSession, Expiry};
use crate::faults::{Effect, Fault, FaultQueue};
use crate::ilink::endpoint::Endpoint;
use crate::json::{Member, Millis, read};

/// Changes of rules and faults; what is not named stays as it is.
///
/// ```
/// use gateway_simulator::Fault;
/// use gateway_simulator::ilink::{Endpoint, RuleChanges};
///
/// let changes = RuleChanges::new()
///     .budget(None)
///     .fault(Endpoint::SendMessage, Fault::ret(-2).times(3));
/// # let _ = changes;
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
pub struct RuleChanges {
    pub(crate) account: Member<String>,
    reset: bool,
    strict: Member<bool>,
    hold_ms: Member<Millis>,
    edge_ms: Member<Option<Millis>>,
    advertise_ms: Member<Option<Millis>>,
    batch: Member<u64>,
    cursor: Member<Cursors>,
    budget: Member<Option<u64>>,
    window_ms: Member<Option<Millis>>,
    burst: Member<Option<Burst>>,
    ticket_ms: Member<Option<Millis>>,
    dedupe: Member<bool>,
    delivery_ms: Member<Millis>,
    session: Member<Option<ExpiredSession>>,
    needs_start: Member<bool>,
    needs_app_headers: Member<bool>,
    inbound: Member<Option<Inbound>>,
    files: Member<Option<FileForm>>,
    cdn_base_url: Member<Option<String>>,

    qr_ms: Member<Millis>,
    qr_hold_ms: Member<Millis>,
    wrong_codes: Member<u64>,
    refuses_tokens: Member<bool>,
    baseurl: Member<LoginBaseUrl>,
    auto_login: Member<AutoLoginRule>,

    #[serde(rename = "*")]
    everywhere: Member<FaultQueue>,
    getupdates: Member<FaultQueue>,
    sendmessage: Member<FaultQueue>,
    getconfig: Member<FaultQueue>,
    sendtyping: Member<FaultQueue>,
    notifystart: Member<FaultQueue>,
    notifystop: Member<FaultQueue>,
    getuploadurl: Member<FaultQueue>,
    get_bot_qrcode: Member<FaultQueue>,
    get_qrcode_status: Member<FaultQueue>,
    upload: Member<FaultQueue>,
    download: Member<FaultQueue>,
}

/// A method for each rule.
impl RuleChanges {
    /// Nothing yet, of all accounts, later ones too.
    pub fn new() -> RuleChanges {
        RuleChanges::default()
    }

    /// Nothing yet, of this account alone. The login's rules and faults cannot be changed with it.
    pub fn of_account(account_id: impl Into<String>) -> RuleChanges {
        RuleChanges {
            account: Member::Given(account_id.into()),
            ..RuleChanges::default()
        }
    }

    /// First back to the rules of the start.
    #[must_use]
    pub fn reset(mut self) -> RuleChanges {
        self.reset = true;
        self
    }

    /// Whether headers and bodies are compared with the official client's.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> RuleChanges {
        self.strict = Member::Given(strict);
        self
    }

    /// How long a poll waits for a message, less a margin.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> RuleChanges {
        self.hold_ms = Member::Given(Millis(hold));
        self
    }

    /// After how long a proxy before the server answers polls with 524; `None` is never.
    #[must_use]
    pub fn edge(mut self, after: Option<Duration>) -> RuleChanges {
        self.edge_ms = Member::Given(after.map(Millis));
        self
    }

    /// `longpolling_timeout_ms` of the answers; zero leaves it out, `None` is the hold.
    #[must_use]
    pub fn advertise(mut self, timeout: Option<Duration>) -> RuleChanges {
        self.advertise_ms = Member::Given(timeout.map(Millis));
        self
    }

    /// Messages of one answer at most; at least one.
    #[must_use]
    pub fn batch(mut self, messages: u64) -> RuleChanges {
        self.batch = Member::Given(messages);
        self
    }

    /// What a cursor does to the messages before it.
    #[must_use]
    pub fn cursors(mut self, cursors: Cursors) -> RuleChanges {
        self.cursor = Member::Given(cursors);
        self
    }

    /// Sends to a person until they write again; `None` is no limit.
    #[must_use]
    pub fn budget(mut self, sends: Option<u64>) -> RuleChanges {
        self.budget = Member::Given(sends);
        self
    }

    /// How long after a person's message they can be written to; `None` is for ever.
    #[must_use]
    pub fn window(mut self, window: Option<Duration>) -> RuleChanges {
        self.window_ms = Member::Given(window.map(Millis));
        self
    }

    /// The throttle of the bot's sends.
    #[must_use]
    pub fn burst(mut self, burst: Option<Burst>) -> RuleChanges {
        self.burst = Member::Given(burst);
        self
    }

    /// The life of a typing ticket; `None` is for ever.
    #[must_use]
    pub fn ticket_life(mut self, life: Option<Duration>) -> RuleChanges {
        self.ticket_ms = Member::Given(life.map(Millis));
        self
    }

    /// Whether a repeated `client_id` is accepted with the first id and shown once.
    #[must_use]
    pub fn dedupe(mut self, dedupe: bool) -> RuleChanges {
        self.dedupe = Member::Given(dedupe);
        self
    }

    /// How much later accepted sends reach the phone.
    #[must_use]
    pub fn delivery_delay(mut self, delay: Duration) -> RuleChanges {
        self.delivery_ms = Member::Given(Millis(delay));
        self
    }

    /// The session expires; `None` ends that.
    #[must_use]
    pub fn session(mut self, expired: Option<ExpiredSession>) -> RuleChanges {
        self.session = Member::Given(expired);
        self
    }

    /// Whether every endpoint answers -14 until `notifystart` was called.
    #[must_use]
    pub fn needs_start(mut self, needs_start: bool) -> RuleChanges {
        self.needs_start = Member::Given(needs_start);
        self
    }

    /// Whether sends with other headers or `base_info` than the official ones are accepted, but
    /// after the first one never shown.
    #[must_use]
    pub fn needs_app_headers(mut self, needs_app_headers: bool) -> RuleChanges {
        self.needs_app_headers = Member::Given(needs_app_headers);
        self
    }

    /// What happens to people's messages.
    #[must_use]
    pub fn inbound(mut self, inbound: Option<Inbound>) -> RuleChanges {
        self.inbound = Member::Given(inbound);
        self
    }

    /// How people's files are referred to.
    #[must_use]
    pub fn files(mut self, form: Option<FileForm>) -> RuleChanges {
        self.files = Member::Given(form);
        self
    }

    /// The CDN's base in full URLs; `None` is this server's.
    #[must_use]
    pub fn cdn_base_url(mut self, url: Option<String>) -> RuleChanges {
        self.cdn_base_url = Member::Given(url);
        self
    }

    /// The life of a QR code.
    #[must_use]
    pub fn qr_life(mut self, life: Duration) -> RuleChanges {
        self.qr_ms = Member::Given(Millis(life));
        self
    }

    /// How long `get_qrcode_status` waits for the scan.
    #[must_use]
    pub fn qr_hold(mut self, hold: Duration) -> RuleChanges {
        self.qr_hold_ms = Member::Given(Millis(hold));
        self
    }

    /// Wrong digits that block a login; at least one.
    #[must_use]
    pub fn wrong_codes(mut self, count: u64) -> RuleChanges {
        self.wrong_codes = Member::Given(count);
        self
    }

    /// Whether `get_bot_qrcode` with tokens in it is answered `{"ret":-1}`.
    #[must_use]
    pub fn refuses_tokens(mut self, refuses: bool) -> RuleChanges {
        self.refuses_tokens = Member::Given(refuses);
        self
    }

    /// `baseurl` of a confirmed login.
    #[must_use]
    pub fn login_base_url(mut self, url: LoginBaseUrl) -> RuleChanges {
        self.baseurl = Member::Given(url);
        self
    }

    /// Whether QR codes are scanned and confirmed by themselves.
    #[must_use]
    pub fn auto_login(mut self, auto: Option<AutoLogin>) -> RuleChanges {
        self.auto_login = Member::Given(AutoLoginRule(auto));
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
        *self.queue_mut(endpoint) = Member::Given(faults.into_iter().collect());
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
            return Err("faults must be a JSON object, such as {\"hold_ms\": 500}.".to_owned());
        }
        read(changes)
    }

    /// Whether the server can do all of it.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Member::Given(Some(burst)) = self.burst
            && !burst.is_possible()
        {
            return Err("`burst.per_second` must be a number from 0.".to_owned());
        }
        if matches!(self.account, Member::Given(_))
            && let Some(name) = self.login_rule()
        {
            return Err(format!("`{name}` is of the login, which has no account."));
        }
        if let Member::Given(queue) = &self.everywhere {
            for fault in queue.iter() {
                fault.check("*", |effect| allows(None, effect))?;
            }
        }
        for endpoint in Endpoint::ALL {
            if let Member::Given(queue) = self.queue(endpoint) {
                for fault in queue.iter() {
                    fault.check(endpoint.name(), |effect| allows(Some(endpoint), effect))?;
                }
            }
        }
        Ok(())
    }

    /// A rule or an endpoint of the login that is changed.
    fn login_rule(&self) -> Option<&'static str> {
        let rules = [
            ("qr_ms", self.qr_ms.is_given()),
            ("qr_hold_ms", self.qr_hold_ms.is_given()),
            ("wrong_codes", self.wrong_codes.is_given()),
            ("refuses_tokens", self.refuses_tokens.is_given()),
            ("baseurl", self.baseurl.is_given()),
            ("auto_login", self.auto_login.is_given()),
        ];
        let rules = rules.into_iter().find(|(_, is_given)| *is_given);
        let mut endpoints = Endpoint::ALL
            .into_iter()
            .filter(|endpoint| endpoint.is_of_login() && self.queue(*endpoint).is_given());
        rules
            .map(|(name, _)| name)
            .or_else(|| endpoints.next().map(Endpoint::name))
    }

    /// Changes these rules, first back to the `initial` ones where they are reset.
    pub(crate) fn apply(&self, rules: &mut Rules, initial: &Rules, now: Duration) {
        if self.reset {
            rules.clone_from(initial);
        }
        self.strict.set(&mut rules.strict);
        set(&self.hold_ms, &mut rules.hold);
        set_optional(&self.edge_ms, &mut rules.edge);
        set_optional(&self.advertise_ms, &mut rules.advertise);
        if let Member::Given(batch) = self.batch {
            rules.batch = usize::try_from(batch.max(1)).unwrap_or(usize::MAX);
        }
        self.cursor.set(&mut rules.cursors);
        self.budget.set(&mut rules.budget);
        set_optional(&self.window_ms, &mut rules.window);
        self.burst.set(&mut rules.burst);
        set_optional(&self.ticket_ms, &mut rules.ticket_life);
        self.dedupe.set(&mut rules.dedupe);
        set(&self.delivery_ms, &mut rules.delivery_delay);
        if let Member::Given(session) = self.session {
            rules.expiry = session.map(|session| Expiry::of(session, now));
        }
        self.needs_start.set(&mut rules.needs_start);
        self.needs_app_headers.set(&mut rules.needs_app_headers);
        self.inbound.set(&mut rules.inbound);
        self.files.set(&mut rules.files);
        self.cdn_base_url.set(&mut rules.cdn_base_url);
        set(&self.qr_ms, &mut rules.login.life);
        set(&self.qr_hold_ms, &mut rules.login.hold);
        if let Member::Given(count) = self.wrong_codes {
            rules.login.wrong_codes = count.max(1);
        }
        self.refuses_tokens.set(&mut rules.login.refuses_tokens);
        self.baseurl.set(&mut rules.login.base_url);
        if let Member::Given(AutoLoginRule(auto)) = &self.auto_login {
            rules.login.auto.clone_from(auto);
        }
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
    }

    fn queue(&self, endpoint: Endpoint) -> &Member<FaultQueue> {
        match endpoint {
            Endpoint::GetUpdates => &self.getupdates,
            Endpoint::SendMessage => &self.sendmessage,
            Endpoint::GetConfig => &self.getconfig,
            Endpoint::SendTyping => &self.sendtyping,
            Endpoint::NotifyStart => &self.notifystart,
            Endpoint::NotifyStop => &self.notifystop,
            Endpoint::GetUploadUrl => &self.getuploadurl,
            Endpoint::GetBotQrcode => &self.get_bot_qrcode,
            Endpoint::GetQrcodeStatus => &self.get_qrcode_status,
            Endpoint::Upload => &self.upload,
            Endpoint::Download => &self.download,
        }
    }

    fn queue_mut(&mut self, endpoint: Endpoint) -> &mut Member<FaultQueue> {
        match endpoint {
            Endpoint::GetUpdates => &mut self.getupdates,
            Endpoint::SendMessage => &mut self.sendmessage,
            Endpoint::GetConfig => &mut self.getconfig,
            Endpoint::SendTyping => &mut self.sendtyping,
            Endpoint::NotifyStart => &mut self.notifystart,
            Endpoint::NotifyStop => &mut self.notifystop,
            Endpoint::GetUploadUrl => &mut self.getuploadurl,
            Endpoint::GetBotQrcode => &mut self.get_bot_qrcode,
            Endpoint::GetQrcodeStatus => &mut self.get_qrcode_status,
            Endpoint::Upload => &mut self.upload,
            Endpoint::Download => &mut self.download,
        }
    }
}

fn set(member: &Member<Millis>, duration: &mut Duration) {
    if let Member::Given(Millis(given)) = *member {
        *duration = given;
    }
}

fn set_optional(member: &Member<Option<Millis>>, duration: &mut Option<Duration>) {
    if let Member::Given(given) = *member {
        *duration = given.map(|millis| millis.0);
    }
}

/// Whether this endpoint can have this effect; `None` is any endpoint at all.
fn allows(endpoint: Option<Endpoint>, effect: &Effect) -> bool {
    match effect {
        Effect::Sent(_) => endpoint == Some(Endpoint::SendMessage),
        Effect::UploadUrl(_) => endpoint == Some(Endpoint::GetUploadUrl),
        Effect::LoginAnswer(_) => endpoint.is_some_and(Endpoint::is_of_login),
        Effect::SlowRead(_) => endpoint == Some(Endpoint::Upload),
        Effect::Download(_) => endpoint == Some(Endpoint::Download),
        Effect::Status(status) => !status.is_of_cdn() || endpoint.is_some_and(Endpoint::is_of_cdn),
        Effect::TrueAnswer
        | Effect::Body(_)
        | Effect::Result(_)
        | Effect::Without(_)
        | Effect::Truncated
        | Effect::Mangled(_)
        | Effect::Cut(_)
        | Effect::Stall(_)
        | Effect::Drip(_) => true,
    }
}
