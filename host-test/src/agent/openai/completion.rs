//! What the server answers: read leniently, and never trusted to be short.

use serde_json::Value;

/// Longest part of the server's words that an error repeats.
const MAX_REASON_CHARS: usize = 300;

/// The text of the first choice; none when it is blank.
///
/// # Errors
/// What is wrong with the answer.
pub fn text(body: &[u8]) -> Result<Option<String>, &'static str> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "it is no JSON")?;
    let message = answer
        .pointer("/choices/0/message")
        .ok_or("it has no choices[0].message")?;
    let text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        // Parts; a refusal or a thought is no answer.
        Some(Value::Array(parts)) => parts
            .iter()
            .filter(|part| part["type"] == "text")
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    };
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Why the server refuses, in its own words.
pub fn refusal(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = [
        answer.pointer("/error/message"),
        answer.get("error"),
        answer.get("message"),
        answer.get("detail"),
    ];
    let words = words.into_iter().flatten().find_map(Value::as_str);
    words.unwrap_or("no reason given").to_owned()
}

/// Fit for an error: short, and without line breaks.
pub fn one_line(words: &str) -> String {
    let mut line: String = words
        .chars()
        .take(MAX_REASON_CHARS)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if line.len() < words.len() {
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_whole_or_in_parts() {
        for (body, expected) in [
            (r#"{"choices":[{"message":{"content":"hi"}}]}"#, Some("hi")),
            (
                r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},
                    {"type":"thinking","text":"x"},5,{"type":"text","text":"b"}]}},{}]}"#,
                Some("ab"),
            ),
            (r#"{"choices":[{"message":{"content":null}}]}"#, None),
            (r#"{"choices":[{"message":{"content":" \n"}}]}"#, None),
            (r#"{"choices":[{"message":{"content":{"a":1}}}]}"#, None),
            (r#"{"choices":[{"message":{}}]}"#, None),
        ] {
            assert_eq!(text(body.as_bytes()), Ok(expected.map(str::to_owned)));
        }
        for body in [
            "",
            "hi",
            "null",
            "[]",
            "{}",
            r#"{"choices":[]}"#,
            r#"{"choices":[{"text":"x"}]}"#,
            r#"{"choices":[{"message":{"content":"hi"#,
        ] {
            assert!(text(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn reasons_are_short_and_in_one_line() {
        for (body, expected) in [
            (r#"{"error":{"message":"no such model"}}"#, "no such model"),
            (r#"{"error":"model not found"}"#, "model not found"),
            (r#"{"message":"a\nb\u0007"}"#, "a b"),
            (r#"{"detail":[1]}"#, "no reason given"),
            ("<html>", "no reason given"),
            ("", "no reason given"),
        ] {
            assert_eq!(one_line(&refusal(body.as_bytes())), expected);
        }
        let long = one_line(&"字".repeat(1000));
        assert_eq!(long.chars().count(), MAX_REASON_CHARS + 1);
    }
}
