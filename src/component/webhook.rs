//! HTTP requests to the component, as plain values, and their answers.
//!
//! Promises: a body that is too long or breaks off never reaches the platform's code, and an answer
//! is on its way before its body is written.

use wit_bindgen::spawn_local;

use super::bindings::wasi::http::types::{ErrorCode, Fields, Method, Request, Response};
use super::bindings::{wit_future, wit_stream};
use super::imports::Body;
use crate::wecom::callback::MAX_BODY_BYTES;

/// What the platform asks or tells.
pub struct Callback {
    /// `POST`; otherwise it is a `GET`.
    pub is_post: bool,
    /// As it stands in the URL, without the `?`.
    pub query: String,
    /// Empty for none.
    pub body: Vec<u8>,
}

/// What it is answered.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Reads a whole request; or what it is answered instead.
pub async fn read(request: Request) -> Result<Callback, Answer> {
    let refused = |status| Answer {
        status,
        body: Vec::new(),
    };
    let is_post = match request.get_method() {
        Method::Post => true,
        Method::Get => false,
        _ => return Err(refused(405)),
    };
    let path = request.get_path_with_query().unwrap_or_default();
    let (_, query) = path.split_once('?').unwrap_or((&path, ""));
    let query = query.to_owned();
    let body = Body::of_request(request).whole(MAX_BODY_BYTES).await;
    let body = body.map_err(|_| refused(400))?;
    Ok(Callback {
        is_post,
        query,
        body: body.ok_or_else(|| refused(413))?,
    })
}

/// The answer for the host; its body is written beside.
pub fn respond(answer: Answer) -> Result<Response, ErrorCode> {
    let length = answer.body.len().to_string();
    let headers = [
        (
            "Content-Type".to_owned(),
            b"text/plain; charset=utf-8".to_vec(),
        ),
        ("Content-Length".to_owned(), length.into_bytes()),
    ];
    let headers = Fields::from_list(&headers).map_err(|_| ErrorCode::InternalError(None))?;
    let (mut writer, content) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let (response, sent) = Response::new(headers, Some(content), trailers_reader);
    drop(sent);
    response
        .set_status_code(answer.status)
        .map_err(|()| ErrorCode::InternalError(None))?;
    spawn_local(async move {
        // Who asked may have gone.
        let _ = writer.write_all(answer.body).await;
        drop(writer);
        let _ = trailers.write(Ok(None)).await;
    });
    Ok(response)
}
