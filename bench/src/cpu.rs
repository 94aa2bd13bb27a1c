//! Which CPU a thread may run on. Results flip by a factor of 2.7 with placement, so every measured
//! thread is pinned.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins the calling thread, and every thread and process that it starts from now on.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("pin to cpu {cpu}: does this machine have it?"))
}

/// Runs `act` pinned to `cpu`, then puts the calling thread back; what `act` started stays pinned.
pub fn pinned_to<T>(cpu: usize, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None).context("read the cpus of this thread")?;
    pin(cpu)?;
    let result = act();
    sched_setaffinity(None, &before).context("restore the cpus of this thread")?;
    result
}

/// Returns how many CPUs this process may use.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
