//! What it costs to hand work to a thread on the other CPU and get it back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Result;

use super::{Cpus, Limit, time_each};
use crate::cpu;

pub fn wake(cpus: Cpus) -> Result<Limit> {
    let turn = AtomicU64::new(0);
    let main = thread::current();
    let nanos = thread::scope(|scope| {
        // Odd turns are the helper's; u64::MAX ends it.
        let helper = scope.spawn(|| {
            cpu::pin(cpus.server)?;
            loop {
                match turn.load(Ordering::Acquire) {
                    u64::MAX => return Ok::<(), anyhow::Error>(()),
                    odd if odd % 2 == 1 => {
                        turn.store(odd + 1, Ordering::Release);
                        main.unpark();
                    }
                    _ => thread::park(),
                }
            }
        });
        let nanos = cpu::pinned_to(cpus.load, || {
            time_each(|| {
                let mine = turn.load(Ordering::Acquire);
                turn.store(mine + 1, Ordering::Release);
                helper.thread().unpark();
                while turn.load(Ordering::Acquire) == mine + 1 {
                    // A helper that ended can never answer.
                    anyhow::ensure!(!helper.is_finished(), "the helper thread could not be pinned");
                    thread::park_timeout(super::EACH);
                }
                Ok(())
            })
        });
        turn.store(u64::MAX, Ordering::Release);
        helper.thread().unpark();
        nanos
    })?;
    Ok(Limit::of_median("wake a thread on the other cpu, round trip", &nanos))
}
