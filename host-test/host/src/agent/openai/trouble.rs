//! Reads the errors of servers, and decides what they mean. An error comes with its own status, or with
//! status 200 and an object that has no answer.

use serde_json::Value;

use crate::agent::Fault;
use crate::json;
use crate::text::is_unsafe;

/// Longest part of the server's words that an error repeats.
const MAX_REASON_CHARS: usize = 300;

/// In place of words.
pub const NO_WORDS: &str = "no reason given";

/// An error that a server told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The HTTP status that it means.
    pub status: u16,
    /// Whose fault it is.
    pub fault: Fault,
    /// The server's words.
    pub words: String,
}

/// What errors mean, the more specific ones first: a part of the error's code, type or message in lower
/// case, the status that it means, and who is at fault.
const MEANINGS: [(&str, u16, Fault); 42] = [
    ("insufficient_quota", 402, Fault::Lasting),
    ("exceeded your current quota", 402, Fault::Lasting),
    ("rate_limit", 429, Fault::Outage),
    ("rate limit", 429, Fault::Outage),
    ("too many requests", 429, Fault::Outage),
    ("too_many_requests", 429, Fault::Outage),
    ("throttl", 429, Fault::Outage),
    ("insufficient balance", 402, Fault::Lasting),
    ("insufficient_balance", 402, Fault::Lasting),
    ("insufficient credit", 402, Fault::Lasting),
    ("credit balance", 402, Fault::Lasting),
    ("billing", 402, Fault::Lasting),
    ("payment", 402, Fault::Lasting),
    ("arrear", 402, Fault::Lasting),
    ("余额不足", 402, Fault::Lasting),
    ("欠费", 402, Fault::Lasting),
    ("额度", 402, Fault::Lasting),
    ("invalid_api_key", 401, Fault::Lasting),
    ("invalidapikey", 401, Fault::Lasting),
    ("api key", 401, Fault::Lasting),
    ("authentication", 401, Fault::Lasting),
    ("unauthorized", 401, Fault::Lasting),
    ("令牌", 401, Fault::Lasting),
    ("permission", 403, Fault::Lasting),
    ("access_denied", 403, Fault::Lasting),
    ("accessdenied", 403, Fault::Lasting),
    ("model_not_found", 404, Fault::Lasting),
    ("modelnotfound", 404, Fault::Lasting),
    ("model not found", 404, Fault::Lasting),
    ("model not exist", 404, Fault::Lasting),
    ("no such model", 404, Fault::Lasting),
    ("not_found_error", 404, Fault::Lasting),
    ("overloaded", 529, Fault::Outage),
    ("unavailable", 503, Fault::Outage),
    ("is loading", 503, Fault::Outage),
    ("timeout", 504, Fault::Outage),
    ("timed out", 504, Fault::Outage),
    ("context_length", 400, Fault::Message),
    ("context length", 400, Fault::Message),
    ("data_inspection", 400, Fault::Message),
    ("content_filter", 400, Fault::Message),
    ("invalid_request", 400, Fault::Message),
];

/// The error that an object with status 200 is; none where it is none.
pub fn told(answer: &Value) -> Option<Trouble> {
    let error = answer.get("error").filter(|error| !is_nothing(error));
    let base = answer.get("base_resp").filter(|base| {
        let code = base.get("status_code").and_then(Value::as_i64);
        code.is_some_and(|code| code != 0)
    });
    let has_choices = answer.get("choices").is_some_and(Value::is_array);
    // An error may be the whole object.
    let whole = Some(answer)
        .filter(|answer| !has_choices && answer.get("message").is_some_and(Value::is_string));
    let error = error.or(base).or(whole)?;
    Some(meaning(None, error, answer))
}

