//! When a name server that has just started may be asked: not before brokers have had the time to register, for the
//! answer "no such topic" of an empty table is worse than none. What a probe is, is not known here.

use std::time::{Duration, Instant};

/// Brokers look for a name server that they have not reached every second: when none has come for this long, all that
/// can come have.
pub const SETTLED: Duration = Duration::from_secs(3);

/// What is known of registrations.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Brokers in the table.
    pub brokers: usize,
    /// When the last of them came.
    pub last_came: Option<Instant>,
}

/// Whether the server may be asked.
#[derive(Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// It may.
    Over,
    /// Look again after `wait`.
    Waiting {
        /// How long nothing can change but by a registration.
        wait: Duration,
        /// Why, in words that `kubectl describe` shows.
        reason: String,
    },
}

/// Decides whether a server that has listened since `started` waits for brokers still; `longest` is `warmUpMillis`.
#[must_use]
pub fn decide(started: Instant, longest: Duration, seen: &Seen, now: Instant) -> WarmUp {
    let left = longest.saturating_sub(now.saturating_duration_since(started));
    if left.is_zero() {
        return WarmUp::Over;
    }
    let quiet = seen.last_came.map(|last| now.saturating_duration_since(last));
    let wait = match quiet.map(|quiet| SETTLED.saturating_sub(quiet)) {
        Some(Duration::ZERO) => return WarmUp::Over,
        Some(unsettled) => left.min(unsettled),
        None => left,
    };
    let reason = format!(
        "warming up: brokers registered so far: {}, waiting for more for {} s at most (warmUpMillis)",
        seen.brokers,
        left.as_secs_f64().ceil()
    );
    WarmUp::Waiting { wait, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_brokers_and_not_for_longer_than_it_is_told() {
        let started = Instant::now();
        let at = |ms: u64| started + Duration::from_millis(ms);
        let seconds = Duration::from_secs;
        for (longest, brokers, last_came, now, wait) in [
            (0, 0, None, 0, None),
            (10, 0, None, 0, Some(10_000)),
            (10, 0, None, 9_990, Some(10)),
            (10, 0, None, 10_000, None),
            (10, 2, Some(1_000), 1_500, Some(2_500)),
            (10, 2, Some(1_000), 4_000, None),
            (10, 2, Some(8_000), 8_000, Some(2_000)),
        ] {
            let seen = Seen { brokers, last_came: last_came.map(at) };
            let decided = match decide(started, seconds(longest), &seen, at(now)) {
                WarmUp::Over => None,
                WarmUp::Waiting { wait, .. } => Some(u64::try_from(wait.as_millis()).unwrap()),
            };
            assert_eq!(decided, wait, "{longest} s, {brokers} brokers, the last at {last_came:?}, now {now}");
        }
        let WarmUp::Waiting { reason, .. } =
            decide(started, seconds(10), &Seen { brokers: 1, last_came: Some(at(500)) }, at(1_500))
        else {
            panic!("it waits")
        };
        let words =
            "warming up: brokers registered so far: 1, waiting for more for 9 s at most (warmUpMillis)";
        assert_eq!(reason, words);
    }
}
