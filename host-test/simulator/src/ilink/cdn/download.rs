//! `GET /c2c/download`: gives a ciphertext, which is made while it goes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::visit::{Visit, refusal};
use crate::body::{AnswerBody, Cut, streamed, whole};
use crate::faults::{CutAt, DownloadAs, Effect, StallAt};
use crate::ilink::cipher::{Key, Sealing, padded};
use crate::ilink::content::{PIECE, Reader};
use crate::ilink::endpoint::Endpoint;
use crate::ilink::state::{Blob, ServerState};
use crate::query::parameter;

/// Bytes that drip at once.
const DROP: usize = 1024;

pub(super) async fn download(
    server: Arc<ServerState>,
    head: Parts,
) -> Result<Response<AnswerBody>, Cut> {
    let ticket = parameter(head.uri.query(), "encrypted_query_param");
    let blob = server.files.find(&ticket);
    let owner = blob.as_ref().map(|blob| &blob.bot);
    let (visit, fault) = Visit::arrive(server, Endpoint::Download, head, owner);
    if !fault.delay.is_zero() {
        visit.server.clock.sleep(fault.delay).await;
    }
    let instead = match &fault.effect {
        Effect::Cut(CutAt::Before | CutAt::After) => {
            visit.record(None, 0, 0, None);
            return Err(Cut);
        }
        Effect::Stall(StallAt::Before) => {
            visit.record(None, 0, 0, None);
            std::future::pending().await
        }
        Effect::Status(status) => {
            let mut response = Response::new(whole(status.page()));
            *response.status_mut() = status.code();
            // They were checked when the fault was given.
            let headers = status.headers().unwrap_or_default();
            response.headers_mut().extend(headers);
            Some(response)
        }
        Effect::Body(text) => Some(Response::new(whole(text.clone().into()))),
        Effect::Result(result) | Effect::LoginAnswer(result) => {
            let text = Value::Object(result.clone()).to_string();
            Some(Response::new(whole(text.into())))
        }
        _ => None,
    };
    if let Some(response) = instead {
        visit.record(Some(response.status()), 0, 0, None);
        return Ok(response);
    }
    let Some((blob, reader)) = blob.and_then(|blob| Some((blob.clone(), blob.content.reader()?)))
    else {
        let message = "the file does not exist, or is not kept any more";
        visit.record(Some(StatusCode::NOT_FOUND), 0, 0, Some(message));
        return Ok(refusal(StatusCode::NOT_FOUND, message));
    };
    Ok(serve(visit, &blob, reader, &fault.effect))
}

fn serve(visit: Visit, blob: &Blob, reader: Reader, fault: &Effect) -> Response<AnswerBody> {
    let size = match blob.key {
        Some(_) => padded(reader.left()),
        None => reader.left(),
    };
    let key = match fault {
        Effect::Download(DownloadAs::WrongKey) => blob.key.map(|_| Key::random()),
        _ => blob.key,
    };
    // The length that is said, the bytes that are given, and how they end.
    let (length, given, end) = match fault {
        Effect::Truncated => (Some(size / 2), size / 2, End::Whole),
        Effect::Cut(_) => (Some(size), size / 2, End::Cut),
        Effect::Stall(StallAt::Body) => (Some(size), size / 2, End::Stall),
        Effect::Stall(_) => (Some(size), 0, End::Stall),
        Effect::Download(DownloadAs::Extra(extra)) => (None, size, End::Extra(*extra)),
        _ => (Some(size), size, End::Whole),
    };
    visit.record(Some(StatusCode::OK), 0, given, None);
    let served = Served {
        reader,
        sealing: key.map(Sealing::new),
        bad_padding: matches!(fault, Effect::Download(DownloadAs::BadPadding)),
        left: given,
        end,
        drip: match fault {
            Effect::Drip(every) => Some(*every),
            _ => None,
        },
        waiting: Bytes::new(),
        visit,
    };
    let body = stream::unfold(served, |mut served| async {
        let piece = served.next().await?;
        Some((piece, served))
    });
    let mut response = Response::new(streamed(body));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, kind);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// A file on its way out.
struct Served {
    reader: Reader,
    sealing: Option<Sealing>,
    bad_padding: bool,
    /// Bytes of the file that are still given.
    left: u64,
    end: End,
    drip: Option<Duration>,
    /// Bytes that have not dripped yet.
    waiting: Bytes,
    visit: Visit,
}

enum End {
    Whole,
    Cut,
    Stall,
    Extra(u64),
}

impl Served {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        let piece = match self.drip {
            None => self.piece().await?,
            Some(every) => {
                if self.waiting.is_empty() {
                    self.waiting = match self.piece().await? {
                        Ok(piece) => piece,
                        Err(cut) => return Some(Err(cut)),
                    };
                }
                self.visit.server.clock.sleep(every).await;
                Ok(self.waiting.split_to(self.waiting.len().min(DROP)))
            }
        };
        if let Ok(piece) = &piece {
            self.visit.bot.lock().counters.downloaded_bytes += piece.len() as u64;
            self.visit.server.changed.notify_waiters();
        }
        Some(piece)
    }

    async fn piece(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.left == 0 {
            return match &mut self.end {
                End::Whole | End::Extra(0) => None,
                End::Cut => {
                    // A pause, in which what was given is flushed to the wire.
                    tokio::task::yield_now().await;
                    Some(Err(Cut))
                }
                End::Stall => std::future::pending().await,
                End::Extra(extra) => {
                    let length = (*extra).min(PIECE as u64);
                    *extra -= length;
                    Some(Ok(Bytes::from_static(&[0; PIECE]).slice(..length as usize)))
                }
            };
        }
        let mut piece = match self.reader.next().await {
            Ok(piece) => piece,
            Err(error) => {
                tracing::warn!(%error, "a file on the simulated CDN cannot be read");
                return Some(Err(Cut));
            }
        };
        if let Some(sealing) = &self.sealing {
            match (self.reader.left(), self.bad_padding) {
                (0, false) => sealing.last(&mut piece),
                (0, true) => sealing.last_broken(&mut piece),
                _ => sealing.blocks(&mut piece),
            }
        }
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        Some(Ok(piece.into()))
    }
}
