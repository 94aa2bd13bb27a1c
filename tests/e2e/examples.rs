//! The manifests of `deploy/`, as they are: applied, Ready, and good for the official clients.

use std::time::Duration;

use crate::cluster::{Cluster, LONG};
use crate::install::root;
use crate::kube::Kube;
use crate::say;

/// How long three groups of two may take from apply to Ready.
const READY: Duration = Duration::from_secs(60);

/// What examples ask for and this host does not have: a storage class, eight cores, addresses outside, and a GiB for the
/// first segment of each of thirty logs.
const INSTEAD: &[(&str, &str)] = &[
    ("  brokers:\n", "  brokers:\n    config: { mappedFileSizeCommitLog: 64MiB }\n"),
    ("size: 500Gi, storageClassName: fast-ssd", "size: 100Gi"),
    (
        "requests: { cpu: \"2\", memory: 8Gi }, limits: { memory: 8Gi }",
        "requests: { cpu: 50m, memory: 64Mi }",
    ),
    ("addressType: ExternalIP", "addressType: InternalIP"),
];

/// The example of this name.
fn example(name: &str) -> String {
    let file = root().join(format!("deploy/{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()));
    INSTEAD.iter().fold(text, |text, (asked, instead)| text.replace(asked, instead))
}

/// The names of all examples.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("deploy")).expect("the folder deploy").flatten();
    let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.strip_suffix(".yaml")?.to_owned())).collect();
    names.sort();
    names
}

/// Three groups with a slave each, alone on the machine.
pub fn ready(kube: &Kube, namespace: &str) -> String {
    let manifest = example("2m-2s-async").replace("groups: 2", "groups: 3");
    let cluster = Cluster::apply(kube, namespace, &manifest);
    let time = cluster.wait_ready(READY);
    format!("3 groups of 2 from apply to Ready in {:.1} s", time.as_secs_f64())
}

/// Every example, two at a time.
pub fn checks(kube: &Kube, namespace: &str) -> String {
    let names = names();
    let half = names.len().div_ceil(2);
    let figures: Vec<String> = std::thread::scope(|scope| {
        let lanes = names
            .chunks(half)
            .map(|names| scope.spawn(|| names.iter().map(|name| check(kube, namespace, name)).collect()));
        let lanes: Vec<std::thread::ScopedJoinHandle<'_, Vec<String>>> = lanes.collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    figures.join(", ")
}

fn check(kube: &Kube, namespace: &str, name: &str) -> String {
    let cluster = Cluster::apply(kube, namespace, &example(name));
    let time = cluster.wait_ready(LONG);
    // The checks make a topic by sending; the examples leave that to an administrator.
    cluster.patch(
        r#"{"brokers": {"autoCreateTopics": true}, "deletion": {"protection": false, "policy": "Delete"}}"#,
    );
    cluster.until_settled(LONG);
    let passed = cluster.checks("5.3.3", "core");
    let figure = format!("{name} Ready in {:.1} s, {passed}", time.as_secs_f64());
    say!("examples", "{figure}");
    kube.ctl(&format!("delete -n {namespace} rocketmqcluster {} --wait=true --timeout=90s", cluster.name));
    kube.volumes();
    figure
}
