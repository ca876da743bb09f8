//! Threads for instances that compute for long, so that the threads of all others stay free.

use tokio::runtime::{Builder, Handle, Runtime};

/// How far they stand behind the other threads of the process.
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
                // Of this thread alone, on Linux. Without it they are only apart.
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
            // It may be an instance that lets go of them, and that must not wait for itself.
            runtime.shutdown_background();
        }
    }
}
