//! Prints what a component declares and under which limits it runs, for a person who decides whether to
//! trust it.

use std::fmt::Write as _;

use crate::terminal;
use gateway_host::account::{Changes, SwapError, check_swap};
use gateway_host::egress::Limits;
use gateway_host::runtime::{PACKAGE, PACKAGE_VERSION, Plugin, capture_line, egress_line};
use gateway_host::sandbox;
use gateway_host::state::MAX_VALUE_BYTES;

const MIB: usize = 1024 * 1024;

/// Lines that begin with a word; `size_bytes` is its file's.
pub fn about(plugin: &Plugin, size_bytes: u64) -> String {
    let about = plugin.descriptor();
    let mut text = format!(
        "{} {} for {PACKAGE}@{PACKAGE_VERSION}, {size_bytes} bytes, sha256 {}\n",
        about.platform,
        about.version,
        plugin.digest()
    );
    for line in lines(plugin) {
        text.push_str(&line);
        text.push('\n');
    }
    let limits = Limits::default();
    // Writing to a string can't fail.
    let _ = writeln!(
        text,
        "limits {} MiB of memory, {} MiB a stored value; a request: {} s to connect, {} s to its \
         answer, {} s between its bytes, {} s in all",
        sandbox::limits::Limits::default().memory_bytes / MIB,
        MAX_VALUE_BYTES / MIB,
        limits.connect.as_secs(),
        limits.first_byte.as_secs(),
        limits.between_bytes.as_secs(),
        limits.total.as_secs()
    );
    text
}

/// How a component differs from another one, a line each: `+` before what only the new one has, `-` before
/// what only the old one has. The last line says what a swap from the old one needs, and the boolean says
/// whether it needs anything.
pub fn difference(new: &Plugin, old: &Plugin) -> (String, bool) {
    let all = |plugin: &Plugin| {
        let about = plugin.descriptor();
        let version = format!("is {} {}", about.platform, about.version);
        let mut all = vec![version];
        all.extend(lines(plugin));
        all.extend(keys(&about.config_schema));
        all
    };
    let (new_lines, old_lines) = (all(new), all(old));
    let mut text = String::new();
    for (sign, these, others) in [("-", &old_lines, &new_lines), ("+", &new_lines, &old_lines)] {
        for line in these.iter().filter(|line| !others.contains(line)) {
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    let checked = check_swap(new, old, Changes::Refused);
    let verdict = match &checked {
        Ok(()) => "a swap to it needs no word of yours".to_owned(),
        Err(SwapError::Unconfirmed(why)) => {
            format!("a swap to it is refused without your word: {why}")
        }
        Err(why) => format!("a swap to it is refused: {why}"),
    };
    text.push_str(&verdict);
    (text, checked.is_ok())
}

/// What a component exports, imports, reaches, hides, stores and takes. It can't write lines of its own,
/// nor turn these around.
fn lines(plugin: &Plugin) -> Vec<String> {
    let about = plugin.descriptor();
    let mut lines = Vec::new();
    let mut line =
        |word: &str, what: &str| lines.push(terminal::line(&format!("{word} {what}")).into_owned());
    for export in plugin.exports() {
        line("exports", &export);
    }
    for import in plugin.imports().iter() {
        line("imports", import);
    }
    for egress in &about.egress {
        line("reaches", &egress_line(egress));
    }
    for capture in &about.captures {
        line("hides", &capture_line(capture));
    }
    let state = format!(
        "state of version {}, and reads from version {}",
        about.state_version, about.state_reads_from
    );
    line("stores", &state);
    if plugin.has_handler() {
        line("takes", "webhooks");
    }
    lines
}

/// The configuration keys of a schema, with what it says of each.
fn keys(schema: &str) -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    let properties = schema
        .get("properties")
        .and_then(serde_json::Value::as_object);
    let keys = properties.into_iter().flatten();
    keys.map(|(key, about)| terminal::line(&format!("configured by {key} {about}")).into_owned())
        .collect()
}
