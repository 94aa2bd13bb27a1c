//! Why a cluster is not ready: condition, object, reason, action. Pure.

use std::fmt::Write;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use manifest::cluster::status::Condition;
use manifest::{Problems, Validated};
use planner::Timestamp;
use planner::facts::ClusterFacts;
use planner::labels::OPERATOR;
use planner::manual;
use serde::Serialize;
use serde_json::Value;

use super::objects;

/// What is known of a cluster.
pub struct Seen<'a> {
    pub cluster: &'a ClusterFacts,
    pub pods: &'a [Pod],
    pub claims: &'a [PersistentVolumeClaim],
    /// Its StatefulSets.
    pub sets: &'a [Value],
    /// Of the whole namespace.
    pub events: &'a [Event],
    /// The operator's, where it is known.
    pub lease: Option<Lease>,
}

/// Why a cluster is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub cluster: String,
    pub ready: bool,
    /// In one sentence.
    pub headline: String,
    /// What stands in the way, the first cause first.
    pub findings: Vec<Finding>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A condition or an object.
    pub what: String,
    /// In one word.
    pub reason: String,
    /// What was found, in words.
    pub message: String,
    /// What the reason means.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub means: String,
    /// What to do.
    pub action: String,
    /// Where more about it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// How long a lease may be overdue before it is said that nobody has it: clocks differ.
const LATE_S: i64 = 30;

/// Finds everything that is not as it should be.
pub fn explain(seen: &Seen, now: Timestamp) -> Explanation {
    let cluster = seen.cluster;
    let mut findings = of_operator(seen, now);
    findings.extend(of_conditions(cluster));
    findings.extend(objects::findings(seen));
    let ready = condition(cluster, "Ready");
    let of_now = cluster.status.observed_generation == Some(cluster.generation);
    let is_ready = of_now && ready.is_some_and(|ready| ready.status == "True");
    let headline = match ready {
        _ if is_ready => "it is ready: everything is as the manifest says and in sync".to_owned(),
        None => "nothing is reported of it yet".to_owned(),
        Some(_) if !of_now => "what is reported is not about the manifest as it is now".to_owned(),
        Some(ready) => format!("it is not ready ({}): {}", ready.reason, ready.message),
    };
    Explanation { cluster: cluster.name.clone(), ready: is_ready, headline, findings }
}

/// What the operator would say of a manifest.
pub fn of_manifest(loaded: &Result<Validated, Problems>) -> Explanation {
    match loaded {
        Ok(manifest) => Explanation {
            cluster: manifest.name().to_owned(),
            ready: true,
            headline: "the manifest is accepted: all checks pass that need no look at a running cluster"
                .to_owned(),
            findings: Vec::new(),
        },
        Err(problems) => {
            let finding = |problem: &manifest::Problem| {
                of_reason("SpecAccepted=False", problem.reason.as_str(), &problem.to_string())
            };
            Explanation {
                cluster: "the manifest".to_owned(),
                ready: false,
                headline: "it is not accepted; a cluster that runs would be left as it is".to_owned(),
                findings: problems.0.iter().map(finding).collect(),
            }
        }
    }
}

fn condition<'a>(cluster: &'a ClusterFacts, kind: &str) -> Option<&'a Condition> {
    cluster.status.conditions.iter().find(|condition| condition.kind == kind)
}

/// The operator may be down: then what it reports is old.
fn of_operator(seen: &Seen, now: Timestamp) -> Vec<Finding> {
    let cluster = seen.cluster;
    let mut findings = Vec::new();
    let (label, value) = OPERATOR;
    let look = format!("look at its pods: kubectl get pods -A -l {label}={value}");
    if let Some((lease, late)) = seen.lease.as_ref().and_then(|lease| Some((lease, overdue_s(lease, now)?))) {
        let name = |part: &Option<String>| part.clone().unwrap_or_default();
        findings.push(Finding {
            what: format!("Lease {}/{}", name(&lease.metadata.namespace), name(&lease.metadata.name)),
            reason: "OperatorDown".to_owned(),
            message: format!("no operator has renewed its lease for {late} s more than it lasts"),
            means: "The cluster goes on without it; nothing is repaired and no change is taken up."
                .to_owned(),
            action: look.clone(),
            link: None,
        });
    }
    let paused = cluster.status.conditions.iter().any(|condition| condition.kind == "Paused");
    let observed = cluster.status.observed_generation;
    if observed != Some(cluster.generation) && !paused {
        let message = match observed {
            None => "no operator has looked at this cluster yet".to_owned(),
            Some(observed) => {
                format!(
                    "the manifest is at generation {}, what was written and told is of {observed}",
                    cluster.generation
                )
            }
        };
        findings.push(Finding {
            what: "observedGeneration".to_owned(),
            reason: "NotObserved".to_owned(),
            message,
            means: "What is reported below may be old.".to_owned(),
            action: format!(
                "wait a few seconds; if it stays so, {look}, and whether it watches this namespace"
            ),
            link: None,
        });
    }
    findings
}

