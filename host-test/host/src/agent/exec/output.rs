//! Reads the lines of a process's output. A read that is cancelled loses nothing.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;

/// What is kept of a line that is too long, from its start.
const HEAD_BYTES: usize = 64 * 1024;

/// Reads lines.
pub struct Lines {
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
    is_too_long: bool,
    most_bytes: usize,
}

/// A line without its line break.
pub enum Line {
    Whole(Vec<u8>),
    /// How it begins.
    TooLong(Vec<u8>),
}

impl Lines {
    /// Lines of at most so many bytes.
    pub fn new(output: ChildStdout, most_bytes: usize) -> Lines {
        Lines {
            output: BufReader::with_capacity(64 * 1024, output),
            line: Vec::new(),
            is_too_long: false,
            most_bytes,
        }
    }

    /// The next line; `None` at the end, behind what had no line break.
    pub async fn next(&mut self) -> Option<Line> {
        loop {
            let read = self.output.fill_buf().await.unwrap_or_default();
            if read.is_empty() {
                return match self.line.is_empty() {
                    true => None,
                    false => Some(self.take()),
                };
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = read.get(..end.unwrap_or(read.len()))?;
            if self.line.len() + part.len() > self.most_bytes {
                self.is_too_long = true;
                self.line.truncate(HEAD_BYTES);
                self.line.shrink_to_fit();
            }
            if !self.is_too_long {
                self.line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.output.consume(consumed);
            if end.is_some() {
                return Some(self.take());
            }
        }
    }

    fn take(&mut self) -> Line {
        let line = std::mem::take(&mut self.line);
        match std::mem::take(&mut self.is_too_long) {
            true => Line::TooLong(line),
            false => Line::Whole(line),
        }
    }
}
