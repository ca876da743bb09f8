//! Where completions are, from the URL that an operator wrote.

use http::Uri;

/// What a base URL is often written with, and the other paths of the API.
const ENDPOINTS: [&str; 5] = [
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/models",
];

/// Where completions may be, the likelier place first. Never empty.
pub fn completions(base: &Uri) -> Vec<Uri> {
    let mut path = base.path().trim_end_matches('/');
    let endpoint = ENDPOINTS
        .iter()
        .find_map(|endpoint| path.strip_suffix(endpoint));
    if let Some(before) = endpoint {
        path = before.trim_end_matches('/');
    }
    let paths = match path {
        // Most servers have it in a version, and some without.
        "" if endpoint.is_none() => vec!["".to_owned(), "/v1".to_owned()],
        path => vec![path.to_owned()],
    };
    let query = base.query().map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    let urls = paths.iter().map(|path| {
        let mut parts = base.clone().into_parts();
        parts.path_and_query = format!("{path}/chat/completions{query}").parse().ok();
        // The path of a URL with a path at its end is one, too.
        Uri::from_parts(parts).unwrap_or_else(|_| base.clone())
    });
    urls.collect()
}

/// Whether the URL is that of an API with other messages: Ollama's own, or Anthropic's.
pub fn is_another_api(base: &Uri) -> bool {
    let path = base.path().trim_end_matches('/');
    let others = ["/api/chat", "/api/generate", "/api/tags", "/v1/messages"];
    others.iter().any(|other| path.ends_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_to_any_base() {
        for (base, url) in [
            ("http://a/v1", "http://a/v1/chat/completions"),
            ("http://a:1/v1/", "http://a:1/v1/chat/completions"),
            ("https://a/x?v=2", "https://a/x/chat/completions?v=2"),
            (
                "http://a/v1/chat/completions",
                "http://a/v1/chat/completions",
            ),
            (
                "http://a/v1/chat/completions/",
                "http://a/v1/chat/completions",
            ),
            (
                "http://a/v1/chat/completions?v=2",
                "http://a/v1/chat/completions?v=2",
            ),
            ("http://a/chat/completions", "http://a/chat/completions"),
            ("http://a/v1/completions", "http://a/v1/chat/completions"),
            ("http://a/v1/models", "http://a/v1/chat/completions"),
            (
                "http://a/openai/v1/responses",
                "http://a/openai/v1/chat/completions",
            ),
            ("http://a//v1//", "http://a//v1/chat/completions"),
        ] {
            assert_eq!(
                completions(&base.parse().unwrap()),
                [url.parse::<Uri>().unwrap()]
            );
        }
        for base in ["http://a", "http://a/"] {
            let urls = completions(&base.parse().unwrap());
            let urls: Vec<String> = urls.iter().map(Uri::to_string).collect();
            assert_eq!(
                urls,
                ["http://a/chat/completions", "http://a/v1/chat/completions"]
            );
        }
    }
}
