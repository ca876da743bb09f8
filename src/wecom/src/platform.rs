//! WeCom as a platform of the SDK: one request for each part, with the access token or in the exchange
//! of a callback.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use gateway_channel_sdk::error::{Error, ErrorKind};
use gateway_channel_sdk::host::Host;
use gateway_channel_sdk::outbox::Outcome;
use gateway_channel_sdk::platform::{Description, Login, LoginMachine, Part, Platform};
use gateway_channel_sdk::settings::Lookup;

use crate::api::{self, CallError};
use crate::exchange::Exchange;
use crate::passive::Exchanges;
use crate::token::Token;
use crate::{WecomConfig, descriptor, markdown};

/// One app of a corp.
#[derive(Debug)]
pub struct Wecom {
    pub(crate) config: WecomConfig,
    pub(crate) token: Token,
    /// Kinds of events that the log has told.
    pub(crate) events: RefCell<BTreeSet<String>>,
    /// Callbacks that wait for their answer.
    pub(crate) exchanges: RefCell<Exchanges<Exchange>>,
}

impl Platform for Wecom {
    const NAME: &'static str = "wecom";
    const TITLE: &'static str = "WeCom";

    fn describe() -> Description {
        descriptor::describe()
    }

    fn new(config: Lookup<'_>) -> Result<Wecom, Error> {
        Ok(Wecom {
            config: WecomConfig::read(config)?,
            token: Token::default(),
            events: RefCell::default(),
            exchanges: RefCell::default(),
        })
    }

    /// Sends a part: in the exchange of its callback where that is possible, else as a request.
    async fn deliver(&self, host: &Host, part: &Part<'_>) -> Outcome {
        if let Some(outcome) = self.give(host, part).await {
            return outcome;
        }
        let request = match api::send_message(&self.config, part) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(error),
        };
        let answer = self
            .with_token(host, async || {
                let answer = host.fetch(request.clone()).await;
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
            self.token.forget();
            host.refresh();
        }
        outcome
    }

    fn native(text: &str) -> String {
        markdown::native(text)
    }

    /// Each conversation is with one person.
    fn check_conversation(id: &str) -> Result<(), Error> {
        api::check_person(id)
    }

    fn not_answered(&self, events: &[String]) {
        let mut exchanges = self.exchanges.borrow_mut();
        for event in events {
            exchanges.take(event);
        }
    }
}

/// The host has the app's secret.
impl Login for Wecom {
    fn login(_: Lookup<'_>, _: Duration) -> Result<Box<dyn LoginMachine>, Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "WeCom has no login: configure the corp's id and the app's secret",
        ))
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
