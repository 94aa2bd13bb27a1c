//! The definition as a real API server evaluates it: each rule accepts one manifest and refuses another, and what is bad is
//! refused by who should, with field and remedy.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kube::{Kube, until};

#[path = "../../manifest/tests/rules/cases.rs"]
mod cases;

use cases::{Change, cases, cluster};

/// How long the operator may take to say what it thinks of a manifest.
const SAYS: Duration = Duration::from_secs(60);

/// Each rule of the definition. Clusters are paused, so that the operator only looks on.
pub fn rules(kube: &Kube, namespace: &str) -> String {
    kube.ctl(&format!("create namespace {namespace}"));
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
    format!("{} cases of rules, each accepting and refusing", cases.len())
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

/// The bad manifests of `refusals/`. Those that only the operator refuses are watched all at once.
pub fn refusals(kube: &Kube, namespace: &str) -> String {
    kube.ctl(&format!("create namespace {namespace}"));
    let all = read();
    let (by_operator, by_server): (Vec<&Refusal>, Vec<&Refusal>) =
        all.iter().partition(|refusal| refusal.reason.is_some());
    for refusal in &by_server {
        if let Some(before) = &refusal.before {
            kube.apply(namespace, before);
        }
        let output = kube.ctl_with(&format!("apply -n {namespace} -f -"), &refusal.bad);
        let said = words(&output);
        let refused =
            !output.status.success() && said.contains(&refusal.field) && said.contains(&refusal.words);
        assert!(refused, "{} is not refused as it should be: {said}", refusal.file);
    }
    for refusal in &by_operator {
        kube.apply(namespace, refusal.before.as_ref().unwrap_or(&refusal.bad));
    }
    let edits = || by_operator.iter().filter(|refusal| refusal.before.is_some());
    for refusal in edits() {
        says(kube, namespace, refusal, "Ready", "True", "AllInSync", "");
    }
    let pods = || {
        let names = kube.list(&format!("/api/v1/namespaces/{namespace}/pods"));
        names.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect::<Vec<_>>()
    };
    let before = pods();
    for refusal in edits() {
        kube.apply(namespace, &refusal.bad);
    }
    for refusal in &by_operator {
        let reason = refusal.reason.as_deref().unwrap_or_default();
        let message = says(kube, namespace, refusal, "SpecAccepted", "False", reason, &refusal.words);
        assert!(
            message.contains(&refusal.field),
            "{}: {message} does not name {}",
            refusal.file,
            refusal.field
        );
        says(kube, namespace, refusal, "Ready", "False", "InvalidSpec", "left as it is");
    }
    assert_eq!(pods(), before, "an edit that is refused touches no pod");
    let figures = format!("{} by the API server, {} by the operator", by_server.len(), by_operator.len());
    kube.ctl(&format!("delete rktmq -n {namespace} --all"));
    figures
}

/// Waits for a condition, and returns its message.
fn says(
    kube: &Kube,
    namespace: &str,
    refusal: &Refusal,
    kind: &str,
    status: &str,
    reason: &str,
    part: &str,
) -> String {
    let path = format!("/apis/gantry.rs/v1alpha1/namespaces/{namespace}/rocketmqclusters/{}", refusal.name);
    until(&format!("{}: {kind}={status} {reason}", refusal.file), SAYS, || {
        let object = kube.get(&path).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
        let message = found["message"].as_str().unwrap_or_default().to_owned();
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        match current && found["status"] == status && found["reason"] == reason && message.contains(part) {
            true => Ok(message),
            false => Err(found.to_string()),
        }
    })
}

struct Refusal {
    file: String,
    /// The cluster's.
    name: String,
    /// `None`: the API server refuses it.
    reason: Option<String>,
    field: String,
    words: String,
    before: Option<String>,
    bad: String,
}

/// Reads `# api-server: FIELD: WORDS` or `# operator REASON: FIELD: WORDS`, then one document or two.
fn read() -> Vec<Refusal> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/refusals");
    let files = fs::read_dir(folder).expect("e2e/refusals").map(|entry| entry.expect("a file").path());
    let mut refusals: Vec<Refusal> = files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a file");
            let (line, documents) = text.split_once('\n').expect("a first line");
            let mut parts = line.trim_start_matches("# ").splitn(3, ": ").map(str::to_owned);
            let mut part = || parts.next().unwrap_or_else(|| panic!("{path:?}: {line}"));
            let (who, field, words) = (part(), part(), part());
            let mut documents: Vec<String> = documents.split("---\n").map(str::to_owned).collect();
            let bad = documents.pop().unwrap_or_default();
            let name = bad.split("name: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            Refusal {
                file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                name: name.to_owned(),
                reason: who.split_once(' ').map(|(_, reason)| reason.to_owned()),
                field,
                words,
                before: documents.pop(),
                bad,
            }
        })
        .collect();
    refusals.sort_by(|one, other| one.file.cmp(&other.file));
    refusals
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
