//! Lines of server-sent events, as agents and model servers really write them.
//!
//! A library for event streams wants UTF-8 and an empty line after each event. Here bytes are mended
//! later on, and servers that forget the empty line are read all the same.

/// What a line of a stream is.
#[derive(Debug, PartialEq, Eq)]
pub enum EventLine<'a> {
    /// Data of an event.
    Data(&'a [u8]),
    /// Something else of an event: its name, its id, a comment.
    Field,
    /// No line of an event: nothing, or what stands there instead of events.
    Other(&'a [u8]),
}

impl<'a> EventLine<'a> {
    /// Reads a line without its line feed.
    pub fn of(line: &'a [u8]) -> EventLine<'a> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(data) = line.strip_prefix(b"data:") {
            return EventLine::Data(data.strip_prefix(b" ").unwrap_or(data));
        }
        let names = [&b"event:"[..], b"id:", b"retry:", b":"];
        match names.iter().any(|name| line.starts_with(name)) {
            true => EventLine::Field,
            false => EventLine::Other(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_events_are_told_from_others() {
        for (line, expected) in [
            ("data: {}\r", EventLine::Data(b"{}")),
            ("data:  a", EventLine::Data(b" a")),
            ("data:", EventLine::Data(b"")),
            ("event: message", EventLine::Field),
            (": keep-alive", EventLine::Field),
            ("", EventLine::Other(b"")),
            ("database: down", EventLine::Other(b"database: down")),
            ("{\"data\": 1}", EventLine::Other(b"{\"data\": 1}")),
        ] {
            assert_eq!(EventLine::of(line.as_bytes()), expected, "{line}");
        }
    }
}