/// The error that an answer with another status is.
pub fn of_status(status: u16, body: &[u8]) -> Trouble {
    let answer = json::first(body)
        .map(|(answer, _)| answer)
        .unwrap_or_default();
    let error = answer.get("error").filter(|error| !is_nothing(error));
    meaning(Some(status), error.unwrap_or(&answer), &answer)
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false))
        || value.as_i64() == Some(0)
        || value.as_str().is_some_and(str::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn meaning(status: Option<u16>, error: &Value, answer: &Value) -> Trouble {
    let words = words(error, answer);
    let hints = [
        &error["code"],
        &error["type"],
        &answer["code"],
        &answer["type"],
    ];
    let hints = hints.into_iter().filter_map(Value::as_str);
    let hints = hints.chain([words.as_str()]).map(str::to_lowercase);
    let meanings: Vec<&(&str, u16, Fault)> = hints
        .filter_map(|hint| MEANINGS.iter().find(|(part, ..)| hint.contains(part)))
        .collect();
    // The text of an invalid request may say more.
    let vague = |meaning: &&&(&str, u16, Fault)| meaning.0 != "invalid_request";
    let found = meanings.iter().find(vague).or(meanings.first()).copied();
    let found = found.filter(|(part, _, fault)| match status {
        None => true,
        // The status counts, unless the text says that the owner has to mend something.
        Some(400 | 403 | 429) => *fault == Fault::Lasting && *part != "permission",
        Some(_) => false,
    });
    let numbers = [
        &error["status"],
        &error["code"],
        &error["status_code"],
        &answer["status"],
        &answer["code"],
    ];
    let told = numbers.into_iter().find_map(|number| {
        let number = number.as_u64().or_else(|| number.as_str()?.parse().ok())?;
        u16::try_from(number)
            .ok()
            .filter(|status| (400..600).contains(status))
    });
    let (status, fault) = match (status, found, told) {
        (Some(status), Some((_, _, fault)), _) => (status, *fault),
        (Some(status), None, _) | (None, None, Some(status)) => (status, Fault::of_status(status)),
        (None, Some((_, _, Fault::Lasting)), Some(status)) => (status, Fault::Lasting),
        (None, Some(_), Some(status)) => (status, Fault::of_status(status)),
        (None, Some((_, status, fault)), None) => (*status, *fault),
        (None, None, None) => (500, Fault::Message),
    };
    Trouble {
        status,
        fault,
        words,
    }
}

/// Why, in the server's own words.
fn words(error: &Value, answer: &Value) -> String {
    let found = [
        error.as_str(),
        error["message"].as_str(),
        error["msg"].as_str(),
        error["status_msg"].as_str(),
        error["detail"].as_str(),
        answer["message"].as_str(),
        answer["msg"].as_str(),
        answer["detail"].as_str(),
        error["code"].as_str(),
        error["type"].as_str(),
    ];
    let found = found.into_iter().flatten();
    let mut found = found.filter(|words| !words.trim().is_empty());
    found.next().unwrap_or(NO_WORDS).to_owned()
}

/// Fit for an error: short, and without line breaks.
pub fn one_line(words: &str) -> String {
    let mut line: String = words
        .chars()
        .take(MAX_REASON_CHARS)
        .map(|char| if is_unsafe(char) { ' ' } else { char })
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
    fn an_error_with_200_is_the_status_that_it_means() {
        for (body, status, fault) in [
            (
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                402,
                Fault::Lasting,
            ),
            (
                r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#,
                401,
                Fault::Lasting,
            ),
            (
                r#"{"error":{"message":"x","code":401}}"#,
                401,
                Fault::Lasting,
            ),
            (
                r#"{"error":{"message":"x","code":"403"}}"#,
                403,
                Fault::Lasting,
            ),
            (
                r#"{"error":{"code":"1113","message":"您的账户已欠费，请充值后重试。"}}"#,
                402,
                Fault::Lasting,
            ),
            (
                r#"{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}"#,
                404,
                Fault::Lasting,
            ),
            (
                r#"{"error":{"message":"Rate limit reached","type":"rate_limit_error"}}"#,
                429,
                Fault::Outage,
            ),
            (
                r#"{"error":{"message":"Provider returned error","code":502}}"#,
                502,
                Fault::Outage,
            ),
            (
                r#"{"error":{"message":"Overloaded","type":"overloaded_error"}}"#,
                529,
                Fault::Outage,
            ),
            (r#"{"error":"model is loading"}"#, 503, Fault::Outage),
            (
                r#"{"error":{"message":"maximum context length is 8192","code":"context_length_exceeded"}}"#,
                400,
                Fault::Message,
            ),
            (
                r#"{"error":{"message":"something else"}}"#,
                500,
                Fault::Message,
            ),
            (r#"{"error":"oops"}"#, 500, Fault::Message),
            (
                r#"{"code":"InvalidApiKey","message":"No API-key provided.","request_id":"x"}"#,
                401,
                Fault::Lasting,
            ),
            (
                r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"},"choices":null}"#,
                402,
                Fault::Lasting,
            ),
        ] {
            let trouble = told(&serde_json::from_str(body).unwrap()).unwrap();
            assert_eq!((trouble.status, trouble.fault), (status, fault), "{body}");
        }
    }

    #[test]
    fn an_answer_without_an_error_tells_of_none() {
        for body in [
            "{}",
            "5",
            "null",
            r#"{"error":null,"choices":[]}"#,
            r#"{"error":{},"choices":[]}"#,
            r#"{"base_resp":{"status_code":0},"choices":[]}"#,
            r#"{"choices":[],"message":"x"}"#,
        ] {
            assert_eq!(told(&serde_json::from_str(body).unwrap()), None, "{body}");
        }
    }

    #[test]
    fn a_status_is_the_servers_word_and_its_words_may_be_worse() {
        for (status, body, fault) in [
            (
                429,
                r#"{"error":{"code":"insufficient_quota","message":"x"}}"#,
                Fault::Lasting,
            ),
            (429, r#"{"error":{"message":"slow down"}}"#, Fault::Outage),
            (
                429,
                r#"{"error":{"message":"Rate limit reached. Add a payment method at /account/billing","code":"rate_limit_exceeded"}}"#,
                Fault::Outage,
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached. Add a payment method."}}"#,
                Fault::Outage,
            ),
            (
                400,
                r#"{"error":{"message":"Your credit balance is too low"}}"#,
                Fault::Lasting,
            ),
            (
                400,
                r#"{"error":{"message":"context length exceeded"}}"#,
                Fault::Message,
            ),
            (401, "", Fault::Lasting),
            (403, "<html>", Fault::Lasting),
            (404, r#"{"error":"model not found"}"#, Fault::Lasting),
            (
                500,
                r#"{"error":{"message":"unauthorized"}}"#,
                Fault::Message,
            ),
            (503, "", Fault::Outage),
            (301, "", Fault::Lasting),
        ] {
            let trouble = of_status(status, body.as_bytes());
            assert_eq!(
                (trouble.status, trouble.fault),
                (status, fault),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn reasons_are_short_and_in_one_line() {
        for (body, expected) in [
            (r#"{"error":{"message":"no such model"}}"#, "no such model"),
            (r#"{"error":"model not found"}"#, "model not found"),
            (r#"{"message":"a\nb\u0007"}"#, "a b"),
            (r#"{"message":"cut \ud83d"}"#, "cut \u{fffd}"),
            (
                r#"{"error":{"type":"overloaded_error"}}"#,
                "overloaded_error",
            ),
            (r#"{"detail":[1]}"#, "no reason given"),
            ("<html>", "no reason given"),
            ("", "no reason given"),
        ] {
            assert_eq!(one_line(&of_status(500, body.as_bytes()).words), expected);
        }
        let long = one_line(&"字".repeat(1000));
        assert_eq!(long.chars().count(), MAX_REASON_CHARS + 1);
    }
}
