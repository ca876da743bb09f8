//! Headers of requests: which ones the caller may not set, and what they say about the body.

use http::HeaderMap;
use http::header::{self, HeaderName};

/// Removes the headers of the connection, and `Host`: another name than the URL's would reach
/// another site at the same address.
pub(super) fn remove_those_of_the_connection(headers: &mut HeaderMap) {
    const NAMES: [HeaderName; 8] = [
        header::HOST,
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::PROXY_AUTHORIZATION,
        header::EXPECT,
    ];
    for name in &NAMES {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// Whether the body is JSON, by its type.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("json"))
}
