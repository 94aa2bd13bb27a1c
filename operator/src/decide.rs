//! Which manifest is planned with: the cluster's own, or the last one that was accepted while that cannot be applied.

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::ClusterStatus;
use planner::facts::Facts;
use planner::step::{Plan, Waiting};
use serde_json::{Value, json};

/// The conditions that are about the manifest as it stands, whatever is done meanwhile.
const OF_THE_EDIT: [&str; 2] = ["SpecAccepted", "Ready"];

/// What was decided.
pub struct Decided {
    pub plan: Plan,
    /// Whether the cluster's own manifest was planned with: it is the one to go on with from now on.
    pub accepted: bool,
}

/// Plans for a cluster as the API server has it; `kept` is the last manifest that was accepted.
pub fn decide(cluster: &Value, kept: Option<&Value>, facts: &Facts, now: Timestamp) -> Decided {
    let ends = facts.cluster.deleting && !is_protected(cluster);
    let read = match manifest::read(cluster) {
        // No mistake can keep it: only what its end needs is read.
        Err(_) if ends => manifest::read_for_deletion(cluster),
        read => read,
    };
    let refusal = match read {
        Ok(validated) => {
            let plan = planner::plan(&validated, facts, now);
            if !plan.refused {
                return Decided { plan, accepted: true };
            }
            plan
        }
        Err(problems) => Plan { status: planner::refused(&problems, facts, now), ..Plan::default() },
    };
    // Whoever says pause means that, and what goes needs nothing to heal.
    let is_paused = cluster["spec"]["paused"] == true;
    let kept = kept.filter(|kept| !is_paused && !ends && **kept != cluster["spec"]);
    let kept = kept.map(|spec| {
        let mut kept = json!({ "metadata": cluster["metadata"], "spec": spec });
        // An edit that cannot be applied protects all the same.
        if facts.cluster.deleting {
            kept["spec"]["deletion"] = cluster["spec"]["deletion"].clone();
        }
        kept
    });
    let plan = kept.and_then(|kept| {
        let plan = planner::plan(&manifest::read(&kept).ok()?, facts, now);
        (!plan.refused).then_some(plan)
    });
    let ignored = ignored(&refusal.status);
    let mut plan = match plan {
        Some(plan) => Plan { status: with_conditions_of(&refusal.status, plan.status), ..plan },
        None => refusal,
    };
    plan.waiting.push(ignored);
    Decided { plan, accepted: false }
}

/// What makes the event: a person has to mend the manifest, and may not look at its conditions.
fn ignored(refusal: &ClusterStatus) -> Waiting {
    let said = refusal.conditions.iter().find(|said| said.kind == "SpecAccepted");
    let why = said.map_or("", |said| said.message.as_str());
    let message = format!("the manifest is not applied, and what runs is left as it is: {why}");
    Waiting { reason: "SpecIgnored", message, blocked: true }
}

fn is_protected(cluster: &Value) -> bool {
    manifest::read_for_deletion(cluster).is_ok_and(|read| read.cluster().spec.deletion.protection)
}

fn with_conditions_of(refusal: &ClusterStatus, mut status: ClusterStatus) -> ClusterStatus {
    for condition in &mut status.conditions {
        let of_edit = |said: &&manifest::cluster::status::Condition| {
            said.kind == condition.kind && OF_THE_EDIT.contains(&said.kind.as_str())
        };
        if let Some(said) = refusal.conditions.iter().find(of_edit) {
            *condition = said.clone();
        }
    }
    // The edit was looked at; what is left to do is of the manifest before it.
    status.observed_generation = refusal.observed_generation;
    status
}

#[cfg(test)]
mod tests {
    use planner::facts::ClusterFacts;
    use planner::step::Action;

    use super::*;

    fn cluster(spec: Value) -> Value {
        manifest::crd::with_defaults(&json!({
            "metadata": { "name": "c", "namespace": "ns", "uid": "u" },
            "spec": spec,
        }))
    }

    fn good() -> Value {
        json!({ "version": "0.1.0", "brokers": { "groups": 1, "replicasPerGroup": 1, "storage": { "size": "1Gi" } } })
    }

