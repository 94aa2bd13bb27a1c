//! Waiting for a condition, with a deadline; never for a time to pass.

use std::time::{Duration, Instant};

/// Asks until `condition` gives a value, at most for `limit`.
///
/// # Panics
/// When the deadline passes; the message names `what`.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    until_ok(what, limit, || condition().ok_or_else(String::new))
}

/// Asks until `condition` gives a value, at most for `limit`.
///
/// # Panics
/// When the deadline passes; the message names `what`, and why it was not so the last time.
pub fn until_ok<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(why) => assert!(Instant::now() < end, "waited {limit:?} in vain: {what}; {why}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
