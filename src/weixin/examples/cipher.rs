//! The media cipher alone, as it runs in the sandbox: part of `cargo bench`, which builds it for
//! `wasm32-wasip2` and runs it. It prints MiB/s of decryption and encryption.

#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::time::Instant;

use cipher::{Decryptor, Encryptor, HEADROOM};

// Not by way of the crate, which would bring the whole component with it.
#[rustfmt::skip]
#[path = "../src/cipher.rs"]
#[expect(dead_code, reason = "only a part of it is measured")]
mod cipher;

const WINDOW: usize = 64 * 1024;
const WINDOWS: usize = 1600;
const ROUNDS: usize = 5;

fn main() {
    let key = [7; 16];
    let window = vec![1; WINDOW];
    let mut buffer = Vec::with_capacity(WINDOW + HEADROOM);
    let mut decryptor = Decryptor::new(&key);
    let decrypt = fastest(&window, &mut buffer, |buffer, window| {
        decryptor.reuse(buffer);
        buffer.extend_from_slice(window);
        decryptor.update(buffer);
    });
    let mut encryptor = Encryptor::new(&key);
    let encrypt = fastest(&window, &mut buffer, |buffer, window| {
        encryptor.reuse(buffer);
        buffer.extend_from_slice(window);
        encryptor.update(buffer);
    });
    println!("{decrypt:.0} {encrypt:.0}");
}

fn fastest(window: &[u8], buffer: &mut Vec<u8>, mut pass: impl FnMut(&mut Vec<u8>, &[u8])) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..WINDOWS {
                pass(buffer, black_box(window));
                black_box(&*buffer);
            }
            (WINDOW * WINDOWS) as f64 / 1024.0 / 1024.0 / begun.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max)
}
