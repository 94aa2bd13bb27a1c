//! What an answer to a send waits for, and its code. Pure: offsets and time in, decision out.
//!
//! | Flush | Slaves | Code |
//! |---|---|---|
//! | in time, or not asked for | in time, or not asked for | SUCCESS |
//! | late | in time, or not asked for | FLUSH_DISK_TIMEOUT |
//! | any | late | FLUSH_SLAVE_TIMEOUT |
//!
//! All of them mean that the message is stored. An answer leaves when both are in time or late, as in Java, where the
//! slaves have the last word on the code.

use std::time::{Duration, Instant};

use protocol::codes::ResponseCode;

use crate::live::{FlushMode, LiveSettings};

/// What a stored batch still needs before it may be acknowledged. Made when it is stored: settings that change later
/// change nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// What the flush owes, if it was asked for.
    pub flush: Option<Due>,
    /// What the slaves owe, if any were asked for.
    pub copies: Option<Copies>,
}

/// The log must have come up to here in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Physical offset of its end.
    pub to: u64,
    /// From then on it is late.
    pub deadline: Instant,
}

/// So many members must have the log up to here in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// How many, the master among them.
    pub members: usize,
    /// What they must have, and when.
    pub due: Due,
}

/// How far the log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// It survives power loss up to here.
    pub flushed: u64,
    /// As many members as were promised have it up to here.
    pub replicated: u64,
}

/// What to do with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Not yet; without progress of the log, then.
    Wait(Instant),
    /// Now, with this code. Every code here means: the message is stored.
    Answer(ResponseCode),
}

/// A batch that was stored.
#[derive(Debug, Clone, Copy)]
pub struct StoredBatch {
    /// Physical offset of its end; it covers every message of it.
    pub end: u64,
    /// When its first message came.
    pub begun: Instant,
    /// Since when fewer slaves are connected than acknowledging takes.
    pub slaves_missing_since: Option<Instant>,
}

impl Promise {
    /// Promises what the settings say; `None` when that is kept already.
    pub fn new(settings: &LiveSettings, batch: StoredBatch) -> Option<Promise> {
        let due = |deadline| Due { to: batch.end, deadline };
        let flush = settings.flush == FlushMode::Sync;
        let members = settings.required_acks();
        let promise = Promise {
            flush: flush.then(|| due(batch.begun + settings.sync_flush_timeout)),
            copies: (members > 1)
                .then(|| Copies { members, due: due(slave_deadline(settings.slave_timeout, batch)) }),
        };
        (promise.flush.is_some() || promise.copies.is_some()).then_some(promise)
    }

    /// Decides what to do with the answer now.
    pub fn decide(&self, reached: Reached, now: Instant) -> Decision {
        let flush = self.flush.map_or(Progress::InTime, |due| due.progress(reached.flushed, now));
        let copies = self.copies.map_or(Progress::InTime, |c| c.due.progress(reached.replicated, now));
        match (flush, copies) {
            (Progress::Pending(a), Progress::Pending(b)) => Decision::Wait(a.max(b)),
            (Progress::Pending(a), _) | (_, Progress::Pending(a)) => Decision::Wait(a),
            (_, Progress::Late) => Decision::Answer(ResponseCode::FLUSH_SLAVE_TIMEOUT),
            (Progress::Late, Progress::InTime) => Decision::Answer(ResponseCode::FLUSH_DISK_TIMEOUT),
            (Progress::InTime, Progress::InTime) => Decision::Answer(ResponseCode::SUCCESS),
        }
    }

    /// Waits no longer than until then.
    pub fn hurry(&mut self, latest: Instant) {
        let copies = self.copies.as_mut().map(|copies| &mut copies.due);
        for due in self.flush.as_mut().into_iter().chain(copies) {
            due.deadline = due.deadline.min(latest);
        }
    }

    /// Says whether the copies it asks for are those of so many members.
    pub fn is_of(&self, members: usize) -> bool {
        self.copies.is_none_or(|copies| copies.members == members)
    }

