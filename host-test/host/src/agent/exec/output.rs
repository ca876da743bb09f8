//! Decodes the lines of a process's output.

use std::io;

use bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;

/// What is kept of a line that is too long, from its start.
const HEAD_BYTES: usize = 64 * 1024;

/// Splits output at its line breaks. The codecs of `tokio-util` drop a line that is too long; of such a
/// line this one keeps the head, which names the message that it was to answer.
pub struct LineDecoder {
    most_bytes: usize,
    /// How much of the buffer has no line break.
    searched: usize,
    /// The head of a line that is too long, while its end has not come.
    head: Option<Vec<u8>>,
}

/// A line without its line break.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    /// How it begins.
    TooLong(Vec<u8>),
}

impl LineDecoder {
    /// Lines of at most so many bytes.
    pub fn new(most_bytes: usize) -> LineDecoder {
        LineDecoder {
            most_bytes,
            searched: 0,
            head: None,
        }
    }

    /// Ends a line with what the buffer has of it.
    fn end(&mut self, rest: &[u8]) -> Line {
        self.searched = 0;
        match self.head.take() {
            Some(head) => Line::TooLong(head),
            None if rest.len() > self.most_bytes => Line::TooLong(head_of(rest)),
            None => Line::Whole(rest.to_vec()),
        }
    }
}

impl Decoder for LineDecoder {
    type Item = Line;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        let new = buffer.get(self.searched..).unwrap_or_default();
        if let Some(end) = new.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(self.searched + end);
            buffer.advance(1);
            return Ok(Some(self.end(&line)));
        }
        self.searched = buffer.len();
        if self.head.is_some() {
            buffer.clear();
            self.searched = 0;
        } else if buffer.len() > self.most_bytes {
            self.head = Some(head_of(buffer));
            // The line's memory is given back at once.
            *buffer = BytesMut::with_capacity(HEAD_BYTES);
            self.searched = 0;
        }
        Ok(None)
    }

    /// What has no line break at the end of the output is a line as well.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        if let Some(line) = self.decode(buffer)? {
            return Ok(Some(line));
        }
        if buffer.is_empty() && self.head.is_none() {
            return Ok(None);
        }
        let rest = buffer.split();
        Ok(Some(self.end(&rest)))
    }
}

fn head_of(line: &[u8]) -> Vec<u8> {
    line.get(..HEAD_BYTES).unwrap_or(line).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come_and_long_ones_keep_their_head() {
        let long = "x".repeat(3 * HEAD_BYTES);
        let output = format!("one\n\n{long}\ntwo\nrest");
        for piece in [1, 7, HEAD_BYTES, output.len()] {
            let mut decoder = LineDecoder::new(2 * HEAD_BYTES);
            let (mut buffer, mut lines) = (BytesMut::new(), Vec::new());
            for bytes in output.as_bytes().chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some(line) = decoder.decode(&mut buffer).unwrap() {
                    lines.push(line);
                }
                assert!(buffer.len() <= 2 * HEAD_BYTES + piece);
            }
            while let Some(line) = decoder.decode_eof(&mut buffer).unwrap() {
                lines.push(line);
            }
            let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
            let head = Line::TooLong(vec![b'x'; HEAD_BYTES]);
            let expected = [whole("one"), whole(""), head, whole("two"), whole("rest")];
            assert_eq!(lines, expected, "{piece}");
        }
    }
}
