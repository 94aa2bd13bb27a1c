//! How many clusters restart pods at a time: after an upgrade of the operator all would at once.

use std::collections::HashSet;

use parking_lot::Mutex;
use planner::step::Plan;

use crate::caches::ClusterKey;

/// Places for clusters that restart pods.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    taken: Mutex<HashSet<ClusterKey>>,
}

impl Slots {
    pub fn new(most: u32) -> Slots {
        Slots { most: usize::try_from(most).unwrap_or(usize::MAX), taken: Mutex::default() }
    }

    /// Whether a cluster may begin.
    pub fn may(&self, key: &ClusterKey) -> bool {
        self.has_place(&self.taken.lock(), key)
    }

    /// Takes a place, unless another was faster.
    pub fn take(&self, key: &ClusterKey) -> bool {
        let mut taken = self.taken.lock();
        let may = self.has_place(&taken, key);
        if may {
            taken.insert(key.clone());
        }
        may
    }

    /// Gives the place back, if there is one.
    pub fn free(&self, key: &ClusterKey) {
        self.taken.lock().remove(key);
    }

    fn has_place(&self, taken: &HashSet<ClusterKey>, key: &ClusterKey) -> bool {
        taken.contains(key) || taken.len() < self.most
    }
}

/// Whether a cluster needs a place: its rollout has begun, and does not wait for a person or a window while all members
/// are ready.
pub fn is_needed(plan: &Plan) -> bool {
    let waits_long = || {
        let long =
            plan.waiting.iter().any(|waiting| ["AwaitingApproval", "WindowClosed"].contains(&waiting.reason));
        long && all_are_ready(plan)
    };
    plan.status
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.current.is_some() || (rollout.done > 0 && !waits_long()))
}

/// Whether a cluster that has no rollout any more gives its place back. One that waits for a member keeps it, the last one
/// that restarted most of all: what broke it might break the next cluster. Unless a person took the cluster out.
pub fn is_over(plan: &Plan) -> bool {
    let taken_out = plan.status.conditions.iter().any(|said| match said.kind.as_str() {
        "Paused" | "Stopped" => said.status == "True",
        "Ready" => said.reason == "Deleting",
        _ => false,
    });
    taken_out || all_are_ready(plan)
}

fn all_are_ready(plan: &Plan) -> bool {
    let name_servers = &plan.status.name_servers;
    let mut members = plan.status.brokers.group_statuses.iter().flat_map(|group| &group.members);
    name_servers.ready >= name_servers.replicas && members.all(|member| member.ready)
}

#[cfg(test)]
mod tests {
    use manifest::cluster::status::RolloutStatus;
    use planner::step::Waiting;

    use super::*;

    #[test]
    fn a_rollout_that_waits_for_a_person_or_a_window_lets_others_restart() {
        let plan = |done: i32, current: Option<&str>, reason: &'static str, ready: bool| {
            let waiting = Waiting { reason, message: String::new(), blocked: false };
            let mut plan = Plan { waiting: vec![waiting], ..Plan::default() };
            let current = current.map(str::to_owned);
            plan.status.rollout = Some(RolloutStatus { done, total: 4, current, ..RolloutStatus::default() });
            let groups = serde_json::json!([{ "index": 0, "name": "g", "state": "Active", "members": [
                { "ordinal": 0, "pod": "g-0", "ready": ready },
            ] }]);
            plan.status.brokers.group_statuses = serde_json::from_value(groups).unwrap();
            plan
        };
        let cases = [
            ("not begun", plan(0, None, "RollingOut", true), false),
            ("it restarts one", plan(0, Some("g-0"), "RollingOut", true), true),
            ("the next one waits", plan(2, None, "RollingOut", true), true),
            ("masters wait for approval", plan(2, None, "AwaitingApproval", true), false),
            ("the rest waits for a window", plan(2, None, "WindowClosed", true), false),
            ("one is down", plan(2, None, "AwaitingApproval", false), true),
        ];
        for (name, plan, needed) in cases {
            assert_eq!(is_needed(&plan), needed, "{name}");
        }
        assert!(!is_needed(&Plan::default()));
    }

    #[test]
    fn a_place_is_kept_until_what_restarted_last_is_ready() {
        let plan = |ready: i32, member: bool, kind: &str, reason: &str| {
            let mut plan = Plan::default();
            let said = serde_json::json!([{ "type": kind, "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "2030-01-01T00:00:00Z" }]);
            plan.status.conditions = serde_json::from_value(said).unwrap();
            (plan.status.name_servers.replicas, plan.status.name_servers.ready) = (2, ready);
            let groups = serde_json::json!([{ "index": 0, "name": "g", "state": "Active", "members": [
                { "ordinal": 0, "pod": "g-0", "ready": member },
            ] }]);
            plan.status.brokers.group_statuses = serde_json::from_value(groups).unwrap();
            plan
        };
        assert!(is_over(&plan(2, true, "Degraded", "AsExpected")));
        assert!(!is_over(&plan(2, false, "Degraded", "MemberNotReady")));
        assert!(!is_over(&plan(1, true, "Degraded", "MemberNotReady")));
        for (kind, reason) in [("Paused", "Requested"), ("Stopped", "Requested"), ("Ready", "Deleting")] {
            assert!(is_over(&plan(0, false, kind, reason)), "{kind} {reason}");
        }
    }

    #[test]
    fn no_more_clusters_than_allowed_restart_at_a_time() {
        let (slots, a, b) = (Slots::new(1), ClusterKey::new("ns", "a"), ClusterKey::new("ns", "b"));
        assert!(slots.may(&a) && slots.may(&b));
        assert!(slots.take(&a) && slots.take(&a));
        assert!(slots.may(&a) && !slots.may(&b) && !slots.take(&b));
        slots.free(&a);
        assert!(slots.take(&b) && !slots.may(&a));
    }
}
