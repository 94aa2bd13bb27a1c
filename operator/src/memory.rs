//! What is remembered of a cluster from one look to the next. All of it may be forgotten: another operator begins with
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use manifest::cluster::ClusterStatus;
use manifest::cluster::status::Condition;
use planner::object::ObjectRef;
use planner::step::{Action, Waiting};
use serde_json::Value;
use tokio::time::Instant;

/// A status is written once in this time, unless a condition changes.
const STATUS_PAUSE: Duration = Duration::from_secs(1);
/// Members may be silent for so long before conditions say that nothing is known of them.
const SILENCE: Duration = Duration::from_secs(30);
/// The same steps, taken so often in a row, have no effect.
const MOST_REPEATS: u32 = 5;

/// What is remembered of one cluster.
#[derive(Debug, Default)]
pub struct Memory {
    /// Objects with names of ours that the caches do not have: someone else's, or ours without their label.
    pub strays: BTreeMap<ObjectRef, Option<Value>>,
    status_written: Option<Instant>,
    silent_since: Option<Instant>,
    announced: BTreeSet<String>,
    /// A digest of what was done last: the steps themselves hold whole objects.
    last: u64,
    repeats: u32,
}

impl Memory {
    /// Returns what a person has to do and was not told yet.
    pub fn news<'a>(&mut self, waiting: &'a [Waiting]) -> Vec<&'a Waiting> {
        let blocked = || waiting.iter().filter(|waiting| waiting.blocked);
        let news = blocked().filter(|waiting| !self.announced.contains(&gist(waiting))).collect();
        self.announced = blocked().map(gist).collect();
        news
    }

    /// Returns how long to wait before this status is written, `None` when it says nothing new.
    pub fn status_is_due(
        &mut self,
        before: &ClusterStatus,
        status: &ClusterStatus,
        now: Instant,
    ) -> Option<Duration> {
        if becomes_unknown(before, status) {
            let since = *self.silent_since.get_or_insert(now);
            let rest = SILENCE.saturating_sub(now.duration_since(since));
            if !rest.is_zero() {
                return Some(rest);
            }
        } else {
            self.silent_since = None;
        }
        if before == status {
            return None;
        }
        let said = |status: &ClusterStatus| -> Vec<(String, String, String)> {
            let key = |said: &Condition| (said.kind.clone(), said.status.clone(), said.reason.clone());
            status.conditions.iter().map(key).collect()
        };
        let rest = self.status_written.map(|at| STATUS_PAUSE.saturating_sub(now.duration_since(at)));
        match rest {
            Some(rest) if said(before) == said(status) => Some(rest),
            _ => Some(Duration::ZERO),
        }
    }

    /// The status was written.
    pub fn status_was_written(&mut self, now: Instant) {
        self.status_written = Some(now);
    }

    /// Remembers what was done and returns how often in a row just this was, once that is too often.
    pub fn repeated(&mut self, done: Vec<Action>) -> Option<u32> {
        let done: Vec<Action> = done.into_iter().map(without_version).collect();
        let digest = digest(&done);
        let same = !done.is_empty() && digest == self.last && !done.iter().all(Action::only_tells);
        self.repeats = if same { self.repeats + 1 } else { 0 };
        self.last = digest;
        (self.repeats >= MOST_REPEATS).then_some(self.repeats + 1)
    }
}

