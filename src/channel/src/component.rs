//! The component: connects a platform to the world of `wit/`.
//!
//! [`imports`] alone calls the host, and [`convert`] alone turns the WIT's types into the core's and
//! back. [`account`] is what an instance does whatever its platform, and [`instance`] what it does with
//! one, which stands behind the pointers of [`erased`]. [`exports`] are the calls of the world; here they
//! are given the types that the bindings want.

mod account;
mod convert;
mod erased;
mod exports;
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
use bindings::wasi::http::types::{ErrorCode, Request, Response};
use wit_bindgen::StreamReader;

use crate::platform::{Login, MediaTransfer, Platform};
use erased::About;
pub use erased::Source;

/// The component of a platform.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

/// A platform with all that a component needs; [`export`](crate::export) and
/// [`export_with_webhook`](crate::export_with_webhook) make it one.
pub trait Exported: Platform + MediaTransfer + Login {
    /// Where events come from.
    fn source(&'static self) -> Source;
}

impl<P: Exported> Component<P> {
    const ABOUT: &'static About = &About::of::<P>();
}

impl<P: Exported> meta::Guest for Component<P> {
    fn describe() -> meta::Descriptor {
        exports::describe(Self::ABOUT)
    }
}

impl<P: Exported> lifecycle::Guest for Component<P> {
    async fn start() -> Result<(), types::Error> {
        exports::start(Self::ABOUT).await
    }

    async fn drain(grace: types::Duration) -> Result<(), types::Error> {
        exports::drain(grace).await
    }

    async fn stop() -> Result<(), types::Error> {
        exports::stop().await
    }

    fn check() -> lifecycle::Health {
        exports::check()
    }
}

impl<P: Exported> inbound::Guest for Component<P> {
    async fn receive() -> Result<Vec<types::Event>, types::Error> {
        exports::receive().await
    }

    async fn ack(ids: Vec<String>) -> Result<(), types::Error> {
        exports::ack(&ids)
    }
}

impl<P: Exported> outbound::Guest for Component<P> {
    async fn send(post: outbound::Post) -> Result<types::Receipt, types::Error> {
        exports::send(post).await
    }

    async fn find(key: String) -> Result<Option<types::Receipt>, types::Error> {
        exports::find(&key)
    }

    async fn run() -> Result<(), types::Error> {
        exports::run().await
    }

    async fn typing(conversation: String, on: bool) -> Result<(), types::Error> {
        exports::typing(conversation, on).await
    }
}

impl<P: Exported> media_transfer::Guest for Component<P> {
    async fn fetch(handle: String) -> Result<media_transfer::Content, types::Error> {
        exports::fetch(handle).await
    }

    async fn put(
        info: media_transfer::Upload,
        content: StreamReader<u8>,
    ) -> Result<types::Media, types::Error> {
        exports::put(info, content).await
    }
}

impl<P: Exported> login_calls::Guest for Component<P> {
    async fn begin() -> Result<login_calls::Step, types::Error> {
        exports::login_begin(Self::ABOUT).await
    }

    async fn next() -> Result<login_calls::Step, types::Error> {
        exports::login_next(Self::ABOUT).await
    }

    async fn submit(code: String) -> Result<login_calls::Step, types::Error> {
        exports::login_submit(Self::ABOUT, code).await
    }
}

impl<P: Exported> webhook_bindings::exports::wasi::http::handler::Guest for Component<P> {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        exports::handle(request).await
    }
}