    /// Says whether this one, of a batch stored later, is never due before `earlier` is.
    pub fn follows(&self, earlier: &Promise) -> bool {
        let later = |this: Option<Due>, that: Option<Due>| match (this, that) {
            (Some(this), Some(that)) => this.to >= that.to && this.deadline >= that.deadline,
            (this, that) => this.is_none() && that.is_none(),
        };
        let members = |p: &Promise| p.copies.map(|c| c.members);
        later(self.flush, earlier.flush)
            && later(self.copies.map(|c| c.due), earlier.copies.map(|c| c.due))
            && members(self) == members(earlier)
    }
}

/// When slaves have been missing for as long as a send would wait for them, waiting again for each message would only
/// make clients time out and send twice.
fn slave_deadline(timeout: Duration, batch: StoredBatch) -> Instant {
    let missing = batch
        .slaves_missing_since
        .is_some_and(|since| batch.begun.saturating_duration_since(since) >= timeout);
    if missing { batch.begun } else { batch.begun + timeout }
}

enum Progress {
    InTime,
    Late,
    Pending(Instant),
}

impl Due {
    fn progress(&self, reached: u64, now: Instant) -> Progress {
        if reached >= self.to {
            Progress::InTime
        } else if now >= self.deadline {
            Progress::Late
        } else {
            Progress::Pending(self.deadline)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::BrokerRole;

    const SUCCESS: Decision = Decision::Answer(ResponseCode::SUCCESS);
    const FLUSH_LATE: Decision = Decision::Answer(ResponseCode::FLUSH_DISK_TIMEOUT);
    const SLAVE_LATE: Decision = Decision::Answer(ResponseCode::FLUSH_SLAVE_TIMEOUT);

    fn promise(begun: Instant, flush_secs: Option<u64>, slave_secs: Option<u64>) -> Promise {
        let due = |secs| Due { to: 100, deadline: begun + Duration::from_secs(secs) };
        Promise {
            flush: flush_secs.map(due),
            copies: slave_secs.map(|secs| Copies { members: 2, due: due(secs) }),
        }
    }

    /// Flushed and replicated offsets, seconds since the batch began, and what is decided then.
    type Case = (u64, u64, u64, Decision);

    fn check(begun: Instant, promise: Promise, cases: &[Case]) {
        for (flushed, replicated, secs, want) in cases {
            let reached = Reached { flushed: *flushed, replicated: *replicated };
            let got = promise.decide(reached, begun + Duration::from_secs(*secs));
            assert_eq!(got, *want, "flushed {flushed}, replicated {replicated}, after {secs} s");
        }
    }

    #[test]
    fn an_answer_leaves_when_the_flush_covers_it_or_its_time_is_over() {
        let t = Instant::now();
        let until = |secs| Decision::Wait(t + Duration::from_secs(secs));
        let cases =
            [(99, 0, 0, until(5)), (100, 0, 0, SUCCESS), (99, 0, 5, FLUSH_LATE), (100, 0, 5, SUCCESS)];
        check(t, promise(t, Some(5), None), &cases);
    }

    #[test]
    fn an_answer_leaves_when_the_slaves_have_it_or_their_time_is_over() {
        let t = Instant::now();
        let until = |secs| Decision::Wait(t + Duration::from_secs(secs));
        let cases =
            [(0, 99, 0, until(3)), (0, 100, 0, SUCCESS), (0, 99, 3, SLAVE_LATE), (0, 100, 9, SUCCESS)];
        check(t, promise(t, None, Some(3)), &cases);
    }

    #[test]
    fn with_both_asked_for_the_answer_waits_for_both_and_tells_of_the_slaves_last() {
        let t = Instant::now();
        let until = |secs| Decision::Wait(t + Duration::from_secs(secs));
        let slaves_first = [
            (99, 99, 0, until(5)),
            (100, 99, 0, until(3)),
            (99, 100, 0, until(5)),
            (100, 100, 0, SUCCESS),
            (100, 99, 3, SLAVE_LATE),
            // The slaves are late, the flush is still awaited.
            (99, 99, 3, until(5)),
            (100, 99, 4, SLAVE_LATE),
            (99, 100, 4, until(5)),
            (99, 100, 5, FLUSH_LATE),
            (99, 99, 5, SLAVE_LATE),
            (100, 100, 9, SUCCESS),
        ];
        check(t, promise(t, Some(5), Some(3)), &slaves_first);
        let flush_first = [
            (99, 99, 0, until(3)),
            (99, 99, 1, until(3)),
            (99, 100, 1, FLUSH_LATE),
            (100, 99, 1, until(3)),
            (100, 99, 3, SLAVE_LATE),
            (99, 99, 3, SLAVE_LATE),
        ];
        check(t, promise(t, Some(1), Some(3)), &flush_first);
    }

    fn settings(role: BrokerRole, in_sync_replicas: usize, flush: FlushMode) -> LiveSettings {
        let config = crate::Config::from_properties(&[]).unwrap();
        LiveSettings { role, in_sync_replicas, flush, slave_timeout: Duration::from_secs(3), ..config.live }
    }

    #[test]
    fn a_promise_is_what_role_replicas_and_flush_mode_say() {
        use BrokerRole::{AsyncMaster, SyncMaster};
        let t = Instant::now();
        let batch = StoredBatch { end: 100, begun: t, slaves_missing_since: None };
        for (role, replicas, flush, want) in [
            (AsyncMaster, 1, FlushMode::Async, None),
            (AsyncMaster, 3, FlushMode::Async, None),
            (SyncMaster, 1, FlushMode::Async, None),
            (AsyncMaster, 2, FlushMode::Sync, Some(promise(t, Some(5), None))),
            (SyncMaster, 1, FlushMode::Sync, Some(promise(t, Some(5), None))),
            (SyncMaster, 2, FlushMode::Async, Some(promise(t, None, Some(3)))),
            (SyncMaster, 2, FlushMode::Sync, Some(promise(t, Some(5), Some(3)))),
        ] {
            let settings = settings(role, replicas, flush);
            assert_eq!(Promise::new(&settings, batch), want, "{settings:?}");
        }
    }

    #[test]
    fn slaves_that_have_been_missing_for_long_are_not_waited_for() {
        let t = Instant::now();
        let settings = settings(BrokerRole::SyncMaster, 2, FlushMode::Async);
        let nothing = Reached { flushed: 0, replicated: 0 };
        let wait = Decision::Wait(t + Duration::from_secs(3));
        let ago = |ms| t.checked_sub(Duration::from_millis(ms));
        for (slaves_missing_since, want) in [
            (None, wait),
            (ago(0), wait),
            (ago(2_999), wait),
            (ago(3_000), SLAVE_LATE),
            (Some(t + Duration::from_secs(1)), wait),
        ] {
            let promise = Promise::new(&settings, StoredBatch { end: 100, begun: t, slaves_missing_since });
            assert_eq!(promise.unwrap().decide(nothing, t), want, "{slaves_missing_since:?}");
        }
    }

    #[test]
    fn promises_of_one_kind_follow_each_other() {
        let t = Instant::now();
        let later = t + Duration::from_secs(1);
        for (flush, slaves) in [(Some(5), None), (None, Some(3)), (Some(5), Some(3))] {
            assert!(promise(later, flush, slaves).follows(&promise(t, flush, slaves)));
            assert!(
                !promise(t, flush, slaves).follows(&promise(later, flush, slaves)),
                "its time is over first"
            );
        }
        let both = promise(t, Some(5), Some(3));
        assert!(!promise(later, None, Some(3)).follows(&both) && !both.follows(&promise(t, Some(5), None)));
        let three = Promise { copies: both.copies.map(|c| Copies { members: 3, ..c }), ..both };
        assert!(!both.follows(&three) && !three.follows(&both));
    }
}
