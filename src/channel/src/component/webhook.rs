//! HTTP requests to the component, as plain values, and their answers.
//!
//! Promises: a body that is too long or breaks off never reaches the platform's code, and an answer
//! is on its way before its body is written; who wants to know is told whether all of it went out.

use futures::channel::oneshot;
use wit_bindgen::spawn_local;

use super::bindings::wasi::http::types::{ErrorCode, Fields, Method, Request, Response};
use super::bindings::{wit_future, wit_stream};
use super::imports::Body;
use crate::callback::MAX_BODY_BYTES;

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
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    /// Told whether all of it went out to whoever asked.
    sent: Option<oneshot::Sender<bool>>,
}

impl Answer {
    /// No more than a status.
    pub fn empty(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::text(Vec::new())
        }
    }

    /// 200 and a text.
    pub fn text(body: Vec<u8>) -> Answer {
        Answer {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            body,
            sent: None,
        }
    }

    /// 200 and XML.
    pub fn xml(body: Vec<u8>, sent: oneshot::Sender<bool>) -> Answer {
        Answer {
            content_type: "application/xml",
            sent: Some(sent),
            ..Answer::text(body)
        }
    }
}

/// Reads a whole request; or what it is answered instead.
pub async fn read(request: Request) -> Result<Callback, Answer> {
    let is_post = match request.get_method() {
        Method::Post => true,
        Method::Get => false,
        _ => return Err(Answer::empty(405)),
    };
    let path = request.get_path_with_query().unwrap_or_default();
    let (_, query) = path.split_once('?').unwrap_or((&path, ""));
    let query = query.to_owned();
    let body = Body::of_request(request).whole(MAX_BODY_BYTES).await;
    let body = body.map_err(|_| Answer::empty(400))?;
    Ok(Callback {
        is_post,
        query,
        body: body.ok_or_else(|| Answer::empty(413))?,
    })
}

/// The answer for the host; its body is written beside.
pub fn respond(answer: Answer) -> Result<Response, ErrorCode> {
    let length = answer.body.len().to_string();
    let headers = [
        (
            "Content-Type".to_owned(),
            answer.content_type.as_bytes().to_vec(),
        ),
        ("Content-Length".to_owned(), length.into_bytes()),
    ];
    let headers = Fields::from_list(&headers).map_err(|_| ErrorCode::InternalError(None))?;
    let (mut writer, content) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let (response, sent) = Response::new(headers, Some(content), trailers_reader);
    let sent = answer.sent.map(|tell| (tell, sent));
    response
        .set_status_code(answer.status)
        .map_err(|()| ErrorCode::InternalError(None))?;
    spawn_local(async move {
        // Who asked may have gone.
        let left = writer.write_all(answer.body).await;
        drop(writer);
        let _ = trailers.write(Ok(None)).await;
        if let Some((tell, sent)) = sent {
            let is_sent = left.is_empty() && sent.await.is_ok();
            // Who waited may have gone, too.
            let _ = tell.send(is_sent);
        }
    });
    Ok(response)
}
