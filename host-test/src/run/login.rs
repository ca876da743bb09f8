//! `login`: the code in the terminal, the link under it, and in words how it goes on.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::components::{beside_the_binary, load};
use super::engine;
use super::error::{RunError, other};
use super::signals::Signals;
use crate::cli::{LoginOptions, Selection, WEIXIN};
use crate::terminal;
use gateway_host::account::StartError;
use gateway_host::clock::Clock;
use gateway_host::credentials::{Credentials, Holder};
use gateway_host::login::{Login, LoginError, Logins, Step};
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::StateSpec;

/// Logs in, and keeps the credential in the state.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn login(options: LoginOptions) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    if options.state == StateSpec::Memory {
        return Err(RunError::Usage(
            "--state memory keeps no login: name dir:PATH, such as dir:./weixin-state, or redis://…"
                .to_owned(),
        ));
    }
    let credentials = Credentials::of(&options.state).of_operator();
    // Before anybody scans a code in vain.
    credentials
        .all()
        .map_err(|error| RunError::Usage(error.to_string()))?;
    let component = match options.component {
        Some(path) => path,
        None => beside_the_binary(WEIXIN)?,
    };
    let runtime = engine::runtime(Clock::new(), None, &options.allow_egress)?;
    let plugin = load(&runtime, &component, &[WEIXIN]).await?;
    let logins = logins(
        runtime,
        plugin,
        &options.selection,
        options.config,
        credentials,
    );
    tokio::select! {
        result = show(&logins) => result,
        () = signals.end() => Err(RunError::Other(
            "the login was given up: nothing is changed".to_owned(),
        )),
    }
}

/// What a login is made with under these variables: it brings, and replaces, what is held by the
/// account that they name, or by the operator.
pub fn logins(
    runtime: Runtime,
    plugin: Plugin,
    selection: &Selection,
    config: BTreeMap<String, String>,
    credentials: Credentials,
) -> Logins {
    let account = match selection {
        Selection::Given { id, .. } | Selection::Stored(id) => Some(id.clone()),
        Selection::Latest => None,
    };
    Logins {
        runtime,
        plugin,
        config,
        credentials,
        holder: Holder::Operator(account),
        in_use: selection.secrets(),
    }
}

/// Goes through a login with the person at the terminal.
pub async fn show(logins: &Logins) -> Result<(), RunError> {
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
                    return Err(RunError::Other(
                        "the phone shows digits, and there is nobody to type them: run the login \
                         in a terminal"
                            .to_owned(),
                    ));
                };
                step = match login.submit(digits).await {
                    Ok(step) => step,
                    // What can be no digits is asked for again.
                    Err(LoginError::Call(gateway_host::instance::CallError::Channel(error)))
                        if error.kind == gateway_host::contract::ErrorKind::Invalid =>
                    {
                        Step::EnterCode
                    }
                    Err(error) => return Err(failed(error)),
                };
            }
            Step::Done { account } => {
                return say(&format!("Logged in as {}.", terminal::line(&account)));
            }
            Step::Failed { reason } => return Err(RunError::Other(format!("no login: {reason}"))),
        }
    }
}

fn show_code(text: &str, left: Duration) -> Result<(), RunError> {
    let code = QrCode::new(text)
        .map_err(|error| RunError::Other(format!("the code can't be drawn: {error}")))?;
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

fn failed(error: LoginError) -> RunError {
    match error {
        LoginError::Start(StartError::Invalid(why)) => RunError::Usage(why),
        error => RunError::Other(format!("no login: {error}")),
    }
}

fn say(text: &str) -> Result<(), RunError> {
    terminal::say(text).map_err(other)
}
