//! The component: connects the core to the world of `wit/`.
//!
//! There is one for each platform, by a feature: `weixin`, of the world `channel`, and `wecom`, of the
//! world `channel-with-webhook`. Shared are [`imports`], which alone calls the host, [`convert`], which
//! alone turns the WIT's types into the core's and back, [`values`], and [`instance`], which does the
//! work. What differs is the [`descriptor`] and one module below `instance`, chosen there: the poll or
//! the callbacks, one request of the lane, and what surrounds a transfer. This file only hands the
//! exports on.

#[cfg(all(feature = "weixin", feature = "wecom"))]
compile_error!("a component is for one platform: leave the feature `weixin` or `wecom` out");
#[cfg(not(any(feature = "weixin", feature = "wecom")))]
compile_error!("a component is for one platform: choose the feature `weixin` or `wecom`");

mod convert;
mod descriptor;
mod imports;
mod instance;
mod signal;
mod values;
#[cfg(feature = "wecom")]
mod webhook;

#[cfg(feature = "weixin")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "channel",
        generate_all,
    });
}

#[cfg(feature = "wecom")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "channel-with-webhook",
        generate_all,
    });
}

use bindings::exports::gateway::channel::{
    inbound, lifecycle, login, media_transfer, meta, outbound,
};
use bindings::gateway::channel::types;
use wit_bindgen::StreamReader;

struct Component;

bindings::export!(Component with_types_in bindings);

impl meta::Guest for Component {
    fn describe() -> meta::Descriptor {
        descriptor::descriptor()
    }
}

impl lifecycle::Guest for Component {
    async fn start() -> Result<(), types::Error> {
        Ok(instance::start().await?)
    }

    async fn drain(grace: types::Duration) -> Result<(), types::Error> {
        instance::drain(grace).await;
        Ok(())
    }

    async fn stop() -> Result<(), types::Error> {
        Ok(instance::stop().await?)
    }

    fn check() -> lifecycle::Health {
        instance::check().into()
    }
}

impl inbound::Guest for Component {
    async fn receive() -> Result<Vec<types::Event>, types::Error> {
        let deliveries = instance::current()?.receive().await?;
        Ok(deliveries.into_iter().map(types::Event::from).collect())
    }

    async fn ack(ids: Vec<String>) -> Result<(), types::Error> {
        Ok(instance::current()?.ack(&ids)?)
    }
}

impl outbound::Guest for Component {
    async fn send(post: outbound::Post) -> Result<types::Receipt, types::Error> {
        let receipt = instance::current()?.send(post.into()).await?;
        Ok(receipt.into())
    }

    async fn find(key: String) -> Result<Option<types::Receipt>, types::Error> {
        let receipt = instance::current()?.find(&key)?;
        Ok(receipt.map(types::Receipt::from))
    }

    async fn run() -> Result<(), types::Error> {
        Ok(instance::current()?.run().await?)
    }

    async fn typing(conversation: String, on: bool) -> Result<(), types::Error> {
        Ok(instance::current()?.typing(&conversation, on).await?)
    }
}

impl media_transfer::Guest for Component {
    async fn fetch(handle: String) -> Result<media_transfer::Content, types::Error> {
        let opened = instance::current()?.open(&handle).await?;
        Ok(opened.into())
    }

    async fn put(
        info: media_transfer::Upload,
        content: StreamReader<u8>,
    ) -> Result<types::Media, types::Error> {
        let media = instance::current()?.put(info.into(), content).await?;
        Ok(media.into())
    }
}

impl login::Guest for Component {
    async fn begin() -> Result<login::Step, types::Error> {
        Ok(instance::login::begin().await?.into())
    }

    async fn next() -> Result<login::Step, types::Error> {
        Ok(instance::login::next().await?.into())
    }

    async fn submit(code: String) -> Result<login::Step, types::Error> {
        Ok(instance::login::submit(&code).await?.into())
    }
}

#[cfg(feature = "wecom")]
impl bindings::exports::wasi::http::handler::Guest for Component {
    async fn handle(
        request: bindings::wasi::http::types::Request,
    ) -> Result<bindings::wasi::http::types::Response, bindings::wasi::http::types::ErrorCode> {
        let answer = match webhook::read(request).await {
            Ok(callback) => instance::callback(callback).await,
            Err(refusal) => refusal,
        };
        webhook::respond(answer)
    }
}
