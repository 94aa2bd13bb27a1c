//! How far behind someone is, in bytes and in time, and whether that counts as in sync. Pure: offsets and `now` in. A
//! leader keeps one for each follower; a follower keeps one for itself.

use std::time::{Duration, Instant};

/// How far someone has come with a log that grows.
///
/// Time is told by a mark: where the log ended at some moment. Whoever reaches it had everything there was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncState {
    /// What it has.
    acked: u64,
    /// The log's end when it was last looked at, and when that was.
    seen: End,
    /// An end not reached yet.
    mark: Option<End>,
    /// When it had everything for the last time that is known; `None` if never since it came.
    caught_up_at: Option<Instant>,
    connected_at: Instant,
}

/// Where a log ended at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    offset: u64,
    at: Instant,
}

/// How far behind someone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Bytes it does not have.
    pub bytes: u64,
    /// For how long it has not had everything there was; for one that never had since it came, since it came.
    pub time: Duration,
    /// Whether it had everything within the allowed time. One that never had since it came is not in sync.
    pub in_sync: bool,
}

impl SyncState {
    /// Someone comes who has `acked` of a log that ends at `written`.
    pub fn on_connect(acked: u64, written: u64, now: Instant) -> SyncState {
        let seen = End { offset: written, at: now };
        let behind = acked < written;
        SyncState {
            acked,
            seen,
            mark: behind.then_some(seen),
            caught_up_at: (!behind).then_some(now),
            connected_at: now,
        }
    }

    /// The log was looked at and ends at `written`. To be called at every growth, or time seems to have stood still.
    pub fn on_written(&mut self, written: u64, now: Instant) {
        if self.acked >= self.seen.offset {
            // Until this growth there was nothing that it did not have.
            self.caught_up_at = Some(now);
        }
        self.seen = End { offset: written.max(self.seen.offset), at: now };
        if self.acked < self.seen.offset {
            self.mark.get_or_insert(self.seen);
        }
    }

    /// It has the log up to `acked`; never less than before.
    pub fn on_report(&mut self, acked: u64) {
        self.acked = self.acked.max(acked);
        if let Some(mark) = self.mark
            && self.acked >= mark.offset
        {
            self.caught_up_at = Some(mark.at);
            self.mark = (self.acked < self.seen.offset).then_some(self.seen);
        }
    }

    /// Returns what it has.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Returns when it had everything for the last time that is known.
    pub fn caught_up_at(&self) -> Option<Instant> {
        self.caught_up_at
    }

    /// Returns how far it is behind a log that ends at `written` now.
    pub fn lag(mut self, written: u64, max_lag: Duration, now: Instant) -> Lag {
        self.on_written(written, now);
        if self.acked >= self.seen.offset {
            return Lag { bytes: 0, time: Duration::ZERO, in_sync: true };
        }
        let time = now.saturating_duration_since(self.caught_up_at.unwrap_or(self.connected_at));
        Lag {
            bytes: self.seen.offset - self.acked,
            time,
            in_sync: self.caught_up_at.is_some() && time <= max_lag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(15);

    enum Event {
        Written(u64),
        Report(u64),
    }
    use Event::{Report, Written};

    /// Bytes, seconds and in sync when asked at `asked`, with the log's end as seen last.
    fn lag(connect: (u64, u64), events: &[(u64, Event)], asked: (u64, u64)) -> (u64, u64, bool) {
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        let mut state = SyncState::on_connect(connect.0, connect.1, begin);
        for (time, event) in events {
            match event {
                Written(end) => state.on_written(*end, at(*time)),
                Report(acked) => state.on_report(*acked),
            }
        }
        let lag = state.lag(asked.1, MAX_LAG, at(asked.0));
        (lag.bytes, lag.time.as_secs(), lag.in_sync)
    }

    #[test]
    fn lag_is_the_time_since_it_had_everything() {
        for (name, connect, events, asked, want) in [
            ("has all at once", (100, 100), &[][..], (50, 100), (0, 0, true)),
            ("nothing there", (0, 0), &[], (50, 0), (0, 0, true)),
            ("comes behind", (0, 100), &[], (10, 100), (100, 10, false)),
            ("never reached it", (0, 100), &[(5, Report(99))], (6, 100), (1, 6, false)),
            ("reached the mark of its coming", (0, 100), &[(5, Report(100))], (6, 100), (0, 0, true)),
            (
                "reached the end of second 0 while the log grew",
                (0, 100),
                &[(4, Written(200)), (5, Report(100))],
                (6, 200),
                (100, 6, true),
            ),
            (
                "and then that of second 4",
                (0, 100),
                &[(4, Written(200)), (5, Report(100)), (6, Written(300)), (7, Report(200))],
                (8, 300),
                (100, 4, true),
            ),
            ("a pause is no lag", (100, 100), &[(3600, Written(200))], (3602, 200), (100, 2, true)),
            ("not looked at since the growth", (100, 100), &[], (3600, 200), (100, 0, true)),
            (
                "late for longer than allowed",
                (100, 100),
                &[(10, Written(200)), (26, Written(300))],
                (26, 300),
                (200, 16, false),
            ),
            ("late for as long as allowed", (100, 100), &[(10, Written(200))], (25, 200), (100, 15, true)),
            (
                "caught up again",
                (100, 100),
                &[(10, Written(200)), (60, Report(200))],
                (61, 200),
                (0, 0, true),
            ),
            ("reports do not go back", (100, 100), &[(1, Report(50))], (2, 100), (0, 0, true)),
        ] {
            assert_eq!(lag(connect, events, asked), want, "{name}");
        }
    }

    #[test]
    fn under_steady_load_lag_stays_near_the_delay_of_the_acks() {
        // A thousand bytes a second, acknowledged three seconds later.
        let begin = Instant::now();
        let at = |s: u64| begin + Duration::from_secs(s);
        let mut state = SyncState::on_connect(0, 0, begin);
        for second in 1..1000 {
            state.on_written(second * 1000, at(second));
            state.on_report(second.saturating_sub(3) * 1000);
            let lag = state.lag(second * 1000, MAX_LAG, at(second));
            assert!(lag.in_sync && lag.time <= Duration::from_secs(7), "{lag:?} at {second}");
        }
    }
}
