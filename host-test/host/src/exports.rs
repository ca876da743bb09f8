//! What a component exports: the interfaces of a channel, and beside them the HTTP handler of one
//! whose platform calls back.
//!
//! Both are exports of the same instance, so a callback sees the state of the other calls.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

use crate::bindings::{Channel, ChannelIndices};
use crate::sandbox::Sandbox;

/// Where the exports of a component are.
#[derive(Clone)]
pub(crate) struct ExportsPre {
    instance: InstancePre<Sandbox>,
    channel: Arc<ChannelIndices>,
    /// Of the world `channel-with-webhook`.
    handler: Option<Arc<ServiceIndices>>,
}

/// The exports of an instance.
pub(crate) struct Exports {
    pub channel: Channel,
    pub handler: Option<Arc<Service>>,
}

impl ExportsPre {
    /// Finds the exports.
    ///
    /// # Errors
    /// When it is no channel.
    pub fn new(instance: InstancePre<Sandbox>) -> wasmtime::Result<ExportsPre> {
        Ok(ExportsPre {
            channel: Arc::new(ChannelIndices::new(&instance)?),
            handler: ServiceIndices::new(&instance).ok().map(Arc::new),
            instance,
        })
    }

    /// The component that has them.
    pub fn component(&self) -> &Component {
        self.instance.component()
    }

    /// Whether there is an HTTP handler.
    pub fn has_handler(&self) -> bool {
        self.handler.is_some()
    }

    /// A new instance.
    pub async fn instantiate_async(&self, store: &mut Store<Sandbox>) -> wasmtime::Result<Exports> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        let handler = match &self.handler {
            Some(handler) => Some(Arc::new(handler.load(&mut *store, &instance)?)),
            None => None,
        };
        Ok(Exports {
            channel: self.channel.load(&mut *store, &instance)?,
            handler,
        })
    }
}
