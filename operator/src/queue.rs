//! Which cluster is looked at next, and when: one at a time for each, several at once, failures further and further
//! apart. Time is passed in; `run.rs` waits.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::caches::ClusterKey;

/// Between two looks at one cluster at least this long, so that a burst of news is looked at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// After failures, doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Clusters waiting for a look. Each stands in it once.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    due: HashMap<ClusterKey, Instant>,
    running: HashSet<ClusterKey>,
    pauses: HashMap<ClusterKey, Pause>,
}

/// Not before then, and after how many failures.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    failures: u32,
}

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Look again after this time, or earlier when there is news.
    Again(Duration),
    /// Look again after a pause that grows; news does not shorten it, unless it is the user's.
    Failed,
    /// The cluster is gone.
    Gone,
}

impl Queue {
    /// There is news of a cluster.
    pub fn news(&self, key: &ClusterKey) {
        self.put(key, Instant::now());
    }

    /// The user changed a cluster: what failed may work now.
    pub fn changed_by_user(&self, key: &ClusterKey) {
        self.state.lock().pauses.remove(key);
        self.put(key, Instant::now());
    }

    fn put(&self, key: &ClusterKey, at: Instant) {
        self.state.lock().put(key, at);
        self.changed.notify_one();
    }

    /// Waits for the next cluster that is due and not being looked at. Hand it back with [`Queue::ended`]. Safe to
    /// cancel.
    pub async fn next(&self) -> ClusterKey {
        loop {
            let next = self.state.lock().next(Instant::now());
            match next {
                Ok(key) => {
                    // There may be more for others.
                    self.changed.notify_one();
                    return key;
                }
                Err(None) => self.changed.notified().await,
                Err(Some(at)) => {
                    let _ = tokio::time::timeout_at(at, self.changed.notified()).await;
                }
            }
        }
    }

    /// Says how the look at a cluster ended.
    pub fn ended(&self, key: &ClusterKey, ended: Ended) {
        let jitter = rand::rng().random_range(0.0..1.0);
        self.state.lock().ended(key, ended, Instant::now(), jitter);
        self.changed.notify_one();
    }

    /// Returns how many clusters are due now and not being looked at.
    pub fn depth(&self) -> usize {
        let (state, now) = (self.state.lock(), Instant::now());
        state.due.iter().filter(|(key, at)| **at <= now && !state.running.contains(*key)).count()
    }
}

impl State {
    fn put(&mut self, key: &ClusterKey, at: Instant) {
        let at = self.pauses.get(key).map_or(at, |pause| at.max(pause.until));
        let due = self.due.entry(key.clone()).or_insert(at);
        *due = (*due).min(at);
    }

    /// Returns what is due, or when something will be.
    fn next(&mut self, now: Instant) -> Result<ClusterKey, Option<Instant>> {
        let waiting = self.due.iter().filter(|(key, _)| !self.running.contains(*key));
        let Some((key, at)) = waiting.min_by_key(|(_, at)| **at) else { return Err(None) };
        if *at > now {
            return Err(Some(*at));
        }
        let key = key.clone();
        self.due.remove(&key);
        self.running.insert(key.clone());
        Ok(key)
    }

    /// `jitter` is between 0 and 1.
    fn ended(&mut self, key: &ClusterKey, ended: Ended, now: Instant, jitter: f64) {
        self.running.remove(key);
        let failures = self.pauses.get(key).map_or(0, |pause| pause.failures);
        let (pause, failures, again) = match ended {
            Ended::Gone => {
                // News that came meanwhile is of a new one of the same name.
                self.pauses.remove(key);
                return;
            }
            // A little earlier, so that clusters that were looked at together are not for ever.
            Ended::Again(after) => (SHORTEST_PAUSE, 0, after.mul_f64(1.0 - 0.2 * jitter).max(SHORTEST_PAUSE)),
            Ended::Failed => {
                let longest =
                    FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_BACKOFF);
                let pause = longest.mul_f64(0.5 + 0.5 * jitter);
                (pause, failures.saturating_add(1), pause)
            }
        };
        let until = now + pause;
        self.pauses.insert(key.clone(), Pause { until, failures });
        if let Some(due) = self.due.get_mut(key) {
            *due = (*due).max(until);
        }
        self.put(key, now + again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ClusterKey {
        ClusterKey::new("ns", name)
    }

    #[test]
    fn a_cluster_is_looked_at_by_one_and_again_when_there_was_news() {
        let (mut state, now) = (State::default(), Instant::now());
        state.put(&key("a"), now);
        state.put(&key("a"), now);
        assert_eq!(state.next(now), Ok(key("a")));
        state.put(&key("a"), now);
        assert_eq!(state.next(now), Err(None));
        state.ended(&key("a"), Ended::Again(Duration::from_secs(10)), now, 0.0);
        assert_eq!(state.next(now), Err(Some(now + SHORTEST_PAUSE)));
        assert_eq!(state.next(now + SHORTEST_PAUSE), Ok(key("a")));
        state.ended(&key("a"), Ended::Again(Duration::from_secs(10)), now, 0.0);
        assert_eq!(state.next(now), Err(Some(now + Duration::from_secs(10))));
    }

    #[test]
    fn failures_are_further_and_further_apart_whatever_the_news() {
        let (mut state, mut now) = (State::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            state.put(&key("a"), now);
            assert_eq!(state.next(now), Ok(key("a")));
            state.ended(&key("a"), Ended::Failed, now, 1.0);
            state.put(&key("a"), now);
            let Err(Some(at)) = state.next(now) else { panic!("{state:?}") };
            pauses.push((at - now).as_millis());
            now = at;
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(state.next(now), Ok(key("a")));
        state.ended(&key("a"), Ended::Again(Duration::ZERO), now, 1.0);
        assert_eq!(state.next(now), Err(Some(now + SHORTEST_PAUSE)));
    }

    #[test]
    fn jitter_shortens_a_pause_by_half_at_most() {
        let (mut state, now) = (State::default(), Instant::now());
        state.put(&key("a"), now);
        state.next(now).unwrap();
        state.ended(&key("a"), Ended::Failed, now, 0.0);
        assert_eq!(state.next(now), Err(Some(now + FIRST_BACKOFF / 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_user_changes_is_looked_at_at_once_and_what_is_gone_never() {
        let queue = Queue::default();
        queue.news(&key("a"));
        queue.news(&key("b"));
        assert_eq!(queue.depth(), 2);
        for _ in 0..2 {
            let next = queue.next().await;
            queue.ended(&next, Ended::Failed);
        }
        queue.changed_by_user(&key("a"));
        let before = Instant::now();
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(Instant::now(), before);
        queue.ended(&key("a"), Ended::Gone);
        assert_eq!(queue.next().await, key("b"));
        queue.ended(&key("b"), Ended::Gone);
        assert_eq!(queue.depth(), 0);
        assert!(tokio::time::timeout(Duration::from_secs(3_600), queue.next()).await.is_err());
    }
}
