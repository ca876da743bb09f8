//! The exports, for a platform behind pointers.

use wit_bindgen::StreamReader;

use super::bindings::exports::gateway::channel::{
    lifecycle, login as login_calls, media_transfer, meta, outbound,
};
use super::bindings::gateway::channel::types;
use super::bindings::wasi::http::types::{ErrorCode, Request, Response};
use super::erased::About;
use super::{convert, instance, login, transfer, webhook};
use crate::host::LocalFuture;

type Answer<T> = LocalFuture<'static, Result<T, types::Error>>;

pub fn describe(about: &'static About) -> meta::Descriptor {
    convert::descriptor(about.name, (about.describe)())
}

pub fn start(about: &'static About) -> Answer<()> {
    Box::pin(async move { Ok(instance::start(about).await?) })
}

pub fn drain(grace: types::Duration) -> Answer<()> {
    Box::pin(async move {
        instance::drain(grace).await;
        Ok(())
    })
}

pub fn stop() -> Answer<()> {
    Box::pin(async { Ok(instance::stop().await?) })
}

pub fn check() -> lifecycle::Health {
    instance::check().into()
}

pub fn receive() -> Answer<Vec<types::Event>> {
    Box::pin(async {
        let deliveries = instance::current()?.receive().await?;
        Ok(deliveries.into_iter().map(types::Event::from).collect())
    })
}

pub fn ack(ids: &[String]) -> Result<(), types::Error> {
    Ok(instance::current()?.ack(ids)?)
}

pub fn send(post: outbound::Post) -> Answer<types::Receipt> {
    Box::pin(async { Ok(instance::current()?.send(post.into()).await?.into()) })
}

pub fn find(key: &str) -> Result<Option<types::Receipt>, types::Error> {
    let receipt = instance::current()?.account.find(key)?;
    Ok(receipt.map(types::Receipt::from))
}

pub fn run() -> Answer<()> {
    Box::pin(async { Ok(instance::current()?.run().await?) })
}

pub fn typing(conversation: String, on: bool) -> Answer<()> {
    Box::pin(async move { Ok(instance::current()?.typing(&conversation, on).await?) })
}

pub fn fetch(handle: String) -> Answer<media_transfer::Content> {
    Box::pin(async move { Ok(instance::current()?.open(&handle).await?.into()) })
}

pub fn put(info: media_transfer::Upload, content: StreamReader<u8>) -> Answer<types::Media> {
    let content = transfer::content(info.size, content);
    Box::pin(async move { Ok(instance::current()?.put(info.into(), content).await?.into()) })
}

pub fn login_begin(about: &'static About) -> Answer<login_calls::Step> {
    Box::pin(async move { Ok(login::begin(about).await?.into()) })
}

pub fn login_next(about: &'static About) -> Answer<login_calls::Step> {
    Box::pin(async move { Ok(login::next(about).await?.into()) })
}

pub fn login_submit(about: &'static About, code: String) -> Answer<login_calls::Step> {
    Box::pin(async move { Ok(login::submit(about, &code).await?.into()) })
}

pub fn handle(request: Request) -> LocalFuture<'static, Result<Response, ErrorCode>> {
    Box::pin(async { webhook::respond(webhook::handle(request).await) })
}
