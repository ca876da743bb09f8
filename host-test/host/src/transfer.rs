//! Streams content into an instance and out of it, with back-pressure: a reader that does not read stops
//! the writer, so only a few windows are in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use wasmtime::component::{
    Destination, FutureConsumer, Source, StreamConsumer, StreamProducer, StreamResult,
};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::bindings::exports::gateway::channel::media_transfer;
use crate::bindings::gateway::channel::types::Error;
use crate::instance::guest_text;
use crate::sandbox::Sandbox;
use crate::sandbox::budget::Charge;

/// Windows that wait between the component and the reader.
const WINDOWS: usize = 2;
/// The most that the host takes at once, whatever the component offers.
const WINDOW_BYTES: usize = 256 * 1024;

/// Content on its way out.
pub struct Content {
    /// Media type.
    pub mime: String,
    /// Decrypted bytes. The end of the stream does not mean that the content is whole: ask `done`.
    pub bytes: mpsc::Receiver<Bytes>,
    /// Whether the content was whole; a closed channel means that it was not.
    pub done: oneshot::Receiver<Result<(), Error>>,
}

debug_by_name!(Content);

/// Connects a component's content to the host's reader.
pub(crate) fn receive(
    mut store: impl AsContextMut<Data = Sandbox>,
    content: media_transfer::Content,
) -> wasmtime::Result<Content> {
    let held = store.as_context().data().tenant().budget();
    let held = held.charge((WINDOWS + 1) * WINDOW_BYTES)?;
    let (sender, bytes) = mpsc::channel(WINDOWS);
    let (verdict, done) = oneshot::channel();
    let windows = Windows {
        sender: PollSender::new(sender),
        _held: held,
    };
    content.bytes.pipe(&mut store, windows)?;
    content.done.pipe(&mut store, Verdict(Some(verdict)))?;
    Ok(Content {
        mime: guest_text::mime(content.mime),
        bytes,
        done,
    })
}

struct Windows {
    sender: PollSender<Bytes>,
    /// For the windows that wait.
    _held: Charge,
}

impl StreamConsumer<Sandbox> for Windows {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, Sandbox>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.sender.poll_reserve(context) {
            Poll::Ready(Ok(())) => {
                let mut source = source.as_direct(store);
                let offered = source.remaining();
                let taken = offered.get(..WINDOW_BYTES).unwrap_or(offered);
                let window = Bytes::copy_from_slice(taken);
                source.mark_read(window.len());
                Poll::Ready(Ok(match self.sender.send_item(window) {
                    Ok(()) => StreamResult::Completed,
                    Err(_) => StreamResult::Dropped,
                }))
            }
            // The reader went away.
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

struct Verdict(Option<oneshot::Sender<Result<(), Error>>>);

impl FutureConsumer<Sandbox> for Verdict {
    type Item = Result<(), Error>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        store: StoreContextMut<'_, Sandbox>,
        mut source: Source<'_, Self::Item>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut value = None;
        source.read(store, &mut value)?;
        if let (Some(sender), Some(value)) = (self.0.take(), value) {
            // Nobody may want to know any more.
            let _ = sender.send(value.map_err(guest_text::error));
        }
        Poll::Ready(Ok(()))
    }
}

/// Content on its way in. An error ends it early, and the component then sees a wrong length.
pub(crate) struct Upload(pub BoxStream<'static, std::io::Result<Bytes>>);

impl StreamProducer<Sandbox> for Upload {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, Sandbox>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        loop {
            match Pin::new(&mut self.0).poll_next(context) {
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => {}
                Poll::Ready(Some(Ok(bytes))) => {
                    destination.set_buffer(bytes);
                    return Poll::Ready(Ok(StreamResult::Completed));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!("a file for an upload can't be read: {error}");
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
