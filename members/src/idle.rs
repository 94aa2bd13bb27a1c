//! For how long consumer groups have been idle: brokers do not say, so it is counted from the first look that found
//! nobody, as long as looks follow each other and nobody has read anything in between. A new process counts anew.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::held::Idle;

/// Looks further apart than this say nothing about the time between them.
const LONGEST_GAP: Duration = Duration::from_secs(300);

/// What earlier looks found, by draining group.
#[derive(Debug, Default)]
pub(crate) struct IdleTimes {
    looks: HashMap<(String, String), Look>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    idle: BTreeMap<String, Since>,
}

#[derive(Debug, Clone, Copy)]
struct Since {
    first: Instant,
    consumed: i64,
}

impl IdleTimes {
    /// Notes who is idle in a group of a cluster and returns since when each has been. Forgets groups that nobody looks
    /// at any more, so that there are only as many entries as drains.
    pub(crate) fn note(
        &mut self,
        (cluster, group): (&str, &str),
        idle: &BTreeMap<String, Idle>,
        now: Instant,
    ) -> BTreeMap<String, Duration> {
        self.looks.retain(|_, look| now.duration_since(look.at) <= LONGEST_GAP);
        let key = (cluster.to_owned(), group.to_owned());
        let before = self.looks.remove(&key);
        let since = |name: &String, found: &Idle| {
            let earlier = before.as_ref().and_then(|look| look.idle.get(name));
            let unbroken = earlier.filter(|earlier| earlier.consumed == found.consumed);
            Since { first: unbroken.map_or(now, |earlier| earlier.first), consumed: found.consumed }
        };
        let noted: BTreeMap<String, Since> =
            idle.iter().map(|(name, found)| (name.clone(), since(name, found))).collect();
        let times =
            noted.iter().map(|(name, since)| (name.clone(), now.duration_since(since.first))).collect();
        self.looks.insert(key, Look { at: now, idle: noted });
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_the_first_look_until_somebody_comes_reads_or_nobody_looks() {
        let start = Instant::now();
        let idle = |consumed| BTreeMap::from([("g".to_owned(), Idle { remaining: 1, consumed })]);
        let mut times = IdleTimes::default();
        let mut look = |second: u64, idle: &BTreeMap<String, Idle>| {
            let now = start + Duration::from_secs(second);
            times.note(("ns/c", "c-broker-0"), idle, now).get("g").map(Duration::as_secs)
        };
        let cases = [
            ("the first time", 0, idle(3), Some(0)),
            ("again", 200, idle(3), Some(200)),
            ("still", 400, idle(3), Some(400)),
            ("somebody read and left", 500, idle(4), Some(0)),
            ("again after that", 600, idle(4), Some(100)),
            ("somebody is there", 700, BTreeMap::new(), None),
            ("and has left", 800, idle(4), Some(0)),
            ("nobody looked for long", 1_101, idle(4), Some(0)),
        ];
        for (name, second, idle, expected) in cases {
            assert_eq!(look(second, &idle), expected, "{name}");
        }
    }

    #[test]
    fn drains_do_not_share_their_times_and_those_that_ended_are_forgotten() {
        let start = Instant::now();
        let idle = BTreeMap::from([("g".to_owned(), Idle::default())]);
        let mut times = IdleTimes::default();
        times.note(("ns/a", "x"), &idle, start);
        let later = times.note(("ns/b", "x"), &idle, start + Duration::from_secs(10));
        assert_eq!(later["g"], Duration::ZERO);
        times.note(("ns/b", "x"), &idle, start + LONGEST_GAP + Duration::from_secs(1));
        assert_eq!(times.looks.len(), 1);
    }
}
