//! Waiting for a condition, with a deadline; never for a time to pass.

use std::time::{Duration, Instant};

/// Asks until `condition` gives a value, at most for `limit`.
///
/// # Panics
/// When the deadline passes; the message names `what`.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
