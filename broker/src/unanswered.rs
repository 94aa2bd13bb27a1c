//! Answers of one connection that wait for what was promised, in order of arrival. They leave in that order, but none
//! waits for another longer than for what it was promised itself: after a change of settings a later one may be due
//! first.

use std::collections::VecDeque;
use std::time::Instant;

use protocol::codes::ResponseCode;

use crate::acks::{Decision, Promise, Reached};

/// Waiting answers; `T` is what they answer.
pub struct Unanswered<T> {
    queue: VecDeque<(Promise, T)>,
    /// Whether each follows the one before it, so that none is due before the first is.
    in_order: bool,
}

impl<T> Default for Unanswered<T> {
    fn default() -> Self {
        Unanswered { queue: VecDeque::new(), in_order: true }
    }
}

impl<T> Unanswered<T> {
    /// Lets an answer wait.
    pub fn push(&mut self, promise: Promise, what: T) {
        self.in_order = self.in_order && self.queue.back().is_none_or(|(last, _)| promise.follows(last));
        self.queue.push_back((promise, what));
    }

    /// All that wait are due then at the latest. Their order stays.
    pub fn hurry(&mut self, latest: Instant) {
        self.queue.iter_mut().for_each(|(promise, _)| promise.hurry(latest));
    }

    /// Takes out an answer whose time has come, with its code; the first of them.
    pub fn pop(&mut self, reached: impl Fn(&Promise) -> Reached, now: Instant) -> Option<(ResponseCode, T)> {
        let looked_at = if self.in_order { 1 } else { self.queue.len() };
        let due = self.queue.iter().take(looked_at).enumerate().find_map(|(at, (promise, _))| match promise
            .decide(reached(promise), now)
        {
            Decision::Answer(code) => Some((at, code)),
            Decision::Wait(_) => None,
        });
        let (at, code) = due?;
        let (_, what) = self.queue.remove(at)?;
        if !self.in_order {
            let pairs = std::iter::zip(&self.queue, self.queue.iter().skip(1));
            self.in_order = pairs.into_iter().all(|((earlier, _), (later, _))| later.follows(earlier));
        }
        Some((code, what))
    }

    /// Returns when [`Unanswered::pop`] has something at the latest, if the log comes no further.
    pub fn deadline(&self, reached: impl Fn(&Promise) -> Reached, now: Instant) -> Option<Instant> {
        let looked_at = if self.in_order { 1 } else { self.queue.len() };
        let deadline = |(promise, _): &(Promise, T)| match promise.decide(reached(promise), now) {
            Decision::Answer(_) => now,
            Decision::Wait(until) => until,
        };
        self.queue.iter().take(looked_at).map(deadline).min()
    }

    /// Says whether any answer may wait for the flush.
    pub fn waits_for_flush(&self) -> bool {
        self.queue.front().is_some_and(|(first, _)| first.flush.is_some() || !self.in_order)
    }

    /// Says whether any answer may wait for slaves.
    pub fn waits_for_slaves(&self) -> bool {
        self.queue.front().is_some_and(|(first, _)| first.copies.is_some() || !self.in_order)
    }

    /// Says whether any answer may wait for another number of members than `members`.
    pub fn waits_for_others_than(&self, members: usize) -> bool {
        self.waits_for_slaves()
            && (!self.in_order || self.queue.front().is_some_and(|(first, _)| !first.is_of(members)))
    }

    /// Says whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acks::{Copies, Due};
    use std::time::Duration;

    struct Scene {
        start: Instant,
        waiting: Unanswered<&'static str>,
    }

    impl Scene {
        fn new() -> Scene {
            Scene { start: Instant::now(), waiting: Unanswered::default() }
        }

        fn at(&self, secs: u64) -> Instant {
            self.start + Duration::from_secs(secs)
        }

        fn flush(&mut self, what: &'static str, to: u64, secs: u64) {
            let due = Due { to, deadline: self.at(secs) };
            self.waiting.push(Promise { flush: Some(due), copies: None }, what);
        }

        fn copies(&mut self, what: &'static str, to: u64, secs: u64) {
            let due = Due { to, deadline: self.at(secs) };
            self.waiting.push(Promise { flush: None, copies: Some(Copies { members: 2, due }) }, what);
        }

        /// What leaves, and when the next one does at the latest.
        fn answers(
            &mut self,
            flushed: u64,
            replicated: u64,
            secs: u64,
        ) -> (Vec<(&'static str, ResponseCode)>, Option<u64>) {
            let (now, reached) = (self.at(secs), |_: &Promise| Reached { flushed, replicated });
            let mut left = Vec::new();
            while let Some((code, what)) = self.waiting.pop(reached, now) {
                left.push((what, code));
            }
            let next = self.waiting.deadline(reached, now);
            (left, next.map(|at| at.duration_since(self.start).as_secs()))
        }
    }

    #[test]
    fn answers_of_one_kind_leave_in_order() {
        let mut scene = Scene::new();
        scene.flush("a", 10, 5);
        scene.flush("b", 20, 6);
        scene.flush("c", 30, 7);
        assert!(scene.waiting.waits_for_flush() && !scene.waiting.waits_for_slaves());
        assert_eq!(scene.answers(5, 0, 0), (vec![], Some(5)));
        let done = vec![("a", ResponseCode::SUCCESS), ("b", ResponseCode::SUCCESS)];
        assert_eq!(scene.answers(20, 0, 0), (done, Some(7)));
        assert_eq!(scene.answers(20, 0, 7), (vec![("c", ResponseCode::FLUSH_DISK_TIMEOUT)], None));
        assert!(scene.waiting.is_empty() && !scene.waiting.waits_for_flush());
    }

    #[test]
    fn nobody_waits_for_the_slaves_of_an_earlier_answer() {
        let mut scene = Scene::new();
        scene.copies("slaves", 10, 60);
        scene.flush("flush", 20, 5);
        scene.flush("late flush", 30, 6);
        assert!(scene.waiting.waits_for_flush() && scene.waiting.waits_for_slaves());
        assert_eq!(scene.answers(20, 0, 1), (vec![("flush", ResponseCode::SUCCESS)], Some(6)));
        assert_eq!(scene.answers(20, 0, 6).0, [("late flush", ResponseCode::FLUSH_DISK_TIMEOUT)]);
        assert!(!scene.waiting.waits_for_flush(), "one kind is left");
        assert_eq!(scene.answers(20, 10, 6), (vec![("slaves", ResponseCode::SUCCESS)], None));
    }

    #[test]
    fn a_shorter_timeout_set_later_is_kept() {
        let mut scene = Scene::new();
        scene.copies("old", 10, 60);
        scene.copies("new", 20, 2);
        scene.copies("newer", 30, 3);
        assert_eq!(scene.answers(0, 0, 1), (vec![], Some(2)));
        let late = ResponseCode::FLUSH_SLAVE_TIMEOUT;
        assert_eq!(scene.answers(0, 0, 3), (vec![("new", late), ("newer", late)], Some(60)));
        assert_eq!(scene.answers(0, 30, 3), (vec![("old", ResponseCode::SUCCESS)], None));
    }
}
