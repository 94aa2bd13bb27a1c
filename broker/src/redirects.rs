//! Pulls of one connection that a slave sent to its master. One that comes back at once did not get there, because the
//! client's route knows no master say, and is served like any other from then on: client and slave would toss it to and
//! fro as fast as they can.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A pull that comes back within this time did not get to the master; clients hold pulls as long.
const COMES_BACK: Duration = Duration::from_secs(15);
/// Pulls remembered; a client has one per queue and group.
const MAX_REMEMBERED: usize = 16_384;

/// Queue, by its number, and consumer group.
type Key = (u64, String);

/// Pulls that were sent to the master.
#[derive(Default)]
pub struct Redirects {
    sent: HashMap<Key, (i64, Instant)>,
}

impl Redirects {
    /// Says whether a pull may be sent to the master.
    pub fn allow(&self, queue: u64, group: &str, offset: i64, now: Instant) -> bool {
        if self.sent.is_empty() {
            return true;
        }
        let last = self.sent.get(&(queue, group.to_owned()));
        last.is_none_or(|(at, when)| *at != offset || now.saturating_duration_since(*when) >= COMES_BACK)
    }

    /// A pull was sent to the master.
    pub fn on_redirect(&mut self, queue: u64, group: &str, offset: i64, now: Instant) {
        if self.sent.len() >= MAX_REMEMBERED {
            self.sent.clear();
        }
        self.sent.insert((queue, group.to_owned()), (offset, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pull_that_comes_back_at_once_is_kept() {
        let (mut redirects, now) = (Redirects::default(), Instant::now());
        assert!(redirects.allow(1, "G", 5, now));
        redirects.on_redirect(1, "G", 5, now);
        let soon = now + Duration::from_secs(14);
        assert!(!redirects.allow(1, "G", 5, soon));
        assert!(redirects.allow(1, "G", 6, soon), "it got on meanwhile");
        assert!(redirects.allow(2, "G", 5, soon) && redirects.allow(1, "H", 5, soon), "others");
        assert!(redirects.allow(1, "G", 5, now + COMES_BACK));
    }

    #[test]
    fn memory_for_pulls_sent_away_is_bounded() {
        let (mut redirects, now) = (Redirects::default(), Instant::now());
        for queue in 0..MAX_REMEMBERED as u64 * 2 + 1 {
            redirects.on_redirect(queue, "G", 0, now);
        }
        assert_eq!(redirects.sent.len(), 1);
    }
}