/// Returns by how much a lease is overdue, if nobody has it.
fn overdue_s(lease: &Lease, now: Timestamp) -> Option<i64> {
    let spec = lease.spec.as_ref()?;
    let renewed = spec.renew_time.as_ref()?.0.as_second();
    let overdue = now.as_second() - renewed - i64::from(spec.lease_duration_seconds.unwrap_or(0));
    (overdue > LATE_S).then_some(overdue)
}

/// Conditions in the order of causes; Ready stands for them unless none of them says more.
fn of_conditions(cluster: &ClusterFacts) -> Vec<Finding> {
    let is_trouble = |condition: &&Condition| {
        let Condition { kind, status, reason, .. } = condition;
        match (kind.as_str(), status.as_str(), reason.as_str()) {
            ("SpecAccepted", status, reason) => status != "True" || reason != "Accepted",
            ("Available" | "StorageResized" | "ScaleIn", status, _) => status != "True",
            ("Degraded", status, _) => status != "False",
            ("Progressing", _, reason) => !["Idle"].contains(&reason),
            ("Paused" | "Stopped", status, _) => status == "True",
            _ => false,
        }
    };
    let all = &cluster.status.conditions;
    let order = [
        "SpecAccepted",
        "Paused",
        "Stopped",
        "Available",
        "Degraded",
        "StorageResized",
        "ScaleIn",
        "Progressing",
    ];
    let mut found: Vec<&Condition> = order
        .iter()
        .filter_map(|kind| all.iter().find(|condition| condition.kind == *kind))
        .filter(is_trouble)
        .collect();
    let ready = condition(cluster, "Ready").filter(|ready| ready.status != "True");
    if let Some(ready) = ready.filter(|ready| !found.iter().any(|other| says_the_same(ready, other))) {
        found.push(ready);
    }
    found.dedup_by(|later, earlier| later.reason == earlier.reason && later.message == earlier.message);
    let finding = |condition: &&Condition| {
        let what = format!("{}={}", condition.kind, condition.status);
        of_reason(&what, &condition.reason, &condition.message)
    };
    found.iter().map(finding).collect()
}

fn says_the_same(ready: &Condition, other: &Condition) -> bool {
    ready.reason == other.reason || ready.message == other.message || ready.message.contains(&other.message)
}

fn of_reason(what: &str, reason: &str, message: &str) -> Finding {
    let known = manual::reason(reason);
    Finding {
        what: what.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        means: known.map(|known| known.means.to_owned()).unwrap_or_default(),
        action: known
            .map_or("this version of gantry does not know the reason; use that of the operator", |known| {
                known.action
            })
            .to_owned(),
        link: known.map(manual::Reason::link),
    }
}

