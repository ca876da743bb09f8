//! What only WeCom needs of an instance: callbacks in place of the poll, the access token, and one
//! request of the lane.

use std::collections::BTreeSet;

use super::*;
use crate::access::{Access, Generation};
use crate::api::{self, CallError, Try};
use crate::component::webhook::{Answer, Callback};
use crate::media::Handle;
use crate::passive::Exchanges;
use gateway_channel_sdk::settings::Markdown;

mod callbacks;
mod media;
mod passive;
mod token;

pub use crate::options::settings;
pub use crate::{DIALECT, options::Options};
pub use callbacks::callback;
pub use media::Sealer;

/// The platform as people call it.
pub const NAME: &str = "WeCom";
/// What the ids of parts begin with; the platform is told none.
pub const CLIENT: &str = "wecom";
/// What the log says of an account that is degraded.
pub const TROUBLE: &str = "there is no access token";
/// An access token that was given is a sign of life for twice this long; it is renewed before.
pub const HOLD: Duration = Duration::from_secs(2 * 3600);
/// Whether a conversation can be one: each is with one person.
pub use api::check_person as check_conversation;

pub mod login {
    //! There is no login: the host has the app's secret.

    use std::convert::Infallible;

    use super::{Error, ErrorKind};

    /// Starts over.
    pub async fn begin() -> Result<Infallible, Error> {
        refused()
    }

    /// Waits for the next step.
    pub async fn next() -> Result<Infallible, Error> {
        refused()
    }

    /// Hands over the digits.
    pub async fn submit(_: &str) -> Result<Infallible, Error> {
        refused()
    }

    fn refused() -> Result<Infallible, Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "WeCom has no login: configure the corp's id and the app's secret",
        ))
    }
}

/// What is known of the platform.
#[derive(Default)]
pub struct State {
    access: RefCell<Access>,
    /// Somebody asks for a token.
    is_renewing: Cell<bool>,
    /// That came to an end.
    renewed: Signal,
    /// Why there is no token.
    refusal: RefCell<Option<CallError>>,
    /// There is something to do beside the calls.
    chores: Signal,
    refusals: callbacks::Refusals,
    /// Kinds of events that the log has told.
    events: RefCell<BTreeSet<String>>,
    /// Callbacks that wait for their answer.
    exchanges: RefCell<Exchanges<passive::Exchange>>,
}

/// The conversation that an upload can be sent to.
pub fn uploaded_for(handle: &str) -> Result<String, Error> {
    Ok(Handle::uploaded(handle)?.to)
}

impl Instance {
    /// Nobody is told. Callbacks need no token, so a start does not wait for one either: it is the
    /// first thing that is done beside the calls.
    pub(super) async fn announce(&self) {}

    /// Nobody is told: the platform's callbacks come to whoever serves.
    pub(super) async fn announce_stop(&self) {}

    /// There is no indicator.
    pub async fn typing(&self, _: &str, _: bool) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "WeCom has no typing indicator",
        ))
    }

    /// Sends a job: in the exchange of its callback where that is possible, else as a request, whose
    /// content is that of the job or the upload of its document.
    pub(super) async fn deliver(&self, job: &Job, content: &Content) -> Outcome {
        let markdown: Markdown = self.channel.borrow().settings().markdown;
        if let Some(outcome) = self.give(job, markdown).await {
            return outcome;
        }
        let which = match job.is_again {
            true => Try::Again,
            false => Try::First,
        };
        let to = &job.conversation;
        let request = match api::send_message(&self.options, markdown, to, content, which) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(error),
        };
        let answer = self
            .with_token(async || {
                let answer = imports::fetch(request.clone()).await;
                let refusal = api::read(answer.clone()).err();
                match refusal.filter(CallError::wants_new_token) {
                    Some(refusal) => Err(refusal),
                    None => Ok(answer),
                }
            })
            .await;
        let outcome = match answer {
            Ok(answer) => api::sent(answer),
            Err(error) => without_token(error),
        };
        if matches!(outcome, Outcome::LoginRequired(_)) {
            // A token is asked for again until one is given; that resumes the outbox.
            self.platform.access.borrow_mut().forget();
            self.platform.chores.raise();
        }
        outcome
    }
}

/// What becomes of a part that was not sent because there is no token.
fn without_token(error: CallError) -> Outcome {
    let mut error = error.into_error();
    match error.kind {
        ErrorKind::LoginRequired => Outcome::LoginRequired(error),
        // A token that could not be asked for is no message whose fate is unknown.
        _ => {
            error.kind = ErrorKind::Transient;
            Outcome::NotSent(error)
        }
    }
}
