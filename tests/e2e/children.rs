//! What belongs to a cluster is the operator's: deleted by hand it comes back, changed by hand it is set right. What
//! others add stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, LONG, Manifest, pod_name, uid};
use crate::kube::{Kube, until};
use crate::load::Options;
use crate::say;

/// How long a deleted or changed child may be missing.
const BACK: Duration = Duration::from_secs(5);

/// Kinds of children, as kubectl calls them, and where they are in the API. Volume claims are not children.
const KINDS: &[(&str, &str)] = &[
    ("serviceaccounts", "/api/v1"),
    ("secrets", "/api/v1"),
    ("configmaps", "/api/v1"),
    ("services", "/api/v1"),
    ("networkpolicies", "/apis/networking.k8s.io/v1"),
    ("poddisruptionbudgets", "/apis/policy/v1"),
    ("statefulsets", "/apis/apps/v1"),
];

/// Deletes every child and changes some.
pub fn children(kube: &Kube, namespace: &str) -> String {
    let manifest = Manifest { name_servers: 2, ..Manifest::named("kids") };
    let (cluster, load) = Cluster::under_load(kube, namespace, &manifest, &Options::default());
    let mut slowest = (Duration::ZERO, String::new());
    let mut count = 0;
    for (kind, api) in KINDS {
        let children = cluster.list(kind, api);
        assert!(!children.is_empty(), "the cluster has {kind}");
        count += children.len();
        let addresses = addresses(&cluster);
        let begin = Instant::now();
        kube.ctl(&format!("delete {kind} -n {namespace} -l gantry.rs/cluster=kids --wait=false"));
        for child in &children {
            let name = pod_name(child);
            until(&format!("{kind} {name} is back"), LONG, || {
                let now = kube.get(&path(namespace, kind, api, name)).ok_or("it is not there")?;
                (uid(&now) != uid(child)).then_some(()).ok_or("it is the old one".to_owned())
            });
            let time = begin.elapsed();
            if time > slowest.0 {
                slowest = (time, format!("{kind} {name}"));
            }
        }
        say!("children", "{} {kind}: all back after {:.1} s", children.len(), begin.elapsed().as_secs_f64());
        cluster.until_settled(LONG);
        assert_eq!(self::addresses(&cluster), addresses, "clients know them");
    }
    lost_address(&cluster);
    assert!(slowest.0 < BACK, "{} was back after {:?} only", slowest.1, slowest.0);
    let edits = edits(&cluster);
    new_secret(&cluster);
    load.until("messages flow", LONG, |ledger| ledger.missing < 100);
    let ledger = load.judge();
    format!(
        "{count} children deleted, back within {:.1} s; {edits} hand edits reverted; {}",
        slowest.0.as_secs_f64(),
        ledger.words()
    )
}

/// Returns the addresses of the brokers' services.
fn addresses(cluster: &Cluster<'_>) -> BTreeMap<String, Value> {
    let pods = [cluster.broker(0, 0), cluster.broker(0, 1)];
    let services = cluster.list("services", "/api/v1").into_iter();
    let of_brokers = services.filter(|service| pods.iter().any(|pod| pod == pod_name(service)));
    of_brokers.map(|service| (pod_name(&service).to_owned(), service["spec"]["clusterIP"].clone())).collect()
}

