//! The agent's side: one message of a person goes in, at most one reply comes out.
//!
//! - Before the reply an agent may say how far it is, by a [`Progress`].
//! - The JSON of a [`Message`] is a promise to users: every member is always there.
//! - `Ok` is the agent's acknowledgement, with or without a reply. After an [`AgentError`] the same
//!   message is to be given once more, with the same id; when is the caller's to decide.
//! - What an agent answers is read leniently: unknown members are ignored, and what makes no sense
//!   is reported once and left out.

pub mod environment;
pub mod exec;
pub mod http;
pub mod message;
pub mod openai;
pub mod progress;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ::http::Uri;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use self::http::HttpAgent;
use crate::clock::Clock;
use environment::Environment;
use exec::ExecAgent;
use message::{Message, Reply};
use openai::OpenAiAgent;
use progress::Progress;

/// An agent has this long for an answer.
pub const ANSWER_TIME: Duration = Duration::from_secs(10 * 60);
/// The largest answer: replies may carry files in base64.
pub const MAX_ANSWER_BYTES: usize = 150 * 1024 * 1024;

/// Something that answers messages. Any number may be with it at the same time.
pub trait Agent: Send + Sync {
    /// Gives a message to the agent. `None` acknowledges it without a reply. What is said to
    /// `progress` reaches the person before the reply.
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>>;

    /// Where the agent is, if it is a server: its replies may name files of the same origin by `url`,
    /// also on this machine or over plain http.
    fn url(&self) -> Option<&Uri> {
        None
    }
}

/// Why a message is not acknowledged. The texts name the agent and hold nothing of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    #[error("the agent can't be reached: {0}")]
    Unreachable(String),
    #[error("the agent answered with status {0}: only 2xx acknowledges a message")]
    Status(u16),
    #[error("the agent's server answered with status {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's words, short and in one line.
        reason: String,
    },
    #[error("the agent's answer can't be read: {0}")]
    Unreadable(&'static str),
    #[error("the agent's answer broke off: {0}")]
    Incomplete(String),
    #[error("the agent's answer is too large")]
    TooLarge,
    #[error("the agent did not answer within {} minutes", ANSWER_TIME.as_secs() / 60)]
    TimedOut,
    #[error("the agent panicked")]
    Panicked,
    #[error("the agent's process ended before it answered")]
    ProcessEnded,
    #[error("the agent's process does not run, and is started again after a pause")]
    NotRunning,
}

/// What `--agent` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSpec {
    /// `echo`: replies with the same text.
    Echo,
    /// `http://…` or `https://…`: one POST for each message.
    Http(Uri),
    /// `exec:COMMAND`: a process that reads and writes lines of JSON.
    Exec(String),
    /// `openai:BASE_URL`: a model behind a server with `/chat/completions`.
    OpenAi(Uri),
}

/// What agents need besides what names them.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file mode mask of an exec agent's process; none: ours.
    pub umask: Option<u32>,
    /// What an exec agent's process gets of our environment.
    pub environment: Environment,
    /// For openai agents.
    pub openai: openai::Settings,
}

impl AgentSpec {
    /// The agent itself. An exec agent's process starts at once. Must be called within a runtime.
    pub fn start(self, settings: Settings, clock: Clock) -> Arc<dyn Agent> {
        match self {
            AgentSpec::Echo => Arc::new(EchoAgent),
            AgentSpec::Http(url) => Arc::new(HttpAgent::new(url, clock)),
            AgentSpec::Exec(command) => Arc::new(ExecAgent::start(
                &command,
                settings.umask,
                settings.environment,
                clock,
            )),
            AgentSpec::OpenAi(base) => Arc::new(OpenAiAgent::new(&base, settings.openai, clock)),
        }
    }
}

/// Why a value of `--agent` can't be used; one line, with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(&'static str);

impl FromStr for AgentSpec {
    type Err = SpecError;

