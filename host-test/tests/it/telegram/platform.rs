//! The fake server as a platform of the conformance suite.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_conformance::platform::{
    Ability, Counters, Fault, Person, PlatformServer, SimulatedPlatform,
};
use gateway_host::account::AccountOptions;
use gateway_host::clock::Clock;
use gateway_host::media::MediaRules;

use super::server::{self, BotApi, TOKEN};
use super::{ALICE, BOB};

/// The account that leads to a server.
pub fn account(api: &BotApi) -> AccountOptions {
    let config = [
        ("base-url", api.base_url()),
        ("send-interval-ms", "0".to_owned()),
    ];
    AccountOptions {
        id: "a_bot".to_owned(),
        secrets: BTreeMap::from([("bot-token".to_owned(), TOKEN.to_owned())]),
        config: config.map(|(key, value)| (key.to_owned(), value)).into(),
        media: MediaRules::default(),
    }
}

/// Telegram, of which a server can be started for each check.
pub struct FakeTelegram;

impl SimulatedPlatform for FakeTelegram {
    fn name(&self) -> &str {
        "telegram"
    }

    fn can(&self, ability: Ability) -> bool {
        // The indicator of Telegram can't be ended, and nobody has to write before they are written to.
        ability == Ability::Repeats
    }

    fn start(&self, clock: Clock) -> BoxFuture<'_, Result<Box<dyn PlatformServer>, String>> {
        async move {
            let server: Box<dyn PlatformServer> = Box::new(BotApi::start(clock).await);
            Ok(server)
        }
        .boxed()
    }
}

/// The number of a message in the id that the component gives it.
fn number(message: &str) -> i64 {
    let (_, number) = message.split_once(':').unwrap_or_default();
    number.parse().unwrap_or_default()
}

impl PlatformServer for BotApi {
    fn account(&self) -> AccountOptions {
        account(self)
    }

    fn people(&self) -> [Person; 2] {
        [ALICE, BOB].map(|id| Person {
            id: id.to_string(),
            conversation: id.to_string(),
        })
    }

    fn say(&self, text: &str) -> String {
        format!("{ALICE}:{}", BotApi::say(self, ALICE, text))
    }

    fn say_with_quote(&self, text: &str, quoted: &str) -> Option<String> {
        let id = self.reply(ALICE, text, number(quoted))?;
        Some(format!("{ALICE}:{id}"))
    }

    fn sent_at(&self, message: &str) -> Option<u64> {
        let message = self.message(number(message))?;
        Some(message["date"].as_u64()? * 1000)
    }

    fn answers(&self) -> Vec<String> {
        self.texts(ALICE)
    }

    fn counters(&self) -> Counters {
        Counters {
            polls: self.calls("getUpdates"),
            polls_open: self.polls_open(),
            polls_answered: self.polls_answered(),
            sends: self.calls("sendMessage"),
        }
    }

    fn fault(&self, fault: Fault, is_on: bool) -> Result<(), String> {
        let (method, faults) = match fault {
            Fault::NothingTwice => {
                self.forget_handed_out(is_on);
                return Ok(());
            }
            Fault::SendsStall => {
                self.stall("sendMessage", is_on);
                return Ok(());
            }
            Fault::CredentialRefused(_) => {
                self.set_token(if is_on { "another" } else { TOKEN });
                return Ok(());
            }
            Fault::PollsFail => (
                "getUpdates",
                vec![
                    server::Fault::lost(),
                    server::Fault::page(200, "<html>"),
                    server::Fault::page(200, r#"{"ok":true,"result":[{"upd"#),
                    server::Fault::error(500, "Internal Server Error"),
                    server::Fault::error(409, "Conflict: terminated by other getUpdates request"),
                ],
            ),
            Fault::SendsRefusedForNow => (
                "sendMessage",
                vec![
                    server::Fault::page(503, "Service Unavailable"),
                    server::Fault::retry_after(3),
                ],
            ),
            Fault::Redirects => {
                let faults = || vec![server::Fault::redirect(), server::Fault::redirect()];
                self.fail("getUpdates", faults());
                ("sendMessage", faults())
            }
            other => return Err(format!("the fake server has no {other:?}")),
        };
        match is_on {
            true => self.fail(method, faults),
            false => self.heal(),
        }
        Ok(())
    }

    fn violations(&self) -> Vec<String> {
        BotApi::violations(self)
    }

    fn repeat(&self, message: &str) {
        if let Some(message) = self.message(number(message)) {
            self.hand_out(message);
        }
    }
}