/// Somebody else has the address of a service by the time it can come back: it gets another one, which clients learn.
fn lost_address(cluster: &Cluster<'_>) {
    let Cluster { kube, namespace, .. } = cluster;
    let name = cluster.broker(0, 1);
    let before = addresses(cluster)[&name].clone();
    cluster.patch(r#"{"paused": true}"#);
    cluster.until_paused();
    kube.ctl(&format!("delete service -n {namespace} {name}"));
    let taken = before.as_str().expect("an address");
    // The API server gives it back only a moment after the service is gone.
    let steal = format!("create service clusterip -n {namespace} thief --tcp=80 --clusterip={taken}");
    until("somebody else has the address", LONG, || {
        let output = kube.ctl_with(&steal, "");
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    cluster.patch(r#"{"paused": false}"#);
    cluster.until_settled(LONG);
    let after = addresses(cluster)[&name].clone();
    assert!(after.is_string() && after != before, "{name} has {after}, had {before}");
}

/// With a new secret the members still do what the operator says, as soon as they have it too.
fn new_secret(cluster: &Cluster<'_>) {
    cluster.kube.ctl(&format!("delete secret -n {} kids-internal", cluster.namespace));
    cluster.patch(r#"{"brokers": {"autoCreateTopics": true}}"#);
    cluster.until_settled(LONG);
}

/// A change by hand, where it is seen, and what has to be there again.
const EDITS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "services",
        "/api/v1",
        "kids-broker-0-0",
        "/spec/ports/0/port",
        r#"[{"op":"replace","path":"/spec/ports/0/port","value":4711}]"#,
    ),
    (
        "services",
        "/api/v1",
        "kids-namesrv",
        "/metadata/labels/gantry.rs~1component",
        r#"[{"op":"replace","path":"/metadata/labels/gantry.rs~1component","value":"mine"}]"#,
    ),
    (
        "secrets",
        "/api/v1",
        "kids-internal",
        "/metadata/labels/app.kubernetes.io~1component",
        r#"[{"op":"replace","path":"/metadata/labels/app.kubernetes.io~1component","value":"mine"}]"#,
    ),
    (
        "statefulsets",
        "/apis/apps/v1",
        "kids-broker-0",
        "/spec/replicas",
        r#"[{"op":"replace","path":"/spec/replicas","value":3}]"#,
    ),
    (
        "poddisruptionbudgets",
        "/apis/policy/v1",
        "kids-broker-0",
        "/spec/maxUnavailable",
        r#"[{"op":"replace","path":"/spec/maxUnavailable","value":2}]"#,
    ),
    (
        "networkpolicies",
        "/apis/networking.k8s.io/v1",
        "kids-namesrv",
        "/spec/podSelector/matchLabels/gantry.rs~1component",
        r#"[{"op":"replace","path":"/spec/podSelector/matchLabels/gantry.rs~1component","value":"mine"}]"#,
    ),
    (
        "configmaps",
        "/api/v1",
        "kids-broker-0-live",
        "/data/kids-broker-0-0.properties",
        r#"[{"op":"replace","path":"/data/kids-broker-0-0.properties","value":"brokerPermission=0"}]"#,
    ),
];

/// Changes owned fields, and adds a label and an annotation of someone else's to the same objects.
fn edits(cluster: &Cluster<'_>) -> usize {
    let Cluster { kube, namespace, .. } = cluster;
    for (kind, api, name, field, edit) in EDITS {
        let path = path(namespace, kind, api, name);
        let before = kube.get(&path).unwrap_or_else(|| panic!("{kind} {name} is there"));
        kube.ctl(&format!("label {kind} -n {namespace} {name} example.com/mine=yes"));
        kube.ctl(&format!("annotate {kind} -n {namespace} {name} example.com/mine=yes"));
        let mut command = kube.kubectl();
        crate::kube::run(command.args(["patch", kind, "-n", namespace, name, "--type=json", "-p", edit]));
        until(&format!("{field} of {kind} {name} is as it was"), BACK, || {
            let now = kube.get(&path).ok_or("it is not there")?;
            (owned(&now, field) == owned(&before, field))
                .then_some(())
                .ok_or_else(|| format!("{:?}", now.pointer(field)))
        });
        let now = kube.get(&path).unwrap_or_default();
        for place in ["/metadata/labels/example.com~1mine", "/metadata/annotations/example.com~1mine"] {
            assert_eq!(now.pointer(place), Some(&Value::from("yes")), "{place} of {kind} {name} stays");
        }
    }
    cluster.until_settled(LONG);
    EDITS.len()
}

/// Returns a field; settings without their revision, which is another after a change.
fn owned(object: &Value, field: &str) -> Option<Value> {
    let value = object.pointer(field)?;
    let lines =
        value.as_str().map(|text| text.lines().filter(|line| !line.starts_with("configRevision=")).collect());
    Some(lines.map_or_else(|| value.clone(), |lines: Vec<&str>| Value::from(lines)))
}

fn path(namespace: &str, kind: &str, api: &str, name: &str) -> String {
    format!("{api}/namespaces/{namespace}/{kind}/{name}")
}
