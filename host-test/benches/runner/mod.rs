//! The runner's binary as a process of its own, and what it takes.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gateway_simulator::Simulator;

/// A runner that talks to a simulated server; killed when it is dropped.
pub struct Runner(Child);

impl Runner {
    /// Starts it with its state under `folder`, from where replies may also name files.
    pub fn new(simulator: &Simulator, folder: &std::path::Path, agent: &str) -> Runner {
        let state = format!("dir:{}", folder.join("state").display());
        let child = Command::new(env!("CARGO_BIN_EXE_host-test"))
            .args(["run", "--state", &state, "--agent", agent])
            .args(["--component", env!("COMPONENT"), "--media-dir"])
            .arg(folder)
            .env("RUST_LOG", "warn")
            .env("WEIXIN_BASE_URL", simulator.base_url())
            .env("WEIXIN_CDN_BASE_URL", simulator.cdn_base_url())
            .env("WEIXIN_TOKEN", simulator.token())
            .env("WEIXIN_ACCOUNT_ID", simulator.account_id())
            .env("WEIXIN_SEND_INTERVAL_MS", "0")
            .stdin(Stdio::null())
            .spawn()
            .expect("the runner starts");
        Runner(child)
    }

    /// CPU time that the process has taken.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        let stat = stat.expect("Linux");
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum();
        // Linux counts in hundredths of a second.
        Duration::from_millis(ticks * 10)
    }

    /// Most KiB that were ever resident.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        status
            .expect("Linux")
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