/// Writes an explanation for people.
pub fn text(explanation: &Explanation) -> String {
    let mut out = format!("{}: {}\n", explanation.cluster, explanation.headline);
    for finding in &explanation.findings {
        let _ = writeln!(out, "\n{} {}\n  {}", finding.what, finding.reason, finding.message);
        if !finding.means.is_empty() {
            let _ = writeln!(out, "  means: {}", finding.means);
        }
        // The manual has a word for the name.
        let action = finding.action.replace("NAME", &explanation.cluster);
        let _ = writeln!(out, "  do:    {action}");
        if let Some(link) = &finding.link {
            let _ = writeln!(out, "  more:  {link}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::ToSpan;
    use manifest::cluster::ClusterStatus;
    use planner::conditions::REASONS;
    use serde_json::json;

    use super::*;

    pub(super) fn now() -> Timestamp {
        "2030-01-01T00:10:00Z".parse().unwrap()
    }

    fn cluster(generation: i64, conditions: &[(&str, &str, &str, &str)]) -> ClusterFacts {
        let conditions = conditions.iter().map(|(kind, status, reason, message)| {
            json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "t" })
        });
        let status = json!({ "observedGeneration": 2, "conditions": conditions.collect::<Vec<_>>() });
        let status: ClusterStatus = serde_json::from_value(status).unwrap();
        ClusterFacts { name: "mq".to_owned(), generation, status, ..ClusterFacts::default() }
    }

    fn lease(renewed: &str) -> Lease {
        let metadata = json!({ "name": "gantry-operator", "namespace": "ns" });
        let lease = json!({ "metadata": metadata, "spec": { "renewTime": renewed, "leaseDurationSeconds": 15, "holderIdentity": "x" } });
        serde_json::from_value(lease).unwrap()
    }

    fn explained(cluster: &ClusterFacts, lease: Option<Lease>) -> Explanation {
        let seen = Seen { cluster, pods: &[], claims: &[], sets: &[], events: &[], lease };
        explain(&seen, now())
    }

    fn reasons(explanation: &Explanation) -> Vec<(&str, &str)> {
        explanation.findings.iter().map(|finding| (finding.what.as_str(), finding.reason.as_str())).collect()
    }

    const GOOD: [(&str, &str, &str, &str); 6] = [
        ("SpecAccepted", "True", "Accepted", "all checks passed"),
        ("Ready", "True", "AllInSync", "everything is as the manifest says and in sync"),
        ("Available", "True", "AllGroupsWritable", "every group takes messages"),
        ("Progressing", "False", "Idle", "nothing is to be done"),
        ("Degraded", "False", "AsExpected", "every member is ready and in sync"),
        ("Redundant", "False", "AsyncReplication", "a master acknowledges before"),
    ];

    #[test]
    fn a_cluster_that_is_well_has_no_finding() {
        let explanation = explained(&cluster(2, &GOOD), Some(lease("2030-01-01T00:09:59.000000Z")));
        assert_eq!((explanation.ready, reasons(&explanation)), (true, vec![]));
        assert_eq!(text(&explanation), "mq: it is ready: everything is as the manifest says and in sync\n");
    }

    #[test]
    fn causes_stand_before_what_follows_from_them() {
        let why = "the master of group 0 is not ready: ImagePullBackOff";
        let bad = [
            ("SpecAccepted", "True", "Accepted", "all checks passed"),
            ("Ready", "False", "Unavailable", why),
            ("Available", "False", "GroupWithoutMaster", why),
            ("Progressing", "True", "RollingOut", "3 of 5 pods are up to date; one restarts"),
            ("Degraded", "True", "MemberNotReady", "mq-broker-0-0 is not ready: ImagePullBackOff"),
        ];
        let explanation = explained(&cluster(2, &bad), None);
        let expected = [
            ("Available=False", "GroupWithoutMaster"),
            ("Degraded=True", "MemberNotReady"),
            ("Progressing=True", "RollingOut"),
        ];
        assert_eq!((explanation.ready, reasons(&explanation)), (false, expected.to_vec()));
        let words = text(&explanation);
        assert!(words.starts_with(&format!("mq: it is not ready (Unavailable): {why}\n")), "{words}");
        assert!(words.contains("more:  docs/troubleshooting.md#groupwithoutmaster\n"), "{words}");
        assert!(words.contains("`gantry explain mq` says why"), "{words}");
    }

    #[test]
    fn an_operator_that_is_down_is_said_first() {
        let explanation = explained(&cluster(3, &GOOD), Some(lease("2030-01-01T00:00:00.000000Z")));
        let expected = [("Lease ns/gantry-operator", "OperatorDown"), ("observedGeneration", "NotObserved")];
        assert_eq!((explanation.ready, reasons(&explanation)), (false, expected.to_vec()));
        assert_eq!(
            explanation.findings[1].message,
            "the manifest is at generation 3, what was written and told is of 2"
        );
        // A clock that is a little off is no operator that is down.
        let close = (now() - 40.seconds()).to_string();
        assert!(explained(&cluster(2, &GOOD), Some(lease(&close))).ready);
        let mut new = cluster(1, &[]);
        new.status = ClusterStatus::default();
        assert_eq!(explained(&new, None).headline, "nothing is reported of it yet");
    }

    #[test]
    fn every_reason_has_its_words_and_its_action() {
        for (condition, reasons) in REASONS {
            for reason in *reasons {
                let finding = of_reason(condition, reason, "");
                assert!(!finding.means.is_empty() && !finding.action.is_empty(), "{condition} {reason}");
                assert_eq!(finding.link, Some(format!("docs/troubleshooting.md#{}", reason.to_lowercase())));
            }
        }
    }

    #[test]
    fn a_manifest_is_explained_without_a_cluster() {
        let head = "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: { name: mq }\n";
        let good = manifest::load(&format!(
            "{head}spec: {{ version: 0.1.0, brokers: {{ storage: {{ size: 1Gi }} }} }}"
        ));
        assert!(of_manifest(&good).ready);
        let bad = manifest::load(&format!(
            "{head}spec: {{ version: 0.1.0, brokers: {{ replicasPerGroup: 9, config: {{ brokerId: '1' }}, storage: {{ size: 1Gi }} }} }}"
        ));
        let explanation = of_manifest(&bad);
        let expected = [("SpecAccepted=False", "ForbiddenConfigKey"), ("SpecAccepted=False", "InvalidSpec")];
        assert_eq!(reasons(&explanation), expected);
        assert!(explanation.findings[1].message.starts_with("spec.brokers.replicasPerGroup: 9: must be"));
    }
}
