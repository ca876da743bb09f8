//! Bodies of answers: whole ones, and those that break off, stall or drip.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Frame;

use gateway_listener::clock::Clock;

/// A whole body, or one with a fault.
pub(crate) type AnswerBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Cut>>;

/// The connection is to be closed here, which is what the HTTP library does on an error.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a fault closes the connection here")
    }
}

impl std::error::Error for Cut {}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Cut {
        match never {}
    }
}

/// The body as it is.
pub(crate) fn whole(body: Bytes) -> AnswerBody {
    Either::Left(Full::new(body))
}

/// Half of the body, then the end of the connection.
pub(crate) fn cut_off(body: &Bytes) -> AnswerBody {
    let half = body.slice(..body.len() / 2);
    streamed(stream::unfold(Some(half), |half| async {
        match half {
            Some(half) => Some((Ok(half), None)),
            None => {
                // A pause, in which the half is flushed to the wire.
                tokio::task::yield_now().await;
                Some((Err(Cut), None))
            }
        }
    }))
}

/// The first `length` bytes of the body, then nothing, on an open connection.
pub(crate) fn stalled(body: &Bytes, length: usize) -> AnswerBody {
    let first = body.slice(..length.min(body.len()));
    streamed(stream::unfold(Some(first), |first| async {
        match first {
            Some(first) => Some((Ok(first), None)),
            None => std::future::pending().await,
        }
    }))
}

/// The body, byte by byte.
pub(crate) fn dripping(body: Bytes, every: Duration, clock: Clock) -> AnswerBody {
    streamed(stream::unfold(
        (body, clock),
        move |(mut body, clock)| async move {
            if body.is_empty() {
                return None;
            }
            clock.sleep(every).await;
            Some((Ok(body.split_to(1)), (body, clock)))
        },
    ))
}

/// A body that comes in pieces.
pub(crate) fn streamed(
    chunks: impl futures::Stream<Item = Result<Bytes, Cut>> + Send + 'static,
) -> AnswerBody {
    use futures::StreamExt;
    Either::Right(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync())
}
