//! Flattening of Markdown alone: prints MB/s of typical answers, Chinese and English.
//!
//! With `hostile` it prints instead how long 2 MB of documents takes that are made to be slow, and
//! how much longer than half of it: for linear time that is 2.
//!
//! `cargo run --release --example markdown [hostile]`

#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::time::Instant;

use gateway_channel_sdk::markdown::plain;
use gateway_channel_sdk::split::{Limits, SplitOptions, Unit, split};
use platform::markdown::native;

// Not by way of the crate, which would bring the whole component with it, as would a module of its
// name.
#[path = "../src"]
mod platform {
    pub mod markdown;
}

const ANSWERS: &str = include_str!("answers.md");
const PASSES: usize = 1000;
const ROUNDS: usize = 9;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("hostile") {
        hostile();
        return;
    }
    // A message is one answer, not all of them.
    let answers: Vec<&str> = ANSWERS.split("\n---\n").collect();
    let bytes = answers.iter().map(|answer| answer.len()).sum::<usize>() * PASSES;
    let fastest = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..PASSES {
                for answer in &answers {
                    black_box(plain(black_box(answer)));
                }
            }
            bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max);
    println!("{fastest:.0}");
}

/// What is repeated.
const HOSTILE: [&str; 70] = [
    "*",
    "**",
    "_",
    "*a_ ",
    "a**b",
    "*中 ",
    "*中* ",
    "***中***",
    "[",
    "]",
    "[a](",
    "[](",
    "[a](<b",
    "[[]",
    "![](",
    "![",
    "![a](b)",
    "[![a](b)](c)",
    "`",
    "``a` ",
    "<",
    "<a ",
    "<a b='",
    "</",
    "<b>",
    "<!--",
    "<?",
    "<!A",
    "<![CDATA[",
    "<div>\n",
    "&",
    "&lt;",
    "\\",
    "\\<",
    "~",
    "~a ~",
    "|",
    "|a|\n|-|\n",
    ">",
    "> ",
    "- ",
    "- > ",
    "1. ",
    "[^a]: ",
    "[^a]",
    "[^a]: b\n",
    "[a]: b\n",
    "a\n",
    "\n",
    " ",
    "a",
    "中",
    "\u{301}",
    "🇨🇳",
    "👨\u{200d}",
    "https://",
    "https://a.b ",
    "```\n",
    "> ```\n",
    "- ```a\n",
    "##### a #\n",
    "- [ ] a\n",
    "**：中",
    "__中",
    "__init__",
    "~ ",
    "<i>",
    "</i>",
    "<sup>2</sup>",
    "~~中~~",
];

fn hostile() {
    const MEGABYTE: usize = 1 << 20;
    let deep = ["> ".repeat(99), "- ".repeat(99), "- > ".repeat(49)];
    let wide = format!("{}|\n{}|\n", "|a".repeat(100_000), "|-".repeat(100_000));
    let behind: [(&str, &str); 14] = [
        ("<div>\n", "<!--"),
        ("<div>\n", "<a \"<b '"),
        ("<div>\n", "<a b='<a b=\""),
        ("<div>\n", "&"),
        ("<div>\n", "&lt;"),
        ("|a|\n|-|\n", "|"),
        ("|a|b|\n|-|-|\n", "|a\n"),
        ("[a]: b\n\n", "[a]"),
        (&deep[0], "\na"),
        (&deep[1], "\na"),
        (&deep[2], "\na"),
        (&deep[1], "\n"),
        (&wide, "|b\n"),
        (&wide, "|\n"),
    ];
    type Pass = fn(&str);
    let passes: [(&str, Pass); 3] = [
        ("plain", |text| drop(black_box(plain(text)))),
        ("native", |text| drop(black_box(native(text)))),
        ("split", |text| {
            let limits = Limits {
                chars: 2000,
                size: 16_000,
                unit: Unit::Bytes,
            };
            let options = SplitOptions {
                fences: true,
                marks: true,
            };
            black_box(split(text, limits, options));
        }),
    ];
    for (before, pattern) in HOSTILE
        .map(|pattern| ("", pattern))
        .into_iter()
        .chain(behind)
    {
        let document = |bytes: usize| {
            let text = before.to_owned();
            text + &pattern.repeat(bytes.saturating_sub(before.len()) / pattern.len())
        };
        let begin: String = before.chars().take(8).collect();
        print!("{:24}", format!("{begin:?} {pattern:?}"));
        for (name, pass) in passes {
            let seconds = |text: &str| {
                let time = || {
                    let begun = Instant::now();
                    pass(text);
                    begun.elapsed().as_secs_f64()
                };
                time().min(time()).min(time())
            };
            let (half, whole) = (
                seconds(&document(MEGABYTE)),
                seconds(&document(2 * MEGABYTE)),
            );
            print!("  {name} {:4.0} ms x{:3.1}", whole * 1e3, whole / half);
        }
        println!();
    }
}
