//! Reads a server's answer, leniently and with a bound on its length.
//!
//! The host asks for one object. Some servers send a stream all the same: server-sent events, or one
//! object per line.

use serde_json::Value;

use super::trouble::{self, Trouble};
use crate::agent::event_line::EventLine;
use crate::agent::thought;
use crate::json;
use crate::text::one_line;

/// The reason that is reported if the server gives none.
const MAX_FINISH_BYTES: usize = 64;

/// What a model answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Completion {
    /// This, not blank.
    Said(String),
    /// Nothing, and why.
    Nothing(String),
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq)]
pub enum CompletionError {
    /// It can't be read.
    Unreadable(&'static str),
    /// The server tells of an error.
    Trouble(Trouble),
}

/// Reads the body of a 2xx.
///
/// # Errors
/// What is wrong with the answer.
pub fn read(body: &[u8]) -> Result<Completion, CompletionError> {
    let body = json::skip_noise(body);
    let mut gathered = Gathered::default();
    let first = body.split(|byte| *byte == b'\n').next();
    let result = match EventLine::of(first.unwrap_or_default()) {
        EventLine::Data(_) | EventLine::Field => events(body, &mut gathered),
        EventLine::Other(_) => objects(body, &mut gathered),
    };
    if let Some(trouble) = gathered.trouble.take() {
        return Err(CompletionError::Trouble(trouble));
    }
    match result {
        Err(why) if !gathered.is_whole() => Err(CompletionError::Unreadable(why)),
        // Bytes behind a complete answer are ignored.
        _ => gathered.completion(),
    }
}

/// The lines `data:` of each event are one piece.
fn events(body: &[u8], gathered: &mut Gathered) -> Result<(), &'static str> {
    let mut data: Vec<u8> = Vec::new();
    let lines = body.split(|byte| *byte == b'\n').chain([&b""[..]]);
    for line in lines {
        match EventLine::of(line) {
            EventLine::Data(part) => {
                // Servers that forget the empty line between two events.
                if json::begins_object(part) || part == b"[DONE]" {
                    objects(&std::mem::take(&mut data), gathered)?;
                }
                data.extend_from_slice(part);
                data.push(b'\n');
            }
            EventLine::Field => {}
            EventLine::Other(_) => objects(&std::mem::take(&mut data), gathered)?,
        }
    }
    Ok(())
}

/// One object after the other.
fn objects(mut json: &[u8], gathered: &mut Gathered) -> Result<(), &'static str> {
    loop {
        json = json::skip_noise(json);
        if json.is_empty() || json.starts_with(b"[DONE]") {
            return Ok(());
        }
        let (piece, rest) = json::first(json)?;
        gathered.add(&piece);
        json = rest;
    }
}

/// The answer as far as it was assembled from pieces.
#[derive(Default)]
struct Gathered {
    is_seen: bool,
    /// Whether there was a whole message, and not only pieces of one.
    has_message: bool,
    text: String,
    refusal: String,
    has_thought: bool,
    calls_tools: bool,
    finish: Option<String>,
    trouble: Option<Trouble>,
}

impl Gathered {
    /// Whether the rest can be ignored. A message in pieces may break off.
    fn is_whole(&self) -> bool {
        self.has_message || self.finish.is_some()
    }

    fn add(&mut self, piece: &Value) {
        if let Some(trouble) = trouble::told(piece) {
            self.trouble = Some(trouble);
            return;
        }
        let choices = piece.get("choices").and_then(Value::as_array);
        let mut choices = choices.into_iter().flatten();
        let first = choices.find(|choice| choice.get("index").is_none_or(|index| index == 0));
        let Some(choice) = first else {
            return;
        };
        // Routers tell of their provider's failure here.
        if let Some(trouble) = trouble::told(choice) {
            self.trouble = Some(trouble);
            return;
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish = Some(finish.to_owned());
            self.is_seen = true;
        }
        // The older kind of completion.
        if let Some(text) = choice["text"].as_str() {
            self.is_seen = true;
            self.text.push_str(text);
        }
        if let Some(message) = choice.get("message").filter(|message| message.is_object()) {
            // It is the whole, also behind pieces.
            self.has_message = true;
            self.text.clear();
            self.refusal.clear();
            self.message(message);
        } else if let Some(delta) = choice.get("delta") {
            self.message(delta);
        }
    }

    fn message(&mut self, message: &Value) {
        self.is_seen = true;
        match &message["content"] {
            Value::String(text) => self.text.push_str(text),
            Value::Array(parts) => parts.iter().for_each(|part| self.part(part)),
            _ => {}
        }
        if let Some(refusal) = message["refusal"].as_str() {
            self.refusal.push_str(refusal);
        }
        let thoughts = ["reasoning_content", "reasoning", "thinking"];
        self.has_thought |= thoughts.iter().any(|name| !is_blank(&message[*name]));
        let tools = ["tool_calls", "function_call"];
        self.calls_tools |= tools.iter().any(|name| !is_blank(&message[*name]));
    }

