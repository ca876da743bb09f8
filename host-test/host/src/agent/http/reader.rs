//! Reads the answer of an agent behind a URL: one object, or lines of which the last one is the reply.

use crate::agent::answer::Answer;
use crate::agent::event_line::EventLine;
use crate::agent::message::Reply;
use crate::agent::objects::{Item, Objects};
use crate::agent::progress::Progress;
use crate::agent::{AgentError, MAX_ANSWER_BYTES};

/// Reads an answer as it arrives.
pub struct Reader<'a> {
    line: Vec<u8>,
    objects: Objects,
    found: Found<'a>,
}

/// What was read of it.
struct Found<'a> {
    progress: &'a Progress,
    last: Option<Last>,
}

/// The last thing that was read.
enum Last {
    Reply(Answer),
    Progress,
    /// It was not meant as a reply.
    Other,
    /// It was meant as one.
    Broken(&'static str),
}

impl Reader<'_> {
    /// Nothing was read yet. Lines of progress go to `progress` as they arrive.
    pub fn new(progress: &Progress) -> Reader<'_> {
        Reader {
            line: Vec::new(),
            objects: Objects::new(MAX_ANSWER_BYTES),
            found: Found {
                progress,
                last: None,
            },
        }
    }

    /// Takes the next piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        // Within an object such a line is a string's.
        let line = match EventLine::of(line) {
            _ if self.objects.is_open() => line,
            EventLine::Data(data) => data,
            EventLine::Field => return,
            EventLine::Other(line) => line,
        };
        if line.trim_ascii() != b"[DONE]" {
            self.objects.line(line, &mut |item| self.found.take(item));
        }
    }

    /// The reply, when everything was read.
    pub fn reply(mut self) -> Result<Option<Reply>, AgentError> {
        self.end_line();
        self.objects.end(&mut |item| self.found.take(item));
        let why = match self.found.last {
            None => return Ok(None),
            Some(Last::Reply(answer)) => return answer.reply(),
            Some(Last::Broken(why)) => return Err(AgentError::NoAnswer(why.to_owned())),
            Some(Last::Progress) => "its last line is progress",
            Some(Last::Other) => "it is no JSON object",
        };
        tracing::warn!("the agent's answer acknowledges the message, but is no reply: {why}");
        Ok(None)
    }
}

impl Found<'_> {
    fn take(&mut self, item: Item<'_>) {
        self.last = Some(match item {
            Item::Object(members) => {
                let answer = Answer::of(members);
                match answer.progress {
                    true => {
                        answer.say(self.progress);
                        Last::Progress
                    }
                    false => Last::Reply(answer),
                }
            }
            Item::Broken(_, why) => Last::Broken(why),
            Item::Noise(line) if is_page(line) => Last::Broken("it is a web page"),
            // What a page goes on with, or what follows a reply.
            Item::Noise(_) if matches!(self.last, Some(Last::Broken(_) | Last::Reply(_))) => return,
            Item::Noise(_) => Last::Other,
        });
    }
}

fn is_page(line: &[u8]) -> bool {
    let names = [&b"<!doctype html"[..], b"<html"];
    names.iter().any(|name| {
        let start = line.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    })
}
