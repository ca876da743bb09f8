//! Why an instance ended, in one line: what it printed last, what stopped it, and in which functions.

use wasmtime::WasmBacktrace;

use crate::sandbox::limits::{Exceeded, Limits};
use crate::text::one_line;

/// Most bytes of what std printed that are repeated.
const MAX_PANIC_BYTES: usize = 500;
/// How many functions of the component are named, and the most bytes of each name.
const FRAMES: usize = 3;
const MAX_FRAME_BYTES: usize = 150;
/// The crates and functions between a panic, or an allocation, and its trap.
const MACHINERY: [&str; 10] = [
    "std", "core", "alloc", "dlmalloc", "panic", "abort", "sbrk", "malloc", "realloc", "wasi",
];

/// Why it ended, by what it printed last and the error of its call.
pub(super) fn reason(error: &wasmtime::Error, printed: &[u8], limits: &Limits) -> String {
    let cause = cause(error, limits);
    let at = match frames(error).as_slice() {
        [] => String::new(),
        frames => format!(", in {}", frames.join(" < ")),
    };
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

/// The innermost functions of the component's own.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    // wasmtime demangles names only where it prints them, as `module!function`.
    let backtrace = backtrace.to_string();
    tracing::debug!("a component's {backtrace}");
    let names = backtrace.lines().filter_map(|line| line.split_once('!'));
    let mut names: Vec<String> = names.map(|(_, name)| short(name)).collect();
    names.dedup();
    let is_own = |name: &&String| {
        let from = name.trim_start_matches(['<', '_', '&']);
        !from.starts_with("rust")
            && !MACHINERY.iter().any(|prefix| {
                let rest = from.strip_prefix(prefix);
                rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
            })
    };
    let own: Vec<String> = names.iter().filter(is_own).take(FRAMES).cloned().collect();
    match own.is_empty() {
        true => names.into_iter().take(1).collect(),
        false => own,
    }
}

/// A function's name without the hashes in it.
fn short(name: &str) -> String {
    let name = name.trim();
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 => name,
        _ => name,
    };
    let mut shown = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        shown.push_str(before);
        match after.split_once(']') {
            Some((hash, after)) if hash.len() >= 12 => rest = after,
            _ => {
                shown.push('[');
                rest = after;
            }
        }
    }
    shown.push_str(rest);
    one_line(&shown, MAX_FRAME_BYTES)
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
    fn names_are_shown_without_hashes() {
        for (name, shown) in [
            (" std[d123b7a1a2ed1472]::sys::abort", "std::sys::abort"),
            ("a::b::{{closure}}::h1b322d2b2e325d1c", "a::b::{{closure}}"),
            ("f::<[u8]>", "f::<[u8]>"),
            ("[", "["),
        ] {
            assert_eq!(short(name), shown);
        }
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
