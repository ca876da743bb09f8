//! What a component says of itself, and what it will run under, for a person who is to trust it.

use std::fmt::Write as _;

use crate::bindings::exports::gateway::channel::meta::{Egress, Placement};
use crate::egress::Limits;
use crate::runtime::{PACKAGE, PACKAGE_VERSION, Plugin};
use crate::sandbox;
use crate::state::MAX_VALUE_BYTES;

const MIB: usize = 1024 * 1024;

/// Lines that begin with a word; `size_bytes` is its file's.
pub fn about(plugin: &Plugin, size_bytes: u64) -> String {
    let about = &plugin.descriptor;
    let mut text = format!(
        "{} {} for {PACKAGE}@{PACKAGE_VERSION}, {size_bytes} bytes, sha256 {}\n",
        about.platform, about.version, plugin.digest
    );
    // Writing to a string can't fail.
    let mut line = |word: &str, what: &str| {
        let _ = writeln!(text, "{word} {what}");
    };
    for export in plugin.exports() {
        line("exports", &export);
    }
    for import in plugin.imports.iter() {
        line("imports", import);
    }
    for egress in &about.egress {
        line("reaches", &place(egress));
    }
    for capture in &about.captures {
        let (name, path) = (&capture.credential, &capture.path_prefix);
        line(
            "hides",
            &format!("{name} in answers of {path}*, at {}", capture.json_pointer),
        );
    }
    line(
        "stores",
        &format!(
            "state of version {}, and reads from version {}",
            about.state_version, about.state_reads_from
        ),
    );
    if plugin.has_handler {
        line("takes", "webhooks");
    }
    let limits = Limits::default();
    line(
        "limits",
        &format!(
            "{} MiB of memory, {} MiB a stored value; a request: {} s to connect, {} s to its \
             answer, {} s between its bytes, {} s in all",
            sandbox::limits::Limits::default().memory_bytes / MIB,
            MAX_VALUE_BYTES / MIB,
            limits.connect.as_secs(),
            limits.first_byte.as_secs(),
            limits.between_bytes.as_secs(),
            limits.total.as_secs()
        ),
    );
    text
}

fn place(egress: &Egress) -> String {
    let credential = match &egress.credential {
        Some(used) => match used.placement {
            Placement::Header => format!(" with {} in a header", used.name),
            Placement::JsonBody => format!(" with {} in a JSON body", used.name),
            Placement::Query => format!(" with {} in the query", used.name),
        },
        None => String::new(),
    };
    let Egress {
        scheme,
        host,
        path_prefix,
        ..
    } = egress;
    let key = host
        .strip_prefix('{')
        .and_then(|host| host.strip_suffix('}'));
    match (key, egress.port) {
        (Some(key), _) => format!("what the operator sets as {key}{credential}"),
        (None, Some(port)) => format!("{scheme}://{host}:{port}{path_prefix}*{credential}"),
        (None, None) => format!("{scheme}://{host}{path_prefix}*{credential}"),
    }
}
