//! The manifests of `deploy/`, as they are: applied, Ready, and good for the official clients.

use std::time::Duration;

use crate::cluster::{Cluster, LONG};
use crate::install::root;
use crate::kube::Kube;
use crate::say;

/// How long three groups of two may take from apply to Ready.
const READY: Duration = Duration::from_secs(60);

/// The example of this name.
pub fn example(name: &str) -> String {
    let file = root().join(format!("deploy/{name}.yaml"));
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()))
}

/// Three groups with a slave each, alone on the machine.
pub fn ready(kube: &Kube, namespace: &str) -> String {
    let manifest = example("2m-2s-async").replace("groups: 2", "groups: 3");
    let cluster = Cluster::apply(kube, namespace, &manifest);
    let time = cluster.wait_ready(READY);
    format!("3 groups of 2 from apply to Ready in {:.1} s", time.as_secs_f64())
}

/// Every example, one after the other.
pub fn checks(kube: &Kube, namespace: &str) -> String {
    let mut figures = Vec::new();
    for name in
        ["quickstart", "1m-sync-flush", "2m-async-flush", "2m-sync-flush", "2m-2s-async", "2m-2s-sync"]
    {
        let cluster = Cluster::apply(kube, namespace, &example(name));
        let time = cluster.wait_ready(LONG);
        // The checks make a topic by sending; the examples leave that to an administrator.
        cluster.patch(r#"{"brokers": {"autoCreateTopics": true}}"#);
        cluster.until_settled(LONG);
        let passed = cluster.checks("5.3.3", "core");
        say!("examples", "{name}: Ready in {:.1} s, {passed}", time.as_secs_f64());
        figures.push(format!("{name} {passed}"));
        kube.ctl(&format!(
            "delete -n {namespace} rocketmqcluster {} --wait=true --timeout=90s",
            cluster.name
        ));
    }
    figures.join("; ")
}
