//! The task of an instance: its event loop, until it ends or is stopped.

use std::pin::{Pin, pin};
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};
use wasmtime::component::Accessor;

use super::{Call, end};
use crate::bindings::Channel;
use crate::exports::Exports;
use crate::runtime::{Started, metered};
use crate::sandbox::Sandbox;
use crate::sandbox::cpu::Meter;
use crate::sandbox::limits::Exceeded;

/// Runs an instance to its end, and says why it ended.
pub(super) async fn run(
    started: Started,
    mut queue: mpsc::UnboundedReceiver<Call>,
    mut stopped: watch::Receiver<Option<Exceeded>>,
) -> String {
    let Started {
        mut store,
        exports: Exports { channel, .. },
        meter,
    } = started;
    let (stderr, tenant) = (store.data().stderr(), Arc::clone(store.data().tenant()));
    let returning = meter.clone();
    let serving = store.run_concurrent(async |accessor| {
        let serving = pin!(serve(accessor, &channel, &mut queue));
        noting_returns(returning, serving).await
    });
    let result = tokio::select! {
        biased;
        // This works even while the component keeps the event loop from reading the queue.
        stop = stopped.wait_for(Option::is_some) => match stop.as_deref() {
            Ok(Some(exceeded)) => Err(exceeded.clone().into()),
            // The last handle is gone.
            Ok(None) | Err(_) => Ok(()),
        },
        result = metered(meter, &tenant, serving) => result.and_then(|result| result),
    };
    match result {
        Ok(()) => "it was let go".to_owned(),
        Err(error) => end::reason(&error, &stderr.contents(), &tenant.limits),
    }
}

/// Notes each time that the component has returned to the event loop, which then looks at `serving`
/// before anything else.
async fn noting_returns<F: Future>(
    meter: Option<Arc<Meter>>,
    mut serving: Pin<&mut F>,
) -> F::Output {
    std::future::poll_fn(|context| {
        if let Some(meter) = &meter {
            meter.returned();
        }
        serving.as_mut().poll(context)
    })
    .await
}

/// Runs calls beside each other until the last handle is dropped or one of them traps.
async fn serve(
    accessor: &Accessor<Sandbox>,
    channel: &Channel,
    queue: &mut mpsc::UnboundedReceiver<Call>,
) -> wasmtime::Result<()> {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            call = queue.recv() => match call {
                Some(call) => running.push(call(accessor, channel)),
                None => return Ok(()),
            },
            Some(result) = running.next() => result?,
        }
    }
}
