//! How many bytes per second went over a connection lately. Pure: bytes and `now` in.

use std::time::{Duration, Instant};

/// Bytes are counted over at least this long.
const WINDOW: Duration = Duration::from_secs(1);

/// A measured rate.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    since: Instant,
    bytes: u64,
    last: u64,
}

impl Rate {
    /// Makes one that has seen nothing.
    pub fn new(now: Instant) -> Rate {
        Rate { since: now, bytes: 0, last: 0 }
    }

    /// Counts bytes.
    pub fn on_bytes(&mut self, bytes: usize, now: Instant) {
        self.turn(now);
        self.bytes += bytes as u64;
    }

    /// Returns the bytes per second of the last whole window.
    pub fn bytes_per_second(mut self, now: Instant) -> u64 {
        self.turn(now);
        self.last
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            self.last = (self.bytes as f64 / passed.as_secs_f64()) as u64;
            self.bytes = 0;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_whole_window() {
        let begin = Instant::now();
        let ms = |n| begin + Duration::from_millis(n);
        let mut rate = Rate::new(begin);
        rate.on_bytes(500, ms(100));
        rate.on_bytes(500, ms(900));
        assert_eq!(rate.bytes_per_second(ms(999)), 0, "the first window is not over");
        assert_eq!(rate.bytes_per_second(ms(1000)), 1000);
        rate.on_bytes(1, ms(1000));
        assert_eq!(rate.bytes_per_second(ms(1500)), 1000);
        rate.on_bytes(9, ms(3000));
        assert_eq!(rate.bytes_per_second(ms(3100)), 0, "one byte in two seconds");
        assert_eq!(rate.bytes_per_second(ms(13_000)), 0, "nothing for long is nothing");
    }
}
