//! The runner: see `host-test --help`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use host_test::cli::{self, Command, LogFormat};
use host_test::run;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    host_test::runtime::no_backtraces_of_errors();
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
            print!("{}", cli::HELP);
            return ExitCode::SUCCESS;
        }
        Command::Version => {
            println!("host-test {}", env!("CARGO_PKG_VERSION"));
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
        Command::Simulator { listen } => {
            log_to_stderr(log_format, "info");
            runtime.block_on(run::simulator(listen))
        }
        Command::Check {
            component,
            conformance,
        } => {
            log_to_stderr(log_format, "warn");
            runtime.block_on(run::check(&component, conformance))
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

/// One line for standard error, if anybody reads it.
fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "host-test: {what}");
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
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