/// Returns the same number for the same steps.
fn digest(done: &[Action]) -> u64 {
    struct Digest(DefaultHasher);
    impl fmt::Write for Digest {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut digest = Digest(DefaultHasher::new());
    // A hasher takes everything.
    let _ = fmt::Write::write_fmt(&mut digest, format_args!("{done:?}"));
    digest.0.finish()
}

/// Each write makes another version, also one without effect.
fn without_version(mut action: Action) -> Action {
    if let Action::Apply { resource_version, .. } = &mut action {
        *resource_version = None;
    }
    action
}

/// Whether a condition says that nothing is known any more which said something before.
fn becomes_unknown(before: &ClusterStatus, status: &ClusterStatus) -> bool {
    let is_unknown = |status: &ClusterStatus, kind: &str| {
        status.conditions.iter().any(|condition| condition.kind == kind && condition.status == "Unknown")
    };
    status.conditions.iter().any(|condition| {
        condition.status == "Unknown"
            && !is_unknown(before, &condition.kind)
            && before.conditions.iter().any(|known| known.kind == condition.kind)
    })
}

/// What a message says without its numbers: those change while it waits.
fn gist(waiting: &Waiting) -> String {
    let words: String = waiting.message.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    format!("{} {words}", waiting.reason)
}

#[cfg(test)]
mod tests {
    use planner::step::Action;

    use super::*;

    fn status(ready: &str, reason: &str, generation: i64) -> ClusterStatus {
        ClusterStatus {
            observed_generation: Some(generation),
            conditions: vec![Condition {
                kind: "Ready".to_owned(),
                status: ready.to_owned(),
                reason: reason.to_owned(),
                message: String::new(),
                last_transition_time: String::new(),
                observed_generation: None,
            }],
            ..ClusterStatus::default()
        }
    }

    #[test]
    fn a_status_is_written_once_a_second_and_at_once_when_a_condition_changes() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let (before, after) = (status("True", "AllInSync", 1), status("True", "AllInSync", 2));
        assert_eq!(memory.status_is_due(&before, &before, now), None);
        assert_eq!(memory.status_is_due(&before, &after, now), Some(Duration::ZERO));
        memory.status_was_written(now);
        assert_eq!(memory.status_is_due(&before, &after, now), Some(STATUS_PAUSE));
        assert_eq!(memory.status_is_due(&before, &after, now + STATUS_PAUSE), Some(Duration::ZERO));
        assert_eq!(memory.status_is_due(&before, &status("False", "Degraded", 2), now), Some(Duration::ZERO));
    }

    #[test]
    fn members_may_be_silent_for_a_while() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let (known, unknown) = (status("True", "AllInSync", 1), status("Unknown", "ObservationFailed", 1));
        assert_eq!(memory.status_is_due(&known, &unknown, now), Some(SILENCE));
        let later = now + Duration::from_secs(20);
        assert_eq!(memory.status_is_due(&known, &unknown, later), Some(Duration::from_secs(10)));
        // One answer, and the time begins anew.
        assert_eq!(memory.status_is_due(&known, &known, later), None);
        assert_eq!(memory.status_is_due(&known, &unknown, now + SILENCE), Some(SILENCE));
        assert_eq!(memory.status_is_due(&known, &unknown, now + 2 * SILENCE), Some(Duration::ZERO));
        assert_eq!(memory.status_is_due(&unknown, &unknown, now + 2 * SILENCE), None);
    }

    #[test]
    fn what_is_blocked_is_said_once_however_its_numbers_change() {
        let mut memory = Memory::default();
        let blocked =
            |message: &str| Waiting { reason: "TimedOut", message: message.to_owned(), blocked: true };
        let first = [blocked("group 1 drains for 10 s")];
        assert_eq!(memory.news(&first).len(), 1);
        assert_eq!(memory.news(&[blocked("group 1 drains for 12 s")]).len(), 0);
        assert_eq!(memory.news(&[]).len(), 0);
        assert_eq!(memory.news(&first).len(), 1);
        assert_eq!(memory.news(&[Waiting { blocked: false, ..blocked("other") }]).len(), 0);
    }

    #[test]
    fn steps_without_effect_are_noticed_and_settings_may_take_their_time() {
        let mut memory = Memory::default();
        let taken: Vec<Option<u32>> = (0..7).map(|_| memory.repeated(vec![Action::AddFinalizer])).collect();
        assert_eq!(taken, [None, None, None, None, None, Some(6), Some(7)]);
        assert_eq!(memory.repeated(Vec::new()), None);
        assert_eq!(memory.repeated(vec![Action::AddFinalizer]), None);
        // A set whose change somebody takes back at once has another version each time.
        let set = |version: u32| Action::Apply {
            object: planner::object::Object {
                reference: ObjectRef::new(planner::object::Kind::StatefulSet, "s"),
                json: Value::Null,
            },
            uid: "u".to_owned(),
            resource_version: Some(version.to_string()),
        };
        let taken: Vec<Option<u32>> = (0..6).map(|version| memory.repeated(vec![set(version)])).collect();
        assert_eq!(taken, [None, None, None, None, None, Some(6)]);
        let push = || vec![Action::CopyMetadata { from: vec![0], to: 1 }];
        assert!((0..20).all(|_| memory.repeated(push()).is_none()));
    }
}
