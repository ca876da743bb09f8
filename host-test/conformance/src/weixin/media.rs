//! What can be wrong with a file of iLink's media server.

use gateway_host::contract::ErrorKind;
use serde_json::json;

use super::faults;
use crate::fixture::{Fixture, Outcome, expect, refused, within};
use crate::media::{content, handle, read};

pub async fn broken(fixture: &Fixture) -> Outcome {
    let handle = handle(fixture, content(100_000)).await?;
    let running = fixture.start().await?;
    for fault in [
        json!({"wrong_key": true}),
        json!({"bad_padding": true}),
        json!({"cut": "body"}),
    ] {
        faults(fixture, json!({"download": fault}))?;
        let content = within("fetch", running.instance.fetch(handle.clone())).await?;
        // An error of the call is as good a word as one of the content.
        let Ok(mut content) = content else {
            continue;
        };
        while within("reading a window", content.bytes.recv())
            .await?
            .is_some()
        {}
        let done = within("the last word of the content", content.done).await?;
        expect(!matches!(done, Ok(Ok(()))), || {
            format!("it is told to be whole although the server has {fault}")
        })?;
    }
    faults(fixture, json!({"download": null}))?;
    let (bytes, is_whole) = read(&running.instance, &handle).await?;
    expect(bytes == content(100_000) && is_whole, || {
        "it can't be opened after that".to_owned()
    })
}

pub async fn elsewhere(fixture: &Fixture) -> Outcome {
    let running = fixture.start().await?;
    let kinds = &[ErrorKind::NotFound, ErrorKind::Invalid];
    let invented = running.instance.fetch("no handle at all".to_owned());
    refused("fetch of what is no handle", kinds, invented).await?;
    fixture.kill(running).await?;
    let files = json!({"reference": "full-url", "full_url": "https://elsewhere.example/a.bin"});
    faults(fixture, json!({"files": files}))?;
    // One that has no handle leads nowhere, which is as good.
    let Ok(handle) = handle(fixture, content(10)).await else {
        return Ok(());
    };
    let running = fixture.start().await?;
    let fetching = running.instance.fetch(handle);
    refused("fetch", &[ErrorKind::Forbidden], fetching)
        .await
        .map(drop)
}