    // The errors do not repeat the value: it may hold a password.
    fn from_str(spec: &str) -> Result<AgentSpec, SpecError> {
        if spec == "echo" {
            return Ok(AgentSpec::Echo);
        }
        if let Some(command) = spec.strip_prefix("exec:") {
            if command.trim().is_empty() {
                return Err(SpecError(
                    "--agent exec: names no command: write exec:COMMAND, such as exec:./agent.py",
                ));
            }
            if command.contains('\0') {
                return Err(SpecError(
                    "--agent exec: the command holds a NUL character: remove it",
                ));
            }
            return Ok(AgentSpec::Exec(command.to_owned()));
        }
        if let Some(base) = spec.strip_prefix("openai:") {
            return url(
                base,
                &[
                    "--agent openai: is followed by no valid URL: write openai:http://HOST[:PORT]/v1",
                    "--agent openai: has a user in its URL: leave it out, and set OPENAI_API_KEY",
                    "--agent openai: has a URL without a host: write openai:http://HOST[:PORT]/v1",
                ],
            )
            .map(AgentSpec::OpenAi);
        }
        let scheme = spec.split(':').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") {
            return url(
                spec,
                &[
                    "--agent is no valid URL: write http://HOST[:PORT][/PATH]",
                    "--agent has a user in its URL, which is not sent: write http://HOST[:PORT][/PATH]",
                    "--agent has a URL without a host: write http://HOST[:PORT][/PATH]",
                ],
            )
            .map(AgentSpec::Http);
        }
        Err(SpecError(
            "--agent is unknown: use echo, http://…, https://…, exec:COMMAND or openai:BASE_URL",
        ))
    }
}

/// Reads a URL; says one of `wrong` when it is no http URL, has a user, or has no host.
fn url(url: &str, wrong: &[&'static str; 3]) -> Result<Uri, SpecError> {
    let [no_url, has_user, no_host] = *wrong;
    let url: Uri = url.parse().map_err(|_| SpecError(no_url))?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(SpecError(has_user));
    }
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(SpecError(no_url));
    }
    if url.host().is_none_or(str::is_empty) {
        return Err(SpecError(no_host));
    }
    Ok(url)
}

/// An agent that says what it hears.
pub struct EchoAgent;

impl Agent for EchoAgent {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        _: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        ready(Ok(Reply::of_text(message.text.clone()))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::message::tests::hello;
    use super::*;

    #[tokio::test]
    async fn echo_replies_with_the_same_text() {
        let reply = EchoAgent
            .answer(&hello("1"), &Progress::nowhere())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(reply.text.as_deref(), Some("hello"));
        let silent = Message {
            text: String::new(),
            ..hello("1")
        };
        let answer = EchoAgent.answer(&silent, &Progress::nowhere()).await;
        assert_eq!(answer, Ok(None));
    }

    #[test]
    fn agent_specs_are_read() {
        assert_eq!("echo".parse(), Ok(AgentSpec::Echo));
        assert_eq!(
            "exec:cat; true".parse(),
            Ok(AgentSpec::Exec("cat; true".to_owned()))
        );
        for url in [
            "http://127.0.0.1:8080",
            "https://agent.example.com/a?b=c",
            "HTTP://[::1]/",
        ] {
            assert_eq!(url.parse(), Ok(AgentSpec::Http(url.parse().unwrap())));
        }
        assert_eq!(
            "openai:http://localhost:11434/v1".parse(),
            Ok(AgentSpec::OpenAi(
                "http://localhost:11434/v1".parse().unwrap()
            ))
        );
    }

    #[test]
    fn wrong_specs_say_in_one_line_what_would_be_right() {
        for (spec, expected) in [
            ("", "exec:COMMAND"),
            ("ECHO", "echo"),
            ("exec:", "exec:COMMAND"),
            ("exec:  ", "exec:COMMAND"),
            ("exec:a\0b", "NUL"),
            ("http:", "http://HOST"),
            ("http://", "http://HOST"),
            ("http:// /", "http://HOST"),
            ("http://:hunter2@host/", "http://HOST"),
            ("localhost:8080", "http://"),
            ("openai:", "openai:http://HOST"),
            ("openai:gpt-5", "openai:http://HOST"),
            ("openai:localhost:11434", "openai:http://HOST"),
            ("openai:ftp://localhost/v1", "openai:http://HOST"),
            ("openai:http://u:hunter2@localhost/v1", "OPENAI_API_KEY"),
        ] {
            let error = spec.parse::<AgentSpec>().unwrap_err().to_string();
            assert!(
                error.starts_with("--agent") && error.contains(expected),
                "{spec}: {error}"
            );
            assert!(
                !error.contains('\n') && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
