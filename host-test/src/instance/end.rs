//! Why an instance ended, in one line: what it said, what stopped it, and where in it.

use wasmtime::WasmBacktrace;

use crate::sandbox::limits::{Exceeded, Limits};
use crate::sandbox::logging::one_line;

/// Most bytes of what std printed that are repeated.
const MAX_PANIC_BYTES: usize = 500;
/// Most bytes of a frame's name.
const MAX_FRAME_BYTES: usize = 200;
/// Whose functions are on the way from a panic to its trap.
const MACHINERY: [&str; 10] = [
    "std::", "core::", "alloc::", "<std::", "<core::", "<alloc::", "__rust", "rust_", "abort",
    "__wasi",
];

/// Why it ended, by what it printed last and the error of its call.
pub(super) fn reason(error: &wasmtime::Error, printed: &[u8], limits: &Limits) -> String {
    let cause = cause(error, limits);
    let at = frame(error)
        .map(|frame| format!(", at {frame}"))
        .unwrap_or_default();
    match said(&String::from_utf8_lossy(printed)) {
        Some(said) => format!("{said} ({cause}{at})"),
        None => format!("{cause}{at}"),
    }
}

/// What stopped it, with the limit where it is one of those that wasmtime counts.
fn cause(error: &wasmtime::Error, limits: &Limits) -> String {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return exceeded.to_string();
    }
    let text = error.root_cause().to_string();
    let exceeded = if text.contains("resource table has no free keys") {
        let what = "it holds more handles or has more under way";
        let limit = format!("{} and {}", limits.handles, limits.tasks);
        Some(Exceeded::new("handles` and `tasks", what, limit))
    } else if text.contains("store handle limit exceeded") {
        let what = "it holds more handles";
        Some(Exceeded::count("handles", what, limits.handles, "handles"))
    } else if text.contains("fuel allocated for hostcalls") {
        let what = "it hands over more in one call";
        Some(Exceeded::count(
            "call_bytes",
            what,
            limits.call_bytes,
            "bytes",
        ))
    } else {
        None
    };
    match exceeded {
        Some(exceeded) => exceeded.to_string(),
        None => one_line(&text, MAX_PANIC_BYTES),
    }
}

/// The message of a panic, else the end of what was printed.
fn said(printed: &str) -> Option<String> {
    let printed = match printed.rfind("panicked at ") {
        Some(at) => printed.get(at..).unwrap_or_default(),
        None => {
            let end = printed.len().saturating_sub(MAX_PANIC_BYTES);
            printed
                .get(printed.ceil_char_boundary(end)..)
                .unwrap_or_default()
        }
    };
    let lines = printed.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("note: run with"));
    let said = lines.collect::<Vec<_>>().join(" ");
    (!said.is_empty()).then(|| one_line(&said, MAX_PANIC_BYTES))
}

/// The innermost function of the component's own.
fn frame(error: &wasmtime::Error) -> Option<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>()?.to_string();
    tracing::debug!("a component's {backtrace}");
    // wasmtime demangles names only where it prints them, as `module!function`.
    let names = backtrace.lines().filter_map(|line| line.split_once('!'));
    let names: Vec<&str> = names.map(|(_, name)| name.trim()).collect();
    let is_own = |name: &&&str| !MACHINERY.iter().any(|prefix| name.starts_with(prefix));
    let name = names.iter().find(is_own).or(names.first())?;
    Some(one_line(name, MAX_FRAME_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panics_message_is_found_in_what_was_printed() {
        let printed = "noise\n\nthread '<unnamed>' (1) panicked at src/lib.rs:5:9:\nthe \x1b[1mreason\nnote: run with `RUST_BACKTRACE=1`\n";
        let expected = "panicked at src/lib.rs:5:9: the  [1mreason";
        assert_eq!(said(printed).as_deref(), Some(expected));
        assert_eq!(said("\n \n"), None);
        assert_eq!(said("some words").as_deref(), Some("some words"));
        assert!(said(&"你".repeat(1000)).unwrap().len() <= MAX_PANIC_BYTES);
    }

    #[test]
    fn what_wasmtime_counts_is_told_as_a_limit() {
        let limits = Limits::default();
        for (text, name) in [
            ("resource table has no free keys", "`handles` and `tasks`"),
            (
                "cannot allocate another handle: store handle limit exceeded",
                "`handles`",
            ),
            (
                "fuel allocated for hostcalls has been exhausted",
                "`call_bytes`",
            ),
        ] {
            let told = reason(&wasmtime::Error::msg(text), b"", &limits);
            assert!(told.contains(name), "{told}");
        }
    }
}