    /// A cluster that has run with version 0.1.0; its children are gone.
    fn facts() -> Facts {
        let status = json!({
            "version": "0.1.0",
            "conditions": [{ "type": "Ready", "status": "True", "reason": "AllInSync", "message": "",
                             "lastTransitionTime": "2029-01-01T00:00:00Z" }],
            "brokers": { "nextGroupIndex": 1, "groupStatuses": [{ "index": 0, "name": "c-broker-0", "state": "Active" }] },
        });
        Facts {
            cluster: ClusterFacts {
                name: "c".to_owned(),
                namespace: "ns".to_owned(),
                uid: "u".to_owned(),
                generation: 7,
                finalizers: [planner::labels::FINALIZER.to_owned()].into(),
                status: serde_json::from_value(status).unwrap(),
                ..ClusterFacts::default()
            },
            ..Facts::default()
        }
    }

    fn said(plan: &Plan, kind: &str) -> (String, String) {
        let condition = plan.status.conditions.iter().find(|said| said.kind == kind).unwrap();
        (condition.status.clone(), condition.reason.clone())
    }

    fn makes_children(plan: &Plan) -> bool {
        plan.steps.iter().any(|step| matches!(step.action, Action::Create(_)))
    }

    #[test]
    fn a_cluster_goes_on_as_it_was_while_an_edit_cannot_be_applied() {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        let kept = cluster(good())["spec"].clone();
        let with = |change: fn(&mut Value)| {
            let mut spec = good();
            change(&mut spec);
            cluster(spec)
        };
        let unreadable = with(|spec| spec["brokers"]["groups"] = json!("many"));
        let bad_key = with(|spec| spec["brokers"]["config"] = json!({ "brokerId": "1" }));
        let far = with(|spec| spec["version"] = json!("0.9.0"));
        let paused = with(|spec| {
            spec["brokers"]["groups"] = json!("many");
            spec["paused"] = json!(true);
        });
        // What is asked for, what was accepted before; whether it is accepted, children come back, and why not.
        let cases = [
            ("good", cluster(good()), None, true, true, "Accepted"),
            ("unreadable", unreadable.clone(), Some(&kept), false, true, "InvalidSpec"),
            ("forbidden key", bad_key, Some(&kept), false, true, "ForbiddenConfigKey"),
            ("version", far, Some(&kept), false, true, "UnsupportedVersionJump"),
            ("nothing before", unreadable.clone(), None, false, false, "InvalidSpec"),
            ("unreadable before", unreadable.clone(), Some(&json!(1)), false, false, "InvalidSpec"),
            ("paused", paused, Some(&kept), false, false, "InvalidSpec"),
        ];
        for (name, cluster, kept, accepted, heals, reason) in cases {
            let decided = decide(&cluster, kept, &facts(), now);
            assert_eq!(decided.accepted, accepted, "{name}");
            assert_eq!(makes_children(&decided.plan), heals, "{name}: {:?}", decided.plan.steps);
            assert_eq!(said(&decided.plan, "SpecAccepted").1, reason, "{name}");
            if !accepted {
                assert_eq!(said(&decided.plan, "SpecAccepted").0, "False", "{name}");
                assert_eq!(
                    said(&decided.plan, "Ready"),
                    ("False".to_owned(), "InvalidSpec".to_owned()),
                    "{name}"
                );
                assert_eq!(decided.plan.status.observed_generation, Some(7), "{name}");
            }
        }
    }

    #[test]
    fn no_mistake_keeps_a_cluster_that_goes() {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        let mut facts = facts();
        facts.cluster.deleting = true;
        let mut bad = cluster(good());
        bad["spec"]["brokers"]["groups"] = json!("many");
        let decided = decide(&bad, None, &facts, now);
        let actions: Vec<&Action> = decided.plan.steps.iter().map(|step| &step.action).collect();
        assert_eq!(actions, [&Action::RemoveFinalizer]);
    }

    #[test]
    fn a_protected_cluster_goes_on_as_it_was_although_it_is_deleted_and_a_mistake_is_in_it() {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        let mut facts = facts();
        facts.cluster.deleting = true;
        let kept = cluster(good())["spec"].clone();
        let mut bad = cluster(good());
        bad["spec"]["brokers"]["groups"] = json!("many");
        bad["spec"]["deletion"]["protection"] = json!(true);
        // That one was not protected.
        let decided = decide(&bad, Some(&kept), &facts, now);
        assert!(makes_children(&decided.plan), "{:?}", decided.plan.steps);
        assert_eq!(decide(&bad, None, &facts, now).plan.steps, []);
    }
}
