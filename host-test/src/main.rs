//! The runner: see `host-test --help`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use host_test::cli::{self, Command, LogFormat};
use host_test::run::{self, RunError};
use host_test::terminal::{self, complain};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

/// Files that are asked of the system.
const FILES: u64 = 65_536;

fn main() -> ExitCode {
    hide_memory();
    gateway_host::runtime::no_backtraces_of_errors();
    let arguments = std::env::args_os().skip(1);
    let (command, log_format) = match cli::parse(arguments, &|name| std::env::var_os(name)) {
        Ok(parsed) => parsed,
        Err(error) => {
            complain(&error);
            return ExitCode::from(2);
        }
    };
    // A level that was mistyped would hide what is looked for.
    if let Some(level) = std::env::var_os("RUST_LOG")
        && level
            .to_str()
            .is_none_or(|level| level.parse::<EnvFilter>().is_err())
    {
        complain(&format!(
            "RUST_LOG is {level:?}: use error, warn, info, debug or trace"
        ));
        return ExitCode::from(2);
    }
    // Files of the state are private; what an agent's process writes keeps the user's own mask.
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077)).as_raw_mode();
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!(
                "no threads can be started: {error}: raise `ulimit -u` and `ulimit -v`, or the \
                 container's limit of processes (pids.max)"
            ));
            return ExitCode::FAILURE;
        }
    };
    log_to_stderr(log_format, level_of(&command));
    let result = runtime.block_on(work(command, umask));
    // Tasks end here, and with them the agent's process. A read of standard input can't be ended: it
    // must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, RunError::Printed) {
                complain(&error);
            }
            ExitCode::from(error.status())
        }
    }
}

/// The least level that is logged where `RUST_LOG` does not say it: a person at the prompt, and one
/// who asked for an answer, is told of trouble alone.
fn level_of(command: &Command) -> &'static str {
    match command {
        Command::Run(options) if run::talks_to_a_person(options) => "warn",
        Command::Run(_) | Command::Simulator { .. } => "info",
        Command::Login(_) | Command::Check { .. } | Command::Print(_) => "warn",
    }
}

async fn work(command: Command, umask: u32) -> Result<(), RunError> {
    match command {
        Command::Run(options) => {
            warn_of_unknown_variables();
            run::run(*options, umask).await
        }
        Command::Login(options) => {
            warn_of_unknown_variables();
            run::login(*options).await
        }
        Command::Simulator {
            listen,
            names,
            token,
        } => {
            warn_of_unknown_variables();
            run::simulator(listen, names, token).await
        }
        Command::Check {
            component,
            conformance,
            against,
        } => match against {
            Some(old) => run::compare(&component, &old).await,
            None => run::check(&component, conformance).await,
        },
        Command::Print(text) => {
            let _ = terminal::print(&text);
            Ok(())
        }
    }
}

/// Keeps the memory of this process, and its environment, from other processes of the same user: no
/// core dump, no debugger, no `/proc/PID/environ`. What it starts has its own say: an agent that wants
/// core dumps can raise its limit.
fn hide_memory() {
    // A system that does not know one of them has nothing to be hidden by it.
    let limit = getrlimit(Resource::Core);
    let limit = Rlimit {
        current: Some(0),
        ..limit
    };
    let _ = setrlimit(Resource::Core, limit);
    #[cfg(target_os = "linux")]
    {
        // A core pattern with a pipe does not look at the limit.
        let hidden = rustix::process::DumpableBehavior::NotDumpable;
        let _ = rustix::process::set_dumpable_behavior(hidden);
    }
}

/// Connections are files, and the servers may have more of them than the 1,024 files that many systems
/// give a process at first: where strangers fill them, the way to the platform must stay open.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        // With fewer, what can't be opened is told where it happens.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

fn warn_of_unknown_variables() {
    let names = std::env::vars_os().map(|(name, _)| name);
    for line in cli::unknown_variables(names) {
        tracing::warn!("{line}");
    }
}

fn log_to_stderr(format: LogFormat, default: &str) {
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // At its lower levels wasmtime logs what a component passes: URLs that are signed, and headers.
    for target in ["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http"] {
        if let Ok(directive) = format!("{target}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .fmt_fields(terminal::Fields)
            .init(),
        LogFormat::Json => builder
            .with_writer(terminal::EscapedJson(std::io::stderr))
            .json()
            .flatten_event(true)
            .init(),
    }
}
