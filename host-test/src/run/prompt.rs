//! A person in front of the simulated server: what is typed is said as a WeChat user, and what that
//! user's phone would show is printed.

use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{broadcast, mpsc};

use crate::account::Account;
use crate::simulator::{DEFAULT_USER, Event, Simulator};

/// How often it is looked whether everything is answered.
const LOOK: Duration = Duration::from_millis(10);

const WELCOME: &str = "\
You are a WeChat user, and the other side is the agent. Between you: the WebAssembly component in
its sandbox, and a simulated iLink server. Write a line and press Enter; Ctrl-C or Ctrl-D ends.
";

/// Talks with a person at a terminal until Ctrl-C or Ctrl-D.
pub async fn terminal(simulator: &Simulator) -> rustyline::Result<()> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<(), MemHistory> = Editor::with_history(config, MemHistory::new())?;
    let mut printer = editor.create_external_printer()?;
    print!("{WELCOME}");
    let (lines, mut said) = mpsc::unbounded_channel();
    // Reading a terminal blocks, so it has a thread of its own.
    std::thread::spawn(move || {
        loop {
            let line = editor.readline("you> ");
            let is_end = line.is_err();
            if lines.send(line).is_err() || is_end {
                return;
            }
        }
    });
    let mut events = simulator.subscribe();
    loop {
        tokio::select! {
            line = said.recv() => match line {
                Some(Ok(line)) if line.trim().is_empty() => {}
                Some(Ok(line)) => {
                    simulator.say(DEFAULT_USER, &line);
                }
                None | Some(Err(ReadlineError::Interrupted | ReadlineError::Eof)) => return Ok(()),
                Some(Err(error)) => return Err(error),
            },
            event = events.recv() => match event {
                Ok(event) => {
                    if let Some(line) = shown(&event) {
                        printer.print(format!("{line}\n"))?;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

fn shown(event: &Event) -> Option<String> {
    match event {
        Event::Shown(bubble) => Some(format!("bot> {}", answer(bubble)?)),
        Event::Typing { on: true, .. } => Some("     … is typing".to_owned()),
        Event::Typing { on: false, .. } => None,
    }
}

/// The text of a bubble of the bot.
fn answer(bubble: &Value) -> Option<String> {
    if bubble["from"] != "bot" {
        return None;
    }
    Some(match bubble["text"].as_str() {
        Some(text) => text.to_owned(),
        None => format!("[{}]", bubble["item"]),
    })
}

/// Reads lines from standard input, prints the answers, and returns when the input has ended and
/// everything is answered.
pub async fn lines(simulator: &Simulator, account: &Account) -> std::io::Result<()> {
    let mut events = simulator.subscribe();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let printing = async {
        loop {
            match events.recv().await {
                Ok(Event::Shown(bubble)) => {
                    if let Some(answer) = answer(&bubble) {
                        println!("{answer}");
                    }
                }
                Ok(Event::Typing { .. }) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    let reading = async {
        while let Some(line) = input.next_line().await? {
            if !line.trim().is_empty() {
                simulator.say(DEFAULT_USER, &line);
            }
        }
        while !is_quiet(simulator, account).await {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        never = printing => never,
        result = reading => result,
    }
}

/// Whether everything that was said is delivered, dealt with and answered: the component polls
/// with a new cursor only after it has stored what came before it.
async fn is_quiet(simulator: &Simulator, account: &Account) -> bool {
    if simulator.first().unacknowledged() > 0 {
        return false;
    }
    account
        .health()
        .await
        .is_some_and(|health| health.unacknowledged == 0 && health.queued == 0)
}
