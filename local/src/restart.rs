//! How long to wait before a member is started again, and when to give up. Pure.

use std::time::Duration;

/// The bounds of restarting a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The wait before the first restart; it doubles with every failure that follows.
    pub first_delay: Duration,
    pub longest_delay: Duration,
    /// A member that was ready this long counts as healthy: its earlier failures are forgotten.
    pub healthy_after: Duration,
    /// That many failures in a row end the cluster.
    pub give_up_after: u32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(10),
            healthy_after: Duration::from_secs(1),
            give_up_after: 10,
        }
    }
}

/// What to do about a member that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    RestartIn(Duration),
    GiveUp,
}

/// The failures of one member in a row.
#[derive(Debug, Default)]
pub struct Failures {
    in_a_row: u32,
}

impl Failures {
    /// Decides about a member that died after it had been ready for this long; `None`: it never was.
    pub fn decide_restart(&mut self, policy: &RestartPolicy, ready_for: Option<Duration>) -> Decision {
        if ready_for.is_some_and(|time| time >= policy.healthy_after) {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        if self.in_a_row >= policy.give_up_after {
            return Decision::GiveUp;
        }
        let doubled = 2_u32.saturating_pow(self.in_a_row - 1);
        Decision::RestartIn(policy.first_delay.saturating_mul(doubled).min(policy.longest_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        first_delay: Duration::from_millis(100),
        longest_delay: Duration::from_millis(500),
        healthy_after: Duration::from_secs(1),
        give_up_after: 6,
    };

    fn decisions(ready_for: &[Option<u64>]) -> Vec<Decision> {
        let mut failures = Failures::default();
        ready_for.iter().map(|ms| failures.decide_restart(&POLICY, ms.map(Duration::from_millis))).collect()
    }

    fn restart(ms: u64) -> Decision {
        Decision::RestartIn(Duration::from_millis(ms))
    }

    #[test]
    fn a_member_that_never_gets_ready_waits_longer_each_time_and_then_ends_the_cluster() {
        let expected =
            [restart(100), restart(200), restart(400), restart(500), restart(500), Decision::GiveUp];
        assert_eq!(decisions(&[None; 6]), expected);
    }

    #[test]
    fn a_member_that_was_healthy_starts_over() {
        assert_eq!(
            decisions(&[None, None, Some(1_000), None]),
            [restart(100), restart(200), restart(100), restart(200)]
        );
        assert_eq!(decisions(&[Some(5_000); 20]), [restart(100); 20]);
    }

    #[test]
    fn being_ready_for_a_moment_is_not_being_healthy() {
        assert_eq!(decisions(&[Some(999); 6])[5], Decision::GiveUp);
    }
}
