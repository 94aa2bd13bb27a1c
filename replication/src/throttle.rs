//! Bytes per second for what is read from the disk for followers that are behind. Pure: bytes and `now` in, the time to
//! send them out. One for all followers, because they share the disk; who comes first is served first.

use std::time::{Duration, Instant};

/// What was not used for this long may go out at once.
const BURST: Duration = Duration::from_millis(100);

/// A rate that reads are held to.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: Option<u64>,
    /// When everything booked will have been paid for.
    paid_at: Option<Instant>,
}

impl Throttle {
    /// Makes one; without a rate, or with 0, it lets everything through.
    pub fn new(bytes_per_second: Option<u64>) -> Throttle {
        Throttle { bytes_per_second: bytes_per_second.filter(|rate| *rate > 0), paid_at: None }
    }

    /// Changes the rate; what was booked before is forgotten, so those who wait for it need not any more.
    pub fn set(&mut self, bytes_per_second: Option<u64>) {
        *self = Throttle::new(bytes_per_second);
    }

    /// Books bytes that were read, and returns when they may be sent; `None` is at once.
    pub fn book(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let rate = self.bytes_per_second?;
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = self.paid_at.map_or(earliest, |at| at.max(earliest));
        self.paid_at = Some(start + Duration::from_secs_f64(bytes as f64 / rate as f64));
        (start > now).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_rate_everything_goes_at_once() {
        let now = Instant::now();
        for rate in [None, Some(0)] {
            let mut throttle = Throttle::new(rate);
            assert_eq!(throttle.book(usize::MAX, now), None);
            assert_eq!(throttle.book(usize::MAX, now), None);
        }
    }

    #[test]
    fn bytes_wait_until_those_before_them_are_paid_for() {
        let begin = Instant::now() + Duration::from_secs(1);
        let ms = |n| begin + Duration::from_millis(n);
        let mut throttle = Throttle::new(Some(1000));
        // (booked at, bytes, may be sent at); the first ones have 100 ms of credit.
        for (at, bytes, want) in [
            (0, 500, None),
            (0, 500, Some(400)),
            (0, 1000, Some(900)),
            (1000, 100, Some(1900)),
            // Paid for until 2000; a pause earns 100 ms, not more.
            (5000, 200, None),
            (5000, 1, Some(5100)),
            (5101, 1, None),
        ] {
            assert_eq!(throttle.book(bytes, ms(at)), want.map(ms), "{bytes} bytes at {at}");
        }
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let begin = Instant::now() + Duration::from_secs(1);
        let mut throttle = Throttle::new(Some(1 << 20));
        let (mut now, mut sent) = (begin, 0u64);
        while now < begin + Duration::from_secs(60) {
            now = throttle.book(100_000, now).unwrap_or(now);
            sent += 100_000;
        }
        let allowed = 60 * (1 << 20);
        assert!((allowed..allowed + allowed / 100).contains(&sent), "{sent} of {allowed}");
    }

    #[test]
    fn a_new_rate_forgets_what_was_booked() {
        let now = Instant::now() + Duration::from_secs(1);
        let mut throttle = Throttle::new(Some(1));
        assert_eq!(throttle.book(1_000_000, now), None);
        assert!(throttle.book(1, now).is_some());
        throttle.set(Some(1000));
        assert_eq!(throttle.book(1, now), None);
        throttle.set(None);
        assert_eq!(throttle.book(1_000_000, now), None);
    }
}