    fn part(&mut self, part: &Value) {
        if let Some(text) = part.as_str() {
            self.text.push_str(text);
        }
        let text = || part["text"].as_str().unwrap_or_default();
        match part["type"].as_str() {
            Some("text" | "output_text") => self.text.push_str(text()),
            Some("refusal") => {
                let refusal = part["refusal"].as_str();
                self.refusal.push_str(refusal.unwrap_or_else(text));
            }
            Some("thinking" | "reasoning" | "thought") => self.has_thought = true,
            _ => {}
        }
    }

    fn completion(self) -> Result<Completion, CompletionError> {
        if !self.is_seen {
            return Err(CompletionError::Unreadable("it has no choices[0].message"));
        }
        let said = thought::without(&self.text);
        if !said.trim().is_empty() {
            return Ok(Completion::Said(said.to_owned()));
        }
        if !self.refusal.trim().is_empty() {
            return Ok(Completion::Said(self.refusal));
        }
        let what = match self.calls_tools {
            true => "the model calls tools, and was offered none",
            false if self.has_thought || !self.text.trim().is_empty() => {
                "the model thought and said nothing"
            }
            false => "the model said nothing",
        };
        let why = match self.finish.as_deref() {
            Some("length") => " (finish_reason length: the server's limit of tokens is too low)",
            Some("content_filter" | "sensitive") => " (finish_reason content_filter)",
            Some("stop") | None => "",
            Some(other) => &format!(" (finish_reason {})", one_line(other, MAX_FINISH_BYTES)),
        };
        Ok(Completion::Nothing(format!("{what}{why}")))
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> String {
        match read(body.as_bytes()) {
            Ok(Completion::Said(text)) => text,
            other => panic!("{other:?}: {body}"),
        }
    }

    fn nothing(body: &str) -> String {
        match read(body.as_bytes()) {
            Ok(Completion::Nothing(why)) => why,
            other => panic!("{other:?}: {body}"),
        }
    }

    #[test]
    fn texts_come_whole_or_in_parts() {
        for (body, expected) in [
            (r#"{"choices":[{"message":{"content":"hi"}}]}"#, "hi"),
            (
                r#"{"error":null,"choices":[{"message":{"content":"hi","refusal":null}}]}"#,
                "hi",
            ),
            (
                r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},
                    {"type":"thinking","text":"x"},5,{"type":"text","text":"b"}]}},{}]}"#,
                "ab",
            ),
            (r#"{"choices":[{"message":{"content":["a","b"]}}]}"#, "ab"),
            (
                r#"{"choices":[{"index":1,"message":{"content":"no"}},{"index":0,"message":{"content":"hi"}}]}"#,
                "hi",
            ),
            (
                r#"{"choices":[{"message":{"content":"<think>hm</think>\n\nhi"}}]}"#,
                "hi",
            ),
            (
                r#"{"choices":[{"message":{"content":"hm</think>hi"}}]}"#,
                "hi",
            ),
            (
                r#"{"choices":[{"message":{"content":[{"type":"reasoning","text":"x"},{"type":"output_text","text":"hi"}]}}]}"#,
                "hi",
            ),
            (
                r#"{"choices":[{"message":{"content":null,"refusal":"I can't."}}]}"#,
                "I can't.",
            ),
            (
                r#"{"choices":[{"message":{"content":[{"type":"refusal","refusal":"I can't."}]}}]}"#,
                "I can't.",
            ),
            (
                r#"{"choices":[{"finish_reason":"length","message":{"content":"and so"}}]}"#,
                "and so",
            ),
            (
                r#"{"choices":[{"message":{"content":"ok \ud83d"}}]}"#,
                "ok \u{fffd}",
            ),
            (
                "\u{feff}{\"choices\":[{\"message\":{\"content\":\"a\nb\"}}]}",
                "a\nb",
            ),
            (
                "{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n",
                "hi",
            ),
            (
                "{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}\nnonsense",
                "hi",
            ),
        ] {
            assert_eq!(said(body), expected, "{body}");
        }
    }

    #[test]
    fn a_stream_that_breaks_off_is_no_answer() {
        let begun = r#"data: {"choices":[{"delta":{"content":"The dose is "}}]}"#;
        for end in [
            "data: {\"choi",
            "data: {\"choices\":[{\"delta\":{\"content\":\"5",
        ] {
            let body = format!("{begun}\n\n{end}");
            assert!(
                matches!(read(body.as_bytes()), Err(CompletionError::Unreadable(_))),
                "{body}"
            );
        }
        // Behind its end nothing is missed.
        let end = r#"data: {"choices":[{"delta":{"content":"5."},"finish_reason":"stop"}]}"#;
        assert_eq!(
            said(&format!("{begun}\n\n{end}\n\ndata: {{\"us")),
            "The dose is 5."
        );
    }

    #[test]
    fn a_failure_within_the_choice_is_one() {
        for body in [
            r#"{"choices":[{"index":0,"error":{"code":502,"message":"Provider"},"finish_reason":"error","message":{"content":""}}]}"#,
            r#"{"choices":[{"error":{"code":429,"message":"slow down"},"message":{"content":"half an"}}]}"#,
        ] {
            assert!(
                matches!(read(body.as_bytes()), Err(CompletionError::Trouble(_))),
                "{body}"
            );
        }
        assert_eq!(
            said(r#"{"error":0,"choices":[{"message":{"content":"hi"}}]}"#),
            "hi"
        );
        assert_eq!(
            said(r#"{"choices":[{"text":"hi","finish_reason":"stop"}]}"#),
            "hi"
        );
        let why = nothing(r#"{"choices":[{"finish_reason":"content_filter","index":0}]}"#);
        assert!(why.contains("content_filter"), "{why}");
        let why = nothing(r#"{"choices":[{"finish_reason":"safety","message":null}]}"#);
        assert!(why.contains("safety"), "{why}");
    }

    #[test]
    fn streams_are_put_together() {
        let delta =
            |text: &str| format!("{{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}");
        let (a, b) = (delta("he"), delta("llo"));
        for body in [
            format!("data: {a}\n\ndata: {b}\n\ndata: [DONE]\n\n"),
            format!("data:{a}\r\n\r\ndata:{b}\r\n\r\n"),
            format!("\u{feff}data: {a}\ndata: {b}\ndata: [DONE]\n"),
            format!(
                ": keep-alive\n\nevent: message\nid: 1\ndata: {a}\n\nevent: message\ndata: {b}"
            ),
            format!("{a}\n{b}\n"),
            format!("{a}{b}\n[DONE]"),
            format!(
                "data: {a}\n\n: keep-alive\n\ndata: {{\"usage\":{{}},\"choices\":[]}}\n\ndata: {b}\n\n"
            ),
            format!(
                "data: {}\n\ndata: {}\n\ndata: {a}\n\ndata: {b}\n\n",
                delta("<think>h"),
                delta("m</think>")
            ),
            format!(
                "data: {a}\n\ndata: {{\"choices\":[{{\"message\":{{\"content\":\"hello\"}}}}]}}\n\n"
            ),
            "data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"hello\"}}]}\n\n".to_owned(),
        ] {
            assert_eq!(said(&body), "hello", "{body}");
        }
        let odd = format!(
            "data: {}\n\ndata: {}\n\n",
            delta("ok \\ud83d"),
            delta("\\ude00!")
        );
        assert_eq!(said(&odd), "ok \u{fffd}\u{fffd}!");
        let refused = "data: {\"choices\":[{\"delta\":{\"refusal\":\"I \"}}]}\n\n\
                       data: {\"choices\":[{\"delta\":{\"refusal\":\"can't.\"}}]}\n\n";
        assert_eq!(said(refused), "I can't.");
    }

    #[test]
    fn what_says_nothing_says_why() {
        for (body, expected) in [
            (
                r#"{"choices":[{"message":{"content":null}}]}"#,
                "said nothing",
            ),
            (
                r#"{"choices":[{"message":{"content":" \n"}}]}"#,
                "said nothing",
            ),
            (
                r#"{"choices":[{"message":{"content":{"a":1}}}]}"#,
                "said nothing",
            ),
            (r#"{"choices":[{"message":{}}]}"#, "said nothing"),
            (
                r#"{"choices":[{"message":{"content":null,"reasoning_content":"hm"}}]}"#,
                "thought",
            ),
            (
                r#"{"choices":[{"message":{"content":"<think>hm"}}]}"#,
                "thought",
            ),
            (
                r#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":"hm"}]}}]}"#,
                "thought",
            ),
            (
                r#"{"choices":[{"finish_reason":"tool_calls","message":{"content":null,"tool_calls":[{"id":"1"}]}}]}"#,
                "tools",
            ),
            (
                r#"{"choices":[{"finish_reason":"length","message":{"content":"","reasoning":"hm"}}]}"#,
                "length",
            ),
            (
                r#"{"choices":[{"finish_reason":"content_filter","message":{"content":null}}]}"#,
                "content_filter",
            ),
            (
                "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\ndata: [DONE]\n\n",
                "said nothing",
            ),
        ] {
            let why = nothing(body);
            assert!(why.contains(expected), "{why}: {body}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for body in [
            "",
            "hi",
            "null",
            "[]",
            "{}",
            "data: [DONE]\n\n",
            "data: nonsense\n\n",
            r#"{"choices":[]}"#,
            r#"{"choices":[{}]}"#,
            r#"{"choices":[{"message":{"content":"hi"#,
        ] {
            let result = read(body.as_bytes());
            assert!(
                matches!(result, Err(CompletionError::Unreadable(_))),
                "{body}: {result:?}"
            );
        }
        for body in [
            r#"{"error":{"message":"slow down"}}"#,
            "data: {\"error\":{\"message\":\"slow down\"}}\n\ndata: [DONE]\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"he\"}}]}\n\ndata: {\"error\":{\"message\":\"slow down\"}}\n\n",
        ] {
            let result = read(body.as_bytes());
            assert!(
                matches!(result, Err(CompletionError::Trouble(_))),
                "{body}: {result:?}"
            );
        }
    }
}
