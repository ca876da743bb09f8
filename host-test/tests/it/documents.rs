//! The documents say what the program says.

use std::path::{Path, PathBuf};

use memchr::memmem::find;

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Rust sources below a folder, without what is built there.
fn sources(folder: &Path, found: &mut String) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// String literals as they are printed: a backslash at the end of a line joins it with the next one.
fn joined(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let mut text = lines.next().unwrap_or_default().to_owned();
    lines.for_each(|line| text.push_str(line.trim_start()));
    text.replace("\\\"", "\"")
}

/// The code spans of a text, which one backtick encloses, or two where the span has one itself.
fn spans(text: &str) -> Vec<String> {
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let opened = &rest[start..];
        let fence = &opened[..opened.len() - opened.trim_start_matches('`').len()];
        let inner = &opened[fence.len()..];
        let end = inner.find(fence).expect("each code span is closed");
        spans.push(inner[..end].trim().to_owned());
        rest = &inner[end + fence.len()..];
    }
    spans
}

/// The Rust sources of the repository.
fn all_sources() -> String {
    let mut found = String::new();
    for folder in ["src", "host-test"] {
        sources(&root().join(folder), &mut found);
    }
    found
}

/// The rows of the tables of a page.
fn rows(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter_map(|line| line.strip_prefix("| "))
}

#[test]
fn each_test_that_the_threat_model_names_is_there() {
    let source = all_sources();
    let page = std::fs::read_to_string(root().join("docs/en/threat-model.md")).unwrap();
    let mut tests = 0;
    for row in rows(&page) {
        for name in spans(row.rsplit(" | ").next().unwrap_or_default()) {
            // A whole file of tests is named by its path.
            let is_there = match name.contains('/') {
                true => root().join("host-test").join(&name).exists(),
                false => find(source.as_bytes(), format!("fn {name}(").as_bytes()).is_some(),
            };
            assert!(is_there || !name.contains('_'), "{name} is no test");
            tests += usize::from(is_there);
        }
    }
    assert!(tests > 50, "{tests} tests were found");
}

#[test]
fn each_message_of_the_troubleshooting_pages_is_one_that_the_program_has() {
    let source = joined(&all_sources());
    let mut messages = 0;
    for language in ["en", "zh"] {
        let page = root()
            .join("docs")
            .join(language)
            .join("troubleshooting.md");
        let page = std::fs::read_to_string(page).unwrap();
        // The first column has the messages, with `…` where a message differs from case to case.
        for span in rows(&page).flat_map(|row| spans(row.split(" | ").next().unwrap_or_default())) {
            messages += 1;
            for piece in span.split('…').map(str::trim) {
                assert!(
                    find(source.as_bytes(), piece.as_bytes()).is_some(),
                    "{language}: {span:?} is not in the sources"
                );
            }
        }
    }
    assert!(messages > 100, "{messages} messages were found");
}
