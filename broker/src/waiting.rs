//! Who waits for messages: per queue the pulls that found nothing. An append wakes those whose filter lets the message
//! through; nothing sweeps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use remoting::Mailbox;
use store::Queue;

use crate::tags::TagFilter;

/// All parked pulls.
pub struct Waiting {
    queues: Mutex<HashMap<u64, BTreeMap<Key, Waiter>>>,
    parked: AtomicUsize,
    most: usize,
}

/// Connection and token.
type Key = (u64, u64);

struct Waiter {
    filter: TagFilter,
    mailbox: Arc<Mailbox>,
}

impl Waiting {
    /// Makes an empty table that holds `most` pulls.
    pub fn new(most: usize) -> Waiting {
        Waiting { queues: Mutex::default(), parked: AtomicUsize::new(0), most }
    }

    /// Parks a pull. The caller must look at the queue again afterwards: a message may have come in between. Returns
    /// false when too many are parked.
    pub fn park(
        &self,
        queue: &Queue,
        connection: u64,
        token: u64,
        filter: TagFilter,
        mailbox: Arc<Mailbox>,
    ) -> bool {
        if self.parked.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.parked.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let mut queues = self.queues.lock();
        queues.entry(queue.uid).or_default().insert((connection, token), Waiter { filter, mailbox });
        queue.waiters.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Takes a pull away, if it was not woken already.
    pub fn unpark(&self, queue: &Queue, connection: u64, token: u64) {
        self.take(queue, |waiters| waiters.remove(&(connection, token)).map_or(0, |_| 1));
    }

    /// A message with these tags was appended to a queue.
    pub fn wake(&self, queue: &Queue, tags_code: i64) {
        if queue.waiters.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.wake_those(queue, |w| w.filter.matches(tags_code));
    }

    /// A queue is no more: whoever waits for it has to hear so.
    pub fn wake_all(&self, queue: &Queue) {
        self.wake_those(queue, |_| true);
    }

    fn wake_those(&self, queue: &Queue, wanted: impl Fn(&Waiter) -> bool) {
        let mut woken = Vec::new();
        self.take(queue, |waiters| {
            woken.extend(waiters.extract_if(.., |_, w| wanted(w)));
            woken.len()
        });
        for ((_, token), waiter) in woken {
            waiter.mailbox.token(token);
        }
    }

    /// `from` removes waiters of a queue and says how many.
    fn take(&self, queue: &Queue, from: impl FnOnce(&mut BTreeMap<Key, Waiter>) -> usize) {
        let mut queues = self.queues.lock();
        let Some(waiters) = queues.get_mut(&queue.uid) else { return };
        let taken = from(waiters);
        if waiters.is_empty() {
            queues.remove(&queue.uid);
        }
        queue.waiters.fetch_sub(taken, Ordering::SeqCst);
        self.parked.fetch_sub(taken, Ordering::Relaxed);
    }

    /// Returns how many pulls are parked.
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }
}
