//! Callbacks: what the platform posts is stored before it is answered, and nobody who is not the
//! platform learns more than that it was refused. What is stored is answered at once, unless the
//! operator chose that the answer may go out in the exchange.

use super::*;
use crate::callback::{self, REFUSED_STATUS};
use crate::inbound::Reading;
use gateway_channel_sdk::message::Body;

/// The log tells at most one refusal within this time: anybody can cause them.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Kinds of events that the log tells, and what of their names.
const MAX_EVENTS_TOLD: usize = 64;
const MAX_NAME: usize = 64;

/// Requests that were refused.
#[derive(Default)]
pub struct Refusals {
    told: Cell<Option<Duration>>,
    since: Cell<u64>,
}

/// Answers what came over HTTP. The platform repeats what is not answered with 200.
pub async fn callback(request: Callback) -> Answer {
    let Ok(instance) = current() else {
        return Answer::empty(503);
    };
    if !request.is_post {
        return match callback::verify(&instance.options.seal, imports::now_ms(), &request.query) {
            Ok(body) => Answer::text(body),
            Err(refusal) => {
                instance.refuse(&refusal.to_string());
                Answer::empty(REFUSED_STATUS)
            }
        };
    }
    let (query, body) = (&request.query, &request.body);
    let reading = callback::receive(&instance.options, imports::now_ms(), query, body);
    match reading {
        Ok(Reading::Event(event)) => {
            let id = event.id.clone();
            let may_hold = instance.options.passive_reply && event.message().is_some();
            instance.tell_event(&event);
            match instance.take_callback(*event) {
                // A repeat has no second answer.
                Ok(is_news) if is_news && may_hold => instance.hold(&id).await,
                Ok(_) => Answer::empty(200),
                Err(error) => {
                    log(
                        Level::Warn,
                        &format!("a callback is left for later: {error}"),
                    );
                    Answer::empty(503)
                }
            }
        }
        Ok(Reading::Unreadable(why)) => {
            log(Level::Warn, &format!("a callback was skipped: {why}"));
            Answer::empty(200)
        }
        Err(refusal) => {
            instance.refuse(&refusal.to_string());
            Answer::empty(REFUSED_STATUS)
        }
    }
}

impl Instance {
    /// Stores what a callback tells; whether it is new.
    fn take_callback(&self, event: Event) -> Result<bool, Error> {
        if self.is_draining.get() {
            let why = "this instance is being drained";
            return Err(Error::new(ErrorKind::Draining, why));
        }
        self.ready()?;
        self.check_fence()?;
        if self.is_full_for(&event) {
            // Tells when it is over.
            self.platform.chores.raise();
            let why = "too much is unacknowledged";
            return Err(Error::new(ErrorKind::Transient, why));
        }
        // There are no batches, and so no place in them.
        self.take_in(String::new(), vec![event])
    }

    /// Whether there is no place for an event; one that is stored already has its own.
    fn is_full_for(&self, event: &Event) -> bool {
        let mut channel = self.channel.borrow_mut();
        let journal = channel.journal();
        journal.is_paused() && !journal.knows(&event.id)
    }

    /// What is no message reaches no agent: the log says so, once for each kind of event.
    fn tell_event(&self, event: &Event) {
        let Body::Other { name, .. } = &event.body else {
            return;
        };
        let name: String = name.chars().filter(|char| !char.is_control()).collect();
        let name: String = name.chars().take(MAX_NAME).collect();
        let mut told = self.platform.events.borrow_mut();
        if told.len() < MAX_EVENTS_TOLD && told.insert(name.clone()) {
            let line =
                format!("WeCom tells events `{name}`: they are no messages and reach no agent");
            log(Level::Info, &line);
        }
    }

    fn refuse(&self, why: &str) {
        let refusals = &self.platform.refusals;
        let now = imports::now();
        let is_told = |told: Duration| now.saturating_sub(told) < TELL_EVERY;
        refusals.since.set(refusals.since.get().saturating_add(1));
        if !refusals.told.get().is_some_and(is_told) {
            refusals.told.set(Some(now));
            let count = refusals.since.replace(0);
            log(
                Level::Warn,
                &format!("requests refused that should be callbacks: {count}; the last one: {why}"),
            );
        }
    }
}
