//! Where the instances of a process get their memory from.

/// Where instances get their memory from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// From a pool of address space for this many instances. Where there is not that much address
    /// space, each takes its own.
    Pooled(u32),
    /// Each from the system, as many as that takes.
    OnDemand,
}
