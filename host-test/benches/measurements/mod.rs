//! What the benchmarks print of the machine and of times.

#![allow(
    dead_code,
    reason = "each bench has this module, and not all have times"
)]

use std::time::Duration;

/// The processor, its cores, and the system.
pub fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores, {}", std::env::consts::OS)
}

/// The median, the 99th percentile, the largest, and how many there are.
pub fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| {
        let index = (times.len().saturating_sub(1) as f64 * share).round() as usize;
        let time = times.get(index);
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    };
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, most {:.1} ms, n {}",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    )
}
