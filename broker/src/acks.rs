//! What an answer to a send waits for, and its code. Pure: offsets and time in, decision out.

use std::time::Instant;

use protocol::codes::ResponseCode;

/// What a stored message still needs before it may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The log must be durable up to here.
    pub flushed_to: u64,
    /// When the sender gets its answer in any case.
    pub deadline: Instant,
}

/// What to do with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Not yet.
    Wait,
    /// Now, with this code. Every code here means: the message is stored.
    Answer(ResponseCode),
}

/// Decides what to do with the answer now.
pub fn decide(promise: &Promise, flushed: u64, now: Instant) -> Decision {
    if flushed >= promise.flushed_to {
        Decision::Answer(ResponseCode::SUCCESS)
    } else if now >= promise.deadline {
        Decision::Answer(ResponseCode::FLUSH_DISK_TIMEOUT)
    } else {
        Decision::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_answer_leaves_when_the_flush_covers_it_or_its_time_is_over() {
        let now = Instant::now();
        let promise = Promise { flushed_to: 100, deadline: now + Duration::from_secs(5) };
        let late = now + Duration::from_secs(5);
        for (flushed, at, want) in [
            (99, now, Decision::Wait),
            (100, now, Decision::Answer(ResponseCode::SUCCESS)),
            (99, late, Decision::Answer(ResponseCode::FLUSH_DISK_TIMEOUT)),
            (100, late, Decision::Answer(ResponseCode::SUCCESS)),
        ] {
            assert_eq!(decide(&promise, flushed, at), want);
        }
    }
}
