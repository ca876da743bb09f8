//! Flattening of Markdown alone: prints MB/s of typical answers, Chinese and English.
//!
//! `cargo run --release --example markdown`

#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::time::Instant;

use channel::markdown::plain;

// Not by way of the crate, which would bring the whole component with it.
#[path = "../src/channel"]
mod channel {
    pub mod markdown;
}

const ANSWERS: &str = include_str!("answers.md");
const PASSES: usize = 1000;
const ROUNDS: usize = 9;

fn main() {
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
