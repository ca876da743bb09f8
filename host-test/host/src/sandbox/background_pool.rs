//! Threads for instances that compute for long, so that the threads of all others stay free.

use tokio::runtime::{Builder, Handle, Runtime};

/// The niceness of these threads, above that of the others.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Threads on all cores but one. They end with this value.
pub(super) struct BackgroundPool(Option<Runtime>);

impl BackgroundPool {
    pub fn start() -> std::io::Result<BackgroundPool> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.saturating_sub(1).max(1))
            .thread_name("computing")
            .on_thread_start(|| {
                // On Linux this concerns this thread alone. Elsewhere the threads are only separate.
                #[cfg(target_os = "linux")]
                let _ = rustix::process::nice(NICENESS);
            })
            .build()?;
        Ok(BackgroundPool(Some(runtime)))
    }
}

impl BackgroundPool {
    /// Where tasks are spawned on these threads; none while they end.
    pub fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for BackgroundPool {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // An instance on one of these threads may drop the last handle. It must not wait for itself.
            runtime.shutdown_background();
        }
    }
}
