//! Senders in the background that go on through every fault and write what became of it into a ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ledger::Ledger;
use crate::sizes::Sizes;
use crate::talk::Talk;

/// How long a sender rests after a send that was refused or is not stored as was asked for.
const AFTER_A_REFUSAL: Duration = Duration::from_millis(50);

/// What is sent, to whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker, `ip:port`.
    pub addr: String,
    /// The topic.
    pub topic: &'static str,
    /// Its queues; senders share them.
    pub queues: u32,
    /// Connections with one send in flight each.
    pub senders: u32,
    /// Sizes of bodies.
    pub sizes: Sizes,
    /// How long a sender rests after each send.
    pub pause: Duration,
    /// Sends in all; without it, until the load is stopped.
    pub count: Option<u64>,
}

/// Running senders; dropping it stops them.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the senders.
    pub fn start(ledger: &Arc<Ledger>, plan: &Plan) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let senders = (0..plan.senders).map(|number| {
            let (ledger, plan, stop) = (ledger.clone(), plan.clone(), stop.clone());
            std::thread::spawn(move || keep_sending(&ledger, &plan, number, &stop))
        });
        Load { senders: senders.collect(), stop }
    }

    /// Says whether all has been sent that was planned.
    pub fn is_over(&self) -> bool {
        self.senders.iter().all(JoinHandle::is_finished)
    }

    /// Stops the senders; each ends with the send it waits for.
    ///
    /// # Panics
    /// When a sender did: an answer was not what it must be.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Whoever drops it without stopping it is failing already.
        self.senders.drain(..).for_each(|sender| drop(sender.join()));
    }
}

fn keep_sending(ledger: &Ledger, plan: &Plan, number: u32, stop: &AtomicBool) {
    let queue = (number % plan.queues) as i32;
    let is_done = || stop.load(Ordering::Relaxed) || plan.count.is_some_and(|count| ledger.sent() >= count);
    while !is_done() {
        let Ok(mut talk) = Talk::connect(&plan.addr) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !is_done() {
            let Ok(acknowledged) = ledger.send(&mut talk, plan.topic, queue, plan.sizes) else { break };
            std::thread::sleep(if acknowledged { plan.pause } else { AFTER_A_REFUSAL });
        }
    }
}
