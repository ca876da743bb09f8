//! What `--agent` names: agents that are no code of the embedder.

use std::str::FromStr;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::Uri;

use super::environment::Environment;
use super::exec::ExecAgent;
use super::health::Health;
use super::http::HttpAgent;
use super::message::{Message, Reply};
use super::openai::{self, OpenAiAgent};
use super::progress::Progress;
use super::{Agent, AgentError, EchoAgent, Words};
use crate::clock::Clock;

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
    /// What people are told where the agent fails them.
    pub words: Words,
}

impl AgentSpec {
    /// The agent itself. An exec agent's process starts at once. Must be called within a runtime.
    pub fn start(self, settings: Settings, clock: Clock) -> Arc<dyn Agent> {
        let agent: Box<dyn Agent> = match self {
            AgentSpec::Echo => Box::new(EchoAgent),
            AgentSpec::Http(url) => Box::new(HttpAgent::new(url, clock)),
            AgentSpec::Exec(command) => Box::new(ExecAgent::start(
                &command,
                settings.umask,
                settings.environment,
                clock,
            )),
            AgentSpec::OpenAi(base) => Box::new(OpenAiAgent::new(&base, settings.openai, clock)),
        };
        Arc::new(Started {
            agent,
            health: Arc::default(),
            words: settings.words,
        })
    }
}

/// An agent of the command line, with what belongs to it for all accounts.
struct Started {
    agent: Box<dyn Agent>,
    health: Arc<Health>,
    words: Words,
}

impl Agent for Started {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        self.agent.answer(message, progress)
    }

    fn url(&self) -> Option<&Uri> {
        self.agent.url()
    }

    fn health(&self) -> Option<Arc<Health>> {
        Some(Arc::clone(&self.health))
    }

    fn words(&self) -> Words {
        self.words.clone()
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
            .and_then(|base| {
                match openai::is_another_api(&base) {
                    true => Err(SpecError(
                        "--agent openai: has the URL of another API: write openai:http://HOST[:PORT]/v1, \
                         where /chat/completions is (Ollama: openai:http://127.0.0.1:11434/v1)",
                    )),
                    false => Ok(AgentSpec::OpenAi(base)),
                }
            });
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

#[cfg(test)]
mod tests {
    use super::*;

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
            ("openai:http://localhost:11434/api/chat", "/v1"),
            ("openai:http://localhost:11434/api/generate/", "/v1"),
            ("openai:https://api.anthropic.com/v1/messages", "/v1"),
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
