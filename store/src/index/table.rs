//! All queues of a store, by topic and number.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::queue::Queue;

type Topic = Vec<Option<Arc<Queue>>>;

/// Queues a topic can have; a larger number on disk is damage.
pub const MAX_QUEUES: u32 = 65_536;

/// All queues.
#[derive(Default)]
pub(crate) struct QueueTable {
    topics: RwLock<HashMap<Arc<str>, Topic>>,
    next_uid: AtomicU64,
}

impl QueueTable {
    pub fn get(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        self.topics.read().get(topic)?.get(id as usize)?.clone()
    }

    pub fn get_or_create(&self, topic: &str, id: u32) -> Arc<Queue> {
        debug_assert!(id < MAX_QUEUES, "callers check queue ids");
        if let Some(queue) = self.get(topic, id) {
            return queue;
        }
        let mut topics = self.topics.write();
        let name = topics.get_key_value(topic).map_or_else(|| Arc::from(topic), |(k, _)| k.clone());
        let queues = topics.entry(name.clone()).or_default();
        if queues.len() <= id as usize {
            queues.resize(id as usize + 1, None);
        }
        let uid = || self.next_uid.fetch_add(1, Ordering::Relaxed);
        queues[id as usize].get_or_insert_with(|| Arc::new(Queue::new(name, id, uid()))).clone()
    }

    pub fn remove(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.topics.write().remove(topic).unwrap_or_default().into_iter().flatten().collect()
    }

    /// Removes all queues.
    pub fn clear(&self) -> Vec<Arc<Queue>> {
        let topics = std::mem::take(&mut *self.topics.write());
        topics.into_values().flatten().flatten().collect()
    }

    /// Returns all queues sorted by topic and number.
    pub fn sorted(&self) -> Vec<Arc<Queue>> {
        let mut all: Vec<_> = self.topics.read().values().flatten().flatten().cloned().collect();
        all.sort_unstable_by(|a, b| (&a.topic, a.id).cmp(&(&b.topic, b.id)));
        all
    }

    /// Returns the topics that have queues, each with its highest queue number.
    pub fn topics(&self) -> Vec<(Arc<str>, u32)> {
        self.topics.read().iter().map(|(t, q)| (t.clone(), q.len().saturating_sub(1) as u32)).collect()
    }
}
