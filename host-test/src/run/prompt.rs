//! A person in front of the simulated server: what is typed is said as a WeChat user, and what that
//! user's phone would show is printed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{broadcast, mpsc};

use crate::terminal;
use gateway_host::account::Handle;
use gateway_simulator::{Content, DEFAULT_USER, Event, File, MediaKind, Simulator};

/// How often it is looked whether everything is answered.
const LOOK: Duration = Duration::from_millis(10);

/// What asks for a real account.
const LOGIN: &str = "/login";
/// Where files from the agent are saved.
const FOLDER: &str = "weixin-files";

const WELCOME: &str = "\
You are a WeChat user, and the other side is the agent. Between you: the WebAssembly component in
its sandbox, and a simulated iLink server. Write a line and press Enter; /file PATH sends a file;
files from the agent are saved in weixin-files. /login binds a WeChat account instead.
Ctrl-C or Ctrl-D ends.
";

/// Why the person stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is enough.
    Quit,
    /// A real account is wanted.
    Login,
}

/// Talks with a person at a terminal until Ctrl-C, Ctrl-D or `/login`.
pub async fn terminal(simulator: &Simulator) -> rustyline::Result<Ended> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<(), MemHistory> = Editor::with_history(config, MemHistory::new())?;
    let mut printer = editor.create_external_printer()?;
    terminal::print(WELCOME)?;
    let (lines, mut typed) = mpsc::unbounded_channel();
    // Reading a terminal blocks, so it has a thread of its own.
    std::thread::spawn(move || {
        loop {
            let line = editor.readline("you> ");
            let is_end = line.as_ref().is_ok_and(|line| line.trim() == LOGIN) || line.is_err();
            if lines.send(line).is_err() || is_end {
                return;
            }
        }
    });
    let mut events = simulator.subscribe();
    loop {
        tokio::select! {
            line = typed.recv() => match line {
                Some(Ok(line)) if line.trim().is_empty() => {}
                Some(Ok(line)) if line.trim() == LOGIN => return Ok(Ended::Login),
                Some(Ok(line)) => {
                    if let Err(why) = say(simulator, &line).await {
                        printer.print(format!("{}\n", terminal::line(&why)))?;
                    }
                }
                None | Some(Err(ReadlineError::Interrupted | ReadlineError::Eof)) => {
                    return Ok(Ended::Quit);
                }
                Some(Err(error)) => return Err(error),
            },
            event = events.recv() => match event {
                Ok(event) => {
                    if let Some(line) = shown(simulator, &event) {
                        printer.print(format!("{}\n", terminal::shown(&line)))?;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(Ended::Quit),
            },
        }
    }
}

/// Says a line as the person, or sends the file that it names.
async fn say(simulator: &Simulator, line: &str) -> Result<(), String> {
    let Some(path) = line.strip_prefix("/file ") else {
        simulator.say(DEFAULT_USER, line);
        return Ok(());
    };
    let path = PathBuf::from(path.trim());
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let content = tokio::task::spawn_blocking(move || Content::path(&path))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("/file: {error}"))?;
    let file = File::new(MediaKind::of_name(&name), &name, content);
    let account = simulator.first();
    account.push(DEFAULT_USER, vec![account.store_file(&file)]);
    Ok(())
}

fn shown(simulator: &Simulator, event: &Event) -> Option<String> {
    match event {
        Event::Shown(bubble) => Some(format!("bot> {}", answer(simulator, bubble)?)),
        Event::Typing { on: true, .. } => Some("     … is typing".to_owned()),
        Event::Typing { on: false, .. } => None,
    }
}

/// A bubble of the bot in a line; a file is saved.
fn answer(simulator: &Simulator, bubble: &Value) -> Option<String> {
    if bubble["from"] != "bot" {
        return None;
    }
    if let Some(text) = bubble["text"].as_str() {
        return Some(text.to_owned());
    }
    if let Some(why) = bubble["broken"].as_str() {
        return Some(format!("[a phone could not show this: {why}]"));
    }
    let item = &bubble["item"];
    let kind = item["kind"].as_str().unwrap_or("item");
    let bytes = bubble["message_id"]
        .as_u64()
        .and_then(|id| simulator.phone_file(id));
    Some(match bytes {
        None => format!("[{kind} {item}]"),
        Some(bytes) => match save(kind, item["name"].as_str(), &bytes) {
            Ok(path) => format!("[{kind} saved as {}]", path.display()),
            Err(error) => format!("[{kind} that can't be saved: {error}]"),
        },
    })
}

/// The last part of a name, in letters that are safe to be listed: as a terminal shows it.
fn file_name(name: Option<&str>) -> Option<String> {
    let last = name?.rsplit(['/', '\\']).next()?;
    let plain = terminal::line(last.trim_start_matches('.')).replace(['/', '\\'], "_");
    (!plain.is_empty()).then_some(plain)
}

/// Saves a file under its name; never over another one.
fn save(kind: &str, name: Option<&str>, bytes: &[u8]) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(FOLDER)?;
    let name = file_name(name).unwrap_or_else(|| kind.to_owned());
    let mut number = 0;
    loop {
        let path = match number {
            0 => Path::new(FOLDER).join(&name),
            number => Path::new(FOLDER).join(format!("{number}-{name}")),
        };
        match std::fs::File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Reads lines from standard input, prints the answers, and returns when the input has ended and
/// everything is answered.
pub async fn lines(simulator: &Simulator, account: &Handle) -> std::io::Result<()> {
    let mut events = simulator.subscribe();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let printing = async {
        loop {
            match events.recv().await {
                Ok(Event::Shown(bubble)) => {
                    if let Some(answer) = answer(simulator, &bubble) {
                        terminal::answer(&answer)?;
                    }
                }
                Ok(Event::Typing { .. }) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    };
    let reading = async {
        while let Some(line) = input.next_line().await? {
            if !line.trim().is_empty()
                && let Err(why) = say(simulator, &line).await
            {
                terminal::complain(&why);
            }
        }
        while !is_quiet(simulator, account).await {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        result = printing => result,
        result = reading => result,
    }
}

/// Whether everything that was said is delivered, dealt with and answered: the component polls
/// with a new cursor only after it has stored what came before it.
async fn is_quiet(simulator: &Simulator, account: &Handle) -> bool {
    if simulator.first().unacknowledged() > 0 {
        return false;
    }
    account
        .health()
        .await
        .is_some_and(|health| health.unacknowledged == 0 && health.queued == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_saved_in_its_folder_under_a_name_that_can_be_listed() {
        for (name, expect) in [
            ("报告.pdf", Some("报告.pdf")),
            ("../../etc/passwd", Some("passwd")),
            ("a\\b.txt", Some("b.txt")),
            (".bashrc", Some("bashrc")),
            ("..", None),
            ("", None),
            ("a/", None),
            ("\u{1b}]0;owned\u{7}.txt", Some("␛]0;owned␇.txt")),
            ("photo\u{202e}gnp.exe", Some("photo_u{202e}gnp.exe")),
            ("a\nb", Some("a␊b")),
        ] {
            assert_eq!(file_name(Some(name)).as_deref(), expect, "{name:?}");
        }
        assert_eq!(file_name(None), None);
    }
}
