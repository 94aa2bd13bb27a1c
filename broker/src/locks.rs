//! Locks of queues for ordered consumption (P§8.6): one client of a group holds a queue, for 60 s after its last word.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::bodies::message_queue::MessageQueue;

/// How long a lock holds without renewal.
pub const EXPIRY: Duration = Duration::from_secs(60);

/// All queue locks.
#[derive(Default)]
pub struct QueueLocks {
    groups: Mutex<HashMap<String, HashMap<MessageQueue, Holder>>>,
}

struct Holder {
    client: String,
    since: Instant,
}

impl QueueLocks {
    /// Locks or renews; returns the queues the client holds then.
    pub fn lock(
        &self,
        group: &str,
        client: &str,
        queues: impl Iterator<Item = MessageQueue>,
        now: Instant,
    ) -> Vec<MessageQueue> {
        let mut groups = self.groups.lock();
        let held = groups.entry(group.to_owned()).or_default();
        let mut locked = Vec::new();
        for queue in queues {
            let free =
                held.get(&queue).is_none_or(|h| h.client == client || now.duration_since(h.since) > EXPIRY);
            if free {
                held.insert(queue.clone(), Holder { client: client.to_owned(), since: now });
                locked.push(queue);
            }
        }
        locked
    }

    /// Forgets locks that have expired.
    pub fn expire(&self, now: Instant) {
        self.groups.lock().retain(|_, held| {
            held.retain(|_, h| now.duration_since(h.since) <= EXPIRY);
            !held.is_empty()
        });
    }

    /// Gives up what the client holds of these queues.
    pub fn unlock(&self, group: &str, client: &str, queues: impl Iterator<Item = MessageQueue>) {
        let mut groups = self.groups.lock();
        let Some(held) = groups.get_mut(group) else { return };
        for queue in queues {
            if held.get(&queue).is_some_and(|h| h.client == client) {
                held.remove(&queue);
            }
        }
        if held.is_empty() {
            groups.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_held_by_one_client_until_it_unlocks_or_falls_silent() {
        let locks = QueueLocks::default();
        let queue =
            || std::iter::once(MessageQueue { broker_name: "b".into(), queue_id: 0, topic: "T".into() });
        let start = Instant::now();
        assert_eq!(locks.lock("G", "a", queue(), start).len(), 1);
        assert_eq!(locks.lock("G", "b", queue(), start).len(), 0);
        assert_eq!(locks.lock("H", "b", queue(), start).len(), 1, "another group has locks of its own");
        assert_eq!(locks.lock("G", "a", queue(), start + EXPIRY).len(), 1, "renewed");
        assert_eq!(locks.lock("G", "b", queue(), start + EXPIRY * 2).len(), 0, "60 s from the renewal on");
        assert_eq!(locks.lock("G", "b", queue(), start + EXPIRY * 2 + Duration::from_millis(1)).len(), 1);
        locks.unlock("G", "a", queue());
        assert_eq!(locks.lock("G", "a", queue(), start + EXPIRY * 2).len(), 0, "only the holder unlocks");
        locks.unlock("G", "b", queue());
        assert_eq!(locks.lock("G", "a", queue(), start + EXPIRY * 2).len(), 1);
        locks.expire(start + EXPIRY * 4);
        assert!(locks.groups.lock().is_empty());
    }
}
