//! Checks of media in both directions: the content arrives byte for byte, or the transfer fails.

use std::io;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use md5::{Digest, Md5};

use super::fixture::{Fixture, Outcome, answered, expect, part, refused, within};
use gateway_host::account::Post;
use gateway_host::contract::Upload;
use gateway_host::contract::{ErrorKind, PartState};
use gateway_host::instance::Instance;

/// Around a cipher's block and a stream's window.
const SIZES: [usize; 5] = [1, 15, 16, 65_536, 150_001];

pub fn content(size: usize) -> Vec<u8> {
    // A period that is no divisor of any block.
    (0..=250_u8).cycle().take(size).collect()
}

/// Sends a file to the bot; the handle with which it is opened.
pub async fn handle(fixture: &Fixture, bytes: Vec<u8>) -> Result<String, String> {
    let running = fixture.start().await?;
    let sent = fixture.server.send_file("a.bin", bytes);
    let id = sent.ok_or("the server can't send files")?;
    let message = running.receive_only(&id).await?;
    running.ack(&id).await?;
    let media = message.media.into_iter().next();
    let handle = media.ok_or("the file is missing")?.handle;
    handle.ok_or_else(|| "the file has no handle".to_owned())
}

/// Reads a content to its end; whether it was whole.
pub async fn read(instance: &Instance, handle: &str) -> Result<(Vec<u8>, bool), String> {
    let mut content = answered("fetch", instance.fetch(handle.to_owned())).await?;
    let mut bytes = Vec::new();
    while let Some(window) = within("reading a window", content.bytes.recv()).await? {
        bytes.extend(window);
    }
    let done = within("the last word of the content", content.done).await?;
    Ok((bytes, matches!(done, Ok(Ok(())))))
}

pub async fn fetched(fixture: &Fixture) -> Outcome {
    for size in SIZES {
        // Of another instance than the one that reads.
        let handle = handle(fixture, content(size)).await?;
        let running = fixture.start().await?;
        let (bytes, is_whole) = read(&running.instance, &handle).await?;
        expect(bytes == content(size) && is_whole, || {
            format!("{size} bytes: {} came, whole: {is_whole}", bytes.len())
        })?;
    }
    Ok(())
}

fn upload(fixture: &Fixture, bytes: &[u8], size: usize) -> Upload {
    Upload {
        conversation: fixture.alice.conversation.clone(),
        kind: None,
        name: "report.bin".to_owned(),
        mime: None,
        size: size as u64,
        md5: Md5::digest(bytes).to_vec(),
    }
}

fn stream(bytes: &[u8]) -> BoxStream<'static, io::Result<Bytes>> {
    let windows: Vec<io::Result<Bytes>> = bytes
        .chunks(10_000)
        .map(|window| Ok(Bytes::copy_from_slice(window)))
        .collect();
    futures::stream::iter(windows).boxed()
}

pub async fn put(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let id = fixture.say("hello");
    running.receive_only(&id).await?;
    for size in SIZES {
        let bytes = content(size);
        let putting = running
            .instance
            .put(upload(fixture, &bytes, size), stream(&bytes));
        let media = answered("put", putting).await?;
        let with_it = Post {
            text: String::new(),
            media: vec![media],
            ..fixture.post(&format!("k{size}"), "")
        };
        let receipt = running.send(with_it).await?;
        let sent = part(&receipt, PartState::Accepted)?;
        let id = sent.message_id.as_deref().unwrap_or_default();
        let file = fixture.server.file(id);
        expect(file.as_deref() == Some(bytes.as_slice()), || {
            format!("{size} bytes: another content is at the phone")
        })?;
    }
    Ok(())
}

pub async fn wrong_length(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let id = fixture.say("hello");
    running.receive_only(&id).await?;
    let bytes = content(50_000);
    for announced in [49_999, 50_001, 0] {
        let putting = running
            .instance
            .put(upload(fixture, &bytes, announced), stream(&bytes));
        let what = format!("put of {announced} bytes that are 50000");
        refused(&what, &[ErrorKind::Invalid, ErrorKind::TooLarge], putting).await?;
    }
    let cut = stream(&bytes)
        .take(2)
        .chain(futures::stream::iter([Err(io::Error::other(
            "the check breaks it off",
        ))]));
    let putting = running
        .instance
        .put(upload(fixture, &bytes, bytes.len()), cut.boxed());
    refused("put that breaks off", &[ErrorKind::Invalid], putting)
        .await
        .map(drop)
}
