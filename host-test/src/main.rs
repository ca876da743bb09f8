//! The runner: see `host-test --help`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use host_test::cli::{self, Command, LogFormat};
use host_test::run;
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
    let result = match command {
        Command::Help => {
            let _ = terminal::print(cli::HELP);
            return ExitCode::SUCCESS;
        }
        Command::Version => {
            let _ = terminal::say(concat!("host-test ", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Command::Run(options) => {
            let is_prompt = run::talks_to_a_person(&options);
            log_to_stderr(log_format, if is_prompt { "warn" } else { "info" });
            runtime.block_on(run::run(*options, umask))
        }
        Command::Login(options) => {
            log_to_stderr(log_format, "warn");
            runtime.block_on(run::login(*options))
        }
        Command::Simulator {
            listen,
            names,
            token,
        } => {
            log_to_stderr(log_format, "info");
            runtime.block_on(run::simulator(listen, names, token))
        }
        Command::Check {
            component,
            conformance,
            against,
        } => {
            log_to_stderr(log_format, "warn");
            runtime.block_on(async {
                match against {
                    Some(old) => run::compare(&component, &old).await,
                    None => run::check(&component, conformance).await,
                }
            })
        }
    };
    // Tasks end here, and with them the agent's process. A read of standard input can't be ended: it
    // must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, run::Failure::Told) {
                complain(&failure);
            }
            ExitCode::from(failure.status())
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
