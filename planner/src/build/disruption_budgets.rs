//! Budgets that node drains and the planner share: one member of a group, one name server at a time.

use serde_json::json;

use super::object;
use crate::desired::Desired;
use crate::labels::Part;
use crate::object::{Kind, Object};
use crate::shape::Shape;

pub(super) fn build(desired: &Desired, shape: &Shape) -> Vec<Object> {
    if !desired.spec().pod_disruption_budget.enabled {
        return Vec::new();
    }
    let mut wanted = Vec::new();
    // A budget over a single member would forbid every drain of its node.
    if desired.effective.name_servers.replicas > 1 {
        wanted.push((Part::NameServers, desired.names.name_servers()));
    }
    if desired.replicas_per_group() > 1 {
        wanted.extend(shape.groups.keys().map(|group| (Part::Group(*group), desired.names.group(*group))));
    }
    let budget = |(part, name): (Part, String)| {
        let body = json!({ "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "IfHealthyBudget",
            "selector": { "matchLabels": desired.selector(part) },
        } });
        object(desired, part, Kind::PodDisruptionBudget, &name, body)
    };
    wanted.into_iter().map(budget).collect()
}
