//! A follower's reports on their way to its leader. Pure: offsets and `now` in.

use std::time::{Duration, Instant};

use crate::wire::{self, REPORT};

/// Reports on their way: one at a time, always the newest.
pub(crate) struct Reports {
    bytes: [u8; REPORT],
    /// How much of it is written; all, when there is nothing to write.
    written: usize,
    last: Option<(u64, Instant)>,
}

impl Reports {
    pub fn new() -> Reports {
        Reports { bytes: [0; REPORT], written: REPORT, last: None }
    }

    pub fn is_first(&self) -> bool {
        self.last.is_none()
    }

    /// Reports `offset` if it is another than last time, or if that is long ago, unless a report is still on its way.
    pub fn offer(&mut self, offset: Option<u64>, heartbeat: Duration, now: Instant) {
        let Some(offset) = offset.filter(|_| self.written == REPORT) else { return };
        if self.last.is_none_or(|(last, at)| last != offset || now >= at + heartbeat) {
            self.bytes = wire::encode_report(offset);
            self.written = 0;
            self.last = Some((offset, now));
        }
    }

    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Says whether a report was completed.
    pub fn on_written(&mut self, n: usize) -> bool {
        self.written += n;
        self.written == REPORT
    }

    /// Returns when the next one is due if nothing happens until then.
    pub fn next(&self, heartbeat: Duration, now: Instant) -> Instant {
        let last = self.last.filter(|_| self.written == REPORT);
        last.map_or(now, |(_, at)| at).max(now.checked_sub(heartbeat).unwrap_or(now)) + heartbeat
    }
}
