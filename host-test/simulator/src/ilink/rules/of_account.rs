//! The rules of one account, and the faults of its requests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inbound::{FileForm, Inbound};
use super::login::LoginRules;
use super::session::{Burst, Cursors, Expiry};
use crate::faults::{Fault, FaultQueue};
use crate::ilink::endpoint::Endpoint;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The rules of one account.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) strict: bool,
    pub(crate) hold: Duration,
    /// After how long a poll is cut off on its way.
    pub(crate) edge: Option<Duration>,
    pub(crate) advertise: Option<Duration>,
    pub(crate) batch: usize,
    pub(crate) cursors: Cursors,
    pub(crate) budget: Option<u64>,
    pub(crate) window: Option<Duration>,
    pub(crate) burst: Option<Burst>,
    pub(crate) ticket_life: Option<Duration>,
    pub(crate) dedupe: bool,
    pub(crate) delivery_delay: Duration,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) needs_start: bool,
    pub(crate) needs_app_headers: bool,
    pub(crate) cdn_base_url: Option<String>,
    pub(crate) login: LoginRules,
    pub(super) inbound: Option<Inbound>,
    pub(super) files: Option<FileForm>,
    pub(super) faults: BTreeMap<Endpoint, FaultQueue>,
}

impl Rules {
    pub(crate) fn new(strict: bool, hold: Duration) -> Rules {
        Rules {
            strict,
            hold,
            edge: None,
            advertise: None,
            batch: 100,
            cursors: Cursors::Rewind,
            budget: Some(10),
            window: Some(DAY),
            burst: None,
            ticket_life: Some(DAY),
            dedupe: false,
            delivery_delay: Duration::ZERO,
            expiry: None,
            needs_start: false,
            needs_app_headers: false,
            cdn_base_url: None,
            login: LoginRules::default(),
            inbound: None,
            files: None,
            faults: BTreeMap::new(),
        }
    }

    /// The fault of this request, if there is one; counts it.
    pub(crate) fn fault(&mut self, endpoint: Endpoint) -> Option<Fault> {
        self.faults.get_mut(&endpoint)?.next()
    }

    /// What happens to this message of a person, if anything; counts it.
    pub(crate) fn inbound(&mut self) -> Option<Inbound> {
        let inbound = self.inbound.as_mut()?;
        inbound.limit.hits().then(|| inbound.clone())
    }

    /// How this file of a person is referred to; counts it.
    pub(crate) fn file_form(&mut self) -> FileForm {
        let form = self.files.as_mut();
        let form = form.and_then(|form| form.limit.hits().then(|| form.clone()));
        form.unwrap_or_default()
    }
}
