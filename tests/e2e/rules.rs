//! The definition as a real API server evaluates it: each rule accepts one manifest and refuses another.

use std::process::Output;

use serde_json::{Value, json};

use crate::kube::Kube;

#[path = "../../manifest/tests/rules/cases.rs"]
mod cases;

use cases::{Change, cases, cluster};

/// Each rule of the definition. Clusters are paused, so that the operator only looks on.
pub fn rules(kube: &Kube, namespace: &str) -> String {
    let cases = cases();
    for (number, case) in cases.iter().enumerate() {
        let accepted = asked(kube, namespace, &format!("rule-{number}-a"), &case.accepts);
        assert!(
            accepted.status.success(),
            "{} refuses {}: {}",
            case.message,
            case.accepts.new,
            words(&accepted)
        );
        let refused = asked(kube, namespace, &format!("rule-{number}-r"), &case.refuses);
        let said = words(&refused);
        assert!(!refused.status.success(), "{}: {} is accepted", case.message, case.refuses.new);
        assert!(said.contains(case.message), "{}: {} is refused with {said}", case.message, case.refuses.new);
    }
    for (name, good) in [("a", true), ("a-1", true), ("1a", false), ("a-", false), ("a.b", false)] {
        let output = asked(kube, namespace, name, &Change { old: None, new: json!({}) });
        assert_eq!(output.status.success(), good, "a cluster named {name}: {}", words(&output));
    }
    kube.ctl(&format!("delete rktmq -n {namespace} --all"));
    people(kube, namespace);
    format!("{} cases of rules, each accepting and refusing; who may what", cases.len())
}

/// Kubernetes' own roles for people reach to clusters.
fn people(kube: &Kube, namespace: &str) {
    for role in ["view", "edit"] {
        kube.ctl(&format!("create rolebinding {role} -n {namespace} --clusterrole={role} --user={role}"));
    }
    for (user, verb, part, may) in [
        ("view", "list", "", true),
        ("view", "patch", "", false),
        ("edit", "delete", "", true),
        ("edit", "patch", "scale", true),
        ("edit", "update", "status", false),
    ] {
        let asked = format!(
            "auth can-i {verb} rocketmqclusters.gantry.rs --subresource={part} --as={user} -n {namespace}"
        );
        let said = String::from_utf8_lossy(&kube.ctl_with(&asked, "").stdout).into_owned();
        assert_eq!(said.trim() == "yes", may, "{asked}: {said}");
    }
}

/// Asks without keeping anything but what a change starts from.
fn asked(kube: &Kube, namespace: &str, name: &str, change: &Change) -> Output {
    if let Some(old) = &change.old {
        kube.apply(namespace, &paused(name, old));
    }
    kube.ctl_with(&format!("apply -n {namespace} --dry-run=server -f -"), &paused(name, &change.new))
}

fn paused(name: &str, spec: &Value) -> String {
    let mut manifest = cluster(name, spec);
    manifest["spec"]["paused"] = json!(true);
    manifest.to_string()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
