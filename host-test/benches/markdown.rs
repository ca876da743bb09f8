//! Flattening of Markdown: MB/s of typical answers natively and in the sandbox.
//!
//! `cargo bench --bench markdown` builds the example of the crate `weixin` for both, and runs it; nothing is
//! asserted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a benchmark that fails ends so"
)]

mod example;
mod measurements;

#[tokio::main]
async fn main() {
    println!("machine: {}", measurements::machine());
    let native = example::natively("markdown");
    let sandbox = example::in_the_sandbox("markdown").await;
    for (native, sandbox) in native.iter().zip(&sandbox) {
        println!(
            "Markdown to text: natively {native:.0} MB/s, in the sandbox {sandbox:.0} MB/s ({:.0} %)",
            sandbox / native * 100.0
        );
    }
}
