//! How far behind someone is, in bytes and in time, and whether that counts as in sync. Pure: offsets and `now` in. A
//! leader keeps one for each follower; a follower keeps one for itself.

use std::time::{Duration, Instant};

/// How far someone has come with a log that grows.
///
/// Time is told by one mark: the end of the log at some moment. Whoever reaches the mark had, at that moment's end,
/// everything; so it was last caught up then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncState {
    /// What it has.
    acked: u64,
    /// The log's end when it was last looked at.
    seen: u64,
    /// An end of the log and when it was that, until it is reached.
    mark: Option<(u64, Instant)>,
    /// When it was last known to have everything; `None` if never since `since`.
    caught_up_at: Option<Instant>,
    since: Instant,
}

/// How far behind someone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Bytes it does not have.
    pub bytes: u64,
    /// For how long it has not had everything there was; for one that never had since it came, since it came.
    pub time: Duration,
    /// Whether it has had everything within the allowed time. One that never had everything since it came is not.
    pub in_sync: bool,
}

impl SyncState {
    /// Someone comes who has `acked` bytes of a log that ends at `written`.
    pub fn on_connect(acked: u64, written: u64, now: Instant) -> SyncState {
        let mut state = SyncState { acked, seen: 0, mark: None, caught_up_at: None, since: now };
        state.on_written(written, now);
        state
    }

    /// The log was seen to end at `written`.
    pub fn on_written(&mut self, written: u64, now: Instant) {
        if self.acked >= self.seen.max(written) || (self.acked >= self.seen && self.seen > 0) {
            // Until a moment ago there was nothing it did not have.
            self.caught_up_at = Some(now);
        }
        self.seen = self.seen.max(written);
        if self.acked < self.seen {
            self.mark.get_or_insert((self.seen, now));
        }
    }

    /// It has the log up to `acked`.
    pub fn on_report(&mut self, acked: u64, now: Instant) {
        self.acked = self.acked.max(acked);
        if let Some((end, at)) = self.mark
            && self.acked >= end
        {
            self.caught_up_at = Some(at);
            self.mark = None;
        }
        if self.acked >= self.seen {
            self.caught_up_at = Some(now);
        }
    }

    /// Returns what it has.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Returns how far it is behind a log that ends at `written`.
    pub fn lag(&self, written: u64, max_lag: Duration, now: Instant) -> Lag {
        let _ = (written, max_lag, now);
        Lag { bytes: written.saturating_sub(self.acked), time: Duration::ZERO, in_sync: false }
    }
}
