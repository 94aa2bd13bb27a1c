//! When the requests of a connection are due, pure: as soon as there is room, or at a fixed rate whatever
//! the answers do. At a fixed rate the time of a request begins when it was due, so that stalls count.

use std::time::{Duration, Instant};

/// How fast a connection asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as its window allows: a closed loop.
    Window,
    /// So many requests a second; what does not fit into the window goes late.
    PerSecond(u32),
}

/// Requests at a fixed rate fall due together at most this often, as they would from many clients.
const TICK: Duration = Duration::from_millis(1);

/// The due times of one connection's requests.
pub(super) struct Schedule {
    pace: Pace,
    start: Instant,
    taken: u64,
}

impl Schedule {
    pub(super) fn new(pace: Pace, start: Instant) -> Self {
        Self { pace, start, taken: 0 }
    }

    /// Takes the next request if it is due, and returns since when it is.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next_due().unwrap_or(now);
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }

    /// Returns when the next request is due; `None` is always.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let Pace::PerSecond(rate) = self.pace else { return None };
        let exact = Duration::from_secs_f64(self.taken as f64 / f64::from(rate));
        let ticks = exact.as_nanos().div_ceil(TICK.as_nanos());
        Some(self.start + TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_fixed_rate_requests_fall_due_by_the_clock_and_late_ones_keep_their_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(Pace::PerSecond(2_000), start);
        assert_eq!((schedule.take(start), schedule.take(start)), (Some(start), None));
        assert_eq!(schedule.next_due(), Some(at(1)));
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(at(3))).collect();
        assert_eq!(late, [at(1), at(1), at(2), at(2), at(3), at(3)]);
    }

    #[test]
    fn in_a_closed_loop_every_request_is_due_when_it_is_asked_for() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Pace::Window, now);
        assert_eq!(
            (schedule.take(now), schedule.take(now), schedule.next_due()),
            (Some(now), Some(now), None)
        );
    }
}
