//! `wasi:clocks@0.3.0` on the host's clock, so that tests can advance it.

use std::time::Duration;

use wasmtime::component::{Accessor, HasSelf};

use super::Sandbox;
use crate::bindings::wasi::clocks::{monotonic_clock, system_clock, types};

const RESOLUTION_NS: u64 = 1000;

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl types::Host for Sandbox {}

impl monotonic_clock::Host for Sandbox {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(ns(self.clock.elapsed()))
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(RESOLUTION_NS)
    }
}

impl monotonic_clock::HostWithStore<Sandbox> for HasSelf<Sandbox> {
    async fn wait_until(store: &Accessor<Sandbox, Self>, when: u64) -> wasmtime::Result<()> {
        let clock = store.with(|mut access| access.get().clock.clone());
        clock.sleep_until(Duration::from_nanos(when)).await;
        Ok(())
    }

    async fn wait_for(store: &Accessor<Sandbox, Self>, how_long: u64) -> wasmtime::Result<()> {
        let clock = store.with(|mut access| access.get().clock.clone());
        clock.sleep(Duration::from_nanos(how_long)).await;
        Ok(())
    }
}

impl system_clock::Host for Sandbox {
    fn now(&mut self) -> wasmtime::Result<system_clock::Instant> {
        let now = self.clock.unix();
        Ok(system_clock::Instant {
            seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: now.subsec_nanos(),
        })
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(RESOLUTION_NS)
    }
}
