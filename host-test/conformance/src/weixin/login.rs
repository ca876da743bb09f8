//! Logins, step by step, by an instance that was not started.

use std::time::Duration;

use serde_json::json;

use super::{ALICE, faults, simulator};
use crate::fixture::{Fixture, Outcome, answered, expect, refused, same, within};
use gateway_host::account::Setup;
use gateway_host::contract::ErrorKind;
use gateway_host::contract::Identity;
use gateway_host::egress::credential::Secrets;
use gateway_host::instance::{Instance, Step};
use gateway_host::media::MediaRules;
use gateway_simulator::{Act, QrCode};

/// A login that shows its first code.
struct Begun {
    setup: Setup,
    instance: Instance,
}

fn setup(fixture: &Fixture) -> Result<Setup, String> {
    let secrets = Secrets::default();
    for capture in &fixture.plugin.descriptor().captures {
        secrets.set_all(&capture.credential, &[] as &[&str]);
    }
    let made = Setup::with_secrets(
        &fixture.runtime,
        &fixture.plugin,
        fixture.state.clone(),
        "login".to_owned(),
        secrets,
        fixture.config(),
        MediaRules::default(),
    );
    made.map_err(|error| error.to_string())
}

async fn begin(fixture: &Fixture) -> Result<Begun, String> {
    let setup = setup(fixture)?;
    let instance = within("making an instance", setup.instance()).await?;
    let instance = instance.map_err(|error| error.to_string())?;
    let code = match answered("begin", instance.begin_login()).await? {
        Step::ShowQr(qr) => qr,
        other => return Err(format!("begin shows no code, but {}", name(&other))),
    };
    let newest = newest(fixture)?;
    same("what the code says", &code.text, &newest.url)?;
    expect(code.until > fixture.clock.unix_ms(), || {
        "the code is of no use any more".to_owned()
    })?;
    Ok(Begun { setup, instance })
}

fn newest(fixture: &Fixture) -> Result<QrCode, String> {
    let codes = simulator(fixture)?.qr_codes();
    codes
        .into_iter()
        .next_back()
        .ok_or_else(|| "no code was asked for".to_owned())
}

fn name(step: &Step) -> String {
    match step {
        Step::ShowQr(_) => "show-qr".to_owned(),
        Step::Confirm => "confirm".to_owned(),
        Step::EnterCode => "enter-code".to_owned(),
        Step::Done(_) => "done".to_owned(),
        Step::AlreadyBound => "already-bound".to_owned(),
        Step::Failed(why) => format!("failed ({why})"),
    }
}

impl Begun {
    async fn next(&self, fixture: &Fixture) -> Result<Step, String> {
        let next = answered("next", self.instance.next_login_step());
        fixture.flying(next).await
    }

    async fn expect(&self, fixture: &Fixture, wanted: &str) -> Outcome {
        let step = self.next(fixture).await?;
        same("the next step", name(&step).as_str(), wanted)
    }

    /// The person confirms, and the login is done.
    async fn confirmed(&self, fixture: &Fixture) -> Result<Identity, String> {
        let code = simulator(fixture)?.login(ALICE, Act::Confirm)?;
        let identity = match self.next(fixture).await? {
            Step::Done(identity) => identity,
            other => return Err(format!("{} instead of done", name(&other))),
        };
        same(
            "the account",
            Some(&identity.account),
            code.account.as_ref(),
        )?;
        Ok(identity)
    }
}

pub async fn steps(fixture: &Fixture) -> Outcome {
    let login = begin(fixture).await?;
    simulator(fixture)?.login(ALICE, Act::Expire)?;
    login.expect(fixture, "show-qr").await?;
    simulator(fixture)?.login(ALICE, Act::Scan)?;
    login.expect(fixture, "confirm").await?;
    let identity = login.confirmed(fixture).await?;
    same("the owner", identity.owner.as_deref(), Some(ALICE))?;
    let bot = simulator(fixture)?.account(&identity.account);
    let token = bot.ok_or("there is no such account")?.token();
    fixture.ledger.secret(token.clone());
    let told = format!("{identity:?}");
    expect(!told.contains(&token), || {
        "the component has the token".to_owned()
    })?;
    let captures = &fixture.plugin.descriptor().captures;
    let is_kept = captures.iter().any(|capture| {
        let captured = login.setup.take_captured(&capture.credential);
        captured.is_some_and(|secret| secret.expose() == token)
    });
    expect(is_kept, || "the host did not get the credential".to_owned())?;
    let after = login.instance.next_login_step();
    refused("next after the end", &[ErrorKind::Invalid], after)
        .await
        .map(drop)
}

pub async fn digits(fixture: &Fixture) -> Outcome {
    let login = begin(fixture).await?;
    let code = simulator(fixture)?.login(ALICE, Act::ScanWithDigits)?;
    login.expect(fixture, "enter-code").await?;
    let digits = code.digits.ok_or("the phone shows no digits")?;
    let wrong = match digits.as_str() {
        "000000" => "111111",
        _ => "000000",
    };
    let submitting = answered("submit", login.instance.submit_login_code(wrong.to_owned()));
    let step = fixture.flying(submitting).await?;
    same(
        "the step after wrong digits",
        name(&step).as_str(),
        "enter-code",
    )?;
    let confirming = async {
        let is_known = async || Ok(newest(fixture)?.status == "scaned");
        fixture
            .moving("sending the digits", Duration::ZERO, is_known)
            .await?;
        simulator(fixture)?.login(ALICE, Act::Confirm)
    };
    let submitting = answered("submit", login.instance.submit_login_code(digits));
    let both = async { tokio::join!(submitting, confirming) };
    let (step, code) = fixture.flying_by(Duration::from_millis(100), both).await;
    let account = code?.account;
    // Whether the person is to be told once more is the component's to say.
    let step = match step? {
        Step::Confirm => login.next(fixture).await?,
        step => step,
    };
    match step {
        Step::Done(identity) => same("the account", Some(identity.account), account),
        other => Err(format!("{} instead of done", name(&other))),
    }
}

pub async fn elsewhere(fixture: &Fixture) -> Outcome {
    faults(fixture, json!({"baseurl": "https://elsewhere.example"}))?;
    let login = begin(fixture).await?;
    simulator(fixture)?.login(ALICE, Act::Confirm)?;
    let step = login.next(fixture).await?;
    expect(name(&step).starts_with("failed"), || {
        format!("a foreign API leads to {}", name(&step))
    })?;
    faults(fixture, json!({"baseurl": null}))?;
    let login = begin(fixture).await?;
    let redirect = Act::Redirect(Some("elsewhere.example".to_owned()));
    simulator(fixture)?.login(ALICE, redirect)?;
    let step = login.next(fixture).await?;
    expect(name(&step).starts_with("failed"), || {
        format!("a foreign host leads to {}", name(&step))
    })
}

pub async fn nothing_begun(fixture: &Fixture) -> Outcome {
    let setup = setup(fixture)?;
    let instance = within("making an instance", setup.instance()).await?;
    let instance = instance.map_err(|error| error.to_string())?;
    let kinds = &[ErrorKind::Invalid];
    refused("next", kinds, instance.next_login_step()).await?;
    let submitting = instance.submit_login_code("123456".to_owned());
    refused("submit", kinds, submitting).await.map(drop)
}
