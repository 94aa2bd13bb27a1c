//! How many clusters restart pods at a time: after an upgrade of the operator all would at once.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::caches::ClusterKey;

/// Places for clusters that restart pods.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    taken: Mutex<HashSet<ClusterKey>>,
}

impl Slots {
    pub fn new(most: u32) -> Slots {
        Slots { most: usize::try_from(most).unwrap_or(usize::MAX), taken: Mutex::default() }
    }

    /// Whether a cluster may begin.
    pub fn may(&self, key: &ClusterKey) -> bool {
        let taken = self.taken.lock();
        taken.contains(key) || taken.len() < self.most
    }

    /// Takes a place, unless another was faster.
    pub fn take(&self, key: &ClusterKey) -> bool {
        let mut taken = self.taken.lock();
        let may = taken.contains(key) || taken.len() < self.most;
        if may {
            taken.insert(key.clone());
        }
        may
    }

    /// Gives the place back, if there is one.
    pub fn free(&self, key: &ClusterKey) {
        self.taken.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_clusters_than_allowed_restart_at_a_time() {
        let (slots, a, b) = (Slots::new(1), ClusterKey::new("ns", "a"), ClusterKey::new("ns", "b"));
        assert!(slots.may(&a) && slots.may(&b));
        assert!(slots.take(&a) && slots.take(&a));
        assert!(slots.may(&a) && !slots.may(&b) && !slots.take(&b));
        slots.free(&a);
        assert!(slots.take(&b) && !slots.may(&a));
    }
}
