//! The component: connects a platform to the world of `wit/`.
//!
//! [`imports`] alone calls the host, and [`convert`] alone turns the WIT's types into the core's and
//! back. [`account`] is what an instance does whatever its platform, [`instance`] what it does with one.
//! This file hands the exports on.

mod account;
mod convert;
mod imports;
mod instance;
mod login;
mod poll;
mod transfer;
mod values;
mod webhook;

#[doc(hidden)]
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "channel",
        pub_export_macro: true,
        generate_all,
    });
}

/// What `channel-with-webhook` exports besides: a component with both is of that world.
#[doc(hidden)]
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod webhook_bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package gateway:webhook; world webhook { export wasi:http/handler@0.3.0; }",
        world: "gateway:webhook/webhook",
        with: {
            "wasi:clocks/types@0.3.0": super::bindings::wasi::clocks::types,
            "wasi:http/types@0.3.0": super::bindings::wasi::http::types,
        },
        pub_export_macro: true,
    });
}

use std::marker::PhantomData;

use bindings::exports::gateway::channel::{
    inbound, lifecycle, login as login_calls, media_transfer, meta, outbound,
};
use bindings::gateway::channel::types;
use wit_bindgen::StreamReader;

use crate::error::Error;
use crate::platform::{Login, MediaTransfer, Platform, Polling, Webhook};

pub use instance::Instance;

/// The component of a platform.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

/// A platform with all that a component needs; [`export`](crate::export) and
/// [`export_with_webhook`](crate::export_with_webhook) make it one.
#[expect(async_fn_in_trait, reason = "a component has one thread")]
pub trait Exported: Platform + MediaTransfer + Login {
    /// Receives until draining, or until something fails that the caller of `receive` has to know.
    async fn attend(instance: &Instance<Self>) -> Result<(), Error>;
}

/// [`Exported::attend`] of a platform that is polled.
pub async fn poll<P: Exported + Polling>(instance: &Instance<P>) -> Result<(), Error> {
    instance.poll_all().await
}

/// [`Exported::attend`] of a platform that calls back.
pub async fn keep_ready<P: Exported + Webhook>(instance: &Instance<P>) -> Result<(), Error> {
    instance.keep_ready().await
}

impl<P: Exported> meta::Guest for Component<P> {
    fn describe() -> meta::Descriptor {
        convert::descriptor(P::NAME, P::describe())
    }
}

impl<P: Exported> lifecycle::Guest for Component<P> {
    async fn start() -> Result<(), types::Error> {
        Ok(instance::start::<P>().await?)
    }

    async fn drain(grace: types::Duration) -> Result<(), types::Error> {
        instance::drain::<P>(grace).await;
        Ok(())
    }

    async fn stop() -> Result<(), types::Error> {
        Ok(instance::stop::<P>().await?)
    }

    fn check() -> lifecycle::Health {
        instance::check::<P>().into()
    }
}

impl<P: Exported> inbound::Guest for Component<P> {
    async fn receive() -> Result<Vec<types::Event>, types::Error> {
        let deliveries = instance::current::<P>()?.receive().await?;
        Ok(deliveries.into_iter().map(types::Event::from).collect())
    }

    async fn ack(ids: Vec<String>) -> Result<(), types::Error> {
        Ok(instance::current::<P>()?.ack(&ids)?)
    }
}

impl<P: Exported> outbound::Guest for Component<P> {
    async fn send(post: outbound::Post) -> Result<types::Receipt, types::Error> {
        let receipt = instance::current::<P>()?.send(post.into()).await?;
        Ok(receipt.into())
    }

    async fn find(key: String) -> Result<Option<types::Receipt>, types::Error> {
        let receipt = instance::current::<P>()?.account.find(&key)?;
        Ok(receipt.map(types::Receipt::from))
    }

    async fn run() -> Result<(), types::Error> {
        Ok(instance::current::<P>()?.run().await?)
    }

    async fn typing(conversation: String, on: bool) -> Result<(), types::Error> {
        Ok(instance::current::<P>()?.typing(&conversation, on).await?)
    }
}

impl<P: Exported> media_transfer::Guest for Component<P> {
    async fn fetch(handle: String) -> Result<media_transfer::Content, types::Error> {
        let opened = instance::current::<P>()?.open(&handle).await?;
        Ok(opened.into())
    }

    async fn put(
        info: media_transfer::Upload,
        content: StreamReader<u8>,
    ) -> Result<types::Media, types::Error> {
        let content = transfer::content(info.size, content);
        let instance = instance::current::<P>()?;
        let media = instance.platform.put(&instance.host, info.into(), content);
        Ok(media.await?.into())
    }
}

impl<P: Exported> login_calls::Guest for Component<P> {
    async fn begin() -> Result<login_calls::Step, types::Error> {
        Ok(login::begin::<P>().await?.into())
    }

    async fn next() -> Result<login_calls::Step, types::Error> {
        Ok(login::next::<P>().await?.into())
    }

    async fn submit(code: String) -> Result<login_calls::Step, types::Error> {
        Ok(login::submit::<P>(&code).await?.into())
    }
}

impl<P: Exported + Webhook> webhook_bindings::exports::wasi::http::handler::Guest for Component<P> {
    async fn handle(
        request: bindings::wasi::http::types::Request,
    ) -> Result<bindings::wasi::http::types::Response, bindings::wasi::http::types::ErrorCode> {
        let answer = match webhook::read(request, P::MAX_BODY_BYTES).await {
            Ok(request) => instance::callback::<P>(request).await,
            Err(refusal) => refusal,
        };
        webhook::respond(answer)
    }
}
