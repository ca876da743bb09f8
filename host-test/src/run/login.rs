//! `login`: the code in the terminal, the link under it, and in words how it goes on.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::component::check_platform;
use super::serve::held;
use super::{Failure, Signals, beside_the_binary, other, say};
use crate::cli::{LoginOptions, WEIXIN};
use crate::terminal;
use gateway_host::account::StartError;
use gateway_host::clock::Clock;
use gateway_host::credentials::Credentials;
use gateway_host::login::{Login, LoginError, Logins, Step};
use gateway_host::state::StateSpec;

/// Logs in, and keeps the credential in the state.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn login(options: LoginOptions) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    if options.state == StateSpec::Memory {
        return Err(Failure::Usage(
            "--state memory keeps no login: name dir:PATH, such as dir:./weixin-state, or redis://…"
                .to_owned(),
        ));
    }
    let credentials = Credentials::of(&options.state).of_operator();
    // Before anybody scans a code in vain.
    credentials
        .all()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let component = match options.component {
        Some(path) => path,
        None => beside_the_binary("weixin.wasm")?,
    };
    let runtime = super::runtime(Clock::new(), None, &options.allow_egress)?;
    let plugin = runtime.load(&component).await.map_err(other)?;
    check_platform(&component, &plugin, &[WEIXIN])?;
    let (holder, in_use) = held(&options.wanted);
    let logins = Logins {
        runtime,
        plugin,
        config: options.config,
        credentials,
        holder,
        in_use,
    };
    tokio::select! {
        result = show(&logins) => result,
        () = signals.end() => Err(Failure::Other(
            "the login was given up: nothing is changed".to_owned(),
        )),
    }
}

/// Goes through a login with the person at the terminal.
pub(super) async fn show(logins: &Logins) -> Result<(), Failure> {
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let (login, mut step) = Login::begin(logins).await.map_err(failed)?;
    let mut asked = false;
    let mut shown = false;
    loop {
        match step {
            Step::ShowQr { text, until_ms } => {
                if shown {
                    say("That code is of no use any more. Here is another.")?;
                }
                shown = true;
                let left = until_ms.saturating_sub(logins.runtime.clock.unix_ms());
                show_code(&text, Duration::from_millis(left))?;
                step = login.next().await.map_err(failed)?;
            }
            Step::Confirm => {
                say("Scanned. Confirm the login on the phone.")?;
                step = login.next().await.map_err(failed)?;
            }
            Step::EnterCode => {
                let words = match asked {
                    true => "These digits are wrong. Type those that the phone shows: ",
                    false => "The phone shows some digits. Type them here: ",
                };
                asked = true;
                terminal::print(words).map_err(other)?;
                let Some(digits) = input.next_line().await.map_err(other)? else {
                    return Err(Failure::Other(
                        "the phone shows digits, and there is nobody to type them: run the login \
                         in a terminal"
                            .to_owned(),
                    ));
                };
                step = match login.submit(digits).await {
                    Ok(step) => step,
                    // What can be no digits is asked for again.
                    Err(LoginError::Call(gateway_host::instance::CallError::Channel(error)))
                        if error.kind
                            == gateway_host::bindings::gateway::channel::types::ErrorKind::Invalid =>
                    {
                        Step::EnterCode
                    }
                    Err(error) => return Err(failed(error)),
                };
            }
            Step::Done { account } => {
                return say(&format!("Logged in as {}.", terminal::line(&account)));
            }
            Step::Failed { reason } => return Err(Failure::Other(format!("no login: {reason}"))),
        }
    }
}

fn show_code(text: &str, left: Duration) -> Result<(), Failure> {
    let code = QrCode::new(text)
        .map_err(|error| Failure::Other(format!("the code can't be drawn: {error}")))?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .build();
    // Dark on light, whatever the terminal's colours are: the only sequences that are printed.
    let (begin, end) = match std::io::stdout().is_terminal() {
        true => ("\x1b[30;107m", "\x1b[0m"),
        false => ("", ""),
    };
    let mut out = std::io::stdout();
    for line in drawn.lines() {
        writeln!(out, "{begin}{line}{end}").map_err(other)?;
    }
    // What the code says is the component's.
    say(&format!(
        "{}\nScan the code with WeChat, or open the link on the phone. It is good for {} s.",
        terminal::line(text),
        left.as_secs()
    ))
}

fn failed(error: LoginError) -> Failure {
    match error {
        LoginError::Start(StartError::Invalid(why)) => Failure::Usage(why),
        error => Failure::Other(format!("no login: {error}")),
    }
}
