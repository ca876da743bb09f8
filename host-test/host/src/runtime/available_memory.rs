//! Why the system gives no more memory, and what there is of it.

use std::fmt;
use std::fs;

use rustix::process::{Resource, getrlimit};
use wasmtime::PoolConcurrencyLimitError;

use super::allocation::Allocation;

const MIB: u64 = 1024 * 1024;
/// Of a limit: what is nearer to it has reached it.
const NEARLY: u64 = 95;

/// The address space of a process that may not have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressSpace {
    limit: u64,
    pub left: u64,
}

impl fmt::Display for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the address space of this process is limited to {} MiB, and {} MiB of it are left: raise \
             that with `ulimit -v unlimited` (systemd: LimitAS=infinity)",
            self.limit / MIB,
            self.left / MIB
        )
    }
}

/// What this process may have, where that is limited.
pub(super) fn address_space() -> Option<AddressSpace> {
    let limit = getrlimit(Resource::As).current?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let used = used.and_then(|used| used.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let used = used.unwrap_or(0).saturating_mul(1024);
    Some(AddressSpace {
        limit,
        left: limit.saturating_sub(used),
    })
}

/// What may keep the system from giving more.
#[derive(Debug, Default)]
struct Limits {
    address_space: Option<AddressSpace>,
    /// Mappings of this process, and how many it may have.
    mappings: Option<(u64, u64)>,
    /// Memory of the control group in bytes, and how much it may have.
    group: Option<(u64, u64)>,
    /// Whether the kernel promises no more than it has.
    is_strict: bool,
}

impl Limits {
    fn read() -> Limits {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let maps = fs::read_to_string("/proc/self/maps").ok();
        let maps = maps.and_then(|maps| u64::try_from(maps.lines().count()).ok());
        let most = number("/proc/sys/vm/max_map_count");
        let groups = ["/sys/fs/cgroup".to_owned(), own_group().unwrap_or_default()];
        let group = groups.iter().find_map(|group| {
            let most = number(&format!("{group}/memory.max"))?;
            Some((number(&format!("{group}/memory.current"))?, most))
        });
        Limits {
            address_space: address_space(),
            mappings: maps.zip(most),
            group,
            is_strict: number("/proc/sys/vm/overcommit_memory") == Some(2),
        }
    }

    /// What is to blame, and what to do about it.
    fn cause(&self) -> String {
        let is_near = |(used, most): (u64, u64)| used >= most / 100 * NEARLY;
        if let Some((maps, most)) = self.mappings.filter(|both| is_near(*both)) {
            return format!(
                "this process has {maps} memory mappings of at most {most}: raise vm.max_map_count, \
                 for instance with `sysctl -w vm.max_map_count=262144`, or run fewer accounts in one \
                 process"
            );
        }
        if let Some(space) = self.address_space {
            return space.to_string();
        }
        if let Some((used, most)) = self.group.filter(|both| is_near(*both)) {
            return format!(
                "its control group has {} MiB of at most {} MiB: raise the container's memory limit \
                 (systemd: MemoryMax=), or run fewer accounts in it",
                used / MIB,
                most / MIB
            );
        }
        if self.is_strict {
            return "vm.overcommit_memory is 2, with which the kernel counts what is only reserved: \
                    set it to 0, or raise vm.overcommit_ratio"
                .to_owned();
        }
        "give the machine more memory, or run fewer accounts in one process".to_owned()
    }
}

/// The directory of this process's control group, of the second version.
fn own_group() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{}", path.trim_end_matches('/')))
}

/// What is wrong and what to do, where an instance can't be made for want of room.
pub(super) fn out_of_memory(error: &wasmtime::Error, allocation: Allocation) -> Option<String> {
    if error.is::<PoolConcurrencyLimitError>() {
        let instances = match allocation {
            Allocation::Pooled(instances) => instances,
            Allocation::OnDemand => 0,
        };
        return Some(format!(
            "the pool of {instances} instances has no more of what it needs ({}): raise \
             `RuntimeOptions::allocation`, or start the runner again, which goes by its accounts file",
            super::innermost(error)
        ));
    }
    let text = format!("{error:#}");
    if !text.contains("os error 12") && !text.contains("Cannot allocate memory") {
        return None;
    }
    let cause = Limits::read().cause();
    Some(format!("the system gives no more memory ({text}): {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_limit_that_was_reached() {
        let space = AddressSpace {
            limit: 4000 * MIB,
            left: 10 * MIB,
        };
        for (limits, expect) in [
            (
                Limits {
                    mappings: Some((65_529, 65_530)),
                    ..Limits::default()
                },
                "sysctl -w vm.max_map_count=",
            ),
            (
                Limits {
                    address_space: Some(space),
                    mappings: Some((300, 65_530)),
                    ..Limits::default()
                },
                "`ulimit -v unlimited`",
            ),
            (
                Limits {
                    mappings: Some((300, 65_530)),
                    group: Some((255 * MIB, 256 * MIB)),
                    ..Limits::default()
                },
                "the container's memory limit",
            ),
            (
                Limits {
                    mappings: Some((300, 65_530)),
                    group: Some((25 * MIB, 256 * MIB)),
                    is_strict: true,
                    ..Limits::default()
                },
                "vm.overcommit_memory is 2",
            ),
            (
                Limits {
                    mappings: Some((300, 65_530)),
                    ..Limits::default()
                },
                "give the machine more memory",
            ),
            (Limits::default(), "give the machine more memory"),
        ] {
            let cause = limits.cause();
            assert!(cause.contains(expect), "{limits:?}: {cause}");
            let is_of_mappings = limits.mappings.is_some_and(|(maps, _)| maps > 60_000);
            assert_eq!(cause.contains("max_map_count"), is_of_mappings, "{cause}");
        }
    }

    #[test]
    fn only_a_want_of_memory_is_one() {
        let error = wasmtime::Error::from(std::io::Error::from_raw_os_error(12));
        let error = error.context("mmap failed to reserve");
        let text = out_of_memory(&error, Allocation::OnDemand).unwrap();
        assert!(text.contains("mmap failed to reserve"), "{text}");
        let other = wasmtime::Error::from(std::io::Error::from_raw_os_error(2));
        assert_eq!(out_of_memory(&other, Allocation::OnDemand), None);
    }
}
